package authz

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/secure/acl"
	"millrace/secure/iam/action"
	"millrace/secure/identity"
	"millrace/secure/trail"
)

// Config is read once by New.
type Config struct {
	// ClusterARN is arn:aws:kafka:REGION:ACCOUNT:cluster/NAME/UUID; the ARNs of topics and the like follow from it.
	// It is needed where there are Policies.
	ClusterARN string
	// Cluster is the name of the cluster in records.
	Cluster string
	// SuperUsers are principals ("User:admin") who may do everything, whatever the ACLs say.
	SuperUsers []string
}

// World is all that an Authorizer touches outside itself.
type World struct {
	// ACLs gives the list of the moment; it is called for each question. Store.Snapshot is meant.
	ACLs func() *acl.Snapshot
	// Everyone tells whether a resource that no ACL names is open to everybody (allow.everyone.if.no.acl.found); nil: it is not.
	Everyone func() bool
	Policies Policies       // nil: principals of IAM may do nothing
	Recorder trail.Recorder // nil: refusals are not recorded
	Clock    clock.Clock    // for the times of records
}

// Authorizer is the Judge of a cluster. Make one with New; it is safe for concurrent use.
type Authorizer struct {
	cfg   Config
	world World
	super map[string]bool
	arns  arns
}

// ErrRefused is returned by Admit.
var ErrRefused = errors.New("authz: refused")

// ErrConfig is returned by New for a field that is wrong.
var ErrConfig = errors.New("authz: config")

// New returns an Authorizer, or ErrConfig.
func New(cfg Config, w World) (*Authorizer, error) {
	if w.ACLs == nil || w.Clock == nil {
		return nil, fmt.Errorf("%w: ACLs and Clock are needed", ErrConfig)
	}
	if w.Policies != nil && cfg.ClusterARN == "" {
		return nil, fmt.Errorf("%w: policies need a ClusterARN", ErrConfig)
	}
	if w.Everyone == nil {
		w.Everyone = func() bool { return false }
	}
	if w.Recorder == nil {
		w.Recorder = trail.Discard{}
	}
	a := &Authorizer{cfg: cfg, world: w, super: make(map[string]bool)}
	for _, name := range cfg.SuperUsers {
		if kind, _, ok := strings.Cut(name, ":"); !ok || kind == "" {
			return nil, fmt.Errorf("%w: super user %q is not TYPE:NAME", ErrConfig, name)
		}
		a.super[name] = true
	}
	var err error
	a.arns, err = newARNs(cfg.ClusterARN)
	return a, err
}

// Allowed implements Judge.
func (a *Authorizer) Allowed(q Access) bool {
	ok, why := a.decide(q, func(acls *acl.Snapshot, question acl.Question) (bool, string) {
		verdict := acls.Decide(question)
		return verdict == acl.Allowed || verdict == acl.Unlisted && a.world.Everyone(), verdict.String()
	})
	if !ok && !q.Looks {
		a.record(q, why)
	}
	return ok
}

// AllowedSomewhere implements Judge. For principals of IAM the answer is no: their policies name what they may do, and the actions
// that Kafka allows in their stead (WriteDataIdempotently) are asked for before.
func (a *Authorizer) AllowedSomewhere(q Access) bool {
	q.Name = acl.Wildcard
	if q.Who != nil && q.Who.IAM != nil && !q.Who.Internal {
		if !q.Looks {
			a.record(q, "no policy allows it on any resource")
		}
		return false
	}
	ok, why := a.decide(q, func(acls *acl.Snapshot, question acl.Question) (bool, string) {
		return acls.Somewhere(question, a.world.Everyone()), "no ACL allows it on any resource"
	})
	if !ok && !q.Looks {
		a.record(q, why)
	}
	return ok
}

// Admit says whether somebody who has just logged in may connect: a principal of IAM needs kafka-cluster:Connect, everybody else may. The
// error matches ErrRefused and says why, for the trail; nothing is recorded here.
func (a *Authorizer) Admit(_ context.Context, who identity.Identity, host netip.Addr, tls bool) error {
	switch {
	case who.IAM == nil || who.Internal:
		return nil
	case a.world.Policies == nil:
		return fmt.Errorf("%w: there are no policies here", ErrRefused)
	}
	if ok, why := a.policy(Access{Who: &who, Host: host, TLS: tls}, string(action.Connect), a.arns.cluster); !ok {
		return fmt.Errorf("%w: %s", ErrRefused, why)
	}
	return nil
}

// decide finds who judges, and asks.
func (a *Authorizer) decide(q Access, byACL func(*acl.Snapshot, acl.Question) (bool, string)) (ok bool, why string) {
	switch who := q.Who; {
	case who == nil || who.Principal == "" && !who.Internal:
		return false, "nobody is logged in"
	case who.Internal, a.super[who.Principal] && who.IAM == nil:
		return true, ""
	case who.IAM != nil:
		return a.byPolicy(q)
	default:
		return byACL(a.world.ACLs(), acl.Question{
			Principal: who.Principal, Host: q.Host, Operation: q.Operation, Resource: q.Resource, Name: q.Name,
		})
	}
}

// byPolicy asks for Connect, for the action, and for the one that it needs.
func (a *Authorizer) byPolicy(q Access) (ok bool, why string) {
	asked, ok := Action(q.Operation, q.Resource)
	switch {
	case a.world.Policies == nil:
		return false, "there are no policies here"
	case !ok:
		return false, "no action of kafka-cluster stands for it"
	}
	arn := a.arns.of(q.Resource, q.Name)
	if ok, why = a.policy(q, asked, arn); !ok {
		return false, why
	}
	if needed := Needs(asked); needed != "" {
		if ok, why = a.policy(q, needed, arn); !ok {
			return false, why
		}
	}
	return a.policy(q, string(action.Connect), a.arns.cluster)
}

func (a *Authorizer) policy(q Access, asked, arn string) (bool, string) {
	ok, why := a.world.Policies.Allowed(q.Who.IAM, asked, arn, q.Host, q.TLS)
	if !ok {
		why = strings.TrimSuffix(asked+": "+why, ": ")
	}
	return ok, why
}

// nameMost bounds what a record keeps of a name that a client made up: more than topics can have.
const nameMost = 250

// record writes a refusal down.
func (a *Authorizer) record(q Access, why string) {
	e := trail.Event{
		Time: a.world.Clock.Now(), Kind: trail.Refusal, Action: "kafka:" + kmsg.NameForKey(q.Key), Outcome: trail.Refused,
		Listener: q.Listener, ClientID: q.ClientID, Cluster: a.cfg.Cluster,
		Resource: strings.ToLower(q.Resource.String()) + "/" + q.Name[:min(len(q.Name), nameMost)], Reason: q.Operation.String() + ": " + why,
	}
	if q.Host.IsValid() {
		e.From = q.Host.Unmap().String()
	}
	if q.Who != nil {
		e.Principal, e.Mechanism = q.Who.Principal, string(q.Who.Mechanism)
		if q.Who.IAM != nil {
			e.AccessKey = q.Who.IAM.AccessKey
		}
	}
	a.world.Recorder.Record(e)
}
