package trail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
)

// rig is a chain whose steps the test does by itself.
type rig struct {
	fs    *disk.Mem
	kv    *kv.Memory
	clock *clock.Manual
	cfg   Config
	log   *Log
}

func newRig(t interface{ Fatal(...any) }, cfg Config) *rig {
	r := &rig{fs: disk.NewMem(), kv: kv.NewMemory(), clock: clock.NewManual(time.Unix(1000, 0)), cfg: cfg}
	r.cfg.Writer, r.cfg.Root = "default-1", "audit"
	r.open(t)
	return r
}

func (r *rig) world(fsys disk.FS) World {
	return World{FS: fsys, Anchors: NewAnchors(r.kv, mask{}), Clock: r.clock, Log: slog.New(slog.DiscardHandler)}
}

func (r *rig) open(t interface{ Fatal(...any) }) {
	l, err := Open(context.Background(), r.cfg, r.world(r.fs))
	if err != nil {
		t.Fatal(err)
	}
	r.log = l
}

// crash ends the machine and starts it again.
func (r *rig) crash(t interface{ Fatal(...any) }, seed uint64) {
	r.fs = r.fs.CrashClone(rand.New(rand.NewPCG(seed, 1)))
	r.open(t)
}

func (r *rig) record(actions ...string) {
	for _, a := range actions {
		r.log.Record(Event{Kind: Admin, Action: a, Outcome: Accepted, Principal: "User:alice"})
	}
}

// settle writes and anchors all.
func (r *rig) settle() { r.log.step(context.Background(), true) }

func (r *rig) verify(t interface{ Fatal(...any) }) []Finding {
	report, err := Verify(context.Background(), r.fs, "audit", NewAnchors(r.kv, mask{}), nil, true)
	if err != nil {
		t.Fatal(err)
	}
	return report.Findings
}

func (r *rig) actions(t interface{ Fatal(...any) }, f Filter) (actions []string) {
	reader := NewReader(r.fs, "audit", f)
	defer reader.Close()
	err := reader.Next(context.Background(), func(e Entry) error {
		actions = append(actions, e.Action)
		return nil
	})
	if err = errors.Join(err, reader.Damaged()); err != nil {
		t.Fatal(err)
	}
	return actions
}

// mask is a Sealer that only shows whether it was used.
type mask struct{}

func (mask) Seal(plain, context []byte) ([]byte, error) {
	return append([]byte("sealed:"+string(context)+":"), plain...), nil
}

func (mask) Open(sealed, context []byte) ([]byte, error) {
	plain, ok := bytes.CutPrefix(sealed, []byte("sealed:"+string(context)+":"))
	if !ok {
		return nil, errors.New("not sealed")
	}
	return plain, nil
}

// What was synced is there after a crash, numbered without gaps (T1), and a crash is not taken for tampering (T2).
func TestCrashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRig(t, Config{FileBytes: 600, KeepBytes: 1 << 20})
		var durable []string
		next := 0
		t.Repeat(map[string]func(*rapid.T){
			"record": func(t *rapid.T) {
				var actions []string
				for range rapid.IntRange(1, 5).Draw(t, "events") {
					actions = append(actions, fmt.Sprintf("a%d", next))
					next++
				}
				r.record(actions...)
				if err := r.log.write(r.clock.Now(), false); err != nil {
					t.Fatal(err)
				}
				durable = append(durable, actions...)
			},
			"anchor": func(*rapid.T) { r.settle() },
			"torn": func(t *rapid.T) {
				size := r.log.chain.size
				if r.log.chain.file == nil {
					return
				}
				tail := []byte(`{"format":1,"n":` + rapid.StringN(0, 900, -1).Draw(t, "tail"))
				if _, err := r.log.chain.file.WriteAt(tail, size); err != nil {
					t.Fatal(err)
				}
				r.log.chain.dirt = true
			},
			"crash": func(t *rapid.T) { r.crash(t, rapid.Uint64().Draw(t, "seed")) },
			"": func(t *rapid.T) {
				if r.log.chain.dirt {
					return
				}
				if found := r.verify(t); len(found) > 0 {
					t.Fatal(found)
				}
			},
		})
		r.crash(t, 1)
		if got := r.actions(t, Filter{}); !slices.Equal(got, durable) {
			t.Fatalf("%v\nwere durable, there are\n%v", durable, got)
		}
		if r.log.chain.head.N != uint64(len(durable)) {
			t.Fatal("numbers have gaps")
		}
	})
}

// Whatever is done to the files behind an anchor is found (T3), also after the writer has started again and gone on.
func TestTamperingIsFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRig(t, Config{FileBytes: 900, KeepBytes: 1 << 20})
		for i := range 20 {
			r.record(fmt.Sprintf("action-%d", i))
			if err := r.log.write(r.clock.Now(), false); err != nil {
				t.Fatal(err)
			}
		}
		r.settle()
		dir := directory("audit", "default-1")
		names, err := files(r.fs, dir)
		if err != nil || len(names) < 4 {
			t.Fatal(names, err)
		}
		name := filepath.Join(dir, rapid.SampledFrom(names).Draw(t, "file"))
		data, err := r.fs.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.SplitAfter(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
		lines[len(lines)-1] = append(bytes.Clone(lines[len(lines)-1]), '\n')
		i := rapid.IntRange(0, len(lines)-1).Draw(t, "line")
		switch how := rapid.SampledFrom([]string{"byte", "out", "twice", "swap", "cut", "file", "forge"}).Draw(t, "how"); how {
		case "byte":
			lines[i] = bytes.Clone(lines[i])
			at := rapid.IntRange(0, len(lines[i])-1).Draw(t, "at")
			lines[i][at] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		case "out":
			lines = slices.Delete(lines, i, i+1)
		case "twice":
			lines = slices.Insert(lines, i, lines[i])
		case "swap":
			if i == 0 {
				return
			}
			lines[i-1], lines[i] = lines[i], lines[i-1]
		case "cut":
			lines = lines[:i]
		case "file":
			lines = nil
			if err := errors.Join(r.fs.Remove(name), r.fs.SyncDir(dir)); err != nil {
				t.Fatal(err)
			}
		case "forge": // a whole end that fits together
			l, _, err := decodeLine(bytes.TrimSuffix(lines[i], []byte("\n")))
			if err != nil {
				t.Fatal(err)
			}
			first, _ := firstOf(filepath.Base(name))
			prev := l.Prev
			for ; i < len(lines); i++ {
				forged := line{N: first + uint64(i), Prev: prev, Event: Event{Kind: Admin, Action: "nothing", Outcome: Accepted}}
				b, hash, err := forged.encode()
				if err != nil {
					t.Fatal(err)
				}
				lines[i], prev = append(b, '\n'), hash
			}
		}
		if lines != nil {
			if err := r.fs.WriteFileAtomic(name, bytes.Join(lines, nil)); err != nil {
				t.Fatal(err)
			}
		}
		if len(r.verify(t)) == 0 {
			t.Fatal("not found")
		}
		r.crash(t, 2)
		r.record("goes on")
		r.settle()
		if len(r.verify(t)) > 0 {
			return
		}
		// What was put in behind the end is cut off as a torn end is, and then nothing is amiss any more.
		got := r.actions(t, Filter{})
		for i, action := range got[:20] {
			if action != fmt.Sprintf("action-%d", i) {
				t.Fatal("not found any more after the writer went on")
			}
		}
	})
}

func TestForgedAnchorIsFound(t *testing.T) {
	r := newRig(t, Config{})
	r.record("a", "b")
	r.settle()
	plain := []byte(`{"format":1,"base":{"n":0,"hash":"` + Hash{}.String() + `"}}`)
	if _, err := r.kv.Txn(t.Context(), nil, []kv.Op{kv.Put(anchorPrefix+"default-1", plain)}); err != nil {
		t.Fatal(err)
	}
	if found := r.verify(t); len(found) == 0 {
		t.Fatal("not found")
	}
	r.crash(t, 1)
	r.settle()
	if got := r.actions(t, Filter{}); !slices.Contains(got, "trail:Anchor") {
		t.Error(got)
	}
}

// A flood takes few lines, and no room from administrative calls (T4, T5, T6).
func TestFloods(t *testing.T) {
	r := newRig(t, Config{Queue: 80, Repeats: 10})
	for range 1_000_000 {
		r.log.Record(Event{Kind: Login, Action: "kafka-cluster:Connect", Outcome: Refused, Principal: "User:mallory", From: "10.0.0.1"})
	}
	for i := range 1000 {
		r.log.Record(Event{Kind: Login, Action: "kafka-cluster:Connect", Outcome: Refused, Principal: fmt.Sprint("User:", i)})
	}
	for i := range 1000 {
		r.log.Record(Event{Kind: Login, Action: "kafka-cluster:Connect", Outcome: Accepted, Principal: fmt.Sprint("User:", i)})
	}
	r.record("a", "b", "c")
	r.settle()
	entries := map[string][]Entry{}
	var counted int64
	reader := NewReader(r.fs, "audit", Filter{})
	defer reader.Close()
	if err := reader.Next(t.Context(), func(e Entry) error {
		entries[e.Action] = append(entries[e.Action], e)
		counted += max(e.Count, 1)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(entries["a"])+len(entries["b"])+len(entries["c"]) != 3 {
		t.Error("administrative calls were lost")
	}
	if len(entries["trail:Lost"]) == 0 {
		t.Error("what found no room is not told")
	}
	if want := int64(1_000_000 + 1000 + 1000 + 3 + 1); counted < want-1 || counted > want+1 {
		t.Errorf("%d events are accounted for, %d there were", counted, want)
	}
	if n := r.log.chain.head.N; n > 90 {
		t.Errorf("%d lines", n)
	}
}

// What the disk refuses is written when it can be, and what found no room meanwhile is counted.
func TestDiskFull(t *testing.T) {
	r := newRig(t, Config{Queue: 16})
	r.record("first")
	if err := r.log.write(r.clock.Now(), false); err != nil {
		t.Fatal(err)
	}
	r.fs.SetCapacity(r.fs.Used())
	for range 40 {
		r.record("later")
	}
	for range 3 {
		if err := r.log.write(r.clock.Now(), false); !disk.IsNoSpace(err) {
			t.Fatal(err)
		}
	}
	r.fs.SetCapacity(0)
	r.settle()
	got := r.actions(t, Filter{})
	if len(got) != 1+16+1 || got[17] != "trail:Lost" {
		t.Error(got)
	}
	if found := r.verify(t); len(found) > 0 {
		t.Error(found)
	}
}

// Old files go when the anchor allows it, and what is kept still verifies (T7).
func TestOldFilesGo(t *testing.T) {
	r := newRig(t, Config{FileBytes: 1000, KeepBytes: 5000})
	for i := range 200 {
		r.record(fmt.Sprintf("action-%d", i))
		if err := r.log.write(r.clock.Now(), false); err != nil {
			t.Fatal(err)
		}
		if i%7 == 0 {
			r.settle()
		}
		if i%50 == 49 {
			r.crash(t, uint64(i))
		}
	}
	r.settle()
	names, err := files(r.fs, directory("audit", "default-1"))
	if err != nil || len(names) > 7 {
		t.Errorf("%d files, %v", len(names), err)
	}
	if found := r.verify(t); len(found) > 0 {
		t.Error(found)
	}
	got := r.actions(t, Filter{})
	if len(got) < 10 || got[len(got)-1] != "action-199" {
		t.Error(got)
	}
	if err := r.fs.Remove(filepath.Join(directory("audit", "default-1"), names[0])); err != nil {
		t.Fatal(err)
	}
	if found := r.verify(t); len(found) == 0 {
		t.Error("a file that is missing at the begin is not found")
	}
}

func TestReader(t *testing.T) {
	r := newRig(t, Config{FileBytes: 500})
	other := *r
	other.cfg.Writer = "default-2"
	other.open(t)
	for i := range 20 {
		r.clock.Advance(time.Second)
		from := r
		if i%3 == 0 {
			from = &other
		}
		from.record(fmt.Sprintf("kafka:%02d", i))
		from.settle()
	}
	f := func(filter Filter, want ...string) {
		t.Helper()
		if got := r.actions(t, filter); !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", filter, got, want)
		}
	}
	all := r.actions(t, Filter{})
	if len(all) != 20 || !slices.IsSorted(all) {
		t.Error(all)
	}
	f(Filter{Since: time.Unix(1018, 0)}, "kafka:17", "kafka:18", "kafka:19")
	f(Filter{Until: time.Unix(1003, 0)}, "kafka:00", "kafka:01")
	f(Filter{Writer: "default-2", Until: time.Unix(1006, 0)}, "kafka:00", "kafka:03")
	f(Filter{Principal: "alice", Action: "kafka:1*", Since: time.Unix(1018, 0)}, "kafka:17", "kafka:18", "kafka:19")
	f(Filter{Principal: "bob"})
	f(Filter{Kinds: []Kind{Login}})
	f(Filter{Outcome: Refused})
	f(Filter{Resource: "topic/*"})
	f(Filter{Writer: "default-2", After: map[string]uint64{"default-2": 5}}, "kafka:15", "kafka:18")
	f(Filter{After: map[string]uint64{"default-1": 13, "default-2": 6}}, "kafka:18")
	f(Filter{After: map[string]uint64{"default-1": 13, "default-2": 99}})

	reader := NewReader(r.fs, "audit", Filter{Since: time.Unix(1020, 0)})
	defer reader.Close()
	var got []string
	each := func(e Entry) error { got = append(got, e.Action); return nil }
	for i := range 30 {
		r.record(fmt.Sprint("new", i))
		r.settle()
		if err := reader.Next(t.Context(), each); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 31 || got[30] != "new29" {
		t.Error("follow:", got)
	}
}

// Run writes what many record at once, and ends with all of it durable.
func TestRun(t *testing.T) {
	fs, store := disk.NewMem(), kv.NewMemory()
	w := World{FS: fs, Anchors: NewAnchors(store, nil), Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)}
	l, err := Open(t.Context(), Config{Writer: "w", Root: "audit"}, w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Writer: "w", Root: "audit"}, w); !errors.Is(err, disk.ErrLocked) {
		t.Error(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 50 {
				l.Record(Event{Kind: Admin, Action: "a", Outcome: Accepted})
				if err := l.Flush(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	l.Record(Event{Kind: Admin, Action: "last", Outcome: Accepted})
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	report, err := Verify(t.Context(), fs, "audit", NewAnchors(store, nil), nil, true)
	if err != nil || len(report.Findings) > 0 || len(report.Chains) != 1 || report.Chains[0].Last != 401 || report.Chains[0].Anchored != 401 {
		t.Error(report, err)
	}
}

func TestHostileTexts(t *testing.T) {
	r := newRig(t, Config{})
	huge := strings.Repeat("\u2028\n\x00é", 100_000)
	r.log.Record(Event{Kind: Admin, Action: huge, Principal: huge, Reason: huge, Outcome: Accepted, Before: []byte("{"), After: []byte(`"` + strings.Repeat("x", 1<<20) + `"`)})
	r.record("next")
	r.settle()
	if got := r.actions(t, Filter{}); len(got) != 2 || got[1] != "next" {
		t.Error(len(got))
	}
	if found := r.verify(t); len(found) > 0 {
		t.Error(found)
	}
}

func FuzzLine(f *testing.F) {
	b, _, err := line{N: 7, Event: Event{Kind: Admin, Action: "kafka:CreateTopics", Outcome: Accepted, After: []byte(`{"a":1}`)}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, _, err := decodeLine(b)
		if err != nil {
			if !errors.Is(err, ErrLine) && !errors.Is(err, ErrNewer) {
				t.Error(err)
			}
			return
		}
		again, _, err := l.encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, _, err := decodeLine(again); err != nil || back.N != l.N || back.Prev != l.Prev {
			t.Error(err)
		}
	})
}
