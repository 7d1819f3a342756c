package audit

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/manifest"
	"millrace/kafka/topic"
)

// Bytes per second that a broker reads.
const (
	DefaultPace  = 8 << 20  // by itself
	DefaultAsked = 64 << 20 // when somebody waits for it
)

const (
	findingsMost = 200 // kept of a pass
	skipsMost    = 50
	detailMost   = 400 // bytes of a text
	knownMost    = 10_000
	askedMost    = time.Hour // a request that is older when a broker starts is none for it
)

// Config says how often and how much. A zero field takes its default.
type Config struct {
	Broker  int32         // id of the broker
	Prefix  string        // of the cluster's keys in etcd; ends with a slash
	First   time.Duration // from the start to the first pass by itself; default 10 min
	Every   time.Duration // from one pass by itself to the next; default 6 h
	Orphan  time.Duration // for which an object must have been without a reference; default 24 h
	Publish time.Duration // between reports of progress of a pass that was asked for; default 1 s
}

// World is what the auditor looks at. All fields are needed.
type World struct {
	Partitions func() []Partition // that are served here now
	// Records gives what the catalog says of all partitions of the cluster.
	Records func() map[topic.Partition]Record
	// Current is Records by etcd itself, for a second look: what the broker knows may be behind.
	Current func(ctx context.Context) (map[topic.Partition]Record, error)
	// Whole tells whether it is for this broker to look at the store as a whole, which one does for all.
	Whole     func() bool
	Expiry    func() time.Duration // after which producers are forgotten, as producer.id.expiration.ms
	KV        kv.KV
	Manifests *manifest.Store
	Objects   object.Store // without a cache: what is on the store is what is to be seen
	Slabs     *slab.Pool
	Clock     clock.Clock
	Log       *slog.Logger
}

// Stats counts since New. It is plain data.
type Stats struct {
	Findings map[Kind]int64 // new ones; what was found before is not counted again
	Standing map[Kind]int   // of the last pass that came to its end, and of the one under way
	Bytes    int64          // read
	Passes   int64          // that came to their end
	Skipped  int64          // partitions that could not be checked
	Last     time.Time      // end of the last pass; zero: there was none
	Checked  int            // of the pass under way, else of the last
	Of       int            // partitions
}

// Auditor makes passes. Make one with New; Run does the work. The rest is safe for concurrent use.
type Auditor struct {
	cfg   Config
	world World
	pace  *pacer

	suspects *suspects // of Run's goroutine

	mu       sync.Mutex
	told     bool // request and routine are what etcd says
	request  Request
	routine  Pace
	abandon  context.CancelFunc // of the pass under way; nil: there is none
	redo     bool               // a pass by itself was ended by a change of pace
	result   Result
	known    map[identity]bool // that were logged
	findings map[Kind]int64
	passes   int64
	skipped  int64
	wake     chan struct{}
}

// New fills in defaults.
func New(cfg Config, w World) *Auditor {
	cfg.First = cmp.Or(cfg.First, 10*time.Minute)
	cfg.Every = cmp.Or(cfg.Every, 6*time.Hour)
	cfg.Orphan = cmp.Or(cfg.Orphan, 24*time.Hour)
	cfg.Publish = cmp.Or(cfg.Publish, time.Second)
	return &Auditor{
		cfg: cfg, world: w, pace: &pacer{}, suspects: newSuspects(), known: map[identity]bool{}, findings: map[Kind]int64{},
		result: Result{Version: formatVersion, Broker: cfg.Broker}, wake: make(chan struct{}, 1),
	}
}

// Run audits until ctx ends; what it finds is told and never ends it.
func (a *Auditor) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	a.restore(ctx)
	work.Go(func() { follow(ctx, a.world.KV, a.cfg.Prefix, a.world.Log, a.tell) })
	timer := time.NewTimer(a.cfg.First)
	defer timer.Stop()
	for {
		due := false
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
		case <-timer.C:
			due = true
		}
		for {
			number, rate, ok := a.next(due)
			if !ok {
				break
			}
			a.pass(ctx, number, rate)
			due = false
		}
		timer.Reset(a.cfg.Every)
	}
}

// restore takes over what the incarnation before left.
func (a *Auditor) restore(ctx context.Context) {
	item, err := a.world.KV.Get(ctx, resultKey(a.cfg.Prefix, a.cfg.Broker))
	if err != nil {
		return
	}
	if r, err := read[Result](item.Value); err == nil && r.Broker == a.cfg.Broker {
		a.mu.Lock()
		a.result.Answered, a.result.Last = r.Answered, r.Last
		a.mu.Unlock()
	}
}

// tell takes what etcd says. A request ends the pass under way, and so does a change of pace.
func (a *Auditor) tell(r Request, p Pace) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.told && a.world.Clock.Now().Sub(r.Asked) > askedMost {
		a.result.Answered = max(a.result.Answered, r.Number)
	}
	changed := a.told && p != a.routine && a.result.Now != nil && a.result.Now.Request == 0
	if (r.Number > a.request.Number || changed) && a.abandon != nil {
		a.abandon()
	}
	a.told, a.request, a.routine, a.redo = true, r, p, a.redo || changed
	if r.Number > a.result.Answered || changed {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// next says which pass to make; due: one is to be made unless the brokers shall make none by themselves.
func (a *Auditor) next(due bool) (number, rate int64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.request.Number > a.result.Answered {
		return a.request.Number, cmp.Or(a.request.BytesPerSecond, DefaultAsked), true
	}
	rate = cmp.Or(a.routine.BytesPerSecond, DefaultPace)
	due, a.redo = due || a.redo, false
	return 0, rate, due && rate > 0
}

// pass looks at everything once. It ends early with ctx, or when a request comes.
func (a *Auditor) pass(ctx context.Context, number, rate int64) {
	looking, cancel := context.WithCancel(ctx)
	defer cancel()
	began, read := a.world.Clock.Now(), a.pace.total.Load()
	now := &Pass{Request: number, Began: began}
	a.mu.Lock()
	a.result.Now, a.abandon = now, cancel
	if number < a.request.Number {
		cancel() // it came just now
	}
	a.mu.Unlock()
	a.pace.setRate(rate)

	var shown sync.WaitGroup
	told := make(chan struct{})
	shown.Go(func() { a.show(looking, now, read, told) })
	a.look(looking, now)
	close(told)
	shown.Wait()

	a.mu.Lock()
	whole := looking.Err() == nil
	now.Bytes = a.pace.total.Load() - read
	a.result.Now, a.abandon = nil, nil
	if whole {
		now.Ended = a.world.Clock.Now()
		now.Took = now.Ended.Sub(began)
		a.result.Last, a.result.Answered = now, max(a.result.Answered, number)
		a.passes++
	}
	a.mu.Unlock()
	if whole {
		a.publish(ctx)
		a.world.Log.Info("audit ended", "partitions", now.Checked, "bytes", now.Bytes, "findings", now.Total(), "skipped", now.Skipped)
	}
}

// show publishes the progress of a pass that somebody waits for.
func (a *Auditor) show(ctx context.Context, now *Pass, before int64, ended <-chan struct{}) {
	if now.Request == 0 {
		return
	}
	ticker := time.NewTicker(a.cfg.Publish)
	defer ticker.Stop()
	for {
		a.mu.Lock()
		now.Bytes = a.pace.total.Load() - before
		a.mu.Unlock()
		a.publish(ctx)
		select {
		case <-ticker.C:
		case <-ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

// publish writes the result where others read it. What fails is said by the next.
func (a *Auditor) publish(ctx context.Context) {
	err := write(ctx, a.world.KV, nil, resultKey(a.cfg.Prefix, a.cfg.Broker), a.Result())
	if err != nil && ctx.Err() == nil {
		a.world.Log.Warn("result of the audit could not be written", "err", err)
	}
}

func (a *Auditor) skipLocked(now *Pass, s Skip) {
	a.skipped++
	now.skip(s)
}

// skip notes what could not be checked.
func (p *Pass) skip(s Skip) {
	p.Skipped++
	if s.Moved {
		p.Moved++
	}
	if len(p.Skips) < skipsMost {
		s.Reason = short(s.Reason)
		p.Skips = append(p.Skips, s)
	}
}

// add notes a finding.
func (p *Pass) add(f Finding) {
	if p.Counts == nil {
		p.Counts = map[Kind]int{}
	}
	p.Counts[f.Kind]++
	if len(p.Findings) < findingsMost {
		f.Detail = short(f.Detail)
		p.Findings = append(p.Findings, f)
	}
}

func short(text string) string {
	if len(text) > detailMost {
		return text[:detailMost] + " ..."
	}
	return text
}

// found notes a finding, and logs it when it is new.
func (a *Auditor) found(now *Pass, f Finding) {
	a.mu.Lock()
	now.add(f)
	fresh := !a.known[f.identity()]
	if fresh {
		a.findings[f.Kind]++
		if len(a.known) < knownMost {
			a.known[f.identity()] = true
		}
	}
	a.mu.Unlock()
	if fresh {
		a.world.Log.Error("audit found a fault", "kind", string(f.Kind), "topic", f.Topic, "partition", f.Partition,
			"object", f.Object, "offset", f.Offset, "detail", f.Detail)
	}
}

// Result is what there is to say now. It shares nothing.
func (a *Auditor) Result() Result {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.result
	r.Now, r.Last = r.Now.clone(), r.Last.clone()
	return r
}

func (p *Pass) clone() *Pass {
	if p == nil {
		return nil
	}
	c := *p
	c.Counts, c.Findings, c.Skips = maps.Clone(p.Counts), slices.Clone(p.Findings), slices.Clone(p.Skips)
	return &c
}

// Stats so far.
func (a *Auditor) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Stats{Findings: maps.Clone(a.findings), Standing: map[Kind]int{}, Bytes: a.pace.total.Load(), Passes: a.passes, Skipped: a.skipped}
	for _, p := range []*Pass{a.result.Last, a.result.Now} {
		if p == nil {
			continue
		}
		for k, n := range p.Counts {
			s.Standing[k] = max(s.Standing[k], n)
		}
		s.Checked, s.Of = p.Checked, p.Partitions
		if !p.Ended.IsZero() {
			s.Last = p.Ended
		}
	}
	return s
}

// String says how far a pass is, for people.
func (p *Pass) String() string {
	return fmt.Sprintf("%d of %d partitions, %d bytes", p.Checked, p.Partitions, p.Bytes)
}
