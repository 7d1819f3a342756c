package iam

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/secure/iam/policy"
	"millrace/secure/identity"
)

// ViewConfig is read once by NewView.
type ViewConfig struct {
	// Cluster is the prefix of a cluster's keys in etcd, clusters/NAME/: its policy and its tags count too. "": none do.
	Cluster string
}

// View is what a process knows of keys, users, roles and policies: it follows etcd, and answers from memory. Make one with NewView;
// it knows nothing until Run has read etcd. It is safe for concurrent use.
type View struct {
	cfg    ViewConfig
	kv     kv.KV
	sealer Sealer
	clock  clock.Clock
	log    *slog.Logger
	now    atomic.Pointer[snapshot] // nil: not read yet
	used   *uses

	mu      sync.Mutex    // guards the rest, and changes of now
	read    int           // which of the prefixes were read, a bit each
	whole   int           // all of them
	changed chan struct{} // closed and replaced when now changes
	ready   chan struct{} // closed once now is not nil
	draft   *snapshot     // what will be published once everything was read
}

// NewView returns a View that Run fills.
func NewView(store kv.KV, sealer Sealer, now clock.Clock, log *slog.Logger, cfg ViewConfig) *View {
	return &View{
		cfg: cfg, kv: store, sealer: sealer, clock: now, log: log, used: newUses(store, now, log),
		changed: make(chan struct{}), ready: make(chan struct{}), draft: newSnapshot(),
	}
}

// source is one prefix that a View follows.
type source struct {
	prefix string
	bit    int
	clear  func(*snapshot)
	put    func(*snapshot, kv.Item, bool)
}

func (v *View) sources() []source {
	r := &reader{sealer: v.sealer, log: v.log}
	all := []source{{prefix, 1, func(s *snapshot) {
		fresh := newSnapshot()
		s.account, s.root, s.users, s.roles, s.policies, s.keys = "", nil, fresh.users, fresh.roles, fresh.policies, fresh.keys
	}, r.put}}
	if v.cfg.Cluster == "" {
		return all
	}
	only := func(key string, put func(*snapshot, kv.Item, bool)) func(*snapshot, kv.Item, bool) {
		return func(s *snapshot, item kv.Item, gone bool) {
			if item.Key == key { // others may begin like it
				put(s, item, gone)
			}
		}
	}
	policyKey, tagsKey := ClusterPolicyKey(v.cfg.Cluster), clusterTagsKey(v.cfg.Cluster)
	return append(all,
		source{policyKey, 2, func(s *snapshot) { s.resource, s.closed = nil, false }, only(policyKey, r.putPolicy)},
		source{tagsKey, 4, func(s *snapshot) { s.tags = nil }, only(tagsKey, r.putTags)})
}

// Run follows etcd until ctx ends, and then returns nil. It writes down when keys were used. After an error it may be called again: what
// was known stays known.
func (v *View) Run(ctx context.Context) error {
	all := v.sources()
	for _, s := range all {
		v.whole |= s.bit
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(all)+1)
	for _, s := range all {
		go func() { ended <- v.follow(ctx, s) }()
	}
	go func() { ended <- v.used.run(ctx) }()
	var first error
	for range len(all) + 1 {
		if err := <-ended; first == nil && err != nil && !errors.Is(err, context.Canceled) {
			first = err
		}
		cancel()
	}
	return first
}

func (v *View) follow(ctx context.Context, from source) error {
	err := kv.Follow(ctx, v.kv, from.prefix, func(items []kv.Item, rev int64) error {
		v.publish(from.bit, func(s *snapshot) {
			from.clear(s)
			if from.prefix == prefix {
				s.rev, s.seen = rev, math.MaxInt
			}
			for _, item := range items {
				from.put(s, item, false)
			}
		})
		return nil
	}, func(e kv.Event) error {
		v.publish(from.bit, func(s *snapshot) {
			from.put(s, e.Item, e.Type == kv.EventDelete)
			if from.prefix != prefix {
				return
			}
			if s.rev != e.Item.ModRev {
				s.rev, s.seen = e.Item.ModRev, 0
			}
			s.seen++
		})
		return nil
	})
	if ctx.Err() != nil {
		return context.Canceled
	}
	return err
}

// publish changes the snapshot. Before everything was read once, nobody sees it.
func (v *View) publish(bit int, edit func(*snapshot)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	next := v.draft
	if old := v.now.Load(); old != nil {
		next = old.clone()
	}
	edit(next)
	v.read |= bit
	if v.read != v.whole {
		return
	}
	if v.now.Swap(next) == nil {
		v.draft = nil
		close(v.ready)
	}
	close(v.changed)
	v.changed = make(chan struct{})
}

// Ready is closed once etcd was read for the first time.
func (v *View) Ready() <-chan struct{} { return v.ready }

// wait returns when the View has seen all that a transaction wrote, or ctx ends.
func (v *View) wait(ctx context.Context, w written) error {
	for {
		v.mu.Lock()
		s, changed := v.now.Load(), v.changed
		v.mu.Unlock()
		if s != nil && (s.rev > w.rev || s.rev == w.rev && s.seen >= w.keys) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the change to be seen: %w", ctx.Err())
		case <-changed:
		}
	}
}

// Account is the account's number; "" before etcd was read.
func (v *View) Account() string {
	if s := v.now.Load(); s != nil {
		return s.account
	}
	return ""
}

// latecomer is how long Key waits for a key that it does not know: it may have been made a moment ago by another process.
const latecomer = 150 * time.Millisecond

// Key finds an access key, or with a session token the session. The error is ErrKey for all that is not valid, whatever the reason, and
// ErrNotReady before etcd was read. For a key that is unknown it may take 150 ms.
func (v *View) Key(ctx context.Context, id, token string) (Credential, error) {
	s := v.now.Load()
	if s == nil {
		return Credential{}, ErrNotReady
	}
	if token != "" {
		return v.session(s, id, token)
	}
	if _, ok := s.keys[id]; !ok {
		late, cancel := context.WithTimeout(ctx, latecomer)
		defer cancel()
		s = v.await(late, id)
	}
	k, ok := s.keys[id]
	if !ok || !k.enabled || k.secret == "" {
		return Credential{}, ErrKey
	}
	c := Credential{ID: id, Secret: k.secret, Identity: identity.IAM{Account: s.account, AccessKey: id}}
	if k.user == "" {
		c.Identity.ARN, c.Identity.UserID = arnOfRoot(s.account), s.account
	} else {
		u := s.users[k.user]
		if u == nil || u.broken != "" {
			return Credential{}, ErrKey
		}
		c.Identity.ARN, c.Identity.UserID = arnOfUser(s.account, k.user), u.id
	}
	c.Principal = "User:" + c.Identity.ARN
	return c, nil
}

// await returns the snapshot in which a key is there, or the last one before ctx ends.
func (v *View) await(ctx context.Context, id string) *snapshot {
	for {
		v.mu.Lock()
		s, changed := v.now.Load(), v.changed
		v.mu.Unlock()
		if _, ok := s.keys[id]; ok {
			return s
		}
		select {
		case <-ctx.Done():
			return s
		case <-changed:
		}
	}
}

// Allowed decides whether an identity that Key gave may do something, by its own policies, its session's and the cluster's. why is for
// the trail. It takes no lock and asks nobody. A key that was disabled meanwhile, a user or role that is gone, may do nothing.
func (v *View) Allowed(who *identity.IAM, action, resource string, host netip.Addr, tls bool) (allowed bool, why string) {
	d, why := v.Decide(who, &policy.Request{Action: action, Resource: resource, Source: host, TLS: tls})
	if d.Allowed {
		return true, "" // the words are for refusals; they cost
	}
	if why == "" {
		why = d.Why()
	}
	return false, why
}

// Decide is Allowed with the whole decision. It fills in who asks, when, and the cluster's tags. broken says why the identity counts
// no more; "": it does.
func (v *View) Decide(who *identity.IAM, r *policy.Request) (d policy.Decision, broken string) {
	s := v.now.Load()
	if s == nil {
		return policy.Decision{}, ErrNotReady.Error()
	}
	if r.ResourceTags == nil {
		r.ResourceTags = s.tags
	}
	return v.decide(s.bind(who), who, r)
}

// DecideOn is Decide for something that the View does not follow: its own policy, nil for none, and the tags in the request count, the
// cluster's do not. It remembers nothing of the identity, which may come only once.
func (v *View) DecideOn(who *identity.IAM, r *policy.Request, resource *policy.Policy) (d policy.Decision, broken string) {
	s := v.now.Load()
	if s == nil {
		return policy.Decision{}, ErrNotReady.Error()
	}
	return v.decide(s.workOn(who, resource), who, r)
}

func (v *View) decide(b *binding, who *identity.IAM, r *policy.Request) (d policy.Decision, broken string) {
	if b.why != "" {
		return policy.Decision{}, b.why
	}
	r.Who, r.Now = &b.who, v.clock.Now()
	d = b.set.Decide(r)
	if d.Allowed {
		v.used.note(b, who, r)
	}
	return d, ""
}
