package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// commitAndResume: a group reads some, commits, leaves; a second member reads the rest, and together each record once.
func commitAndResume(s *session) {
	topic, group := s.topic("main"), s.topic("group")
	s.create(topic, 2)
	about := s.writer()
	records := sample(about, sampleSize/2)
	if about.has("partition") {
		s.produce(topic, 0, records, 0)
		s.produce(topic, 1, records, 0)
	} else {
		s.write(request{Op: "produce", Topic: topic, Records: append(records, records...)}, 0)
	}
	const first = 25
	seen := make(map[string]bool)
	for _, count := range []int{first, sampleSize - first} {
		var got struct{ Records []record }
		s.do(request{Op: "group_read", Group: group, Topic: topic, Count: count}, &got)
		for _, one := range got.Records {
			where := fmt.Sprintf("%d at %d", one.Partition, one.Offset)
			if seen[where] {
				s.Errorf("the record of partition %s was read twice", where)
			}
			seen[where] = true
		}
		s.answer(fmt.Sprintf("committed after %d", count), s.committed(group, topic))
	}
	if len(seen) != sampleSize {
		s.Errorf("%d records were read, want %d", len(seen), sampleSize)
	}
}

// committed is the sum of the group's committed offsets: how they split over the partitions is chance.
func (s *session) committed(group, topic string) string {
	s.Helper()
	var got struct{ Offsets map[int32]int64 }
	s.do(request{Op: "committed", Group: group, Topic: topic}, &got)
	var sum int64
	for _, offset := range got.Offsets {
		sum += max(offset, 0)
	}
	return fmt.Sprintf("%d in all", sum)
}

// rebalance: three members share six partitions, each held exactly once; one leaves, and the two others hold all.
func rebalance(s *session) {
	const partitions = 6
	topic, group := s.topic("main"), s.topic("group")
	s.create(topic, partitions)
	open := func(member string) { s.do(request{Op: "member_open", Member: member, Group: group, Topic: topic}, nil) }
	shut := func(member string) { s.do(request{Op: "member_close", Member: member}, nil) }

	open("a")
	s.awaitShared(partitions, "a")
	s.state("one member", group, "Stable", 1)
	open("b")
	open("c")
	s.awaitShared(partitions, "a", "b", "c")
	s.state("three members", group, "Stable", 3)
	s.try("delete the group", request{Op: "delete_group", Group: group})
	shut("b")
	s.awaitShared(partitions, "a", "c")
	s.state("two members", group, "Stable", 2)
	shut("a")
	shut("c")
	s.state("no member", group, "Empty", 0)
	s.try("delete the empty group", request{Op: "delete_group", Group: group})
}

// consumerProtocol is rebalance with members of the consumer protocol, whose assignments the coordinator makes.
func consumerProtocol(s *session) {
	if !s.about.has("consumer_protocol") {
		s.answer("skipped", "the client does not speak the consumer protocol")
		return
	}
	const partitions = 6
	topic, group := s.topic("main"), s.topic("group")
	s.create(topic, partitions)
	open := func(member string) { s.member(member, group, topic, "consumer") }
	shut := func(member string) { s.do(request{Op: "member_close", Member: member}, nil) }
	open("a")
	s.awaitShared(partitions, "a")
	s.kind("one member", group, "consumer", "Stable")
	open("b")
	open("c")
	s.awaitShared(partitions, "a", "b", "c")
	s.kind("three members", group, "consumer", "Stable")
	s.try("delete the group", request{Op: "delete_group", Group: group})
	shut("b")
	s.awaitShared(partitions, "a", "c")
	shut("a")
	shut("c")
	s.kind("no member", group, "consumer", "Empty")
	s.try("delete the empty group", request{Op: "delete_group", Group: group})
}

// migration: a classic group takes in members of the consumer protocol one by one, and becomes classic again when the last
// of them has left; all the time every partition has one member.
func migration(s *session) {
	if !s.about.has("consumer_protocol") {
		s.answer("skipped", "the client does not speak the consumer protocol")
		return
	}
	const partitions = 4
	topic, group := s.topic("main"), s.topic("group")
	s.create(topic, partitions)
	shut := func(member string) { s.do(request{Op: "member_close", Member: member}, nil) }
	s.member("old", group, topic, "")
	s.awaitShared(partitions, "old")
	s.kind("a classic member", group, "classic", "Stable")
	s.member("new", group, topic, "consumer")
	s.awaitShared(partitions, "old", "new")
	s.kind("both", group, "consumer", "Stable")
	shut("old")
	s.awaitShared(partitions, "new")
	s.kind("a new member", group, "consumer", "Stable")
	s.member("back", group, topic, "")
	s.awaitShared(partitions, "new", "back")
	shut("new")
	s.awaitShared(partitions, "back")
	s.kind("a classic member again", group, "classic", "Stable")
	shut("back")
	s.kind("no member", group, "classic", "Empty")
}

// member opens a member that speaks a protocol; "" is the classic one.
func (s *session) member(member, group, topic, protocol string) {
	s.Helper()
	s.do(request{Op: "member_open", Member: member, Group: group, Topic: topic, Protocol: protocol}, nil)
}

// kind waits until a group is of a type and in a state, and records that.
func (s *session) kind(step, group, kind, state string) {
	s.Helper()
	s.await("group "+kind+" "+state, func(ctx context.Context) error {
		var got struct{ Type, State string }
		if err := s.setUp.call(ctx, request{Op: "group_kind", Group: group}, &got); err != nil {
			return err
		}
		if got.Type != kind || got.State != state {
			return fmt.Errorf("the group is %s %s", got.Type, got.State)
		}
		return nil
	})
	s.answer(step, kind+", "+strings.ToLower(state))
}

// awaitShared waits until the members hold all partitions, each exactly once, and everyone some.
func (s *session) awaitShared(partitions int, members ...string) {
	s.Helper()
	s.await(fmt.Sprintf("%s hold %d partitions", strings.Join(members, ", "), partitions), func(ctx context.Context) error {
		var got struct{ Assignments map[string][]int32 }
		if err := s.client.call(ctx, request{Op: "member_state"}, &got); err != nil {
			return err
		}
		var held []int32
		for _, member := range members {
			if len(got.Assignments[member]) == 0 {
				return fmt.Errorf("%s holds nothing of %v", member, got.Assignments)
			}
			held = append(held, got.Assignments[member]...)
		}
		slices.Sort(held)
		if len(got.Assignments) != len(members) || len(held) != partitions || len(slices.Compact(held)) != partitions {
			return fmt.Errorf("the members hold %v", got.Assignments)
		}
		return nil
	})
}

// state waits until a group is in a state and records what the client then sees.
func (s *session) state(step, group, state string, members int) {
	s.Helper()
	var got struct {
		State   string
		Members int
	}
	s.await("group state "+state, func(ctx context.Context) error {
		if err := s.with("describe_group").call(ctx, request{Op: "describe_group", Group: group}, &got); err != nil {
			return err
		}
		if !strings.EqualFold(got.State, state) || got.Members != members {
			return fmt.Errorf("the group is %s with %d members", got.State, got.Members)
		}
		return nil
	})
	s.answer(step, fmt.Sprintf("%s, members %d", strings.ToLower(got.State), got.Members))
}

// listing: what the admin client says of groups, there and not there.
func listing(s *session) {
	topic, group := s.topic("main"), s.topic("group")
	s.create(topic, 1)
	s.produce(topic, 0, sample(s.writer(), 5), 0)
	s.do(request{Op: "group_read", Group: group, Topic: topic, Count: 5}, nil)
	var got struct{ Names []string }
	s.do(request{Op: "list_groups"}, &got)
	if !slices.Contains(got.Names, group) {
		s.Errorf("%s is not listed in %v", group, got.Names)
	}
	s.state("the group", group, "Empty", 0)
	s.listed(topic, true)
	s.try("describe: unknown group", request{Op: "describe_group", Group: s.topic("nobody")})
	if s.try("delete", request{Op: "delete_group", Group: group}) {
		s.try("delete again", request{Op: "delete_group", Group: group})
	}
}
