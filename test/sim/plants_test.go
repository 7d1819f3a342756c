package sim_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	plants = flag.Bool("plants", false, "plant bugs in the engine, one after the other, and see each caught; takes minutes")
	plant  = flag.String("plant", "", "with -plants: only those whose name contains this")
)

// bug is a change of one place of the engine that makes it wrong.
type bug struct {
	name     string
	file     string // from the root of the module
	old, bad string // old stands there exactly once
	within   int    // seeds, in which it must be caught
	first    int    // the first of them: 1 for all; 2 or 3 for every other one, with logs in the store or on disks
}

// bugs are what the simulation must find.
func bugs() []bug {
	return []bug{
		{
			name: "ack before the sync", file: "express/wal/commit.go", within: 200, first: 3,
			old: "if err := f.handle.WritevSync(c.bufs, f.end); err != nil {",
			bad: "if _, err := f.handle.WritevAt(c.bufs, f.end); err != nil {",
		},
		{
			name: "last stable offset off by one", file: "express/partition/transaction.go", within: 200,
			old: "return max(first, p.logStart) //", bad: "return max(first+1, p.logStart) //",
		},
		{
			name: "high watermark before the write", file: "express/partition/append.go", within: 200,
			old: "	p.inFlight++\n", bad: "	p.inFlight++\n	p.hw = p.end\n",
		},
		{
			name: "fencing off: an owner that does not know whether it released serves on", file: "express/node/leaving.go", within: 2000,
			old: `s.id.Index, "err", err)
		}
		return err
	}
}

// prepare`, bad: `s.id.Index, "err", err)
		}
		r.unfreeze(ctx, s)
		return err
	}
}

// prepare`,
		},
		{
			name: "fencing off: a release does not look at the record", file: "express/catalog/handover.go", within: 2000,
			old: "append(more, kv.ModRevEquals(key, r.rev))", bad: "append(more, kv.KeyExists(key))",
		},
		{
			name: "served before the import", file: "express/node/opening.go", within: 500,
			old: "if err := r.takeTail(ctx, s, part); err != nil {", bad: "if err := r.catalog.Imported(ctx, s.id, part.Epoch); err != nil {",
		},
		{
			name: "imported before it is durable", file: "express/partition/handover.go", within: 2000,
			old: "if err := in.await(ctx, 0); err != nil && fault == nil {", bad: "if err := error(nil); err != nil && fault == nil {",
		},
		{
			name: "duplicates are not known", file: "express/producer/history.go", within: 500,
			old: "window[i].BaseSequence == first && window[i].LastSequence == last", bad: "false",
		},
		{
			name: "any sequence is taken", file: "express/producer/history.go", within: 500,
			old: "case first != record.AddSequence(window[len(window)-1].LastSequence, 1):", bad: "case false:",
		},
		{
			name: "a claim keeps the epoch", file: "express/catalog/record.go", within: 2000,
			old: "	r.Epoch++\n}\n\n// imports", bad: "}\n\n// imports",
		},
		{
			name: "a partition that leaves is not frozen", file: "express/node/leaving.go", within: 500,
			old: "if err := s.p.Freeze(freezing); err != nil {", bad: "if err := freezing.Err(); err != nil {",
		},
		{
			name: "a topic that is made anew has the id of the one before", file: "express/catalog/topics.go", within: 200,
			old: "ID: topic.NewID(), Internal", bad: "ID: topic.ID{1, byte(len(n.Name)), n.Name[0]}, Internal",
		},
		{
			name: "old epochs of transactional producers are taken", file: "express/producer/history.go", within: 2000,
			old: "case epoch < h.epoch():\n		return nil, ErrInvalidEpoch", bad: "case epoch < h.epoch():\n		return nil, nil",
		},
	}
}

// bugsOfObjectLog are those of logs in the store.
func bugsOfObjectLog() []bug {
	return []bug{
		{
			name: "lease gate off", file: "express/objectlog/writer.go", within: 1000, first: 2,
			old: "return deadline.IsZero() ||", bad: "return true || deadline.IsZero() ||",
		},
		{
			name: "ack before the PUT", file: "express/objectlog/writer.go", within: 200, first: 2,
			old: "err := <-p.stored\n", bad: "go func() { <-p.stored }()\n		var err error\n",
		},
		{
			name: "fencing off: a writer takes a seal for its own group", file: "express/objectlog/put.go", within: 1000, first: 2,
			old: "return w.compare(ctx, p)", bad: "return nil",
		},
		{
			name: "fencing off: a sealer overwrites", file: "express/objectlog/seal.go", within: 500, first: 2,
			old: "encodeSeal(id, next+i, by)}, object.PutOptions{IfAbsent: true})", bad: "encodeSeal(id, next+i, by)}, object.PutOptions{})",
		},
		{
			name: "replay leaves the last group out", file: "express/objectlog/replay.go", within: 200, first: 2,
			old: "for seq := sealed.First; seq < sealed.End; seq++ {", bad: "for seq := sealed.First; seq+1 < sealed.End; seq++ {",
		},
		{
			name: "the end of a log is where the listing ends", file: "express/objectlog/seal.go", within: 1000, first: 2,
			old: "if err != nil || sealed {\n		return next, err", bad: "if err != nil || sealed || true {\n		return next, err",
		},
		{
			name: "a take-over forgets the log", file: "express/catalog/record.go", within: 200, first: 2,
			old: "r.Log = LogID(r.Owner, r.Incarnation)", bad: "_ = LogID(r.Owner, r.Incarnation)",
		},
		{
			name: "the log is trimmed before the manifest's commit", file: "express/partition/maintain.go", within: 1500, first: 2,
			old: "err := p.world.Manifests.Commit(ctx, prev, next)", bad: "p.world.Stream.Trim(next.End)\n	err := p.world.Manifests.Commit(ctx, prev, next)",
		},
		{
			name: "manifests are not fenced", file: "express/node/replays.go", within: 2000, first: 2,
			old: "manifests, failed := r.manifests.Fence(ctx, owners)",
			bad: `manifests, failed := map[topic.Partition]*manifest.Manifest{}, map[topic.Partition]error{}
	for id := range owners {
		manifests[id], failed[id] = r.manifests.Load(ctx, id)
	}`,
		},
	}
}

// TestPlantedBugsAreCaught shows that the simulation would find what it is for: with each bug of the list, some seed fails.
func TestPlantedBugsAreCaught(t *testing.T) {
	if !*plants {
		t.SkipNow()
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range append(bugs(), bugsOfObjectLog()...) {
		if !strings.Contains(b.name, *plant) {
			continue
		}
		t.Run(b.name, func(t *testing.T) {
			caught, told := b.hunt(t, root)
			if caught == 0 {
				t.Fatalf("not caught within %d seeds: %s", b.within, told)
			}
			t.Logf("caught by seed %d: %s", caught, told)
		})
	}
}

var failedSeed = regexp.MustCompile(`seed (\d+): \d+ faults, the first of them: (.*)`)

// hunt builds the simulation with the bug in it and lives through seeds until one fails.
func (b bug) hunt(t *testing.T, root string) (seed int, told string) {
	t.Helper()
	name := filepath.Join(root, filepath.FromSlash(b.file))
	source, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), b.old); n != 1 {
		t.Fatalf("%s has the place of the bug %d times", b.file, n)
	}
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.go")
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {name: bad}})
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(bad, []byte(strings.Replace(string(source), b.old, b.bad, 1)))
	write(filepath.Join(dir, "overlay.json"), overlay)
	every := 1
	if b.first > 1 {
		every = 2
	}
	out, _ := exec.CommandContext(context.Background(), "go", "test", "-overlay", filepath.Join(dir, "overlay.json"), "-count=1", "-failfast",
		"-vet=off", "-run", "^TestSeeds$", ".", "-seeds", fmt.Sprint(b.within), "-first", fmt.Sprint(max(b.first, 1)), "-every", fmt.Sprint(every)).
		CombinedOutput()
	if found := failedSeed.FindSubmatch(out); found != nil {
		_, _ = fmt.Sscan(string(found[1]), &seed)
		return seed, string(found[2])
	}
	return 0, string(out[max(0, len(out)-2000):])
}
