package segment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"millrace/base/disk"
	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/producer"
	"millrace/kafka/record"
)

const (
	plenty       = 1 << 30 // bytes of key map
	abortedID    = 666     // a producer whose transactions are all aborted
	committedID  = 77      // one whose transactions are all committed
	retentionMs  = 1000
	forever      = 1 << 60
	tombstoneOdd = 4 // one of so many values is a tombstone
)

func isAborted(b record.Batch) bool {
	return b.IsTransactional() && !b.IsControl() && b.ProducerID() == abortedID
}

// flat is a record with what its batch says, to be compared.
type flat struct {
	offset, timestamp int64
	key, value        string
	null, tombstone   bool
	producer          string // the batch's range, producer, codec and so on
}

func flatten(t tester, batches []record.Batch) (all []flat) {
	t.Helper()
	for _, b := range batches {
		props := fmt.Sprint(b.BaseOffset(), b.LastOffset(), b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.LastSequence(),
			b.Codec(), b.TimestampType(), b.IsTransactional(), b.IsControl(), b.PartitionLeaderEpoch())
		for r, err := range b.Records(0) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, flat{r.Offset, r.Timestamp, string(r.Key), string(r.Value), r.Key == nil, r.Value == nil, props})
		}
	}
	return all
}

// logOf reads all batches of contiguous segments and verifies them on the way.
func logOf(t tester, store object.Store, slabs *slab.Pool, infos []Info) (all []record.Batch) {
	t.Helper()
	for _, info := range infos {
		r := open(t, store, info)
		if err := r.Verify(context.Background(), slabs); err != nil {
			t.Fatal(err)
		}
		batches := read(t, r, slabs, info.Base, info.End, 1<<30, true)
		all = append(all, batches...)
		r.Close()
	}
	return all
}

// drawLog draws batches of every kind from base on.
func drawLog(t *rapid.T, base int64, nowMs int64) (batches []record.Batch, end int64) {
	next := base
	for range rapid.IntRange(1, 12).Draw(t, "batches") {
		next += int64(rapid.SampledFrom([]int{0, 0, 0, 3}).Draw(t, "hole"))
		opts := record.Options{BaseOffset: next, LeaderEpoch: 2, KeepOffsets: true}
		opts.Codec = record.Codec(rapid.IntRange(0, 4).Draw(t, "codec"))
		switch rapid.IntRange(0, 6).Draw(t, "kind") {
		case 0:
			opts.Producer = &record.Producer{ID: 7, Epoch: 1, Sequence: int32(next)}
		case 1:
			opts.Producer, opts.Transactional = &record.Producer{ID: abortedID, Sequence: int32(next)}, true
		case 2:
			opts.TimestampType, opts.MaxTimestamp = record.LogAppendTime, nowMs
		case 3:
			opts.Producer, opts.Transactional = &record.Producer{ID: committedID, Sequence: int32(next)}, true
		case 4:
			marker := record.Marker{ProducerID: abortedID, Timestamp: nowMs}
			if rapid.Bool().Draw(t, "commit") {
				marker.ProducerID, marker.Commit = committedID, true
			}
			b := record.EncodeMarker(nil, marker)
			b.SetBaseOffset(next)
			batches, next = append(batches, b), next+1
			continue
		}
		var records []record.Record
		for range rapid.IntRange(1, 5).Draw(t, "records") {
			r := record.Record{Offset: next, Timestamp: nowMs + int64(rapid.IntRange(-5, 5).Draw(t, "time"))}
			if rapid.IntRange(0, 9).Draw(t, "key kind") > 0 {
				r.Key = []byte{byte(rapid.IntRange('a', 'f').Draw(t, "key"))}
			}
			if rapid.IntRange(0, tombstoneOdd).Draw(t, "value kind") > 0 {
				r.Value = fmt.Append(nil, "value ", next)
				r.Headers = []record.Header{{Key: []byte("h"), Value: fmt.Append(nil, next)}}
			}
			records = append(records, r)
			next++
		}
		batches = append(batches, batchOf(t, opts, records...))
	}
	return batches, next + int64(rapid.IntRange(0, 2).Draw(t, "hole at the end"))
}

// cut writes the batches as segments of random lengths.
func cut(t *rapid.T, store object.Store, base, end int64, batches []record.Batch) (infos []Info) {
	for len(batches) > 0 {
		n := rapid.IntRange(1, len(batches)).Draw(t, "batches of a segment")
		to := end
		if n < len(batches) {
			to = batches[n].BaseOffset()
		}
		infos = append(infos, write(t, store, WriterConfig{Base: base}, to, batches[:n]...))
		base, batches = to, batches[n:]
	}
	return infos
}

// model is a log that is compacted in the simplest way: one list of records.
type model struct {
	records []modelRecord
}

type modelRecord struct {
	flat
	base, last int64 // of its batch
	id         int64 // its producer
	control    bool
	txn        bool
	aborted    bool
}

func (m *model) add(t tester, batches []record.Batch) {
	for _, b := range batches {
		for _, f := range flatten(t, []record.Batch{b}) {
			m.records = append(m.records, modelRecord{flat: f, base: b.BaseOffset(), last: b.LastOffset(), control: b.IsControl(),
				id: b.ProducerID(), txn: b.IsTransactional(), aborted: isAborted(b)})
		}
	}
}

// compact drops what Kafka's rules drop below frontier. Horizons are by batch: the time from which its tombstones may go.
func (m *model) compact(horizons map[int64]int64, frontier, nowMs, retention int64) (removed int64) {
	latest := map[string]int64{}
	for _, r := range m.records {
		if r.last < frontier && !r.control && !r.aborted && !r.null {
			latest[r.key] = r.offset
		}
	}
	var left []modelRecord
	stamped := map[int64]int64{}
	data := map[int64]bool{} // by producer: a record of the transaction at hand is left
	for _, r := range m.records {
		keep := r.last >= frontier
		passing := r.tombstone // once the horizon is past
		if r.control {
			passing = !data[r.id] // its transaction has no record left
			delete(data, r.id)
		}
		if !keep && (r.control || !r.aborted && !r.null && latest[r.key] == r.offset) {
			horizon, known := horizons[r.base]
			keep = !passing || !known || nowMs < horizon
			if keep && passing && !known {
				stamped[r.base] = nowMs + retention
			}
		}
		data[r.id] = data[r.id] || keep && r.txn && !r.control
		if keep {
			left = append(left, r)
		} else {
			removed++
		}
	}
	for base, horizon := range stamped {
		horizons[base] = horizon
	}
	m.records = left
	return removed
}

func (m *model) flats() (all []flat) {
	for _, r := range m.records {
		all = append(all, r.flat)
	}
	return all
}

func TestCompactionDoesWhatTheModelSays(t *testing.T) {
	slabs := newSlabs(t)
	rapid.Check(t, func(t *rapid.T) {
		var (
			store    = newStore()
			m        model
			horizons = map[int64]int64{}
			infos    []Info
			start    = int64(rapid.IntRange(0, 3).Draw(t, "start"))
			end      = start
			cleaned  = int64(0)
			now      = int64(1_000_000)
		)
		for range rapid.IntRange(1, 5).Draw(t, "rounds") {
			batches, newEnd := drawLog(t, end, now)
			m.add(t, batches)
			infos = append(infos, cut(t, store, end, newEnd, batches)...)
			end = newEnd
			now += rapid.SampledFrom([]int64{0, 1, retentionMs - 1, retentionMs, 3 * retentionMs}).Draw(t, "time goes by")

			policy := CompactPolicy{
				NowMs: now, DeleteRetention: retentionMs,
				KeepFrom:    end - int64(rapid.IntRange(0, 10).Draw(t, "keep")),
				MaxMapBytes: rapid.SampledFrom([]int64{0, 3 * keyMapEntryBytes, plenty}).Draw(t, "map"),
				TargetBytes: rapid.SampledFrom([]int64{0, 1000, plenty}).Draw(t, "target"),
			}
			before := logOf(t, store, slabs, infos)
			got, err := Compact(context.Background(), store, slabs, WriterConfig{Partition: testPartition(), Epoch: 9}, infos, cleaned, policy)
			if err != nil {
				t.Fatal(err)
			}
			checkFrontier(t, got.CleanedEnd, cleaned, start, end, policy, before)
			frontier := got.CleanedEnd
			if policy.KeepFrom < cleaned {
				frontier = 0 // nothing is done
			}
			if removed := m.compact(horizons, frontier, now, retentionMs); removed != got.Removed {
				t.Fatalf("%d records removed, model %d", got.Removed, removed)
			}
			after := logOf(t, store, slabs, got.Out)
			if have, want := flatten(t, after), m.flats(); !slices.Equal(have, want) {
				t.Fatalf("compacted to %d:\n%v\nwant\n%v", frontier, have, want)
			}
			checkKept(t, before, after, got.CleanedEnd)
			checkHorizons(t, got.Out, after, slabs, store)
			if got.Out[0].Base != start || got.Out[len(got.Out)-1].End != end || checkJoined(got.Out) != nil {
				t.Fatalf("outputs cover %v", got.Out)
			}
			infos, cleaned = got.Out, got.CleanedEnd
		}
		checkIdempotent(t, store, slabs, infos, cleaned, now)
	})
}

// checkFrontier: compaction goes forward, not beyond KeepFrom, and as far as it can when memory allows.
func checkFrontier(t tester, got, cleaned, start, end int64, policy CompactPolicy, before []record.Batch) {
	t.Helper()
	if got < cleaned || got > max(policy.KeepFrom, cleaned, start) {
		t.Fatalf("cleaned to %d, before %d, keep from %d", got, cleaned, policy.KeepFrom)
	}
	limit := policy.KeepFrom
	for _, b := range before {
		if b.LastOffset() >= limit {
			limit = min(limit, b.BaseOffset())
		}
	}
	if policy.MaxMapBytes == plenty && got < min(limit, end) {
		t.Fatalf("cleaned to %d only, %d was possible", got, limit)
	}
	first := slices.IndexFunc(before, func(b record.Batch) bool { return b.LastOffset() >= cleaned })
	if first >= 0 && before[first].LastOffset() < policy.KeepFrom && got <= before[first].BaseOffset() {
		t.Fatalf("no progress: cleaned to %d", got)
	}
}

// checkKept: batches at or beyond the frontier are the same byte by byte, and none is empty.
func checkKept(t tester, before, after []record.Batch, frontier int64) {
	t.Helper()
	beyond := func(batches []record.Batch) (all []byte) {
		for _, b := range batches {
			if b.LastOffset() >= frontier {
				all = append(all, b...)
			}
		}
		return all
	}
	if !bytes.Equal(beyond(before), beyond(after)) {
		t.Fatalf("something at or beyond %d was touched", frontier)
	}
	for _, b := range after {
		if b.NumRecords() == 0 {
			t.Fatalf("empty batch at %d", b.BaseOffset())
		}
	}
}

// checkHorizons: Info tells the earliest time at which a tombstone may go.
func checkHorizons(t tester, infos []Info, batches []record.Batch, slabs *slab.Pool, store object.Store) {
	t.Helper()
	for _, info := range infos {
		want := int64(0)
		for _, b := range batches {
			if !b.HasDeleteHorizon() || b.BaseOffset() < info.Base || b.BaseOffset() >= info.End || !info.Compacted {
				continue
			}
			passing := b.IsControl() || slices.ContainsFunc(flatten(t, []record.Batch{b}), func(f flat) bool { return f.tombstone })
			if passing && (want == 0 || b.BaseTimestamp() < want) {
				want = b.BaseTimestamp()
			}
		}
		if info.DeleteHorizon != want {
			t.Fatalf("segment %d has delete horizon %d, want %d", info.Base, info.DeleteHorizon, want)
		}
	}
}

// checkIdempotent: compacted twice at one time, there is nothing to remove the second time.
func checkIdempotent(t tester, store object.Store, slabs *slab.Pool, infos []Info, cleaned, now int64) {
	t.Helper()
	policy := CompactPolicy{NowMs: now, DeleteRetention: retentionMs, KeepFrom: cleaned, MaxMapBytes: plenty, TargetBytes: plenty}
	again := Compacted{Out: infos, CleanedEnd: cleaned}
	var before []record.Batch
	for range 2 {
		before = logOf(t, store, slabs, again.Out)
		var err error
		again, err = Compact(context.Background(), store, slabs, WriterConfig{Partition: testPartition()}, again.Out, again.CleanedEnd, policy)
		if err != nil {
			t.Fatal(err)
		}
		policy.KeepFrom = again.CleanedEnd
	}
	same := slices.EqualFunc(before, logOf(t, store, slabs, again.Out), func(a, b record.Batch) bool { return bytes.Equal(a, b) })
	if again.Removed != 0 || again.CleanedEnd != max(cleaned, infos[0].Base) || !same {
		t.Fatalf("compacting again from %d removes %d, cleans to %d, same: %v", cleaned, again.Removed, again.CleanedEnd, same)
	}
}

// keyed builds a batch of records "key=value"; "key=" is a tombstone.
func keyed(t tester, opts record.Options, pairs ...string) record.Batch {
	t.Helper()
	var records []record.Record
	for i, pair := range pairs {
		r := record.Record{Offset: opts.BaseOffset + int64(i), Timestamp: 5000 + int64(i), Key: []byte(pair[:1])}
		if len(pair) > 2 {
			r.Value = []byte(pair[2:])
		}
		records = append(records, r)
	}
	return batchOf(t, opts, records...)
}

// compacted runs Compact over everything and gives the batches that are left.
func compacted(t tester, store object.Store, in []Info, dirtyFrom, now int64) (Compacted, []record.Batch) {
	t.Helper()
	slabs := newSlabs(t)
	got, err := Compact(context.Background(), store, slabs, WriterConfig{Partition: testPartition()}, in, dirtyFrom, CompactPolicy{
		NowMs: now, DeleteRetention: retentionMs, KeepFrom: forever, MaxMapBytes: plenty, TargetBytes: plenty,
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, logOf(t, store, slabs, got.Out)
}

func pairs(t tester, batches []record.Batch) (all []string) {
	for _, f := range flatten(t, batches) {
		all = append(all, fmt.Sprintf("%d:%s=%s", f.offset, f.key, f.value))
	}
	return all
}

func TestTombstonesGoAfterTheirHorizon(t *testing.T) {
	store := newStore()
	in := []Info{write(t, store, WriterConfig{}, 4,
		keyed(t, record.Options{}, "a=1", "b=1"), keyed(t, record.Options{BaseOffset: 2, Codec: record.LZ4}, "a=", "c=1"))}
	var batches []record.Batch
	step := func(now int64, removed int64, want ...string) Compacted {
		t.Helper()
		var got Compacted
		got, batches = compacted(t, store, in, 4, now)
		if have := pairs(t, batches); !slices.Equal(have, want) || got.Removed != removed {
			t.Fatalf("at %d: %v, %d removed", now, have, got.Removed)
		}
		in = got.Out
		return got
	}
	first, err := Compact(t.Context(), store, newSlabs(t), WriterConfig{Partition: testPartition()}, in, 0, CompactPolicy{
		NowMs: 10_000, DeleteRetention: retentionMs, KeepFrom: forever, MaxMapBytes: plenty})
	if err != nil || first.Removed != 1 || first.CleanedEnd != 4 {
		t.Fatalf("%+v, %v", first, err)
	}
	in = first.Out
	if got := step(10_999, 0, "1:b=1", "2:a=", "3:c=1"); got.Out[0].DeleteHorizon != 11_000 {
		t.Fatalf("horizon %d", got.Out[0].DeleteHorizon)
	}
	last := batches[1]
	if !last.HasDeleteHorizon() || last.BaseTimestamp() != 11_000 || last.MaxTimestamp() != 5001 || last.Codec() != record.LZ4 {
		t.Fatalf("horizon %v at %d, max timestamp %d, codec %v", last.HasDeleteHorizon(), last.BaseTimestamp(), last.MaxTimestamp(), last.Codec())
	}
	if f := flatten(t, batches); f[1].timestamp != 5000 || f[2].timestamp != 5001 {
		t.Fatalf("timestamps changed: %v", f)
	}
	if got := step(11_000, 1, "1:b=1", "3:c=1"); got.Out[0].DeleteHorizon != 0 {
		t.Fatalf("horizon %d without a tombstone", got.Out[0].DeleteHorizon)
	}
	if !batches[1].HasDeleteHorizon() {
		t.Fatal("the horizon of the batch is lost") // as in Kafka it stays for good
	}
	if f := flatten(t, batches); f[1].timestamp != 5001 {
		t.Fatalf("timestamps changed: %v", f)
	}
	step(99_000, 0, "1:b=1", "3:c=1")
}

func TestPartlyKeptBatchesKeepTheirRangeAndSequence(t *testing.T) {
	store := newStore()
	opts := record.Options{BaseOffset: 10, LeaderEpoch: 6, Codec: record.Zstd, Producer: &record.Producer{ID: 5, Epoch: 3, Sequence: 100}}
	in := []Info{write(t, store, WriterConfig{Base: 10}, 15, keyed(t, opts, "a=1", "b=1", "c=1", "d=1"), keyed(t, record.Options{BaseOffset: 14}, "a=2")),
		write(t, store, WriterConfig{Base: 15}, 20, keyed(t, record.Options{BaseOffset: 16}, "d=2", "c="))}
	_, batches := compacted(t, store, in, 0, 1)
	if have := pairs(t, batches); !slices.Equal(have, []string{"11:b=1", "14:a=2", "16:d=2", "17:c="}) {
		t.Fatalf("got %v", have)
	}
	b := batches[0]
	if b.BaseOffset() != 10 || b.LastOffset() != 13 || b.BaseSequence() != 100 || b.LastSequence() != 103 || b.ProducerID() != 5 ||
		b.ProducerEpoch() != 3 || b.PartitionLeaderEpoch() != 6 || b.Codec() != record.Zstd || b.CRC() != b.ComputeCRC() {
		t.Fatalf("header changed: %d to %d, sequence %d to %d", b.BaseOffset(), b.LastOffset(), b.BaseSequence(), b.LastSequence())
	}
}

func TestCompactionKeepsProducersInSnapshots(t *testing.T) {
	store := newStore()
	opts := record.Options{Producer: &record.Producer{ID: 5, Epoch: 3, Sequence: 100}}
	gone := keyed(t, opts, "a=1")
	in := []Info{write(t, store, WriterConfig{}, 1, gone), write(t, store, WriterConfig{Base: 1}, 2, keyed(t, record.Options{BaseOffset: 1}, "a=2"))}
	// The second segment's snapshot stands for the state at its end, as the cutter makes it.
	table := &producer.Table{}
	table.Apply(gone)
	w, err := Create(t.Context(), store, WriterConfig{Partition: testPartition(), Base: 1}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(keyed(t, record.Options{BaseOffset: 1}, "a=2")); err != nil {
		t.Fatal(err)
	}
	if in[1], err = w.Finish(t.Context(), 2, table); err != nil {
		t.Fatal(err)
	}
	got, batches := compacted(t, store, in, 0, 1)
	if len(batches) != 1 || len(got.Out) != 1 {
		t.Fatalf("%d batches in %d segments", len(batches), len(got.Out))
	}
	after, err := open(t, store, got.Out[0]).Producers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if dup, err := after.Check(gone); err != nil || dup == nil {
		t.Fatalf("the last batch of a producer went, and its sequence with it: %v, %v", dup, err)
	}
}

func TestEverythingCanGo(t *testing.T) {
	store := newStore()
	in := []Info{write(t, store, WriterConfig{}, 2, keyed(t, record.Options{}, "a=1", "a="))}
	for _, now := range []int64{1000, 3000} {
		got, _ := compacted(t, store, in, in[0].Base, now)
		in = got.Out
	}
	if len(in) != 1 || in[0].Base != 0 || in[0].End != 2 || in[0].Records != 0 || in[0].DataBytes != 0 {
		t.Fatalf("left %+v", in)
	}
	// The empty range goes on being part of the log.
	r := open(t, store, in[0])
	if got := read(t, r, newSlabs(t), 0, 2, 100, true); len(got) != 0 {
		t.Fatalf("read %d batches", len(got))
	}
	if _, ok := r.SeekTime(0, 0); ok {
		t.Fatal("found a time")
	}
	in = append(in, write(t, store, WriterConfig{Base: 2}, 3, keyed(t, record.Options{BaseOffset: 2}, "b=1")))
	if got, batches := compacted(t, store, in, 2, 4000); len(got.Out) != 1 || len(batches) != 1 {
		t.Fatalf("left %+v", got.Out)
	}
}

func TestCompactionJoinsSmallSegmentsUpToTheTarget(t *testing.T) {
	store := newStore()
	var in []Info
	for i := range int64(10) {
		in = append(in, write(t, store, WriterConfig{Base: i}, i+1, keyed(t, record.Options{BaseOffset: i}, fmt.Sprintf("%c=1", 'a'+i))))
	}
	got, err := Compact(t.Context(), store, newSlabs(t), WriterConfig{Partition: testPartition()}, in, 0, CompactPolicy{
		NowMs: 1, KeepFrom: 9, MaxMapBytes: plenty, TargetBytes: 4 * in[0].DataBytes})
	if err != nil {
		t.Fatal(err)
	}
	var bases []int64
	for _, s := range got.Out {
		bases = append(bases, s.Base)
	}
	if !slices.Equal(bases, []int64{0, 4, 8, 9}) || got.Out[3] != in[9] || got.CleanedEnd != 9 {
		t.Fatalf("outputs begin at %v, cleaned to %d", bases, got.CleanedEnd)
	}
}

func TestCompactionRefusesGaps(t *testing.T) {
	store := newStore()
	in := []Info{write(t, store, WriterConfig{}, 1, keyed(t, record.Options{}, "a=1")), write(t, store, WriterConfig{Base: 2}, 3, keyed(t, record.Options{BaseOffset: 2}, "a=2"))}
	if _, err := Compact(t.Context(), store, newSlabs(t), WriterConfig{}, in, 0, CompactPolicy{}); !errors.Is(err, ErrCoverage) {
		t.Fatalf("got %v", err)
	}
	if got, err := Compact(t.Context(), store, newSlabs(t), WriterConfig{}, nil, 5, CompactPolicy{}); err != nil || len(got.Out) != 0 || got.CleanedEnd != 5 {
		t.Fatalf("of nothing: %+v, %v", got, err)
	}
}

func TestCompactionReturnsStoreFaults(t *testing.T) {
	memory := newStore()
	in := []Info{write(t, memory, WriterConfig{}, 3, keyed(t, record.Options{}, "a=1", "b=1", "a=2"))}
	kept := contents(t, memory, in[0].Key)
	for n := 1; ; n++ {
		calls := 0
		store := object.Faulty(memory, func(context.Context, object.Op) error {
			if calls++; calls == n {
				return errPlanted
			}
			return nil
		})
		slabs := newSlabs(t)
		_, err := Compact(t.Context(), store, slabs, WriterConfig{Partition: testPartition()}, in, 0, CompactPolicy{KeepFrom: forever, MaxMapBytes: plenty})
		if slabs.Stats().LentBytes != 0 {
			t.Fatal("slabs were not given back")
		}
		if !bytes.Equal(contents(t, memory, in[0].Key), kept) {
			t.Fatal("the input was touched")
		}
		if calls < n {
			if err != nil || n < 8 {
				t.Fatalf("after %d faults: %v", n-1, err)
			}
			return
		}
		if !errors.Is(err, errPlanted) {
			t.Fatalf("call %d fails: got %v", n, err)
		}
	}
}

func TestCompactionFindsDamage(t *testing.T) {
	store := newStore()
	info := write(t, store, WriterConfig{}, 2, keyed(t, record.Options{}, "a=1", "b=1"))
	b := contents(t, store, info.Key)
	b[info.DataBytes-2] ^= 0xff // in the last value: nothing but the checksum knows
	put(t, store, info.Key, b)
	for _, dirtyFrom := range []int64{0, 2} { // found by the first pass, by the second
		_, err := Compact(t.Context(), store, newSlabs(t), WriterConfig{Partition: testPartition()}, []Info{info}, dirtyFrom, CompactPolicy{KeepFrom: forever, MaxMapBytes: plenty})
		if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("dirty from %d: got %v", dirtyFrom, err)
		}
	}
}

// The same on the store of files, with all that is between here and a disk.
func TestSegmentsInFiles(t *testing.T) {
	store, err := object.OpenFiles(t.Context(), disk.NewMem(), "store")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	slabs := newSlabs(t)
	var in []Info
	for i := range int64(5) {
		in = append(in, write(t, store, WriterConfig{Base: 100 * i}, 100*(i+1), plain(t, 100*i, 60, 500, 1), plain(t, 100*i+60, 40, 5000, 2)))
	}
	got, batches := compacted(t, store, in, 0, 1)
	if len(got.Out) != 1 || got.Removed != 499 || len(batches) != 1 || batches[0].LastOffset() != 499 {
		t.Fatalf("%+v, %d batches", got, len(batches))
	}
	if all := logOf(t, store, slabs, in); len(all) != 10 {
		t.Fatalf("the inputs have %d batches", len(all))
	}
}

func BenchmarkCompact(b *testing.B) {
	store := newStore()
	slabs, err := slab.New(slab.Config{})
	if err != nil {
		b.Fatal(err)
	}
	var batches []record.Batch
	next := int64(0)
	for next < 50_000 {
		builder := record.NewBuilder(record.Options{BaseOffset: next})
		for range 50 {
			if err := builder.Add(next, fmt.Append(nil, "key-", next%10_000), make([]byte, 200)); err != nil {
				b.Fatal(err)
			}
			next++
		}
		batch, err := builder.Build(nil)
		if err != nil {
			b.Fatal(err)
		}
		batches = append(batches, batch)
	}
	info := write(b, store, WriterConfig{}, next, batches...)
	b.SetBytes(info.DataBytes)
	b.ReportAllocs()
	for b.Loop() {
		got, err := Compact(b.Context(), store, slabs, WriterConfig{Partition: testPartition()}, []Info{info}, 0, CompactPolicy{KeepFrom: forever, MaxMapBytes: plenty, TargetBytes: plenty})
		if err != nil || got.Removed != 40_000 {
			b.Fatal(got.Removed, err)
		}
		if err := store.Delete(b.Context(), got.Out[0].Key); err != nil {
			b.Fatal(err)
		}
	}
}
