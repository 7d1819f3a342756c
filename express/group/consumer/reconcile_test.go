package consumer

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"millrace/express/group/modern"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// parts are partitions of topic a.
func parts(indexes ...int32) modern.Partitions {
	if len(indexes) == 0 {
		return modern.Partitions{}
	}
	return modern.Partitions{idOf("a"): indexes}
}

// TestReconciliation is the picture of doc.go, edge by edge. Every member is in epoch 5 at first; the target is of epoch 6.
func TestReconciliation(t *testing.T) {
	type outcome struct {
		epoch    int32
		state    State
		has, rid []int32
	}
	type step struct {
		state    State
		has, rid []int32 // assigned, revoking
		target   []int32
		taken    []int32 // by others
		owned    []int32 // as the member says
		known    bool
		want     outcome
	}
	for name, s := range map[string]step{
		"nothing to do but move":     {Stable, []int32{0}, nil, []int32{0}, nil, nil, false, outcome{6, Stable, []int32{0}, nil}},
		"something free":             {Stable, []int32{0}, nil, []int32{0, 1}, nil, nil, false, outcome{6, Stable, []int32{0, 1}, nil}},
		"something taken":            {Stable, []int32{0}, nil, []int32{0, 1}, []int32{1}, nil, false, outcome{6, UnreleasedPartitions, []int32{0}, nil}},
		"some free, some taken":      {Stable, nil, nil, []int32{0, 1}, []int32{1}, nil, false, outcome{6, UnreleasedPartitions, []int32{0}, nil}},
		"must give up":               {Stable, []int32{0, 1}, nil, []int32{0}, nil, nil, false, outcome{5, UnrevokedPartitions, []int32{0}, []int32{1}}},
		"must give up, and has":      {Stable, []int32{0, 1}, nil, []int32{0}, nil, []int32{0}, true, outcome{6, Stable, []int32{0}, nil}},
		"must give up, has not":      {Stable, []int32{0, 1}, nil, []int32{0}, nil, []int32{1}, true, outcome{5, UnrevokedPartitions, []int32{0}, []int32{1}}},
		"nothing new until given up": {Stable, []int32{0}, nil, []int32{1}, nil, nil, false, outcome{5, UnrevokedPartitions, nil, []int32{0}}},

		"still gives up":                {UnrevokedPartitions, []int32{0}, []int32{1}, []int32{0}, nil, []int32{0, 1}, true, outcome{5, UnrevokedPartitions, []int32{0}, []int32{1}}},
		"does not say":                  {UnrevokedPartitions, []int32{0}, []int32{1}, []int32{0}, nil, nil, false, outcome{5, UnrevokedPartitions, []int32{0}, []int32{1}}},
		"has given up":                  {UnrevokedPartitions, []int32{0}, []int32{1}, []int32{0}, nil, []int32{0}, true, outcome{6, Stable, []int32{0}, nil}},
		"has given up, and waits":       {UnrevokedPartitions, []int32{0}, []int32{1}, []int32{0, 2}, []int32{2}, []int32{0}, true, outcome{6, UnreleasedPartitions, []int32{0}, nil}},
		"has given up, must more":       {UnrevokedPartitions, []int32{0}, []int32{1}, []int32{2}, nil, []int32{0}, true, outcome{5, UnrevokedPartitions, nil, []int32{0}}},
		"given up what it is to have":   {UnrevokedPartitions, []int32{0}, []int32{1}, []int32{0, 1}, nil, []int32{0}, true, outcome{6, Stable, []int32{0, 1}, nil}},
		"is told to keep what it rids":  {UnrevokedPartitions, []int32{0}, []int32{1}, []int32{0, 1}, nil, []int32{0, 1}, true, outcome{5, UnrevokedPartitions, []int32{0}, []int32{1}}},
		"still waits":                   {UnreleasedPartitions, []int32{0}, nil, []int32{0, 1}, []int32{1}, nil, false, outcome{6, UnreleasedPartitions, []int32{0}, nil}},
		"waits no more":                 {UnreleasedPartitions, []int32{0}, nil, []int32{0, 1}, nil, nil, false, outcome{6, Stable, []int32{0, 1}, nil}},
		"waits, and must give up":       {UnreleasedPartitions, []int32{0, 1}, nil, []int32{0, 2}, []int32{2}, nil, false, outcome{5, UnrevokedPartitions, []int32{0}, []int32{1}}},
		"unknown state, nothing left":   {Unknown, []int32{0}, nil, []int32{1}, nil, nil, true, outcome{6, Stable, []int32{1}, nil}},
		"unknown state, target of what": {Unknown, []int32{0}, nil, []int32{1}, []int32{1}, nil, true, outcome{6, UnreleasedPartitions, nil, nil}},
	} {
		m := &Member{ID: "m", Epoch: 5, PreviousEpoch: 4, State: s.state, Assigned: parts(s.has...).At(4), Revoking: parts(s.rid...).At(4)}
		r := reconciliation{
			member: m, epoch: 6, target: parts(s.target...), subscribed: []topic.ID{idOf("a")}, owned: parts(s.owned...), known: s.known,
			owner: func(p topic.Partition) string {
				switch {
				case slices.Contains(s.taken, p.Index):
					return "other"
				case slices.Contains(s.has, p.Index), slices.Contains(s.rid, p.Index):
					return "m"
				}
				return ""
			},
		}
		next, err := r.next()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := outcome{next.Epoch, next.State, indexesOf(next.Assigned), indexesOf(next.Revoking)}
		if fmt.Sprint(got) != fmt.Sprint(s.want) {
			t.Errorf("%s: %+v, want %+v", name, got, s.want)
		}
	}
}

// TestUnknownState wants a member of a state that we do not know to give up everything first.
func TestUnknownState(t *testing.T) {
	for name, r := range map[string]reconciliation{
		"it does not say what it has": {},
		"it has something":            {known: true, owned: parts(0)},
	} {
		r.member, r.epoch = &Member{ID: "m", State: Unknown}, 1
		if _, err := r.next(); !errors.Is(err, kerr.FencedMemberEpoch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReconciliationProperties holds any step of any member against N1, N2 and the rules of giving up.
func TestReconciliationProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, owners := drawReconciliation(t)
		m := r.member
		next, err := r.next()
		if m.State == Unknown && (!r.known || r.owned.Len() > 0) {
			if !errors.Is(err, kerr.FencedMemberEpoch) {
				t.Fatalf("unknown state, owned %v: %v", r.owned, err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		checkTaken(t, r, next, owners)
		checkGivenUp(t, r, next)
		if next.Epoch != m.Epoch && next.Epoch != r.epoch {
			t.Fatalf("from epoch %d to %d, and the target is of %d", m.Epoch, next.Epoch, r.epoch)
		}
		if next.Epoch != m.Epoch && len(next.Revoking) > 0 {
			t.Fatalf("in epoch %d with %v to give up", next.Epoch, next.Revoking)
		}
		if (next.State == UnrevokedPartitions) != (len(next.Revoking) > 0) {
			t.Fatalf("in state %d with %v to give up", next.State, next.Revoking)
		}
		if next.State == Stable && next.Epoch == r.epoch && m.Epoch != r.epoch && !r.resubscribe && !next.Assigned.Partitions().Equal(readable(r)) {
			t.Fatalf("has %v, and shall have %v", next.Assigned, r.target)
		}
	})
}

// drawReconciliation draws a step and who has each partition.
func drawReconciliation(t *rapid.T) (*reconciliation, map[topic.Partition]string) {
	m := &Member{ID: "m", Epoch: rapid.Int32Range(1, 3).Draw(t, "epoch"), Assigned: modern.Owned{}, Revoking: modern.Owned{}}
	r := &reconciliation{member: m, epoch: m.Epoch + rapid.Int32Range(0, 2).Draw(t, "behind"), target: modern.Partitions{}, owned: modern.Partitions{}}
	r.resubscribe, r.known = rapid.Bool().Draw(t, "resubscribe"), rapid.Bool().Draw(t, "known")
	m.State = rapid.SampledFrom([]State{Stable, UnrevokedPartitions, UnreleasedPartitions, Unknown}).Draw(t, "state")
	owners := map[topic.Partition]string{}
	for _, name := range []string{"a", "b"} {
		id := idOf(name)
		if rapid.IntRange(0, 3).Draw(t, "reads") > 0 {
			r.subscribed = append(r.subscribed, id)
		}
		for index := range int32(3) {
			p := topic.Partition{Topic: id, Index: index}
			switch rapid.IntRange(0, 3).Draw(t, "with") {
			case 0:
				owners[p] = "other"
			case 1:
				owners[p] = m.ID
				into := m.Assigned
				if m.State == UnrevokedPartitions && rapid.Bool().Draw(t, "revoking") {
					into = m.Revoking
				}
				put(into, p, 1)
			}
			if rapid.Bool().Draw(t, "target") {
				r.target[id] = append(r.target[id], index)
			}
			if owners[p] == m.ID && rapid.Bool().Draw(t, "owned") {
				r.owned[id] = append(r.owned[id], index)
			}
		}
	}
	if m.State == UnrevokedPartitions { // then there is something to give up
		last := topic.Partition{Topic: idOf("b"), Index: 3}
		put(m.Revoking, last, 1)
		owners[last] = m.ID
		if rapid.Bool().Draw(t, "still has it") {
			r.owned[last.Topic] = append(r.owned[last.Topic], last.Index)
		}
	}
	r.owner = func(p topic.Partition) string { return owners[p] }
	return r, owners
}

// readable is what the member shall have of what it reads.
func readable(r *reconciliation) modern.Partitions {
	out := modern.Partitions{}
	for id, indexes := range r.target {
		if slices.Contains(r.subscribed, id) {
			out[id] = indexes
		}
	}
	return out
}

// checkTaken is N1: what is with somebody else stays there, and what is new is of the target and of what the member reads.
func checkTaken(t *rapid.T, r *reconciliation, next *Member, owners map[topic.Partition]string) {
	for id, indexes := range next.Assigned {
		for index, at := range indexes {
			p := topic.Partition{Topic: id, Index: index}
			if owner := owners[p]; owner != "" && owner != r.member.ID {
				t.Fatalf("%v is with %s, and was given to %s", p, owner, r.member.ID)
			}
			if before, had := r.member.Assigned[id][index]; had && at == before {
				continue
			}
			if at != r.epoch || !r.target.Has(id, index) || !slices.Contains(r.subscribed, id) {
				t.Fatalf("%v is new since epoch %d, and the target of %d is %v", p, at, r.epoch, r.target)
			}
		}
	}
}

// checkGivenUp wants everything that the member may still use to stay with it.
func checkGivenUp(t *rapid.T, r *reconciliation, next *Member) {
	for _, had := range []modern.Owned{r.member.Assigned, r.member.Revoking} {
		for id, indexes := range had {
			for index := range indexes {
				uses := !r.known || r.owned.Has(id, index)
				if r.member.State == Unknown {
					uses = false // it was asked whether it has anything at all
				}
				if uses && !next.Assigned.Has(id, index) && !next.Revoking.Has(id, index) {
					t.Fatalf("%v-%d is still in use, and is free", id, index)
				}
			}
		}
	}
}
