package acl

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/kv"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/secure/trail"
	"millrace/test/security/madeup"
)

// What nobody without rights may learn of. The absent ones do not exist, have the same length and stand at the same place of sorted lists.
const (
	hiddenTopic, absentTopic = "hidden-topic-4711", "hidden-topic-4712"
	hiddenGroup, absentGroup = "hidden-group-4711", "hidden-group-4712"
	hiddenTxn, absentTxn     = "hidden-trans-4711", "hidden-trans-4712"
	hiddenValue              = "hidden-value-4711"
	mallory                  = "mallory"
)

// variants is how many requests are made up for each version of each key.
const variants = 60

// events are what the trail was told.
type events struct {
	mu   sync.Mutex
	list []trail.Event
}

func (e *events) Record(x trail.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, x)
}

// TestWalk asks for everything that there is, at every version, as somebody without rights and as nobody: nothing changes, nothing that is
// hidden is told, and what exists looks like what does not.
func TestWalk(t *testing.T) {
	for user, principal := range map[string]string{mallory: "User:" + mallory, stranger: ""} {
		t.Run(user, func(t *testing.T) { walkAs(t, user, principal) })
	}
}

func walkAs(t *testing.T, user, principal string) {
	told := new(events)
	s, store := startExpress(t, false, told)
	ids := map[string][16]byte{}
	s.hide(ids)
	before := s.state(store)
	told.mu.Lock()
	told.list = nil
	told.mu.Unlock()
	asked := 0
	for _, k := range s.must(user, home, at(3, apiVersions())).(*kmsg.ApiVersionsResponse).ApiKeys {
		for version := max(k.MinVersion, kmsg.RequestForKey(k.ApiKey).GetVersion()); version <= k.MaxVersion; version++ {
			for seed := range uint64(variants) {
				asked++
				s.tempt(user, ids, k.ApiKey, version, seed)
			}
		}
	}
	after := s.state(store)
	for _, what := range slices.Sorted(maps.Keys(after)) {
		if before[what] != after[what] {
			t.Errorf("%s changed:\n%.300s\n%.300s", what, before[what], after[what])
		}
	}
	for what := range before {
		if _, ok := after[what]; !ok {
			t.Errorf("%s is gone", what)
		}
	}
	told.mu.Lock()
	defer told.mu.Unlock()
	refused := map[string]bool{}
	for _, e := range told.list {
		if e.Principal == principal && e.Kind == trail.Admin {
			t.Errorf("somebody without rights did something: %+v", e)
		}
		if e.Principal == principal && e.Kind == trail.Refusal {
			refused[e.Action] = true
		}
	}
	t.Logf("%d requests; refusals of %d kinds of requests are in the trail", asked, len(refused))
	const least = 45
	if len(refused) < least {
		t.Errorf("refusals of only %d kinds of requests were recorded, at least %d are meant to be: %v", len(refused), least, slices.Sorted(maps.Keys(refused)))
	}
}

func apiVersions() *kmsg.ApiVersionsRequest {
	q := kmsg.NewPtrApiVersionsRequest()
	q.ClientSoftwareName, q.ClientSoftwareVersion = "test", "1"
	return q
}

// tempt sends a request about what exists, and the same about what does not.
func (s *side) tempt(user string, ids map[string][16]byte, key, version int16, seed uint64) {
	s.t.Helper()
	what := fmt.Sprintf("%s v%d seed %d", kmsg.NameForKey(key), version, seed)
	q := madeup.Request(key, version, seed, madeup.Words{Topic: hiddenTopic, Group: hiddenGroup, Txn: hiddenTxn, ID: ids[hiddenTopic]})
	if p, ok := q.(*kmsg.ProduceRequest); ok && p.Acks == 0 {
		p.Acks = 1 // one that is not answered shows nothing
	}
	resp, err := s.ask(user, home, q)
	if err != nil {
		if !errors.Is(err, errClosed) {
			s.t.Errorf("%s: %v", what, err)
		}
		return
	}
	raw, sent := resp.AppendTo(nil), q.AppendTo(nil)
	for _, word := range []string{hiddenTopic, hiddenGroup, hiddenTxn, hiddenValue} {
		if bytes.Contains(raw, []byte(word)) && !bytes.Contains(sent, []byte(word)) {
			s.t.Errorf("%s tells %s", what, word)
		}
	}
	id := ids[hiddenTopic]
	if bytes.Contains(raw, id[:]) && !bytes.Contains(sent, id[:]) {
		s.t.Errorf("%s tells the id of a topic", what)
	}
	if bytes.Contains(sent, id[:]) {
		return // that an id belongs to a topic is no secret, in Apache Kafka neither
	}
	absent := madeup.Request(key, version, seed, madeup.Words{Topic: absentTopic, Group: absentGroup, Txn: absentTxn, ID: [16]byte{9, 9, 9}})
	if p, ok := absent.(*kmsg.ProduceRequest); ok && p.Acks == 0 {
		p.Acks = 1
	}
	other, err := s.ask(user, home, absent)
	if err != nil {
		s.t.Errorf("%s: what exists is answered, what does not is not: %v", what, err)
		return
	}
	existing := strings.ReplaceAll(digest(resp, nil), "4711", "4712")
	if got := digest(other, nil); got != existing {
		s.t.Errorf("%s: what exists does not look like what does not:\n%.600s\n%.600s", what, existing, got)
	}
}

// hide makes what the walk must not find.
func (s *side) hide(ids map[string][16]byte) {
	s.t.Helper()
	s.createTopic(ids, hiddenTopic)
	b := record.NewBuilder(record.Options{})
	if err := b.Add(1_700_000_000_000, []byte(hiddenValue), []byte(hiddenValue)); err != nil {
		s.t.Fatal(err)
	}
	records, err := b.Build(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	p := kmsg.NewPtrProduceRequest()
	p.Acks, p.TimeoutMillis = -1, 5000
	p.Topics = []kmsg.ProduceRequestTopic{{Topic: hiddenTopic, Partitions: []kmsg.ProduceRequestTopicPartition{{Records: records}}}}
	if code := s.must(admin, home, at(9, p)).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
		s.t.Fatal(kerr.Code(code).Name())
	}
	for kind, key := range []string{hiddenGroup, hiddenTxn, hiddenGroup + ":AAAAAAAAAAAAAAAAAAAAAQ:0"} {
		s.await("a coordinator", func() bool {
			q := kmsg.NewPtrFindCoordinatorRequest()
			q.CoordinatorType, q.CoordinatorKeys = int8(kind), []string{key}
			return s.must(admin, home, at(6, q)).(*kmsg.FindCoordinatorResponse).Coordinators[0].ErrorCode == 0
		})
	}
	s.await("a commit", func() bool {
		q := kmsg.NewPtrOffsetCommitRequest()
		q.Group, q.Generation = hiddenGroup, -1
		in := kmsg.NewOffsetCommitRequestTopicPartition()
		in.Metadata = ptr(hiddenValue)
		q.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: hiddenTopic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{in}}}
		return s.must(admin, home, at(8, q)).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode == 0
	})
	s.await("a transaction", func() bool {
		q := kmsg.NewPtrInitProducerIDRequest()
		q.TransactionalID, q.TransactionTimeoutMillis, q.ProducerID, q.ProducerEpoch = ptr(hiddenTxn), 900_000, -1, -1
		producer := s.must(admin, home, at(5, q)).(*kmsg.InitProducerIDResponse)
		a := kmsg.NewPtrAddPartitionsToTxnRequest()
		a.TransactionalID, a.ProducerID, a.ProducerEpoch = hiddenTxn, producer.ProducerID, producer.ProducerEpoch
		a.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: hiddenTopic, Partitions: []int32{0}}}
		return producer.ErrorCode == 0 && s.must(admin, home, at(3, a)).(*kmsg.AddPartitionsToTxnResponse).Topics[0].Partitions[0].ErrorCode == 0
	})
	s.setACLs(nil)
}

// state is all that there is: what is in etcd, and where every partition ends, those of groups and transactions too.
func (s *side) state(store kv.KV) map[string]string {
	s.t.Helper()
	all := map[string]string{}
	items, _, err := store.List(s.t.Context(), "")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, item := range items {
		if strings.HasSuffix(item.Key, "/producer-ids") {
			continue // the broker reserves ids ahead, when it has time
		}
		all["etcd "+item.Key] = string(item.Value)
	}
	q := kmsg.NewPtrListOffsetsRequest()
	q.ReplicaID = -1
	for _, t := range s.must(admin, home, at(12, kmsg.NewPtrMetadataRequest())).(*kmsg.MetadataResponse).Topics {
		in := kmsg.NewListOffsetsRequestTopic()
		in.Topic = *t.Topic
		for _, p := range t.Partitions {
			for _, when := range []int64{-1} {
				part := kmsg.NewListOffsetsRequestTopicPartition()
				part.Partition, part.Timestamp, part.CurrentLeaderEpoch = p.Partition, when, -1
				in.Partitions = append(in.Partitions, part)
			}
		}
		q.Topics = append(q.Topics, in)
		all["topic "+*t.Topic] = hex.EncodeToString(t.TopicID[:])
	}
	for _, when := range []int64{-1, -2} {
		for i := range q.Topics {
			for j := range q.Topics[i].Partitions {
				q.Topics[i].Partitions[j].Timestamp = when
			}
		}
		for _, t := range s.must(admin, home, at(7, q)).(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				all[fmt.Sprintf("offset %s-%d at %d", t.Topic, p.Partition, when)] = fmt.Sprint(p.Offset, " ", kerr.Code(p.ErrorCode).Name())
			}
		}
	}
	return all
}
