package sim

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/test/sim/network"
)

// prefix is of the cluster's keys in etcd.
const prefix = "clusters/c/"

// World is a cluster and all that it touches, in memory.
type World struct {
	plan     *Plan
	log      *slog.Logger
	kv       *kv.Memory
	objects  *object.Memory
	network  *network.Network
	machines []*machine

	processes sync.WaitGroup
	began     time.Time

	mu     sync.Mutex
	faults []error  // what no correct cluster shows
	events []string // what happened, with the time
}

// stream gives each part of the world randomness of its own, so that what one draws does not change what another gets.
func (p *Plan) stream(part uint64) *rand.Rand { return rand.New(rand.NewPCG(p.Seed, part)) }

// Streams.
const (
	streamPlan = iota
	streamNetwork
	streamMachine  // plus the broker's id
	streamProducer = 100
	streamTeller   = 200
	streamReader   = 300
	streamGroup    = 400
	streamTopic    = 500
	streamCut      = 600
	streamJump     = 601
)

// newWorld makes a cluster whose brokers do not run yet.
func newWorld(p *Plan, log *slog.Logger) *World {
	w := &World{plan: p, log: log, kv: kv.NewMemory(), objects: object.NewMemory(clock.System{}), began: time.Now()}
	rng := p.stream(streamNetwork)
	w.network = network.New(func() time.Duration { return 50*time.Microsecond + time.Duration(rng.Int64N(int64(time.Millisecond))) })
	for i := range p.Brokers {
		w.machines = append(w.machines, newMachine(w, int32(i+1), p.stream(streamMachine+uint64(i))))
	}
	return w
}

// configure writes what the cluster is configured with.
func (w *World) configure(ctx context.Context) error {
	configs := `"offsets.topic.num.partitions":"2","transaction.state.log.num.partitions":"2"`
	if w.plan.Groups > 0 {
		configs += `,"log.cleaner.backoff.ms":"400"`
	}
	record := `{"version":1,"configs":{` + configs + `}}`
	_, err := w.kv.Txn(ctx, nil, []kv.Op{kv.Put(prefix+"catalog/configs/brokers/default", []byte(record))})
	return err
}

// run runs all machines until ctx ends, and stops their brokers then.
func (w *World) run(ctx context.Context) {
	var supervisors sync.WaitGroup
	for _, m := range w.machines {
		supervisors.Go(func() { m.supervise(ctx) })
	}
	supervisors.Wait()
	for _, m := range w.machines {
		m.with(func(p *process) {
			p.freeze(false)
			p.rush()
			p.stop()
		})
	}
	w.processes.Wait()
	_ = w.kv.Close()
}

// fault notes what no correct cluster shows.
func (w *World) fault(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	w.event("FAULT: %v", err)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, err)
}

// event notes what happens.
func (w *World) event(format string, args ...any) {
	line := fmt.Sprintf("%9.3f ", time.Since(w.began).Seconds()) + fmt.Sprintf(format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, line)
}
