package ecosystem

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// exactlyOnce is the guarantee that is tested.
const exactlyOnce = "exactly_once_v2"

// javaTerminated is the exit code of a JVM that SIGTERM ended in good order.
const javaTerminated = 128 + 15

// TestStreamsKilled kills a Streams application that runs exactly_once_v2, again and again under load, and wants what comes
// out to be what an undisturbed one makes of the same input. The short form kills the broker once as well.
func TestStreamsKilled(t *testing.T) {
	harness.Long(t, "make ecosystem")
	t.Parallel()
	engines(t, func(t *testing.T, s *server) {
		run := newStreams(t, s)
		want := run.killed(t, kills(t), func(round int) bool { return !full() && round == 1 })
		run.reset(t, want)
	})
}

// TestStreamsBrokerKilled kills the broker as well in every other round.
func TestStreamsBrokerKilled(t *testing.T) {
	if !full() {
		t.Skip("a long form: MILLRACE_ECOSYSTEM=full")
	}
	engines(t, func(t *testing.T, s *server) {
		newStreams(t, s).killed(t, kills(t), func(round int) bool { return round%2 == 0 })
	})
}

// streams is a cluster with a load, and an application that is killed.
type streams struct {
	*server
	state     string // folder of the local state, kept over kills
	guarantee string
	output    *reader
	load      *load
	looks     *kadm.Client
}

func newStreams(t *testing.T, s *server) *streams {
	t.Helper()
	s.createTopics(t, "lines", "left", "right", "killed.counts", "killed.pairs", "calm.counts", "calm.pairs")
	return &streams{
		server: s, state: filepath.Join(t.TempDir(), "state"), guarantee: exactlyOnce,
		output: startReader(t, s, "killed.counts", "killed.pairs", "calm.counts", "calm.pairs"),
		looks:  s.admin(t),
	}
}

// static is the setting of a static member: one that comes back has its partitions at once, where a dynamic member waits for the
// end of the session of the one that was killed.
const static = "consumer.group.instance.id=one"

// start starts an application; its topics and its group carry its name.
func (s *streams) start(t *testing.T, name, state string, settings ...string) *program {
	t.Helper()
	all := append([]string{
		"bootstrap.servers=" + s.Bootstrap, "application.id=" + name, "state.dir=" + state, "output.prefix=" + name + ".",
		"processing.guarantee=" + s.guarantee, "consumer.session.timeout.ms=6000", "consumer.heartbeat.interval.ms=500",
		// Records go out well before the transaction ends, not with its end.
		"producer.transaction.timeout.ms=5000", "producer.linger.ms=5",
	}, settings...)
	return startProgram(t, "Streams application "+name, s.command(t, all))
}

func (s *streams) command(t *testing.T, settings []string) *exec.Cmd {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	classPath := harness.Javac(t, filepath.Join(root, "test", "ecosystem", "clients", "streams"))
	if os.Getenv("MILLRACE_ECOSYSTEM_LOG") != "" {
		classPath = filepath.Join(harness.Require(t, harness.Connect), "logging", "*") + string(os.PathListSeparator) + classPath
	}
	args := append([]string{"-Djava.library.path=" + rocksLibrary(t)}, harness.JavaArgs(classPath, "Application", settings...)...)
	return exec.Command("java", args...)
}

// killed runs the application through so many kills under load, lets it come to an end, and judges what came out.
func (s *streams) killed(t *testing.T, rounds int, broker func(round int) bool) expected {
	s.load = startLoad(t, s.server)
	round := 0
	for ; round < rounds || s.output.aborted() == 0; round++ {
		if round > rounds+defaultKills {
			t.Fatalf("%d kills, and none left a transaction to abort", round)
		}
		s.round(t, round, broker(round))
	}
	want := s.load.finish(t)
	last, calm := s.start(t, "killed", s.state, static), s.start(t, "calm", filepath.Join(t.TempDir(), "calm"), static)
	s.finish(t, last, "killed", want)
	s.judge(t, "killed", want)
	s.finish(t, calm, "calm", want)
	s.judge(t, "calm", want)
	s.same(t, "counts")
	s.same(t, "pairs")
	t.Logf("%d kills, %d aborts; %d records in; out %d counts of %d words and %d pairs; other than undisturbed: %t",
		round, s.output.aborted(), recordsInStep*s.load.steps, want.words, len(want.counts), len(want.pairs), t.Failed())
	return want
}

// finish lets an application write the last of what it has to, and ends it in good order.
func (s *streams) finish(t *testing.T, app *program, name string, want expected) {
	t.Helper()
	s.complete(t, app, name, want)
	if code := app.Stop(t); code != javaTerminated {
		t.Errorf("%s ended with exit code %d:\n%s", name, code, app.tail())
	}
}

// round starts the application and kills it: in every fourth round while it starts, in every other when it has written counts that
// are not committed, else when it has written offsets that are not. One round in five begins without local state, so all of it comes from the changelogs; one in ten is a dynamic member's.
func (s *streams) round(t *testing.T, round int, broker bool) {
	t.Helper()
	if round%5 == 2 {
		if err := os.RemoveAll(s.state); err != nil {
			t.Fatal(err)
		}
	}
	var settings []string
	if round%10 != 9 {
		settings = append(settings, static)
	}
	app := s.start(t, "killed", s.state, settings...)
	if round%4 == 3 && !broker {
		app.awaitLine(t, "state REBALANCING")
		app.Kill()
		return
	}
	const most = 400 // counts: the work of a second or less
	s.progress(t, app, 1+rand.IntN(most))
	if broker {
		s.killBroker(t)
		s.progress(t, app, 1+rand.IntN(most))
	}
	if s.guarantee == exactlyOnce && round%2 == 0 {
		s.pause(t, app, "a count in a transaction", s.uncommittedCounts)
	} else if s.guarantee == exactlyOnce {
		s.pause(t, app, "an offset in a transaction", s.unsettledOffsets)
	}
	app.Kill()
}

// pause stops the application where it is in the middle of something. It stops first and looks then: a transaction is as short as
// commit.interval.ms, and its end far shorter.
func (s *streams) pause(t *testing.T, app *program, what string, is func(context.Context) (bool, error)) {
	t.Helper()
	app.await(t, what, func(ctx context.Context) error {
		if err := syscall.Kill(app.PID(), syscall.SIGSTOP); err != nil {
			return err
		}
		yes, err := is(ctx)
		if yes {
			return nil
		}
		return errors.Join(errNotYet, err, syscall.Kill(app.PID(), syscall.SIGCONT))
	})
}

// uncommittedCounts says whether counts are written that are not committed.
func (s *streams) uncommittedCounts(ctx context.Context) (yes bool, err error) {
	const topic = "killed.counts"
	stable, err := s.looks.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return false, err
	}
	ends, err := s.looks.ListEndOffsets(ctx, topic)
	if err != nil {
		return false, err
	}
	ends.Each(func(end kadm.ListedOffset) {
		before, known := stable.Lookup(topic, end.Partition)
		yes = yes || known && errors.Join(before.Err, end.Err) == nil && before.Offset < end.Offset
	})
	return yes, nil
}

// unsettledOffsets says whether a transaction has committed offsets and not ended.
func (s *streams) unsettledOffsets(ctx context.Context) (yes bool, err error) {
	offsets, err := s.looks.FetchOffsets(kadm.RequireStable(ctx), "killed")
	if err != nil {
		return false, err
	}
	offsets.Each(func(one kadm.OffsetResponse) { yes = yes || errors.Is(one.Err, kerr.UnstableOffsetCommit) })
	return yes, nil
}

// progress waits until so many counts more are committed.
func (s *streams) progress(t *testing.T, app *program, more int) {
	t.Helper()
	before, err := s.output.count("killed.counts")
	if err != nil {
		t.Fatal(err)
	}
	app.await(t, fmt.Sprintf("count %d after %d", more, before), func(context.Context) error {
		now, err := s.output.count("killed.counts")
		if err == nil && now < before+more {
			err = fmt.Errorf("%d committed counts", now)
		}
		return err
	})
}

// reset has the reset tool forget what the calm application has done, and wants a second life of it to do all of it again.
func (s *streams) reset(t *testing.T, want expected) {
	t.Helper()
	before := make(map[int32]int)
	for partition := range int32(partitions) {
		before[partition] = len(s.output.partition("calm.counts", partition))
	}
	// The last life was a static member, which the group keeps: --force takes it out.
	said := runTool(t, streamsResetter, "--bootstrap-server", s.Bootstrap, "--application-id", "calm", "--input-topics", "lines,left,right", "--force")
	for _, topic := range []string{"calm-words-repartition", "calm-counts-changelog", "calm-pairs-this-join-store-changelog"} {
		if !strings.Contains(said, topic) {
			t.Errorf("the reset tool does not tell of %s:\n%s", topic, said)
		}
	}
	listed, err := s.admin(t).ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range listed.Names() {
		if strings.HasPrefix(topic, "calm-") {
			t.Errorf("the reset left the internal topic %s", topic)
		}
	}
	app := s.start(t, "calm", filepath.Join(t.TempDir(), "again"), static)
	again := func() (counts []*kgo.Record) {
		for partition := range int32(partitions) {
			counts = append(counts, s.output.partition("calm.counts", partition)[before[partition]:]...)
		}
		return counts
	}
	app.await(t, "all counts again", func(context.Context) error {
		if n := len(again()); n < want.words {
			return fmt.Errorf("%d of %d", n, want.words)
		}
		return nil
	})
	app.Stop(t)
	harness.Eventually(t, waitLimit, "the end", func(ctx context.Context) error { return s.output.atEnd(ctx, "calm.counts") })
	report(t, "the counts after a reset", want.checkCounts(again()))
}

// complete waits until as many records are committed as have to be. How long that takes is the machine's affair, but there must be more of them all the time.
func (s *streams) complete(t *testing.T, app *program, name string, want expected) {
	t.Helper()
	for topic, all := range map[string]int{name + ".counts": want.words, name + ".pairs": len(want.pairs)} {
		for now := -1; now < all; {
			before := now
			app.await(t, fmt.Sprintf("more of %d records of %s", all, topic), func(context.Context) (err error) {
				if now, err = s.output.count(topic); err == nil && now <= before {
					err = fmt.Errorf("%d records are committed, as before", now)
				}
				return err
			})
		}
	}
}

// judge compares all that an application wrote with what it had to, and its changelog with the last counts.
func (s *streams) judge(t *testing.T, name string, want expected) {
	t.Helper()
	changelog := name + "-counts-changelog"
	stored := startReader(t, s.server, changelog)
	for topic, from := range map[string]*reader{name + ".counts": s.output, name + ".pairs": s.output, changelog: stored} {
		harness.Eventually(t, waitLimit, "the end of "+topic, func(ctx context.Context) error { return from.atEnd(ctx, topic) })
	}
	report(t, name+".counts", want.checkCounts(s.output.all(name+".counts")))
	report(t, name+".pairs", want.checkPairs(s.output.all(name+".pairs")))
	report(t, changelog, want.checkChangelog(stored.all(changelog)))
}

// same wants the same records of the application that was killed as of the one that was not.
func (s *streams) same(t *testing.T, topic string) {
	t.Helper()
	if !slices.Equal(contents(s.output.all("killed."+topic)), contents(s.output.all("calm."+topic))) {
		t.Errorf("%s differ from those of an undisturbed run", topic)
	}
}

// TestStreamsAtLeastOnce is the planted fault: without transactions the kills must be seen in what comes out.
func TestStreamsAtLeastOnce(t *testing.T) {
	if !full() {
		t.Skip("a planted fault: MILLRACE_ECOSYSTEM=full")
	}
	engines(t, func(t *testing.T, s *server) {
		app := newStreams(t, s)
		app.guarantee = "at_least_once"
		app.load = startLoad(t, s)
		for round := range defaultKills {
			app.round(t, 4*round, false)
		}
		want := app.load.finish(t)
		app.finish(t, app.start(t, "killed", app.state, static), "killed", want)
		harness.Eventually(t, waitLimit, "the end", func(ctx context.Context) error { return app.output.atEnd(ctx, "killed.counts") })
		wrong := want.checkCounts(app.output.all("killed.counts"))
		if len(wrong) == 0 {
			t.Errorf("%d kills at least once, and nothing is wrong", defaultKills)
		}
		t.Logf("%d faults seen, for instance: %s", len(wrong), strings.Join(wrong[:min(3, len(wrong))], "; "))
	})
}
