package iam

import (
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"millrace/base/kv"
	"millrace/secure/iam/policy"
	"millrace/secure/identity"
)

// entity is a user or a role, ready to decide by.
type entity struct {
	id       string
	tags     map[string]string
	attached []string
	inline   []*policy.Policy
	trust    *policy.Policy // of a role
	longest  int            // seconds, of a role's session
	broken   string         // why it may do nothing; "": it is whole
}

// secretKey is an access key with its secret. It is never printed.
type secretKey struct {
	user    string
	enabled bool
	secret  string
}

// String hides the secret.
func (k secretKey) String() string { return "access key of " + ownerOf(k.user) }

// GoString hides the secret.
func (k secretKey) GoString() string { return k.String() }

// snapshot is all that decisions need, as it was at one revision. It is not changed once published, but for its caches.
type snapshot struct {
	rev      int64 // of the last change below prefix
	seen     int   // how many keys of that revision it has
	account  string
	root     []string // ids of its keys
	users    map[string]*entity
	roles    map[string]*entity
	policies map[string]*policy.Policy // nil value: it cannot be read
	keys     map[string]secretKey
	resource *policy.Policy // of the cluster; nil: none
	closed   bool           // the cluster's policy cannot be read: nobody may do anything
	tags     map[string]string

	bindings sync.Map // *identity.IAM -> *binding
	bound    atomic.Int64
}

// mostBindings is how many identities a snapshot remembers; more are worked out each time.
const mostBindings = 16384

// binding is an identity with the policies that count for it.
type binding struct {
	set  policy.Set
	who  policy.Principal
	why  string // the identity counts no more; "": it does
	used atomic.Int64
}

// newSnapshot is empty but for the policies that every installation has.
func newSnapshot() *snapshot {
	s := &snapshot{users: map[string]*entity{}, roles: map[string]*entity{}, policies: map[string]*policy.Policy{}, keys: map[string]secretKey{}}
	for name, m := range ours() {
		p, err := policy.Parse(m.Document, policy.Identity, name)
		if err != nil {
			panic("iam: policy " + name + ": " + err.Error())
		}
		s.policies[name] = p
	}
	return s
}

// clone is a snapshot to be changed and published.
func (s *snapshot) clone() *snapshot {
	return &snapshot{
		rev: s.rev, seen: s.seen, account: s.account, root: s.root, users: maps.Clone(s.users), roles: maps.Clone(s.roles), policies: maps.Clone(s.policies),
		keys: maps.Clone(s.keys), resource: s.resource, closed: s.closed, tags: s.tags,
	}
}

// reader puts records into a snapshot. A record that cannot be read is told to the log, and costs its owner all rights (I6).
type reader struct {
	sealer Sealer
	log    *slog.Logger
}

// put takes a record, or with a nil value its end.
func (r *reader) put(s *snapshot, item kv.Item, gone bool) {
	name := item.Key[strings.LastIndexByte(item.Key, '/')+1:]
	switch dir := item.Key[:len(item.Key)-len(name)]; {
	case item.Key == keyAccount:
		s.account, s.root = "", nil
		if a, err := decode[Account](item.Value); err == nil && !gone {
			s.account, s.root = a.ID, a.Keys
		} else if !gone {
			r.unreadable(item.Key, err)
		}
	case gone && dir == dirUsers:
		delete(s.users, name)
	case gone && dir == dirRoles:
		delete(s.roles, name)
	case gone && dir == dirPolicies:
		delete(s.policies, name)
	case gone && dir == dirKeys:
		delete(s.keys, name)
	case gone:
	case dir == dirUsers:
		s.users[name] = r.user(item)
	case dir == dirRoles:
		s.roles[name] = r.role(item)
	case dir == dirPolicies:
		s.policies[name] = r.policy(item, name)
	case dir == dirKeys:
		s.keys[name] = r.key(item)
	}
}

func (r *reader) unreadable(key string, err error) string {
	r.log.Error("access record cannot be read", "key", key, "err", err)
	return "its record cannot be read"
}

func (r *reader) user(item kv.Item) *entity {
	u, err := decode[User](item.Value)
	if err != nil {
		return &entity{broken: r.unreadable(item.Key, err)}
	}
	return r.entity(item.Key, &u.Permissions)
}

func (r *reader) role(item kv.Item) *entity {
	role, err := decode[Role](item.Value)
	if err != nil {
		return &entity{broken: r.unreadable(item.Key, err)}
	}
	e := r.entity(item.Key, &role.Permissions)
	e.longest = role.MaxSession
	if e.trust, err = policy.Parse(role.Trust, policy.Trust, "the trust policy of role "+role.Name); err != nil {
		e.broken = r.unreadable(item.Key, err)
	}
	return e
}

func (r *reader) entity(key string, p *Permissions) *entity {
	e := &entity{id: p.ID, tags: p.Tags, attached: p.Attached}
	for _, name := range slices.Sorted(maps.Keys(p.Inline)) {
		one, err := policy.Parse(p.Inline[name], policy.Identity, name)
		if err != nil {
			e.broken = r.unreadable(key, err)
			continue
		}
		e.inline = append(e.inline, one)
	}
	return e
}

func (r *reader) policy(item kv.Item, name string) *policy.Policy {
	m, err := decode[Managed](item.Value)
	var p *policy.Policy
	if err == nil {
		p, err = policy.Parse(m.Document, policy.Identity, name)
	}
	if err != nil {
		r.unreadable(item.Key, err)
		return nil
	}
	return p
}

func (r *reader) key(item kv.Item) secretKey {
	k, err := decode[keyRecord](item.Value)
	if err != nil {
		r.unreadable(item.Key, err)
		return secretKey{}
	}
	secret, err := r.sealer.Open(k.Sealed, []byte(item.Key))
	if err != nil {
		r.unreadable(item.Key, err)
		return secretKey{}
	}
	return secretKey{user: k.User, enabled: k.Enabled, secret: string(secret)}
}

// resourceRecord is the policy of a cluster in etcd.
type resourceRecord struct {
	Format   int             `json:"format"`
	Document json.RawMessage `json:"document"`
}

func (r resourceRecord) format() int { return r.Format }

// tagsRecord is the tags of a cluster in etcd.
type tagsRecord struct {
	Format int               `json:"format"`
	Tags   map[string]string `json:"tags"`
}

func (t tagsRecord) format() int { return t.Format }

// putPolicy takes the policy of the cluster.
func (r *reader) putPolicy(s *snapshot, item kv.Item, gone bool) {
	s.resource, s.closed = nil, false
	if gone {
		return
	}
	record, err := decode[resourceRecord](item.Value)
	if err == nil {
		s.resource, err = policy.Parse(record.Document, policy.Resource, "the policy of the cluster")
	}
	if err != nil {
		r.unreadable(item.Key, err)
		s.closed = true
	}
}

// putTags takes the tags of the cluster.
func (r *reader) putTags(s *snapshot, item kv.Item, gone bool) {
	s.tags = nil
	if gone {
		return
	}
	record, err := decode[tagsRecord](item.Value)
	if err != nil {
		r.unreadable(item.Key, err)
	}
	s.tags = record.Tags
}

// bind returns the policies that count for an identity. It remembers them, with the identity itself, so that its address
// cannot come to mean another one.
func (s *snapshot) bind(who *identity.IAM) *binding {
	if b, ok := s.bindings.Load(who); ok {
		return b.(*binding)
	}
	b := s.work(who)
	if s.bound.Load() < mostBindings {
		if other, loaded := s.bindings.LoadOrStore(who, b); loaded {
			return other.(*binding)
		}
		s.bound.Add(1)
	}
	return b
}

// work finds out what bind returns.
func (s *snapshot) work(who *identity.IAM) *binding {
	b := s.workOn(who, s.resource)
	if s.closed && b.why == "" {
		b.why = "the policy of the cluster cannot be read"
	}
	return b
}

// workOn returns the policies that count for an identity on something that has the policy given; nil: it has none.
func (s *snapshot) workOn(who *identity.IAM, resource *policy.Policy) *binding {
	b := &binding{who: policy.Principal{Account: who.Account, ARN: who.ARN, UserID: who.UserID, Issued: who.Issued}}
	refuse := func(why string) *binding {
		b.why = why
		return b
	}
	b.set.Resource = resource
	if k, ok := s.keys[who.AccessKey]; who.Issued.IsZero() && (!ok || !k.enabled) {
		return refuse("access key " + who.AccessKey + " is not valid any more")
	}
	e, name := s.owner(who)
	switch {
	case who.Account != s.account:
		return refuse("it is of another account")
	case who.ARN == arnOfRoot(s.account):
		b.who.Root = true
		b.who.Tags = who.Tags
		return b
	case e == nil:
		return refuse(name + " is gone")
	case e.broken != "":
		return refuse(name + ": " + e.broken)
	}
	b.who.Tags = e.tags
	if len(who.Tags) > 0 {
		b.who.Tags = mergeTags(e.tags, who.Tags)
	}
	if who.Role != "" {
		b.who.RoleARN = arnOfRole(s.account, who.Role)
	} else {
		b.who.Name = name
	}
	return s.collect(b, e, who.SessionPolicy)
}

// collect puts the policies of an entity and of a session into a binding.
func (s *snapshot) collect(b *binding, e *entity, bound []byte) *binding {
	b.set.Identity = slices.Clone(e.inline)
	for _, n := range e.attached {
		p := s.policies[n]
		if p == nil {
			b.why = "policy " + n + " cannot be read"
			return b
		}
		b.set.Identity = append(b.set.Identity, p)
	}
	if bound != nil {
		p, err := policy.Parse(bound, policy.Session, "the session policy")
		if err != nil {
			b.why = "the session policy cannot be read"
			return b
		}
		b.set.Session = []*policy.Policy{p}
	}
	return b
}

// owner is the user or role that an identity stands for, if it still is the one with that id; name is what it is called.
func (s *snapshot) owner(who *identity.IAM) (e *entity, name string) {
	id := who.UserID
	if who.Role != "" {
		id, _, _ = strings.Cut(who.UserID, ":")
		e, name = s.roles[who.Role], who.Role
	} else {
		name = strings.TrimPrefix(who.ARN, arnOfUser(s.account, ""))
		e = s.users[name]
	}
	if e != nil && e.id != id && e.broken == "" {
		return nil, name
	}
	return e, name
}

// mergeTags lets the session's tags go before those of the role; keys that differ in case only are one.
func mergeTags(under, over map[string]string) map[string]string {
	all := maps.Clone(over)
	for k, v := range under {
		hidden := false
		for o := range over {
			hidden = hidden || strings.EqualFold(o, k)
		}
		if !hidden {
			all[k] = v
		}
	}
	return all
}
