package conformance

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// shareGroup: a member accepts, releases and rejects records one by one; what it released comes again and counts its deliveries,
// and so does what a member held that left. What was accepted or rejected never comes again.
func shareGroup(s *session) {
	topic, group := s.topic("main"), s.topic("group")
	s.create(topic, 1)
	fromStart := request{Op: "group_configs", Group: group, Configs: map[string]string{"share.auto.offset.reset": "earliest"}}
	if err := s.setUp.call(s.Context(), fromStart, nil); err != nil {
		s.Fatal(err)
	}
	records := sample(s.writer(), 6)
	s.produce(topic, 0, records, 0)

	s.do(request{Op: "share_open", Member: "a", Group: group, Topic: topic}, nil)
	s.deliveries("accept, release and reject", request{Member: "a", Count: 8, Release: []int64{2, 3}, Reject: []int64{4}})
	s.awaitDone(group, topic)
	s.kind("a member", group, "share", "Stable")
	s.try("delete the group", request{Op: "delete_group", Group: group})

	s.produce(topic, 0, records[:1], 6) // one record, for it is one poll that holds
	s.deliveries("hold", request{Member: "a", Count: 1, Hold: true})
	s.do(request{Op: "share_close", Member: "a"}, nil)
	s.do(request{Op: "share_open", Member: "b", Group: group, Topic: topic}, nil)
	s.deliveries("what was held", request{Member: "b", Count: 1})
	s.awaitDone(group, topic)
	s.do(request{Op: "share_close", Member: "b"}, nil)
	s.kind("no member", group, "share", "Empty")

	s.produce(topic, 0, records[:2], 7)
	s.do(request{Op: "share_open", Member: "c", Group: group, Topic: topic}, nil)
	s.deliveries("a member that comes back", request{Member: "c", Count: 2})
	s.awaitDone(group, topic)
	s.do(request{Op: "share_close", Member: "c"}, nil)
	s.kind("no member again", group, "share", "Empty")
	s.try("delete the empty group", request{Op: "delete_group", Group: group})
}

// deliveries has a member read, and records what it got: offsets, each with the number of its deliveries.
func (s *session) deliveries(step string, r request) {
	s.Helper()
	type delivery struct{ Offset, Count int64 }
	var got struct{ Deliveries []delivery }
	r.Op = "share_read"
	s.do(r, &got)
	slices.SortFunc(got.Deliveries, func(a, b delivery) int { return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Count, b.Count)) })
	var out []string
	for _, d := range got.Deliveries {
		out = append(out, fmt.Sprintf("%dx%d", d.Offset, d.Count))
	}
	s.answer(step, strings.Join(out, " "))
}

// awaitDone waits until a share group has nothing left to do of a partition: what was done is stored.
func (s *session) awaitDone(group, topic string) {
	s.Helper()
	s.await("the share group has done everything", func(ctx context.Context) error {
		var got struct{ Lag int64 }
		if err := s.setUp.call(ctx, request{Op: "share_lag", Group: group, Topic: topic}, &got); err != nil {
			return err
		}
		if got.Lag != 0 {
			return fmt.Errorf("%d records are left", got.Lag)
		}
		return nil
	})
}
