package capacity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/engine"
)

// Bounds of a Loop.
const (
	defaultInterval = 5 * time.Second
	defaultKeep     = 2048
	silentRounds    = 4 // after which a report that was not renewed is old
	roundTimeout    = 30 * time.Second
)

// Cluster is a cluster whose number of brokers follows its load.
type Cluster struct {
	Name    string
	Prefix  string // of its keys in etcd, ends with a slash
	Brokers int    // that there are
	Busy    bool   // it is being changed
}

// Plane is what the loop asks of the control plane.
type Plane interface {
	// Elastic lists the clusters whose number of brokers follows their load.
	Elastic(ctx context.Context) ([]Cluster, error)
	// Scale begins to change the number of brokers of a cluster. It does not wait for the end.
	Scale(ctx context.Context, cluster string, brokers int) error
}

// Config is read once by New.
type Config struct {
	Policy   Policy        // of all clusters; no default
	Interval time.Duration // between rounds, no less than that between reports of brokers; 0: 5 s
	Keep     int           // points of each cluster's History; 0: 2,048
}

// World is all that a Loop touches outside itself.
type World struct {
	Plane Plane
	KV    kv.KV
	Clock clock.Clock
	Log   *slog.Logger
}

// Loop makes the brokers of serverless clusters follow their load. Make one with New.
type Loop struct {
	cfg   Config
	world World

	mu       sync.Mutex
	clusters map[string]*cluster
}

// cluster is what a loop remembers of one.
type cluster struct {
	state   State
	heard   map[int32]heard
	history ring
}

// heard is the latest report of a broker, and for how many rounds it has been that.
type heard struct {
	incarnation, number int64
	rounds              int
}

// ErrPolicy: the policy cannot be; the message says what is wrong with it.
var ErrPolicy = errors.New("capacity: policy")

// New returns a Loop, or ErrPolicy.
func New(cfg Config, w World) (*Loop, error) {
	p := cfg.Policy
	if !(p.In > 0 && p.In < p.Out && p.Out <= 1) || p.Least < 1 || p.Most < p.Least || p.Calm < 0 {
		return nil, fmt.Errorf("%w: in at %v, out at %v, %d to %d brokers, calm for %s", ErrPolicy, p.In, p.Out, p.Least, p.Most, p.Calm)
	}
	if cfg.Interval <= 0 {
		cfg.Interval = defaultInterval
	}
	if cfg.Keep <= 0 {
		cfg.Keep = defaultKeep
	}
	return &Loop{cfg: cfg, world: w, clusters: make(map[string]*cluster)}, nil
}

// Run makes rounds until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	tick := time.NewTicker(l.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		round, cancel := context.WithTimeout(ctx, roundTimeout)
		err := l.Round(round)
		cancel()
		if err != nil && ctx.Err() == nil {
			l.world.Log.Warn("load of serverless clusters could not be looked at", "err", err)
		}
	}
}

// Round looks at each cluster once. A fault of one does not keep it from the others.
func (l *Loop) Round(ctx context.Context) error {
	all, err := l.world.Plane.Elastic(ctx)
	if err != nil {
		return fmt.Errorf("list clusters: %w", err)
	}
	l.forget(all)
	var faults []error
	for _, c := range all {
		if err := l.look(ctx, c); err != nil {
			faults = append(faults, fmt.Errorf("cluster %s: %w", c.Name, err))
		}
	}
	return errors.Join(faults...)
}

// forget drops clusters that are gone.
func (l *Loop) forget(all []Cluster) {
	l.mu.Lock()
	defer l.mu.Unlock()
	there := make(map[string]bool, len(all))
	for _, c := range all {
		there[c.Name] = true
		if l.clusters[c.Name] == nil {
			l.clusters[c.Name] = &cluster{heard: make(map[int32]heard)}
		}
	}
	for name := range l.clusters {
		if !there[name] {
			delete(l.clusters, name)
		}
	}
}

// look looks at one cluster, and has it scaled where that is due.
func (l *Loop) look(ctx context.Context, c Cluster) error {
	items, _, err := l.world.KV.List(ctx, c.Prefix+engine.LoadPrefix)
	if err != nil {
		return fmt.Errorf("read loads: %w", err)
	}
	want, point := l.decide(c, items)
	var refused error
	if want != c.Brokers && !c.Busy {
		if refused = l.world.Plane.Scale(ctx, c.Name, want); refused != nil {
			point.Refused = refused.Error()
			refused = fmt.Errorf("scale from %d to %d brokers: %w", c.Brokers, want, refused)
		} else {
			l.world.Log.Info("cluster is scaled", "cluster", c.Name, "brokers", c.Brokers, "to", want, "why", point.Why)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.clusters[c.Name]; k != nil {
		k.history.add(point, l.cfg.Keep)
	}
	return refused
}

// decide takes in what brokers report and says how many there shall be.
func (l *Loop) decide(c Cluster, items []kv.Item) (want int, p Point) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.clusters[c.Name]
	if k == nil { // it went meanwhile
		return c.Brokers, Point{}
	}
	loads := k.fresh(items, l.world.Log)
	p = Point{
		At: l.world.Clock.Now(), Brokers: c.Brokers, Reports: len(loads), Want: c.Brokers,
		Load: Sum(loads), Capacity: l.cfg.Policy.Unit.times(c.Brokers),
	}
	for _, one := range loads {
		p.Held += one.Throttled
	}
	if c.Busy {
		k.state = State{} // brokers come and go: what they report now says little
		return c.Brokers, p
	}
	want, k.state, p.Why = l.cfg.Policy.Decide(k.state, p.At, c.Brokers, loads)
	p.Want = want
	return want, p
}

// fresh are the reports that were renewed lately. Clocks of brokers are not looked at: whether a report is another one tells.
func (k *cluster) fresh(items []kv.Item, log *slog.Logger) []engine.Load {
	var loads []engine.Load
	now := make(map[int32]heard, len(items))
	for _, item := range items {
		one, err := engine.Decode[engine.Load](item.Value)
		if err != nil {
			log.Warn("report of a load cannot be used", "key", item.Key, "err", err)
			continue
		}
		h := heard{incarnation: one.Incarnation, number: one.Number}
		if was, ok := k.heard[one.Broker]; ok && was.incarnation == h.incarnation && was.number == h.number {
			h.rounds = min(was.rounds+1, silentRounds)
		}
		now[one.Broker] = h
		if h.rounds < silentRounds {
			loads = append(loads, one)
		}
	}
	k.heard = now
	return loads
}

// History returns the latest looks at a cluster, the oldest first; nil for one that the loop does not know.
func (l *Loop) History(name string) []Point {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.clusters[name]; k != nil {
		return k.history.all()
	}
	return nil
}
