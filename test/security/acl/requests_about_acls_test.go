package acl

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/acls"
	"millrace/secure/acl"
	"millrace/test/harness"
)

// odd are changes of a good binding, each of which may make it a bad one.
func odd() []func(*kmsg.CreateACLsRequestCreation) {
	var all []func(*kmsg.CreateACLsRequestCreation)
	for n := int8(-1); n <= 9; n++ {
		all = append(all,
			func(c *kmsg.CreateACLsRequestCreation) { c.ResourceType = kmsg.ACLResourceType(n) },
			func(c *kmsg.CreateACLsRequestCreation) { c.ResourcePatternType = kmsg.ACLResourcePatternType(n) },
			func(c *kmsg.CreateACLsRequestCreation) { c.PermissionType = kmsg.ACLPermissionType(n) })
	}
	for n := int8(-1); n <= 17; n++ {
		all = append(all, func(c *kmsg.CreateACLsRequestCreation) { c.Operation = kmsg.ACLOperation(n) })
	}
	for _, text := range []string{"", "*", "a b", "ünï", "a:b", ":", "User:", ":x", "user:x", "User:*", "Group:x", "nocolon", strings.Repeat("long", 100)} {
		all = append(all,
			func(c *kmsg.CreateACLsRequestCreation) { c.ResourceName = text },
			func(c *kmsg.CreateACLsRequestCreation) { c.Principal = text },
			func(c *kmsg.CreateACLsRequestCreation) { c.Host = text },
			func(c *kmsg.CreateACLsRequestCreation) { c.ResourceType, c.ResourceName = clusterType, text })
	}
	return append(all,
		func(c *kmsg.CreateACLsRequestCreation) { c.ResourceType, c.ResourceName = clusterType, acl.ClusterName },
		func(c *kmsg.CreateACLsRequestCreation) {
			c.ResourceType, c.ResourceName, c.ResourcePatternType = clusterType, acl.ClusterName, prefixed
		},
		func(c *kmsg.CreateACLsRequestCreation) {
			c.ResourceType, c.ResourceName = kmsg.ACLResourceTypeUser, "User:x"
		},
		func(c *kmsg.CreateACLsRequestCreation) {
			c.ResourceType, c.ResourceName = kmsg.ACLResourceTypeDelegationToken, "x"
		},
		func(c *kmsg.CreateACLsRequestCreation) { c.Host = "::1" },
		func(*kmsg.CreateACLsRequestCreation) {},
	)
}

// TestRequestsAboutACLs compares how both sides take requests about ACLs: what is created, listed and deleted, and what is refused.
func TestRequestsAboutACLs(t *testing.T) {
	harness.Long(t, "make suite SUITE=security/acl")
	kafka := startKafka(t, false)
	express, _ := startExpress(t, false, nil)
	sides := []*side{kafka, express}
	ask := func(name string, q kmsg.Request) {
		t.Helper()
		var said []string
		for _, s := range sides {
			resp, err := s.ask(admin, home, q)
			said = append(said, digest(resp, err))
		}
		if said[0] != said[1] {
			k, e := apart(said[0], said[1])
			t.Errorf("%s:\nkafka   %s\nexpress %s", name, k, e)
		}
	}
	good := kmsg.CreateACLsRequestCreation{ResourceType: topicType, ResourceName: "orders", ResourcePatternType: literal,
		Principal: "User:alice", Host: "*", Operation: kmsg.ACLOperationRead, PermissionType: kmsg.ACLPermissionTypeAllow}
	var list []acl.Binding
	for i, change := range odd() {
		c := good
		change(&c)
		for _, version := range []int16{1, 3} {
			q := kmsg.NewPtrCreateACLsRequest()
			q.Creations = append(q.Creations, c)
			ask(fmt.Sprintf("create %d v%d %+.300v", i, version, c), at(version, q))
		}
		two := kmsg.NewPtrCreateACLsRequest() // one that is good beside it
		other := good
		other.ResourceName = fmt.Sprint("beside-", i)
		two.Creations = append(two.Creations, other, c, c)
		ask(fmt.Sprintf("create %d beside a good one", i), at(3, two))
		for _, b := range acls.Bindings(two) {
			if !acls.Known(two) || acls.FiltersOnly(two) {
				continue // nothing of the request counts
			}
			if b.Validate() == nil {
				list = append(list, b)
			}
		}
	}
	want := digest(acls.Describe(acl.NewSnapshot(list), anyACL()), nil)
	for _, s := range sides {
		s.await("the list", func() bool { return digest(s.must(admin, home, anyACL()), nil) == want })
	}
	for i, f := range filters() {
		for _, version := range []int16{1, 3} {
			q := kmsg.NewPtrDescribeACLsRequest()
			q.ResourceType, q.ResourceName, q.ResourcePatternType = f.ResourceType, f.ResourceName, f.ResourcePatternType
			q.Principal, q.Host, q.Operation, q.PermissionType = f.Principal, f.Host, f.Operation, f.PermissionType
			ask(fmt.Sprintf("describe %d v%d", i, version), at(version, q))
		}
	}
	for i, f := range filters() {
		if f.ResourceName == nil && f.Principal == nil && f.Host == nil {
			f.Host = ptr("::1") // not all at once
		}
		q := kmsg.NewPtrDeleteACLsRequest()
		q.Filters = append(q.Filters, f, f)
		ask(fmt.Sprintf("delete %d", i), at(3, q))
		for _, s := range sides { // Apache Kafka's broker hears of it later
			s.await("the end of it", func() bool {
				d := kmsg.NewPtrDescribeACLsRequest()
				d.ResourceType, d.ResourceName, d.ResourcePatternType = f.ResourceType, f.ResourceName, f.ResourcePatternType
				d.Principal, d.Host, d.Operation, d.PermissionType = f.Principal, f.Host, f.Operation, f.PermissionType
				resp, err := s.ask(admin, home, at(3, d))
				return err != nil || len(resp.(*kmsg.DescribeACLsResponse).Resources) == 0
			})
		}
		ask(fmt.Sprintf("the list after delete %d", i), anyACL())
	}
}

// filters are what is looked for, good and bad.
func filters() []kmsg.DeleteACLsRequestFilter {
	any := kmsg.DeleteACLsRequestFilter{ResourceType: 1, ResourcePatternType: 1, Operation: 1, PermissionType: 1}
	var all []kmsg.DeleteACLsRequestFilter
	add := func(change func(*kmsg.DeleteACLsRequestFilter)) {
		f := any
		change(&f)
		all = append(all, f)
	}
	for n := int8(-1); n <= 9; n++ {
		add(func(f *kmsg.DeleteACLsRequestFilter) { f.ResourceType = kmsg.ACLResourceType(n) })
		add(func(f *kmsg.DeleteACLsRequestFilter) { f.PermissionType = kmsg.ACLPermissionType(n) })
		add(func(f *kmsg.DeleteACLsRequestFilter) { f.ResourcePatternType = kmsg.ACLResourcePatternType(n) })
		for _, name := range []string{"orders", "*", "kafka-cluster", "", "beside-1", "ord", "ünï"} {
			add(func(f *kmsg.DeleteACLsRequestFilter) {
				f.ResourcePatternType, f.ResourceName = kmsg.ACLResourcePatternType(n), ptr(name)
			})
		}
	}
	for n := int8(-1); n <= 17; n++ {
		add(func(f *kmsg.DeleteACLsRequestFilter) { f.Operation = kmsg.ACLOperation(n) })
	}
	for _, text := range []string{"", "*", "User:alice", "User:*", "User:", "nocolon", "::1", "a b"} {
		add(func(f *kmsg.DeleteACLsRequestFilter) { f.Principal = ptr(text) })
		add(func(f *kmsg.DeleteACLsRequestFilter) { f.Host = ptr(text) })
	}
	return all
}
