package robust

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
	"millrace/test/robust/nemesis"
	"millrace/test/robust/proxy"
)

const (
	// nemesisLength is how long each nemesis test goes on in an ordinary run.
	nemesisLength = 5 * time.Second
)

// seed chooses the rounds of the nemesis; 0 stands for any.
var seed = flag.Uint64("seed", 0, "seed of the nemesis, as a failed run has printed it; 0: a new one")

// only narrows the nemesis to one kind of fault.
var only = flag.String("fault", "", "the only kind of fault that the nemesis knows, such as slow-etcd; empty: all")

var (
	// processFaults need nothing but the right to signal.
	processFaults = []nemesis.Kind{
		nemesis.Kill, nemesis.KillAgain, nemesis.KillAll, nemesis.KillServe, nemesis.Crash, nemesis.Torn, nemesis.Pause, nemesis.Hang,
		nemesis.PauseServe, nemesis.Freeze, nemesis.Roll, nemesis.Scale, nemesis.Twin, nemesis.SlowEtcd,
	}
	// storeFaults need a proxy before the store.
	storeFaults = []nemesis.Kind{nemesis.StoreErrors, nemesis.StoreLost, nemesis.StoreSlow, nemesis.StoreHang, nemesis.StoreTorn,
		nemesis.StoreCrash, nemesis.StoreCrash2}
)

// TestNemesisFile strikes three brokers whose logs are files and whose store is a folder, under all loads at a time.
func TestNemesisFile(t *testing.T) { overFolder(t) }

// TestNemesisMore is the same with the logs in the folder too, with a bucket as the store, which fails as well, and with the logs in that.
// It does nothing in an ordinary run: TestNemesisFile and TestNemesisHosts show there what these have in common.
func TestNemesisMore(t *testing.T) {
	if os.Getenv(nemesisVariable) == "" {
		return
	}
	t.Run("ObjectFile", func(t *testing.T) { overFolder(t, "--wal", "object") })
	t.Run("S3", func(t *testing.T) { overBucket(t) })
	t.Run("ObjectS3", func(t *testing.T) { overBucket(t, "--wal", "object") })
}

func overFolder(t *testing.T, args ...string) {
	t.Helper()
	dir := nemesisStart(t)
	options := harness.MillraceOptions{Dir: filepath.Join(dir, "data"), Brokers: firstBrokers, MostBrokers: firstBrokers + 1, Args: args}
	v := &victim{run: &run{t: t}, options: options}
	kinds := slices.Clone(processFaults)
	if os.Geteuid() == 0 {
		v.disk = filepath.Join(options.Dir, "brokers")
		mountSmall(t, v.disk)
		kinds = append(kinds, nemesis.DiskFull)
	}
	v.strikeUnderLoad(kinds)
}

func overBucket(t *testing.T, args ...string) {
	t.Helper()
	dir := nemesisStart(t)
	bucket := harness.StartS3(t)
	store := startProxy(t, bucket, "127.0.0.1")
	options := harness.MillraceOptions{
		Dir: filepath.Join(dir, "data"), Brokers: firstBrokers, MostBrokers: firstBrokers + 1,
		Args: append([]string{"--store", bucket.URL("nemesis", store.URL())}, args...), Env: bucket.Env(),
	}
	v := &victim{run: &run{t: t}, options: options, store: store}
	v.strikeUnderLoad(append(slices.Clone(processFaults), storeFaults...))
}

// startProxy starts a proxy before a bucket.
func startProxy(t *testing.T, bucket *harness.S3, address string) *proxy.Store {
	t.Helper()
	store, err := proxy.StartStore(bucket.Endpoint, address, rand.Uint64())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func nemesisStart(t *testing.T) (dir string) {
	t.Helper()
	harness.Long(t, "make soak")
	return t.TempDir()
}

// strikeUnderLoad starts the cluster and all loads, strikes for as long as the test may go on, and judges what clients saw.
func (v *victim) strikeUnderLoad(kinds []nemesis.Kind) {
	t := v.t
	t.Helper()
	if v.cluster == nil {
		v.cluster = harness.StartMillrace(t, v.options)
	}
	v.options.KafkaPort, v.options.APIPort = port(t, v.cluster.Bootstrap), port(t, v.cluster.API)
	v.options.Brokers = 0 // as many as there are
	t.Cleanup(func() {    // once more behind the brokers' logs, of which there is much
		for _, reason := range v.why {
			t.Log(reason)
		}
	})
	t.Cleanup(v.leaveNobody)
	t.Cleanup(v.showBrokerLogs)
	allowShortSessions(t, v.cluster)
	v.hurry()
	if os.Getenv(nemesisVariable) == "" {
		t.Parallel() // most of its time is waiting
	}
	chosen := *seed
	if chosen == 0 {
		chosen = rand.Uint64()
	}
	t.Logf("seed %d: MILLRACE_TEST_REQUIRE=all go test ./test/robust -run '^%s$' -seed=%d", chosen, t.Name(), chosen)
	loads := v.loads()
	if *only != "" {
		kinds = []nemesis.Kind{nemesis.Kind(*only)}
	}
	fates := nemesis.New(chosen, kinds, firstBrokers)
	end := time.Now().Add(length(t, nemesisVariable, nemesisLength))
	for number := 0; number < 2 || time.Now().Before(end); number++ {
		v.round(number, fates.Next(), loads)
	}
	for _, l := range v.drainAll(loads) {
		l.verdict()
	}
	slices.Sort(v.gaps)
	t.Logf("%d rounds; from the healing until all loads went on: median %v, longest %v", len(v.gaps),
		v.gaps[len(v.gaps)/2].Round(time.Millisecond), v.gaps[len(v.gaps)-1].Round(time.Millisecond))
}

// round strikes once.
func (v *victim) round(number int, r nemesis.Round, loads []load) {
	v.t.Helper()
	begin := time.Now()
	v.goOn(loads, r.Calm)
	var around, own []func() // what heals the world around the brokers, and what heals themselves, which may need the former
	for _, f := range r.Faults {
		if heal := v.begin(f); f.Kind.Around() {
			around = append(around, heal)
		} else {
			own = append(own, heal)
		}
		v.idle(f.Lead)
	}
	v.idle(r.Hold)
	struck := time.Since(begin)
	for _, heal := range slices.Backward(append(own, around...)) {
		heal()
	}
	healed := time.Now()
	v.goOn(loads, 1)
	v.gaps = append(v.gaps, time.Since(healed))
	v.t.Logf("round %d, %v struck, healed at %v, back after %v: %v", number, struck.Round(time.Millisecond),
		healed.Sub(begin).Round(time.Millisecond), time.Since(healed).Round(time.Millisecond), r)
}

// idle lets time pass, as the rounds want it.
func (v *victim) idle(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-v.t.Context().Done():
	}
}

// goOn waits until all loads go on, records for the first of them.
func (v *victim) goOn(loads []load, records int64) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), returnLimit)
	defer cancel()
	for _, l := range loads {
		if err := errors.Join(l.progress(ctx, records), l.faults()); err != nil {
			v.why = append(v.why, fmt.Sprintf("%s: %v; clients were told: %v", l.name, err, l.told()))
			v.t.Fatal(v.why[len(v.why)-1])
		}
		records = 1
	}
}

// drainAll ends all loads at a time: each has somebody to wait for. It returns those that have ended well: no judge can say much of others.
func (v *victim) drainAll(loads []load) (well []load) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), 2*returnLimit)
	defer cancel()
	ended := make([]error, len(loads))
	var wait sync.WaitGroup
	for i, l := range loads {
		wait.Go(func() { ended[i] = errors.Join(l.drain(ctx), l.faults()) })
	}
	wait.Wait()
	for i, l := range loads {
		if ended[i] != nil {
			v.why = append(v.why, fmt.Sprintf("%s: %v; clients were told: %v", l.name, ended[i], l.told()))
			v.t.Error(v.why[len(v.why)-1])
			v.describe()
			continue
		}
		well = append(well, l)
	}
	return well
}

// describe logs what the cluster says of its groups and topics, to find out why a load does not end.
func (v *victim) describe() {
	v.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(v.cluster.Bootstrap))
	if err != nil {
		v.t.Log(err)
		return
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(v.t.Context(), returnLimit/4)
	defer cancel()
	admin := kadm.NewClient(client)
	groups, err := admin.DescribeGroups(ctx)
	v.t.Logf("groups: %v", err)
	for _, g := range groups.Sorted() {
		v.t.Logf("group %s: %s by broker %d, protocol %s, %v", g.Group, g.State, g.Coordinator.NodeID, g.Protocol, g.Err)
		for _, m := range g.Members {
			if a, ok := m.Assigned.AsConsumer(); ok {
				v.t.Logf("  member %s: %v", m.MemberID, a.Topics)
			}
		}
	}
	topics, err := admin.ListTopics(ctx)
	v.t.Logf("topics: %v", err)
	for _, topic := range topics.Sorted() {
		leaders := map[int32]int32{}
		for _, p := range topic.Partitions.Sorted() {
			leaders[p.Partition] = p.Leader
		}
		v.t.Logf("topic %s: leaders %v", topic.Topic, leaders)
	}
}

// hurry makes brokers cut, compact and seal all the time, so that faults strike in the midst of it.
func (v *victim) hurry() {
	v.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(v.cluster.Bootstrap))
	if err != nil {
		v.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(v.t.Context(), returnLimit)
	defer cancel()
	var configs []kadm.AlterConfig
	for name, value := range map[string]string{
		"log.roll.ms": "1000", "log.segment.bytes": "1048576", "log.cleaner.max.compaction.lag.ms": "1000",
		"log.cleaner.backoff.ms": "200", "log.retention.check.interval.ms": "200",
	} {
		configs = append(configs, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	altered, err := kadm.NewClient(client).AlterBrokerConfigs(ctx, configs)
	for _, a := range altered {
		err = errors.Join(err, a.Err)
	}
	if err != nil {
		v.t.Fatal(err)
	}
}

// leaveNobody kills what is left of the brokers when the test ends.
func (v *victim) leaveNobody() {
	for _, pid := range v.brokers() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // one that has ended meanwhile is no fault
	}
}
