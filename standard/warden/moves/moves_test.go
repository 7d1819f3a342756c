package moves

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawBoard is a cluster as users make them: any number of racks, some brokers empty, down or cordoned, partitions placed anyhow.
func drawBoard(t *rapid.T, perfect bool) Board {
	racks := rapid.IntRange(1, 4).Draw(t, "racks")
	var b Board
	var ids []int32
	for id := int32(1); id <= int32(rapid.IntRange(1, 8).Draw(t, "brokers")); id++ {
		broker := Broker{ID: id, Rack: fmt.Sprint(rapid.IntRange(1, racks).Draw(t, "rack")), Alive: true, Fresh: true, Room: -1}
		if !perfect {
			broker.Alive = rapid.IntRange(0, 9).Draw(t, "alive") > 0
			broker.Fresh = rapid.IntRange(0, 9).Draw(t, "fresh") > 0
			if rapid.IntRange(0, 3).Draw(t, "watched") == 0 {
				broker.Room = rapid.Int64Range(0, 30).Draw(t, "room")
			}
		}
		b.Brokers, ids = append(b.Brokers, broker), append(ids, id)
	}
	used := ids[:rapid.IntRange(1, len(ids)).Draw(t, "used")] // the others were added
	for n := range rapid.IntRange(0, 20).Draw(t, "partitions") {
		order := rapid.Permutation(used).Draw(t, "order")
		p := Partition{Topic: rapid.SampledFrom([]string{"t", "u"}).Draw(t, "topic"), Number: int32(n)}
		p.Replicas = order[:rapid.IntRange(1, min(4, len(order))).Draw(t, "rf")]
		if !perfect {
			p.Size = rapid.Int64Range(0, 9).Draw(t, "size")
		}
		b.Partitions = append(b.Partitions, p)
	}
	return b
}

// after is a board with the first n steps of its plan done.
func after(p Plan, n int) Board {
	b := Board{Brokers: slices.Clone(p.board.Brokers), Partitions: slices.Clone(p.board.Partitions)}
	for _, s := range p.Steps[:n] {
		part := &b.Partitions[s.Partition]
		part.Replicas = s.Replicas
		for i := range b.Brokers {
			if b.Brokers[i].ID == s.To && b.Brokers[i].Room >= 0 {
				b.Brokers[i].Room -= part.Size
			}
		}
	}
	return b
}

func (b Board) broker(id int32) Broker {
	return b.Brokers[slices.IndexFunc(b.Brokers, func(x Broker) bool { return x.ID == id })]
}

func (b Board) counts() (replicas, leaders map[int32]int) {
	replicas, leaders = map[int32]int{}, map[int32]int{}
	for _, p := range b.Partitions {
		leaders[p.Replicas[0]]++
		for _, id := range p.Replicas {
			replicas[id]++
		}
	}
	return replicas, leaders
}

func (b Board) inRack(p Partition, rack string) (n int) {
	for _, id := range p.Replicas {
		if b.broker(id).Rack == rack {
			n++
		}
	}
	return n
}

// sound holds of every plan: M1, M7, and that nothing comes to who takes nothing.
func sound(t *rapid.T, b Board, p Plan) {
	t.Helper()
	before, end := after(p, 0), after(p, len(p.Steps))
	for i, part := range end.Partitions {
		if len(part.Replicas) != len(before.Partitions[i].Replicas) {
			t.Fatalf("replication factor of %+v was %+v", part, before.Partitions[i])
		}
		if len(slices.Compact(slices.Sorted(slices.Values(part.Replicas)))) != len(part.Replicas) {
			t.Fatalf("two replicas on one broker: %+v", part)
		}
		for _, id := range part.Replicas {
			if x := end.broker(id); !slices.Contains(before.Partitions[i].Replicas, id) && (!x.Alive || !x.Fresh) {
				t.Fatalf("%+v comes to %+v", part, x)
			}
		}
	}
	for _, x := range end.Brokers {
		if was := b.broker(x.ID).Room; was >= 0 && x.Room < 0 {
			t.Fatalf("%+v had room for %d", x, was)
		}
	}
}

func TestDrain(t *testing.T) {
	refused, done := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		b := drawBoard(t, rapid.Bool().Draw(t, "perfect"))
		var drained []int32
		for _, x := range b.Brokers {
			if rapid.IntRange(0, 2).Draw(t, "drained") == 0 {
				drained = append(drained, x.ID)
			}
		}
		plan, err := Drain(b, drained)
		if err != nil {
			refused++
			reasonable(t, b, drained, err)
			return
		}
		done++
		sound(t, b, plan)
		before, end := after(plan, 0), after(plan, len(plan.Steps))
		moved := 0
		for i, p := range end.Partitions {
			was := before.Partitions[i].Replicas
			for _, id := range p.Replicas {
				if slices.Contains(drained, id) {
					t.Fatalf("%+v is still on %d", p, id)
				}
				if !slices.Contains(was, id) {
					wide(t, end, p, id, drained)
				}
			}
			for _, id := range was {
				if slices.Contains(drained, id) {
					moved++
				} else if !slices.Contains(p.Replicas, id) {
					t.Fatalf("%+v left %d, which stays", p, id)
				}
			}
		}
		if moved != len(plan.Steps) {
			t.Fatalf("%d steps for %d replicas", len(plan.Steps), moved)
		}
		n := rapid.IntRange(0, len(plan.Steps)).Draw(t, "crash after")
		if again, err := Drain(after(plan, n), drained); err != nil || !reflect.DeepEqual(again.Steps, plan.Steps[n:]) && len(plan.Steps) > n {
			t.Fatalf("after %d of %+v: %+v, %v", n, plan.Steps, again.Steps, err)
		}
	})
	if refused == 0 || done == 0 {
		t.Errorf("%d refused, %d done", refused, done)
	}
}

// wide: no other rack with a broker free for the partition had two fewer replicas of it than that of the broker that it came to (M3).
func wide(t *rapid.T, end Board, p Partition, id int32, drained []int32) {
	t.Helper()
	for _, x := range end.Brokers {
		free := x.Alive && x.Fresh && !slices.Contains(p.Replicas, x.ID) && !slices.Contains(drained, x.ID) && (x.Room < 0 || x.Room >= p.Size)
		if free && end.inRack(p, x.Rack)+2 <= end.inRack(p, end.broker(id).Rack) {
			t.Fatalf("%+v came to %d, and rack %s of %d has room", p, id, x.Rack, x.ID)
		}
	}
}

// reasonable: some partition really has no place.
func reasonable(t *rapid.T, b Board, drained []int32, err error) {
	t.Helper()
	if !errors.Is(err, ErrNever) && !errors.Is(err, ErrNow) {
		t.Fatal(err)
	}
	places, bounded, down := 0, false, false
	for _, x := range b.Brokers {
		if slices.Contains(drained, x.ID) || !x.Fresh {
			continue
		}
		places++
		bounded = bounded || x.Room >= 0
		down = down || !x.Alive
	}
	most := 0
	for _, p := range b.Partitions {
		here := len(p.Replicas) // brokers that it needs: those that it may keep though they are cordoned do not count
		for _, id := range p.Replicas {
			if !slices.Contains(drained, id) && !b.broker(id).Fresh {
				here--
			}
		}
		most = max(most, here)
	}
	if most <= places && !bounded && !down {
		t.Fatalf("%d places for at most %d replicas: %v", places, most, err)
	}
	if errors.Is(err, ErrNow) && !down {
		t.Fatalf("all run: %v", err)
	}
}

func TestSpread(t *testing.T) {
	worked := 0
	rapid.Check(t, func(t *rapid.T) {
		perfect := rapid.Bool().Draw(t, "perfect")
		b := drawBoard(t, perfect)
		plan := Spread(b)
		sound(t, b, plan)
		if len(plan.Steps) > 0 {
			worked++
		}
		end := after(plan, len(plan.Steps))
		if more := Spread(end); len(more.Steps) > 0 {
			t.Fatalf("after %+v more to do: %+v", plan.Steps, more.Steps)
		}
		for i, p := range end.Partitions {
			for _, id := range p.Replicas {
				if end.broker(id).Alive && end.broker(id).Fresh {
					wide(t, end, p, id, nil)
				}
			}
			narrower(t, after(plan, 0), p, after(plan, 0).Partitions[i])
		}
		even(t, end)
		n := rapid.IntRange(0, len(plan.Steps)).Draw(t, "crash after")
		again := Spread(after(plan, n))
		rest := plan.Steps[n:]
		moves := func(steps []Step) []Step {
			return slices.DeleteFunc(slices.Clone(steps), func(s Step) bool { return s.To == 0 })
		}
		if len(again.Steps) > len(rest) || !slices.EqualFunc(moves(again.Steps), moves(rest), func(a, b Step) bool { return reflect.DeepEqual(a, b) }) {
			t.Fatalf("after %d of %+v: %+v", n, plan.Steps, again.Steps)
		}
	})
	if worked == 0 {
		t.Error("nothing was ever to be done")
	}
}

// narrower: a partition is over fewer racks than it was.
func narrower(t *rapid.T, b Board, now, was Partition) {
	t.Helper()
	over := func(p Partition) int {
		racks := map[string]bool{}
		for _, id := range p.Replicas {
			racks[b.broker(id).Rack] = true
		}
		return len(racks)
	}
	if over(now) < over(was) {
		t.Fatalf("%+v was %+v", now, was)
	}
}

// even: no single move would make replicas more even without narrowing racks or overfilling a broker (M4); and where there are no racks
// and no bounds, brokers differ by one at most.
func even(t *rapid.T, end Board) {
	t.Helper()
	replicas, _ := end.counts()
	plain, least, most := true, 1<<30, 0
	for _, x := range end.Brokers {
		plain = plain && x.Alive && x.Fresh && x.Room < 0 && x.Rack == end.Brokers[0].Rack
		least, most = min(least, replicas[x.ID]), max(most, replicas[x.ID])
		for _, y := range end.Brokers {
			if !x.Alive || !x.Fresh || !y.Alive || !y.Fresh || replicas[x.ID]-replicas[y.ID] < 2 {
				continue
			}
			for _, p := range end.Partitions {
				if !slices.Contains(p.Replicas, x.ID) || slices.Contains(p.Replicas, y.ID) || y.Room >= 0 && y.Room < p.Size {
					continue
				}
				if x.Rack == y.Rack || end.inRack(p, y.Rack)+1 <= end.inRack(p, x.Rack) {
					t.Fatalf("%+v could go from %d (%d) to %d (%d)", p, x.ID, replicas[x.ID], y.ID, replicas[y.ID])
				}
			}
		}
	}
	if plain && most-least > 1 {
		t.Fatalf("%v", replicas)
	}
}

// Preferred leaders are as even as any choice of them, tried one by one (M4).
func TestLeadersAreEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBoard(t, true)
		b.Partitions = b.Partitions[:min(len(b.Partitions), 7)]
		end := after(Spread(b), len(Spread(b).Steps))
		squares := func(leaders map[int32]int) (sum int) {
			for _, n := range leaders {
				sum += n * n
			}
			return sum
		}
		_, leaders := end.counts()
		best := 1 << 30
		var try func(i int, chosen map[int32]int)
		try = func(i int, chosen map[int32]int) {
			if i == len(end.Partitions) {
				best = min(best, squares(chosen))
				return
			}
			for _, id := range end.Partitions[i].Replicas {
				chosen[id]++
				try(i+1, chosen)
				chosen[id]--
			}
		}
		if try(0, map[int32]int{}); squares(leaders) > best {
			t.Fatalf("%v of %+v: %d, could be %d", leaders, end.Partitions, squares(leaders), best)
		}
	})
}

// Moved replicas are bounded: a broker that is added to even ones takes its share, and nothing else moves.
func TestSpreadMovesNoMoreThanTheShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b Board
		brokers, perBroker := rapid.IntRange(2, 6).Draw(t, "brokers"), rapid.IntRange(1, 10).Draw(t, "each")
		for id := 1; id <= brokers+1; id++ {
			b.Brokers = append(b.Brokers, Broker{ID: int32(id), Alive: true, Fresh: true, Room: -1})
		}
		for n := range brokers * perBroker / 2 * 2 {
			p := Partition{Topic: "t", Number: int32(n), Replicas: []int32{int32(n%brokers) + 1, int32((n+1)%brokers) + 1}}
			b.Partitions = append(b.Partitions, p)
		}
		moved := 0
		for _, s := range Spread(b).Steps {
			if s.To == 0 {
				continue
			}
			if moved++; s.To != int32(brokers+1) {
				t.Fatalf("%+v", s)
			}
		}
		if share := 2 * len(b.Partitions) / (brokers + 1); moved > share {
			t.Fatalf("%d moved, the share is %d", moved, share)
		}
	})
}

// drive makes batches until nothing is left, finishing moves in any order, and returns how many replicas were copied.
func drive(t *rapid.T, b Board, limits Limits, plan func(Board) (Plan, error)) (end Board, copied int) {
	t.Helper()
	want := map[string][]int32{} // of those under way
	for round := 0; ; round++ {
		if round > 10000 {
			t.Fatal("it does not end")
		}
		p, err := plan(b)
		if err != nil {
			t.Fatal(err)
		}
		b = after(p, 0)
		if p.Left() == 0 {
			return b, copied
		}
		for _, m := range p.Batch(limits, false) {
			i := slices.IndexFunc(b.Partitions, func(x Partition) bool { return x.Topic == m.Topic && x.Number == m.Number })
			b.Partitions[i].Replicas, b.Partitions[i].Moving, b.Partitions[i].Arriving = m.Replicas, true, m.Arrive
			copied += len(m.Arrive)
			want[m.Topic+fmt.Sprint(m.Number)] = m.Replicas
		}
		arriving, busy := map[int32]int{}, 0
		var under []int
		for i, p := range b.Partitions {
			if p.Moving {
				busy++
				under = append(under, i)
			}
			for _, id := range p.Arriving {
				arriving[id]++
			}
		}
		for id, n := range arriving {
			if n > limits.PerBroker {
				t.Fatalf("%d replicas under way to %d", n, id)
			}
		}
		if busy > limits.Partitions || busy == 0 {
			t.Fatalf("%d partitions under way, %d left", busy, p.Left())
		}
		for n := range rapid.IntRange(1, len(under)).Draw(t, "finish") {
			b.Partitions[under[n]].Moving, b.Partitions[under[n]].Arriving = false, nil
		}
	}
}

// M6, and that batches with crashes between them come to the same end as the plan (M5).
func TestBatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBoard(t, true)
		limits := Limits{Partitions: rapid.IntRange(1, 4).Draw(t, "at once"), PerBroker: rapid.IntRange(1, 2).Draw(t, "per broker")}
		plan := func(b Board) (Plan, error) { return Spread(b), nil }
		if rapid.Bool().Draw(t, "drain") {
			drained := []int32{rapid.Int32Range(1, 8).Draw(t, "drained")}
			if _, err := Drain(b, drained); err != nil {
				return
			}
			plan = func(b Board) (Plan, error) { return Drain(b, drained) }
		}
		whole, _ := plan(b)
		moved := 0
		for _, s := range whole.Steps {
			if s.To != 0 {
				moved++
			}
		}
		end, copied := drive(t, b, limits, plan)
		if copied > moved {
			t.Fatalf("%d copied, the plan moves %d", copied, moved)
		}
		wantReplicas, wantLeaders := after(whole, len(whole.Steps)).counts()
		replicas, leaders := end.counts()
		for id := range wantReplicas {
			if replicas[id] != wantReplicas[id] {
				t.Fatalf("%v, planned %v", replicas, wantReplicas)
			}
		}
		squares := func(counts map[int32]int) (sum int) {
			for _, n := range counts {
				sum += n * n
			}
			return sum
		}
		if squares(leaders) != squares(wantLeaders) {
			t.Fatalf("leaders %v, planned %v", leaders, wantLeaders)
		}
	})
}

func TestDrainSaysWhy(t *testing.T) {
	b := Board{Partitions: []Partition{{Topic: "t", Replicas: []int32{1, 2, 3}, Size: 10}}}
	for id := int32(1); id <= 3; id++ {
		b.Brokers = append(b.Brokers, Broker{ID: id, Alive: true, Fresh: true, Room: -1})
	}
	if _, err := Drain(b, []int32{3}); !errors.Is(err, ErrNever) {
		t.Error(err)
	}
	for _, c := range []struct {
		Broker
		want error
	}{
		{Broker{ID: 4, Alive: true, Fresh: true, Room: 10}, nil},
		{Broker{ID: 4, Alive: true, Fresh: true, Room: 9}, ErrNever},
		{Broker{ID: 4, Alive: true, Room: -1}, ErrNever},
		{Broker{ID: 4, Fresh: true, Room: -1}, ErrNow},
	} {
		more := Board{Partitions: b.Partitions, Brokers: append(slices.Clone(b.Brokers), c.Broker)}
		if _, err := Drain(more, []int32{3}); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c.Broker, err)
		}
	}
}

func BenchmarkSpread(b *testing.B) {
	var board Board
	for id := int32(1); id <= 30; id++ {
		board.Brokers = append(board.Brokers, Broker{ID: id, Rack: fmt.Sprint(id % 3), Alive: true, Fresh: true, Room: -1})
	}
	for n := int32(0); n < 9000; n++ {
		replicas := []int32{n%24 + 1, (n+1)%24 + 1, (n+2)%24 + 1}
		board.Partitions = append(board.Partitions, Partition{Topic: fmt.Sprint("t", n%100), Number: n, Replicas: replicas})
	}
	b.ReportAllocs()
	for b.Loop() {
		Spread(board)
	}
}
