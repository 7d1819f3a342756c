package acl

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// The plain model: the list as it is read from top to bottom.

func plainDecide(list []Binding, q Question) Verdict {
	listed, allowed := false, false
	for _, b := range list {
		if b.Resource != q.Resource || !plainName(b, q.Name) {
			continue
		}
		listed = true
		if b.Principal != q.Principal && b.Principal != "User:*" || b.Host != "*" && b.Host != q.Host.String() {
			continue
		}
		if b.Permission == kmsg.ACLPermissionTypeDeny {
			if b.Operation == q.Operation || b.Operation == kmsg.ACLOperationAll {
				return Denied
			}
			continue
		}
		allowed = allowed || plainImplies(b.Operation, q.Operation)
	}
	switch {
	case allowed:
		return Allowed
	case listed:
		return Unmet
	default:
		return Unlisted
	}
}

func plainName(b Binding, name string) bool {
	if b.Pattern == kmsg.ACLResourcePatternTypePrefixed {
		return strings.HasPrefix(name, b.Name)
	}
	return b.Name == "*" || b.Name == name
}

func plainImplies(has, asked kmsg.ACLOperation) bool {
	implied := map[kmsg.ACLOperation][]kmsg.ACLOperation{
		kmsg.ACLOperationDescribe:        {kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDelete, kmsg.ACLOperationAlter},
		kmsg.ACLOperationDescribeConfigs: {kmsg.ACLOperationAlterConfigs},
	}
	return has == asked || has == kmsg.ACLOperationAll || slices.Contains(implied[asked], has)
}

// plainSomewhere is right for names that a resource can have: whether there is one on which the operation is allowed. It tries names
// made of those in the list.
func plainSomewhere(list []Binding, q Question) bool {
	names := []string{"hardcode"}
	for _, b := range list {
		names = append(names, b.Name, b.Name+"\x00")
	}
	for _, q.Name = range names {
		if q.Name != "*" && plainExactly(list, q) == Allowed {
			return true
		}
	}
	q.Name = "hardcode"
	return plainDecide(list, q) == Allowed
}

// plainExactly is plainDecide without implications.
func plainExactly(list []Binding, q Question) Verdict {
	var exact []Binding
	for _, b := range list {
		if b.Operation == q.Operation || b.Operation == kmsg.ACLOperationAll {
			exact = append(exact, b)
		}
	}
	return plainDecide(exact, q)
}

var (
	someNames      = []string{"a", "ab", "abc", "b", "abd", "*", "a*"}
	somePrincipals = []string{"User:alice", "User:bob", Everybody}
	someHosts      = []string{"*", "10.0.0.1", "10.0.0.2", "::1"}
)

func drawBinding(t *rapid.T) Binding {
	return Binding{
		Resource:   rapid.SampledFrom([]kmsg.ACLResourceType{kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup}).Draw(t, "resource"),
		Name:       rapid.SampledFrom(someNames).Draw(t, "name"),
		Pattern:    rapid.SampledFrom([]kmsg.ACLResourcePatternType{kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLResourcePatternTypePrefixed}).Draw(t, "pattern"),
		Principal:  rapid.SampledFrom(somePrincipals).Draw(t, "principal"),
		Host:       rapid.SampledFrom(someHosts).Draw(t, "host"),
		Operation:  rapid.Custom(drawOperation).Draw(t, "op"),
		Permission: rapid.SampledFrom([]kmsg.ACLPermissionType{kmsg.ACLPermissionTypeAllow, kmsg.ACLPermissionTypeAllow, kmsg.ACLPermissionTypeDeny}).Draw(t, "permission"),
	}
}

func drawOperation(t *rapid.T) kmsg.ACLOperation {
	return kmsg.ACLOperation(rapid.IntRange(int(kmsg.ACLOperationAll), int(TwoPhaseCommit)).Draw(t, "op"))
}

func drawQuestion(t *rapid.T) Question {
	return Question{
		Principal: rapid.SampledFrom([]string{"User:alice", "User:bob", "User:carol", Everybody}).Draw(t, "who"),
		Host:      netip.MustParseAddr(rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.3", "::1"}).Draw(t, "from")),
		Operation: rapid.Custom(drawOperation).Draw(t, "what"),
		Resource:  rapid.SampledFrom([]kmsg.ACLResourceType{kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup, kmsg.ACLResourceTypeCluster}).Draw(t, "on"),
		Name:      rapid.SampledFrom(append(someNames, "abcd", "x", "")).Draw(t, "named"),
	}
}

// L1, L2, L3: whatever is added and taken away, a Snapshot answers as the list does, and the Snapshots before it do as they did.
func TestSnapshotIsTheList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			list []Binding
			snap *Snapshot
		}
		now := version{nil, Empty()}
		old := []version{now}
		for range rapid.IntRange(1, 12).Draw(t, "changes") {
			add := rapid.SliceOfN(rapid.Custom(drawBinding), 0, 4).Draw(t, "add")
			var remove []Binding
			if len(now.list) > 0 {
				remove = rapid.SliceOfN(rapid.SampledFrom(now.list), 0, 3).Draw(t, "remove")
			}
			list := slices.DeleteFunc(slices.Clone(now.list), func(b Binding) bool { return slices.Contains(remove, b) })
			for _, b := range add {
				if !slices.Contains(list, b) {
					list = append(list, b)
				}
			}
			now = version{list, now.snap.with(add, remove)}
			old = append(old, now)
		}
		for _, v := range append(old, version{now.list, NewSnapshot(now.list)}) {
			if v.snap.Len() != len(v.list) {
				t.Fatalf("%d bindings, want %d", v.snap.Len(), len(v.list))
			}
			lengths := map[[2]int]bool{}
			for _, b := range v.list {
				if b.Pattern == kmsg.ACLResourcePatternTypePrefixed {
					lengths[[2]int{int(b.Resource), len(b.Name)}] = true
				}
			}
			left := len(lengths)
			for _, known := range v.snap.lengths {
				left -= len(known)
			}
			if left != 0 { // L3: what is not there costs nothing
				t.Fatalf("lengths %v, want %v", v.snap.lengths, lengths)
			}
			found := v.snap.Find(Any())
			want := slices.SortedFunc(slices.Values(v.list), Compare)
			if !slices.Equal(found, want) {
				t.Fatalf("found %v, want %v", found, want)
			}
			for range 8 {
				q := drawQuestion(t)
				if got, want := v.snap.Decide(q), plainDecide(v.list, q); got != want {
					t.Fatalf("%+v: %v, want %v, by %v", q, got, want, v.list)
				}
				everyone := rapid.Bool().Draw(t, "everyone")
				if got, want := v.snap.Somewhere(q, everyone), somewhereByKafka(v.list, q, everyone); got != want {
					t.Fatalf("somewhere %+v: %v, want %v, by %v", q, got, want, v.list)
				}
			}
		}
	})
}

// somewhereByKafka is the default implementation of Authorizer.authorizeByResourceType, step by step.
func somewhereByKafka(list []Binding, q Question, everyone bool) bool {
	q.Name = "hardcode"
	if v := plainDecide(list, q); v == Allowed || v == Unlisted && everyone {
		return true
	}
	deny, allow := map[string]bool{}, []Binding{}
	for _, b := range list {
		if b.Resource != q.Resource || b.Host != "*" && b.Host != q.Host.String() || b.Principal != q.Principal && b.Principal != "User:*" ||
			b.Operation != q.Operation && b.Operation != kmsg.ACLOperationAll {
			continue
		}
		all := b.Pattern == kmsg.ACLResourcePatternTypeLiteral && b.Name == "*"
		if b.Permission == kmsg.ACLPermissionTypeDeny {
			deny[b.Pattern.String()+b.Name] = true
			deny["all"] = deny["all"] || all
			continue
		}
		allow = append(allow, b)
	}
	if deny["all"] {
		return false
	}
	for _, b := range allow {
		if b.Name == "*" && b.Pattern == kmsg.ACLResourcePatternTypeLiteral {
			return true
		}
		out := b.Pattern == kmsg.ACLResourcePatternTypeLiteral && deny["LITERAL"+b.Name]
		for n := 1; n <= len(b.Name); n++ {
			out = out || deny["PREFIXED"+b.Name[:n]]
		}
		if !out {
			return true
		}
	}
	return false
}

// What Somewhere refuses is allowed nowhere: nobody is kept from what the list gives.
func TestSomewhereFindsWhatIsAllowed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Custom(drawBinding), 0, 10).Draw(t, "list")
		q := drawQuestion(t)
		if !NewSnapshot(list).Somewhere(q, false) && plainSomewhere(list, q) {
			t.Fatalf("%+v is allowed on something by %v", q, list)
		}
	})
}

// A filter finds what reading the list with it finds; MATCH finds what decides about a name.
func TestFilterFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfNDistinct(rapid.Custom(drawBinding), 0, 10, func(b Binding) Binding { return b }).Draw(t, "list")
		name := rapid.SampledFrom(append(someNames, "abcd")).Draw(t, "name")
		f := Any()
		f.Pattern, f.Name = kmsg.ACLResourcePatternTypeMatch, &name
		var want []Binding
		for _, b := range list {
			if plainName(b, name) {
				want = append(want, b)
			}
		}
		slices.SortFunc(want, Compare)
		if got := NewSnapshot(list).Find(f); !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
		if len(list) == 0 {
			return
		}
		b := rapid.SampledFrom(list).Draw(t, "one")
		exact := Filter{b.Resource, &b.Name, b.Pattern, &b.Principal, &b.Host, b.Operation, b.Permission}
		if got := NewSnapshot(list).Find(exact); len(got) != 1 || got[0] != b {
			t.Fatalf("%v, want %v", got, b)
		}
	})
}
