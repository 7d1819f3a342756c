// Package usage observes what principals do with their rights, and how much they read: for the watch over the audit trail and for reports on
// rights that nobody uses.
//
// Flow: Observer stands before a cluster's authz.Judge and sees what was allowed; the fetch path tells it of bytes -> Run writes a line for each
// principal into the audit trail, at intervals and at the end: what was read since (Read), and which rights were used that were not told of
// on that day (Rights).
//
// Invariants, each with a test:
//
//	US1  The answer is the Judge's, whatever is observed.
//	US2  What was used or read is told once Run ends, and not twice.
//	US3  Memory is bounded: Config.Principals are told apart, the others share one.
//	US4  Observing allocates nothing for a principal that is known.
package usage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/secure/authz"
	"millrace/secure/trail"
)

// The actions of the lines that Run writes.
const (
	Read   = "usage:Read"   // Bytes: read since the last such line
	Rights = "usage:Rights" // After: a list of Right
)

// Others is the principal that stands for those beyond Config.Principals.
const Others = "User:(others)"

// Right is what somebody used, with no name of a resource: those are many.
type Right struct {
	Operation string `json:"operation"` // Kafka's, such as READ
	Resource  string `json:"resource"`  // type, such as TOPIC
}

// RightsOf reads what a line of the action Rights tells; ok is false for any other.
func RightsOf(e trail.Event) (rights []Right, ok bool) {
	if e.Action != Rights || json.Unmarshal(e.After, &rights) != nil {
		return nil, false
	}
	return rights, true
}

// Config is read once by New. A zero field takes its default.
type Config struct {
	Cluster    string        // name, for the lines
	Every      time.Duration // between two lines about one principal; default 5 min
	Principals int           // default 10,000
}

// ErrConfig is returned by New for a field out of bounds.
var ErrConfig = errors.New("usage: config")

// World is all that an Observer touches outside itself.
type World struct {
	Judge    authz.Judge
	Recorder trail.Recorder
	Clock    clock.Clock
}

// Observer is a Judge that sees what is allowed. Safe for concurrent use.
type Observer struct {
	cfg   Config
	world World

	mu         sync.RWMutex
	principals map[string]*principal // guarded by mu
}

// operations is how many operations a resource type may have in a bit field.
const operations = 16

// resources is how many types are told apart.
const resources = 8

type principal struct {
	read atomic.Int64                               // bytes that were not told of
	used [operations * resources / 64]atomic.Uint64 // rights that were used

	// Of Run's goroutine.
	told [operations * resources / 64]uint64
	day  time.Time // on which they were told
}

// New returns an Observer, or ErrConfig.
func New(cfg Config, w World) (*Observer, error) {
	if cfg.Every == 0 {
		cfg.Every = 5 * time.Minute
	}
	if cfg.Principals == 0 {
		cfg.Principals = 10_000
	}
	if cfg.Every < 0 || cfg.Principals < 1 || w.Judge == nil || w.Recorder == nil || w.Clock == nil {
		return nil, fmt.Errorf("%w: every %v, %d principals, or a part of the world is missing", ErrConfig, cfg.Every, cfg.Principals)
	}
	return &Observer{cfg: cfg, world: w, principals: map[string]*principal{}}, nil
}

// Allowed implements authz.Judge.
func (o *Observer) Allowed(q authz.Access) bool {
	ok := o.world.Judge.Allowed(q)
	if ok {
		o.see(q)
	}
	return ok
}

// AllowedSomewhere implements authz.Judge.
func (o *Observer) AllowedSomewhere(q authz.Access) bool {
	ok := o.world.Judge.AllowedSomewhere(q)
	if ok {
		o.see(q)
	}
	return ok
}

// see notes a right that was used. What only decided what is shown was no use.
func (o *Observer) see(q authz.Access) {
	op, resource := int(q.Operation), int(q.Resource)
	if q.Looks || q.Who == nil || q.Who.Internal || op < 0 || op >= operations || resource < 0 || resource >= resources {
		return
	}
	at := resource*operations + op
	used, bit := &o.of(q.Who.Principal).used[at/64], uint64(1)<<(at%64)
	if used.Load()&bit == 0 {
		used.Or(bit)
	}
}

// Read adds to what a principal has read.
func (o *Observer) Read(principal string, bytes int64) {
	if bytes > 0 && principal != "" {
		o.of(principal).read.Add(bytes)
	}
}

func (o *Observer) of(name string) *principal {
	o.mu.RLock()
	p := o.principals[name]
	o.mu.RUnlock()
	if p != nil {
		return p
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.principals) >= o.cfg.Principals && o.principals[name] == nil {
		name = Others
	}
	if p = o.principals[name]; p == nil {
		p = &principal{}
		o.principals[strings.Clone(name)] = p
	}
	return p
}

// Run writes lines until ctx ends, and then what is left.
func (o *Observer) Run(ctx context.Context) error {
	tick := time.NewTicker(o.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			o.tell()
			return nil
		case <-tick.C:
			o.tell()
		}
	}
}

// tell writes what came since the last time.
func (o *Observer) tell() {
	now := o.world.Clock.Now()
	day := now.Truncate(24 * time.Hour)
	o.mu.RLock()
	all := make(map[string]*principal, len(o.principals))
	for name, p := range o.principals {
		all[name] = p
	}
	o.mu.RUnlock()
	for name, p := range all {
		e := trail.Event{Time: now, Kind: trail.System, Outcome: trail.Accepted, Principal: name, Cluster: o.cfg.Cluster}
		if n := p.read.Swap(0); n > 0 {
			e.Action, e.Bytes = Read, n
			o.world.Recorder.Record(e)
			e.Bytes = 0
		}
		if rights := p.news(day); len(rights) > 0 {
			state, err := json.Marshal(rights)
			if err != nil {
				continue // plain data always encodes
			}
			e.Action, e.After = Rights, state
			o.world.Recorder.Record(e)
		}
	}
}

// news lists the rights that were used and not told of on that day.
func (p *principal) news(day time.Time) (rights []Right) {
	if p.day != day {
		p.day = day
		clear(p.told[:])
	}
	for i := range p.used {
		fresh := p.used[i].Swap(0) &^ p.told[i]
		p.told[i] |= fresh
		for ; fresh != 0; fresh &= fresh - 1 {
			at := i*64 + bits.TrailingZeros64(fresh)
			rights = append(rights, Right{
				Operation: kmsg.ACLOperation(at % operations).String(), Resource: kmsg.ACLResourceType(at / operations).String(),
			})
		}
	}
	return rights
}
