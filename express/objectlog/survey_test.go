package objectlog

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/kafka/topic"
)

// left is a log of which only the objects are left.
type left struct {
	*env
	id ID
}

func (l left) put(seq uint64, parts [][]byte) {
	if err := l.memory.Put(context.Background(), l.id.key(seq), parts, object.PutOptions{}); err != nil {
		panic(err)
	}
}

// group puts a group of one batch of one record.
func (l left) group(seq uint64, p int, base int64, epoch int32) {
	g := groupOf(seq, Run{Partition: partition(p), Epoch: epoch, Base: base, Last: base, Data: batch(base, epoch, 100)})
	size := int64(0)
	for _, part := range g {
		size += int64(len(part))
	}
	l.put(seq, append([][]byte{encodeHeader(l.id, seq, size)}, g...))
}

func (l left) seal(seq uint64) { l.put(seq, [][]byte{encodeSeal(l.id, seq, ID{Broker: 9})}) }

// revived surveys, makes the records anew, and gives what was found and the offsets that a take-over of the log then reads of a partition.
func (l left) revived(t rapidOrT, p int, end int64) (Surveyed, []int64) {
	ends := func(id topic.Partition) (int64, bool) { return end, id == partition(p) }
	all, err := Survey(context.Background(), l.objects, ends)
	if err != nil {
		t.Fatalf("survey: %v", err)
	}
	at := slices.IndexFunc(all, func(s Surveyed) bool { return s.ID == l.id })
	if at < 0 {
		t.Fatalf("log %s is not found in %+v", l.id, all)
	}
	key, value, err := all[at].Revive(time.Now())
	if err != nil {
		t.Fatalf("revive: %v", err)
	}
	if _, err := l.kv.Txn(context.Background(), nil, []kv.Op{kv.Put("logs/"+key, value)}); err != nil {
		t.Fatalf("put: %v", err)
	}
	sealed, err := l.store.Seal(context.Background(), l.id, ID{Broker: 5, Incarnation: 5})
	if err != nil {
		t.Fatalf("seal: %v", err)
	}
	var offsets []int64
	err = l.store.Replay(context.Background(), sealed, func(id topic.Partition) (int64, bool) { return end, id == partition(p) }, func(run Run) error {
		offsets = append(offsets, run.Base)
		return nil
	})
	if err != nil {
		t.Fatalf("replay: %v", err)
	}
	return all[at], offsets
}

type rapidOrT interface {
	Fatalf(format string, args ...any)
}

// What survives of a log is found whatever its writer and its trims were at when everything ended.
func TestSurvey(t *testing.T) {
	for name, c := range map[string]struct {
		make func(l left) // partition 0 is wanted, from offset 10 on; group n holds offset n of it
		want []int64
		hole bool
	}{
		"a log that lives on":                  {make: func(l left) { l.groups(8, 12) }, want: []int64{10, 11, 12}},
		"a torn end":                           {make: func(l left) { l.groups(8, 12); l.groups(14, 15) }, want: []int64{10, 11, 12}},
		"torn before the first that is needed": {make: func(l left) { l.groups(9, 10); l.groups(12, 13) }, want: []int64{10}},
		"a trim that had not ended":            {make: func(l left) { l.groups(3, 4); l.groups(6, 6); l.groups(9, 12) }, want: []int64{10, 11, 12}},
		"sealed":                               {make: func(l left) { l.groups(8, 12); l.seal(13) }, want: []int64{10, 11, 12}},
		"sealed, and written behind it":        {make: func(l left) { l.groups(8, 11); l.seal(12); l.groups(13, 13) }, want: []int64{10, 11}},
		"sealed ahead of a gap":                {make: func(l left) { l.groups(8, 11); l.seal(13); l.seal(14) }, want: []int64{10, 11}},
		"sealed where nothing is needed, and written behind it": {make: func(l left) { l.groups(3, 9); l.seal(10); l.groups(11, 11) }},
		"swept":                        {make: func(l left) { l.seal(12) }},
		"nothing that is needed":       {make: func(l left) { l.groups(3, 9) }},
		"segments and log do not meet": {make: func(l left) { l.groups(12, 13) }, want: []int64{12, 13}, hole: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := left{newEnv(t), testID}
			c.make(l)
			must := l.memory.Put(t.Context(), Root+"00/foreign", [][]byte{{1}}, object.PutOptions{})
			if must != nil {
				t.Fatal(must)
			}
			found, got := l.revived(t, 0, 10)
			if !slices.Equal(got, c.want) {
				t.Errorf("a heir reads %v, want %v", got, c.want)
			}
			h := found.Holdings[partition(0)]
			if h.Needed != (len(c.want) > 0) || h.Needed && (h.End != c.want[len(c.want)-1]+1 || h.Whole == c.hole || h.Epoch != 3) {
				t.Errorf("holding %+v", h)
			}
		})
	}
}

func (l left) groups(from, to uint64) {
	for seq := from; seq <= to; seq++ {
		l.group(seq, 0, int64(seq), 3)
	}
}

// Damage is told, and so is what came before.
func TestSurveyOfADamagedLog(t *testing.T) {
	l := left{newEnv(t), testID}
	l.groups(8, 12)
	l.put(12, [][]byte{make([]byte, 200)})
	all, err := Survey(t.Context(), l.objects, func(topic.Partition) (int64, bool) { return 10, true })
	if err != nil || len(all) != 1 || all[0].Damage == nil || all[0].Holdings[partition(0)].End != 12 {
		t.Errorf("%+v, %v", all, err)
	}
}

// L11: of random logs everything is read that was acknowledged and is needed, in order, and nothing twice.
func TestSurveyFindsWhatIsNeeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := left{&env{kv: kv.NewMemory(), memory: object.NewMemory(clock.System{})}, testID}
		l.objects = l.memory
		l.setKV(l.kv)
		defer func() { _ = l.kv.Close() }()
		trimmed := rapid.Uint64Range(0, 8).Draw(t, "objects below first")
		acked := rapid.Uint64Range(1, 8).Draw(t, "acknowledged")
		first, end := 10+trimmed, 10+trimmed+acked
		next := map[int]int64{}
		var want []int64
		have := int64(0) // where the segments of partition 0 end
		for seq := uint64(10); seq < end; seq++ {
			p := rapid.IntRange(0, 1).Draw(t, "partition")
			if seq == end-1 {
				p = 0 // so that something of it is needed
			}
			base := next[p]
			next[p]++
			if seq < first {
				if p == 0 {
					have = next[0]
				}
				if rapid.Bool().Draw(t, "left by the trim") {
					l.group(seq, p, base, 1)
				}
				continue
			}
			l.group(seq, p, base, 1)
			if p == 0 {
				want = append(want, base)
			}
		}
		flying := rapid.SliceOfDistinct(rapid.Uint64Range(end+1, end+20), func(n uint64) uint64 { return n }).Draw(t, "in flight")
		slices.Sort(flying)
		for _, seq := range flying {
			if rapid.Bool().Draw(t, "seal") {
				l.seal(seq)
			} else {
				l.group(seq, 0, next[0]+int64(seq-end), 1)
			}
		}
		if len(flying) == 0 && rapid.Bool().Draw(t, "sealed") {
			l.seal(end)
		}
		found, got := l.revived(t, 0, have)
		if !slices.Equal(got, want) {
			t.Fatalf("a heir reads %v, want %v (first %d, end %d, found %+v)", got, want, first, end, found)
		}
		if h := found.Holdings[partition(0)]; !h.Needed || !h.Whole || h.End != next[0] {
			t.Fatalf("holding %+v, want one to %d", h, next[0])
		}
	})
}

// Several logs are told apart, over many pages of a listing.
func TestSurveyOfManyLogs(t *testing.T) {
	e := newEnv(t)
	want := map[ID]int64{}
	for b := range int32(4) {
		for i := range uint64(3) {
			l := left{e, ID{Broker: b + 1, Incarnation: 7 + i}}
			n := uint64(200 * (b + 1))
			l.groups(1, n)
			want[l.id] = int64(n) + 1
		}
	}
	all, err := Survey(t.Context(), e.objects, func(topic.Partition) (int64, bool) { return 5, true })
	if err != nil || len(all) != len(want) {
		t.Fatalf("%d logs, %v", len(all), err)
	}
	for _, s := range all {
		if h := s.Holdings[partition(0)]; h.End != want[s.ID] || s.First != 1 {
			t.Error(fmt.Sprint(s.ID, " holds ", h, " from ", s.First, ", want an end of ", want[s.ID]))
		}
	}
}
