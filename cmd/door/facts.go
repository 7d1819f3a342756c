package door

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/cmd/api"
	"millrace/control"
	"millrace/engine"
	"millrace/express/audit"
	"millrace/express/catalog"
	"millrace/express/settings"
	"millrace/secure/acl"
	"millrace/secure/authz"
	"millrace/secure/breadth"
	"millrace/secure/cert"
	"millrace/secure/comply"
	"millrace/secure/iam"
	"millrace/secure/iam/action"
	"millrace/secure/trail"
	"millrace/secure/usage"
	"millrace/secure/watch"
)

func now() time.Time { return clock.System{}.Now() }

// alertDays is how far back alerts and lost events count.
const alertDays = 30

// gathering fills a comply.State part by part; what a part could not find out stays nil.
type gathering struct {
	i     *Installation
	state comply.State
}

func (g *gathering) listeners(ctx context.Context) error {
	c, err := g.i.Plane.Cluster(ctx, api.DefaultCluster)
	if err != nil {
		return err
	}
	// Whether a cluster is encrypted cannot be changed once it is made: there is nothing plain in one that is.
	g.state.AtRest = []comply.AtRest{{Cluster: c.Name, On: c.Encrypt}}
	specs, err := g.i.Plane.Placed(ctx, c)
	if err != nil {
		return err
	}
	g.state.Listeners = []comply.Listener{}
	for _, s := range specs {
		ways := s.Listeners
		if len(ways) == 0 {
			ways = []engine.Listener{{Name: "PLAINTEXT", Address: s.Listen}}
		}
		for _, l := range ways {
			host, _, _ := net.SplitHostPort(l.Address)
			shown := comply.Listener{Cluster: s.Cluster, Name: l.Name, Address: l.Address, Loopback: api.Loopback(host), TLS: l.TLS, Mechanisms: []string{}}
			for _, m := range l.Mechanisms {
				shown.Mechanisms = append(shown.Mechanisms, string(m))
			}
			if l.Anonymous() {
				shown.Mechanisms = append(shown.Mechanisms, "NONE")
			}
			g.state.Listeners = append(g.state.Listeners, shown)
		}
	}
	host, _, _ := net.SplitHostPort(g.i.Listen)
	signed := g.i.Guard != nil && g.i.Guard.API
	g.state.API = &comply.API{Loopback: api.Loopback(host), TLS: signed, Signed: signed}
	return nil
}

func (g *gathering) keys(context.Context) error {
	if g.i.Guard == nil {
		return nil
	}
	var newest time.Time
	kms := ""
	for _, k := range g.i.Guard.Ring.Keys() {
		if k.Created.After(newest) {
			newest, kms = k.Created, k.KMS
		}
	}
	g.state.Keys = &comply.Keys{KMS: kms, Rotated: newest}
	return nil
}

func (g *gathering) certificates(ctx context.Context) error {
	if g.i.Guard == nil {
		return nil
	}
	all, err := g.i.Guard.CA.Certificates(ctx)
	if err != nil {
		return err
	}
	a := &comply.Authority{Expires: g.i.Guard.CA.CA().Ends}
	for _, c := range all {
		switch {
		case c.State == cert.Revoked:
			a.Revoked++
		case c.State == cert.Ended:
		default:
			a.Leaves++
			if a.Soonest.IsZero() || c.Ends.Before(a.Soonest) {
				a.Soonest = c.Ends
			}
		}
	}
	g.state.Authority = a
	return nil
}

func (g *gathering) principals(ctx context.Context) error {
	if g.i.Guard == nil || g.i.Guard.IAM == nil {
		return nil
	}
	store := g.i.Guard.IAM
	users, err := store.Users(ctx)
	if err != nil {
		return err
	}
	shown := []comply.User{}
	for _, u := range users {
		keys, err := store.Keys(ctx, u.Name, false)
		if err != nil {
			return err
		}
		one := comply.User{Name: u.Name, Kind: "iam", Created: u.Created}
		for _, k := range keys {
			used := usedAt(k)
			one.Keys = append(one.Keys, comply.Key{ID: k.ID, Active: k.Enabled, Created: k.Created, Used: used})
			if used.After(one.Used) {
				one.Used = used
			}
		}
		shown = append(shown, one)
	}
	rootKeys, err := store.Keys(ctx, "", false)
	if err != nil {
		return err
	}
	var rootUsed time.Time
	for _, k := range rootKeys {
		if at := usedAt(k); at.After(rootUsed) {
			rootUsed = at
		}
	}
	g.state.Users, g.state.RootUsed = shown, &rootUsed
	return nil
}

func usedAt(k iam.Key) time.Time {
	if k.Used == nil {
		return time.Time{}
	}
	return k.Used.At
}

// rights compares what principals may do with what they did.
func (g *gathering) rights(ctx context.Context) error {
	if g.i.Guard == nil || g.i.Guard.IAM == nil {
		return nil
	}
	used, since, err := g.used(ctx)
	if err != nil {
		return err
	}
	everybody, unused := []string{}, []comply.Unused{}
	acls, err := acl.Open(ctx, g.i.Store, control.Prefix(api.DefaultCluster)+"acls/")
	if err != nil {
		return err
	}
	for _, b := range acls.Snapshot().Find(acl.Filter{}) {
		if b.Permission != kmsg.ACLPermissionTypeAllow {
			continue
		}
		state, err := json.Marshal(map[string]string{"principal": b.Principal, "permission": "ALLOW", "operation": b.Operation.String(), "name": b.Name})
		if err != nil {
			return err
		}
		everybody = append(everybody, breadth.Grants(state)...)
		right := b.Operation.String() + " on " + b.Resource.String()
		if b.Principal != acl.Everybody && b.Operation != kmsg.ACLOperationAll && !used[b.Principal][right] {
			unused = append(unused, comply.Unused{Principal: b.Principal, Right: right + " " + b.Name})
		}
	}
	wide, idle, err := g.policies(ctx, used)
	if err != nil {
		return err
	}
	slices.SortFunc(unused, func(a, b comply.Unused) int {
		return cmp.Or(strings.Compare(a.Principal, b.Principal), strings.Compare(a.Right, b.Right))
	})
	g.state.Everybody = append(everybody, wide...)
	g.state.Unused = append(unused, idle...)
	if !since.IsZero() {
		g.state.Observed = g.state.Time.Sub(since)
	}
	return nil
}

// policies looks at what the policies of users and roles allow.
func (g *gathering) policies(ctx context.Context, used map[string]map[string]bool) (wide []string, unused []comply.Unused, err error) {
	store := g.i.Guard.IAM
	users, err1 := store.Users(ctx)
	roles, err2 := store.Roles(ctx)
	if err := errors.Join(err1, err2); err != nil {
		return nil, nil, err
	}
	look := func(p iam.Permissions, arn string) error {
		var documents []json.RawMessage
		for _, name := range p.Attached {
			m, err := store.Policy(ctx, name)
			if err != nil {
				return err
			}
			documents = append(documents, m.Document)
		}
		for _, d := range p.Inline {
			documents = append(documents, d)
		}
		allowed := map[string]bool{}
		for _, d := range documents {
			for _, grant := range breadth.Grants(d) {
				wide = append(wide, fmt.Sprintf("%s: %s", p.Name, grant))
			}
			for _, pattern := range breadth.Actions(d) {
				for _, e := range action.Table() {
					if ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(string(e.Action))); err == nil && ok {
						allowed[string(e.Action)] = true
					}
				}
			}
		}
		did := map[string]bool{}
		for principal, rights := range used {
			if principal == "User:"+arn || strings.HasPrefix(principal, "User:"+arn+"/") {
				for right := range rights {
					did[right] = true
				}
			}
		}
		for _, e := range action.Table() {
			if a := string(e.Action); allowed[a] && e.Action != action.Connect && !did[a] {
				unused = append(unused, comply.Unused{Principal: "User:" + arn, Right: a})
			}
		}
		return nil
	}
	account := g.i.Guard.View.Account()
	for _, u := range users {
		err = errors.Join(err, look(u.Permissions, "arn:aws:iam::"+account+":user/"+u.Name))
	}
	for _, r := range roles {
		err = errors.Join(err, look(r.Permissions, "arn:aws:sts::"+account+":assumed-role/"+r.Name))
	}
	return wide, unused, err
}

// used reads from the trails which rights principals used, as "READ on TOPIC" and, for principals of IAM, as the action.
func (g *gathering) used(ctx context.Context) (used map[string]map[string]bool, since time.Time, err error) {
	used = map[string]map[string]bool{}
	err = g.lines(ctx, trail.Filter{Action: usage.Rights}, func(e trail.Entry) {
		rights, ok := usage.RightsOf(e.Event)
		if !ok {
			return
		}
		if since.IsZero() {
			since = e.Time
		}
		if used[e.Principal] == nil {
			used[e.Principal] = map[string]bool{}
		}
		for _, r := range rights {
			used[e.Principal][r.Operation+" on "+r.Resource] = true
			op, err1 := kmsg.ParseACLOperation(r.Operation)
			resource, err2 := kmsg.ParseACLResourceType(r.Resource)
			if a, ok := authz.Action(op, resource); ok && err1 == nil && err2 == nil {
				used[e.Principal][a] = true
				used[e.Principal][authz.Needs(a)] = true
			}
		}
	})
	return used, since, err
}

// lines reads the trails of this host.
func (g *gathering) lines(ctx context.Context, f trail.Filter, each func(trail.Entry)) error {
	reader := trail.NewReader(g.i.Guard.Files, g.i.Guard.Trails, f)
	defer func() { _ = reader.Close() }() // it only reads
	return reader.Next(ctx, func(e trail.Entry) error {
		each(e)
		return nil
	})
}

func (g *gathering) trail(ctx context.Context) error {
	guard := g.i.Guard
	if guard == nil {
		g.state.Trail = &comply.Trail{}
		return nil
	}
	report, err := trail.Verify(ctx, guard.Files, guard.Trails, trail.NewAnchors(g.i.Store, guard.Ring), nil, false)
	if err != nil {
		return err
	}
	t := &comply.Trail{Chains: len(report.Chains), Shipped: guard.ShipTo != ""}
	for _, f := range report.Findings {
		t.Findings = append(t.Findings, f.Writer+": "+f.What)
	}
	var backup time.Time
	alerts := []string{}
	recent := g.state.Time.AddDate(0, 0, -alertDays)
	err = g.lines(ctx, trail.Filter{Kinds: []trail.Kind{trail.System, trail.Admin}}, func(e trail.Entry) {
		if t.Oldest.IsZero() {
			t.Oldest = e.Time
		}
		switch {
		case e.Action == "millrace:BackupCluster" && e.Outcome == trail.Accepted:
			backup = e.Time
		case e.Action == "trail:Lost" && e.Time.After(recent):
			t.Lost += e.Count
		case strings.HasPrefix(e.Action, strings.TrimSuffix(watch.Action, "*")) && e.Time.After(recent):
			if a, ok := watch.FromEvent(e.Event); ok && a.Severity == watch.High {
				alerts = append(alerts, a.Time.UTC().Format(time.DateTime)+": "+a.What)
			}
		}
	})
	if err != nil {
		return err
	}
	g.state.Trail, g.state.Alerts = t, alerts
	g.state.Backups = []comply.Backup{{Cluster: api.DefaultCluster, At: backup}}
	return nil
}

func (g *gathering) topics(ctx context.Context) error {
	s, err := catalog.Read(ctx, g.i.Store, control.Prefix(api.DefaultCluster)+"catalog/")
	if err != nil {
		return err
	}
	broker, err := settings.ParseBroker(s.Defaults)
	if err != nil {
		return err
	}
	g.state.OpenACL, g.state.Retention = []string{}, []comply.Topic{}
	if broker.AllowEveryone {
		g.state.OpenACL = append(g.state.OpenACL, api.DefaultCluster)
	}
	for _, t := range s.Topics {
		c, err := settings.ParseTopic(t.Configs, broker)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(t.Name, "__") && c.Delete && c.RetentionMs < 0 {
			g.state.Retention = append(g.state.Retention, comply.Topic{Cluster: api.DefaultCluster, Name: t.Name})
		}
	}
	return nil
}

func (g *gathering) audits(ctx context.Context) error {
	answer, err := audit.Asked(ctx, g.i.Store, control.Prefix(api.DefaultCluster))
	if err != nil {
		return err
	}
	one := comply.DataAudit{Cluster: api.DefaultCluster}
	for n, b := range answer.Brokers {
		if b.Result == nil || b.Result.Last == nil {
			one.At = time.Time{}
			break
		}
		if ended := b.Result.Last.Ended; n == 0 || ended.Before(one.At) {
			one.At = ended
		}
		one.Findings += b.Result.Last.Total()
	}
	g.state.DataAudits = []comply.DataAudit{one}
	return nil
}
