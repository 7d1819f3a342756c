package acl

import (
	"flag"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/acls"
	"millrace/secure/acl"
	"millrace/test/harness"
)

var only = flag.String("cases", "", "a regular expression of the cases to compare; then how many there are does not matter")

// fewest is what is compared at least, so that the comparison cannot come to nothing unseen.
const fewest = 8000

// TestAsApacheKafka compares what somebody may do on both sides, for each case and each probe.
func TestAsApacheKafka(t *testing.T) {
	harness.Long(t, "make suite SUITE=security/acl")
	pattern := regexp.MustCompile(*only)
	asked := 0
	for _, tc := range []struct {
		everyone bool
		cases    []grantCase
	}{{false, cases()}, {true, openCases()}} {
		t.Run(fmt.Sprintf("everyone=%v", tc.everyone), func(t *testing.T) {
			kafka := startKafka(t, tc.everyone)
			express, _ := startExpress(t, tc.everyone, nil)
			sides := []*side{kafka, express}
			ids := []map[string][16]byte{{}, {}}
			for i, s := range sides {
				s.world(ids[i])
			}
			for _, c := range tc.cases {
				if !pattern.MatchString(c.name) {
					continue
				}
				asked += compare(t, sides, ids, c)
			}
		})
	}
	t.Logf("%d answers compared", asked)
	if *only == "" && asked < fewest {
		t.Errorf("only %d answers were compared, at least %d are meant to be", asked, fewest)
	}
}

// compare asks all probes of one case.
func compare(t *testing.T, sides []*side, ids []map[string][16]byte, c grantCase) int {
	t.Helper()
	from := c.from
	if from == "" {
		from = home
	}
	for i, s := range sides {
		s.restore(ids[i])
		s.setACLs(c.list)
	}
	all := probes()
	for _, p := range all {
		var said []string
		for i, s := range sides {
			resp, err := s.ask(alice, from, p.make(ids[i]))
			said = append(said, digest(resp, err))
		}
		if said[0] != said[1] && !known(p.name, said[0], said[1]) {
			k, e := apart(said[0], said[1])
			t.Errorf("%s: %s:\nkafka   %s\nexpress %s", c.name, p.name, k, e)
		}
	}
	return len(all)
}

// world makes what probes are about.
func (s *side) world(ids map[string][16]byte) {
	s.t.Helper()
	for _, name := range []string{orders, secret, victim, victim + "2"} {
		s.createTopic(ids, name)
	}
	ids[absent] = [16]byte{1, 2, 3}
	for kind, key := range []string{group, txnID, group + ":AAAAAAAAAAAAAAAAAAAAAQ:0"} {
		s.await("a coordinator", func() bool {
			q := kmsg.NewPtrFindCoordinatorRequest()
			q.CoordinatorType, q.CoordinatorKeys = int8(kind), []string{key}
			return s.must(admin, home, at(6, q)).(*kmsg.FindCoordinatorResponse).Coordinators[0].ErrorCode == 0
		})
	}
	s.await("a commit", func() bool {
		q := commit(8).make(ids).(*kmsg.OffsetCommitRequest)
		q.Topics = q.Topics[:2]
		resp := s.must(admin, home, q).(*kmsg.OffsetCommitResponse)
		return resp.Topics[0].Partitions[0].ErrorCode == 0 && resp.Topics[1].Partitions[0].ErrorCode == 0
	})
	for _, id := range []string{txnID, openTxn} {
		var producer *kmsg.InitProducerIDResponse
		s.await("a producer id", func() bool {
			q := kmsg.NewPtrInitProducerIDRequest()
			q.TransactionalID, q.TransactionTimeoutMillis, q.ProducerID, q.ProducerEpoch = ptr(id), 900_000, -1, -1
			producer = s.must(admin, home, at(5, q)).(*kmsg.InitProducerIDResponse)
			return producer.ErrorCode == 0
		})
		if id != openTxn {
			continue
		}
		s.await("a transaction", func() bool {
			q := kmsg.NewPtrAddPartitionsToTxnRequest()
			q.TransactionalID, q.ProducerID, q.ProducerEpoch = openTxn, producer.ProducerID, producer.ProducerEpoch
			for _, name := range []string{orders, secret} {
				q.Topics = append(q.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: name, Partitions: []int32{1}})
			}
			resp := s.must(admin, home, at(3, q)).(*kmsg.AddPartitionsToTxnResponse)
			return resp.Topics[0].Partitions[0].ErrorCode == 0
		})
	}
}

func (s *side) createTopic(ids map[string][16]byte, name string) {
	s.t.Helper()
	q := kmsg.NewPtrCreateTopicsRequest()
	q.TimeoutMillis = 10_000
	in := kmsg.NewCreateTopicsRequestTopic()
	in.Topic, in.NumPartitions, in.ReplicationFactor = name, 2, 1
	q.Topics = append(q.Topics, in)
	s.await("topic "+name, func() bool { // one that is just being deleted may be there still
		out := s.must(admin, home, at(7, q)).(*kmsg.CreateTopicsResponse).Topics[0]
		if out.ErrorCode == 0 {
			ids[name] = out.TopicID
		}
		return out.ErrorCode == 0
	})
	s.await("leaders of "+name, func() bool {
		l := kmsg.NewPtrListOffsetsRequest()
		l.ReplicaID = -1
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = name
		for i := range int32(2) {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp, p.CurrentLeaderEpoch = i, -1, -1
			t.Partitions = append(t.Partitions, p)
		}
		l.Topics = append(l.Topics, t)
		for _, p := range s.must(admin, home, at(7, l)).(*kmsg.ListOffsetsResponse).Topics[0].Partitions {
			if p.ErrorCode != 0 {
				return false
			}
		}
		return true
	})
}

// restore makes again what a case was allowed to delete.
func (s *side) restore(ids map[string][16]byte) {
	s.t.Helper()
	q := kmsg.NewPtrMetadataRequest()
	for _, name := range []string{victim, victim + "2"} {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = ptr(name)
		q.Topics = append(q.Topics, t)
	}
	q.AllowAutoTopicCreation = false
	for _, t := range s.must(admin, home, at(12, q)).(*kmsg.MetadataResponse).Topics {
		if t.ErrorCode != 0 {
			s.createTopic(ids, *t.Topic)
		}
	}
}

// setACLs makes list the whole list, and waits until it is in force.
func (s *side) setACLs(list []acl.Binding) {
	s.t.Helper()
	d := kmsg.NewPtrDeleteACLsRequest()
	f := kmsg.NewDeleteACLsRequestFilter()
	f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType = 1, 1, 1, 1
	d.Filters = append(d.Filters, f)
	s.must(admin, home, at(3, d))
	if len(list) > 0 {
		c := kmsg.NewPtrCreateACLsRequest()
		for _, b := range list {
			c.Creations = append(c.Creations, kmsg.CreateACLsRequestCreation{ResourceType: b.Resource, ResourceName: b.Name,
				ResourcePatternType: b.Pattern, Principal: b.Principal, Host: b.Host, Operation: b.Operation, PermissionType: b.Permission})
		}
		for _, r := range s.must(admin, home, at(3, c)).(*kmsg.CreateACLsResponse).Results {
			if r.ErrorCode != 0 {
				s.t.Fatalf("%s: %v: %+v", s.name, list, r)
			}
		}
	}
	want := digest(acls.Describe(acl.NewSnapshot(list), anyACL()), nil)
	s.await("the list", func() bool { return digest(s.must(admin, home, anyACL()), nil) == want })
}

func anyACL() *kmsg.DescribeACLsRequest {
	q := kmsg.NewPtrDescribeACLsRequest()
	q.ResourceType, q.ResourcePatternType, q.Operation, q.PermissionType = 1, 1, 1, 1
	return at(3, q)
}

// apart cuts off what two texts begin and end with alike, but for a little.
func apart(a, b string) (string, string) {
	const around, most = 60, 1500
	first := 0
	for first < min(len(a), len(b)) && a[first] == b[first] {
		first++
	}
	last := 0
	for last < min(len(a), len(b))-first && a[len(a)-1-last] == b[len(b)-1-last] {
		last++
	}
	cut := func(s string) string {
		s = s[max(0, first-around):min(len(s), len(s)-last+around)]
		return s[:min(len(s), most)]
	}
	return cut(a), cut(b)
}

// known tells whether answers differ by a row of docs/compatibility.md, which is about something else than rights.
func known(probe, kafka, express string) bool {
	refused := func(s string) bool { return strings.Contains(s, "ErrorCode=31") }
	return probe == "AlterConfigs BROKER " && !refused(kafka) && !refused(express) // other keys can be changed
}
