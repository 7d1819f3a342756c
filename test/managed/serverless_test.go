package managed

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kafka"
	"github.com/aws/aws-sdk-go-v2/service/kafka/types"
	"github.com/twmb/franz-go/pkg/kgo"
	login "github.com/twmb/franz-go/pkg/sasl/aws"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/object"
	"millrace/control"
	"millrace/control/capacity"
	"millrace/control/sizes"
	"millrace/engine"
	"millrace/express/meter"
	"millrace/test/harness"
)

// serverlessVariable is the environment variable that says "full" where the load shall be one for brokers as large as those of MSK.
const serverlessVariable = "MILLRACE_SERVERLESS"

// surge is the sizes of TestServerlessFollowsLoad.
type surge struct {
	policy capacity.Policy
	calm   float64 // bytes per second before the load rises, and after it has fallen
	times  float64 // how far it rises
	record int     // bytes of a record
}

// surgeOf is that of an ordinary run, with brokers that bear little, or the full one, with what a broker of MSK's bears. Both are calm for a
// shorter time than serve waits.
func surgeOf(t *testing.T) surge {
	t.Helper()
	var q sizes.Quotas
	if err := q.Validate(); err != nil {
		t.Fatal(err)
	}
	policy, err := capacity.PolicyOf(q)
	if err != nil {
		t.Fatal(err)
	}
	s := surge{policy: policy, calm: 1_250_000, times: 20, record: 10_000}
	s.policy.Calm = 20 * time.Second
	if os.Getenv(serverlessVariable) != "full" {
		const small = 130
		s.calm, s.record = s.calm/small, 1000
		s.policy.Unit = capacity.Worth{In: policy.Unit.In / small, Out: policy.Unit.Out / small}
		s.policy.Calm = time.Second
	}
	return s
}

// TestServerlessFollowsLoad has the load of a serverless cluster rise twentyfold and fall again: its brokers become more and fewer, clients
// notice nothing, and what was metered is what they sent and read, to the byte.
func TestServerlessFollowsLoad(t *testing.T) {
	harness.Long(t, "make managed")
	s := start(t)
	t.Parallel() // it waits most of the time
	p := s.provider(t)
	made, err := p.api.CreateClusterV2(t.Context(), &kafka.CreateClusterV2Input{ClusterName: aws.String("less"), Serverless: &types.ServerlessRequest{
		VpcConfigs:           []types.VpcConfig{{SubnetIds: []string{"subnet-1", "subnet-2"}}},
		ClientAuthentication: &types.ServerlessClientAuthentication{Sasl: &types.ServerlessSasl{Iam: &types.Iam{Enabled: aws.Bool(true)}}}}})
	p.must(err)
	p.active(made.ClusterArn)
	at, err := p.api.GetBootstrapBrokers(t.Context(), &kafka.GetBootstrapBrokersInput{ClusterArn: made.ClusterArn})
	p.must(err)
	size := surgeOf(t)
	loop := s.follow(t, size.policy)
	var counted wire
	flow := startFlow(t, size, kgo.SeedBrokers(strings.Split(*at.BootstrapBrokerStringSaslIam, ",")...), counted.dial(s.trust(t)), s.iam(), kgo.DisableClientMetrics())

	phase := func(name string, rate float64, until func(capacity.Point) bool) {
		t.Helper()
		flow.rate.Store(int64(rate))
		from := time.Now()
		harness.Eventually(t, 5*time.Minute, name, func(context.Context) error {
			flow.check(t)
			points := loop.History("less")
			if len(points) == 0 || points[len(points)-1].At.Before(from) || !until(points[len(points)-1]) {
				return fmt.Errorf("%d looks so far", len(points))
			}
			return nil
		})
	}
	high := size.calm * size.times
	quiet := func(c capacity.Point) bool {
		return c.Brokers == 1 && c.Reports == 1 && c.Want == 1 && c.Load.In < 2*size.calm
	}
	phase("a load that one broker bears", size.calm, func(c capacity.Point) bool { return quiet(c) && c.Load.In > size.calm/2 })
	phase("brokers for twenty times the load", high, func(c capacity.Point) bool {
		return c.Brokers > 1 && c.Want == c.Brokers && c.Reports == c.Brokers && c.Load.In > 0.9*high
	})
	phase("one broker again", size.calm, quiet)
	flow.stop(t)
	most := table(t, loop.History("less"), size.policy)
	if need := int(high/size.policy.Unit.In) + 1; most < need {
		t.Errorf("at most %d brokers were there, %d bear the load", most, need)
	}
	s.Stop(t)
	counted.lingering.Wait()
	s.metered(t, &counted)
}

// table prints the load against what brokers bear, and gives how many of them there were at most.
func table(t *testing.T, points []capacity.Point, p capacity.Policy) (most int) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "one broker bears %.0f kB/s in\n   s  brokers  want   in kB/s  of capacity\n", p.Unit.In/1000)
	for _, c := range points {
		fmt.Fprintf(&b, "%4.0f  %7d  %4d  %8.1f  %5.0f %%  %s\n", c.At.Sub(points[0].At).Seconds(), c.Brokers, c.Want, c.Load.In/1000,
			100*c.Load.In/c.Capacity.In, strings.Repeat("#", min(int(20*c.Load.In/p.Unit.In), 100)))
		most = max(most, c.Brokers)
	}
	t.Logf("load against capacity:\n%s", b.String())
	return most
}

// follow has a loop of the test's own let the site's serverless clusters follow their load. That of serve, which takes brokers for as large as
// those of MSK, has nothing to do with loads that they bear, and waits for longer before it takes one away.
func (s site) follow(t *testing.T, policy capacity.Policy) *capacity.Loop {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	store := s.dial(t)
	plane := control.New(store, engine.Host{Name: "local"}, clock.System{}, log).With(control.Options{Ports: s.ports})
	loop, err := capacity.New(capacity.Config{Policy: policy}, capacity.World{Plane: capacity.Of(plane), KV: store, Clock: clock.System{}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = loop.Run(ctx) // it ends with ctx
	}()
	t.Cleanup(func() { cancel(); <-done; _ = store.Close() })
	return loop
}

// iam is the login of the site's root.
func (s site) iam() kgo.Opt {
	return kgo.SASL(login.Auth{AccessKey: s.variable("AWS_ACCESS_KEY_ID"), SecretKey: s.variable("AWS_SECRET_ACCESS_KEY")}.AsManagedStreamingIAMMechanism())
}

// metered fails the test unless the usage that was recorded is what went over the wire.
func (s site) metered(t *testing.T, counted *wire) {
	t.Helper()
	objects, err := object.OpenFiles(t.Context(), disk.OS(""), filepath.Join(s.Dir, "store", "less"))
	if err != nil {
		t.Fatal(err)
	}
	defer objects.Close()
	now := time.Now().UTC()
	usage, err := meter.Report(t.Context(), objects, meter.Query{From: now.Add(-2 * time.Hour).Truncate(time.Hour), To: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if len(counted.faults) > 0 {
		t.Fatal(errors.Join(counted.faults...))
	}
	total, in, out := usage.Total(), counted.produced.Load(), counted.fetched.Load()
	if total.In != in || total.Out != out || in == 0 || out == 0 {
		t.Errorf("metered are %d bytes in and %d out; clients sent %d and read %d", total.In, total.Out, in, out)
	}
	t.Logf("%d bytes in and %d out, as metered; %.4f broker-hours", in, out, usage.BrokerHours)
}

// flow is a producer that holds a rate and a consumer that reads all of it.
type flow struct {
	rate   atomic.Int64 // bytes per second
	cancel context.CancelFunc
	ctx    context.Context
	work   sync.WaitGroup
	writer *kgo.Client
	reader *kgo.Client

	mu     sync.Mutex
	acked  []int64
	read   []int64
	faults []error
}

const flowTopic, flowPartitions = "flow", 12

func startFlow(t *testing.T, size surge, options ...kgo.Opt) *flow {
	t.Helper()
	makeTopic(t, flowTopic, flowPartitions, options...)
	f := &flow{acked: make([]int64, flowPartitions), read: make([]int64, flowPartitions)}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.writer = newClient(t, append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))...)
	f.reader = newClient(t, append(options, kgo.ConsumerGroup("flow"), kgo.ConsumeTopics(flowTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	f.work.Go(func() { f.write(size.record) })
	f.work.Go(func() {
		for f.ctx.Err() == nil {
			f.take(f.reader.PollFetches(f.ctx))
		}
	})
	t.Cleanup(func() { f.cancel(); f.work.Wait() })
	return f
}

// write sends records in turn to all partitions, as many in each moment as the rate says. Each has the number that it shall have in its
// partition, and is made of what cannot be compressed.
func (f *flow) write(size int) {
	const moment = 10 * time.Millisecond
	ticker := time.NewTicker(moment)
	defer ticker.Stop()
	random := rand.NewChaCha8([32]byte{1})
	var next [flowPartitions]uint64
	due, turn, last := 0.0, 0, time.Now()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		due = min(due+float64(f.rate.Load())*now.Sub(last).Seconds(), float64(f.rate.Load()))
		for last = now; due >= float64(size) && f.ctx.Err() == nil; due -= float64(size) {
			value := make([]byte, size)
			_, _ = random.Read(value) // it never fails
			p := turn % flowPartitions
			turn++
			binary.BigEndian.PutUint64(value, next[p])
			next[p]++
			f.writer.Produce(context.Background(), &kgo.Record{Topic: flowTopic, Partition: int32(p), Value: value}, f.wrote)
		}
	}
}

func (f *flow) wrote(r *kgo.Record, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.faults = append(f.faults, fmt.Errorf("write: %w", err))
		return
	}
	f.acked[r.Partition]++
}

func (f *flow) take(fetches kgo.Fetches) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fetches.EachError(func(topic string, p int32, err error) {
		if f.ctx.Err() == nil {
			f.faults = append(f.faults, fmt.Errorf("read %s-%d: %w", topic, p, err))
		}
	})
	fetches.EachRecord(func(r *kgo.Record) {
		if got := binary.BigEndian.Uint64(r.Value); got != uint64(f.read[r.Partition]) {
			f.faults = append(f.faults, fmt.Errorf("partition %d, offset %d: record %d is read where %d comes next", r.Partition, r.Offset, got, f.read[r.Partition]))
		}
		f.read[r.Partition]++
	})
}

func (f *flow) check(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.faults) > 0 {
		t.Fatalf("clients: %v", errors.Join(f.faults[:min(5, len(f.faults))]...))
	}
}

// stop sends nothing any more, and waits until all that was sent is acknowledged and read.
func (f *flow) stop(t *testing.T) {
	t.Helper()
	f.rate.Store(0)
	if err := f.writer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, time.Minute, "all to be read", func(context.Context) error {
		f.check(t)
		f.mu.Lock()
		defer f.mu.Unlock()
		for p, n := range f.acked {
			if f.read[p] < n {
				return fmt.Errorf("%d of %d records of partition %d", f.read[p], n, p)
			}
		}
		return nil
	})
	f.cancel()
	f.work.Wait()
	f.writer.Close()
	f.reader.Close()
}
