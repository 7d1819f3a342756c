package tenure

import (
	"maps"
	"slices"
	"testing"
)

// run is a small correct run of two partitions: three members own each in turn, and the last of them goes to the end.
type run struct {
	registry *Registry
	members  []*Member
}

const perTenure = 5 // records

func newRun() *run {
	r := &run{registry: New(2)}
	for range 3 {
		r.members = append(r.members, r.registry.Join())
	}
	both := []int32{0, 1}
	for turn, m := range r.members {
		m.Assigned(both)
		for _, partition := range both {
			r.work(m, partition, int64(turn*perTenure), perTenure)
		}
		if turn < len(r.members)-1 {
			m.Revoked(both)
		}
	}
	return r
}

// work produces, consumes and commits some records of a partition.
func (r *run) work(m *Member, partition int32, from int64, records int) {
	for offset := from; offset < from+int64(records); offset++ {
		r.registry.Produced(partition, offset)
		m.Consumed(partition, offset)
	}
	r.commit(m, partition, from+int64(records))
}

func (r *run) commit(m *Member, partition int32, offset int64) {
	m.Committing(partition, offset)
	m.Acknowledged(partition, offset)
	r.registry.Logged(partition, offset)
	r.registry.Told(partition, offset)
}

// last returns the member that owns both partitions in the end.
func (r *run) last() *Member { return r.members[len(r.members)-1] }

// planted is a fault put into a correct run, and the kinds that have to be reported for it, and no others.
type planted struct {
	name  string
	plant func(*run)
	want  []Kind
}

// end is where the partitions of a correct run end.
const end = int64(3 * perTenure)

// owners are faults in who owns a partition when, and what must not be taken for one.
func owners() []planted {
	return []planted{
		{"correct", func(*run) {}, nil},
		{"owned twice", func(r *run) { r.members[0].Assigned([]int32{1}) }, []Kind{Shared}},
		{"owned twice, for a while", func(r *run) {
			r.members[0].Assigned([]int32{1})
			r.members[0].Revoked([]int32{1})
		}, []Kind{Shared}},
		{"owned twice, until the first has revoked", func(r *run) {
			r.members[0].Assigned([]int32{1})
			r.last().Revoked([]int32{1})
		}, []Kind{Shared}},
		{"thrown out, and not heard before", func(r *run) {
			r.members[0].Assigned([]int32{1})
			r.last().Lost([]int32{1}, false)
		}, nil},
		{"thrown out, and heard all along", func(r *run) {
			r.members[0].Assigned([]int32{1})
			r.last().Lost([]int32{1}, true)
		}, []Kind{Evicted}},
		{"crashed", func(r *run) {
			r.last().Gone()
			r.members[0].Assigned([]int32{0, 1})
		}, nil},
		{"crashed, and an answer from before comes after", func(r *run) {
			r.last().Gone()
			r.members[0].Assigned([]int32{0, 1})
			r.last().Assigned([]int32{0})
			r.last().Lost([]int32{0, 1}, true)
		}, nil},
	}
}

// commits are faults in what is consumed and committed.
func commits() []planted {
	return []planted{
		{"commit went back in the log", func(r *run) {
			r.registry.Logged(0, end-1)
			r.registry.Logged(0, end)
		}, []Kind{Backwards}},
		{"commit went back and stayed", func(r *run) { r.registry.Logged(0, end-1) }, []Kind{Backwards, Unfinished}},
		{"committed offset told lower", func(r *run) {
			r.registry.Told(0, end-1)
			r.registry.Told(0, end)
		}, []Kind{Unsaid}},
		{"acknowledged commit forgotten", func(r *run) {
			r.last().Revoked([]int32{0})
			r.members[0].Assigned([]int32{0})
			r.members[0].Consumed(0, end-1)
		}, []Kind{Behind}},
		{"began behind a record that nobody consumed", func(r *run) {
			r.last().Revoked([]int32{0})
			r.members[0].Assigned([]int32{0})
			r.registry.Produced(0, end)
			r.work(r.members[0], 0, end+1, 1)
		}, []Kind{Ahead, Skipped}},
		{"record not given in the middle of a tenure", func(r *run) {
			r.registry.Produced(0, end)
			r.work(r.last(), 0, end+1, 1)
		}, []Kind{Skipped}},
		{"record consumed and not committed", func(r *run) {
			r.registry.Produced(0, end)
			r.last().Consumed(0, end)
		}, []Kind{Unfinished}},
		{"commit of one who left was accepted", func(r *run) { r.registry.Trespassed(0, true) }, []Kind{Intruder}},
		{"commit of one who left was refused", func(r *run) { r.registry.Trespassed(0, false) }, nil},
		{"began at a commit that was not answered", func(r *run) {
			r.registry.Produced(0, end)
			r.last().Consumed(0, end)
			r.last().Committing(0, end+1)
			r.last().Gone()
			r.registry.Logged(0, end+1)
			r.registry.Told(0, end+1)
			r.members[0].Assigned([]int32{0})
			r.work(r.members[0], 0, end+1, 1)
		}, nil},
	}
}

// TestVerify plants every kind of fault into a correct run and wants exactly its kinds reported. What members do that
// crash, freeze or are thrown out must not be taken for a fault.
func TestVerify(t *testing.T) {
	caught := make(map[Kind]bool)
	for _, test := range slices.Concat(owners(), commits()) {
		t.Run(test.name, func(t *testing.T) {
			r := newRun()
			test.plant(r)
			kinds := make(map[Kind]bool)
			found := r.registry.Verify()
			for _, v := range found {
				kinds[v.Kind], caught[v.Kind] = true, true
			}
			got := slices.Sorted(maps.Keys(kinds))
			slices.Sort(test.want)
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v\n%v", got, test.want, found)
			}
			if finished := r.registry.Finished() == nil; finished == kinds[Unfinished] {
				t.Errorf("finished: %v, and found %v", finished, got)
			}
		})
	}
	for _, kind := range []Kind{Shared, Evicted, Backwards, Unsaid, Behind, Ahead, Intruder, Skipped, Unfinished} {
		if !caught[kind] {
			t.Errorf("no planted fault is reported as %s", kind)
		}
	}
}

// TestCounts counts a correct run.
func TestCounts(t *testing.T) {
	got := newRun().registry.Counts()
	want := Counts{Members: 3, Tenures: 6, Records: 30, Consumed: 30, Committed: 6}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
