package network

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/kafka/server"
)

// Config is read once by Open.
type Config struct {
	Prefix string // of the cluster's keys, ends with a slash
	// Inside says, for a cluster without an internal listener, which addresses are those of its brokers; nil: none. An address that
	// connects to itself is one, too, where Inside is not nil.
	Inside func(netip.Addr) bool
	// Changed is called after each change, when Allowed goes by it; nil: nobody is told. It must not call the View's Run.
	Changed func()
}

// World is all that a View touches outside itself.
type World struct {
	KV    kv.KV
	Clock clock.Clock
	Log   *slog.Logger
}

// View says who may connect, by what Run last read. It implements server.Filter.
type View struct {
	cfg   Config
	world World
	rules atomic.Pointer[rules]

	mu        sync.Mutex
	items     map[string][]byte // guarded by mu
	listeners buckets[string]   // guarded by mu
	addresses buckets[netip.Prefix]
}

// rules are what the records say, made ready. They are never changed.
type rules struct {
	groups  map[string]Group // that can be read
	network Network
	broken  bool // the Network cannot be read
	private map[string]Connection
}

// Open reads everything once.
func Open(ctx context.Context, cfg Config, w World) (*View, error) {
	v := &View{cfg: cfg, world: w, items: map[string][]byte{}, listeners: newBuckets[string](maxGroups), addresses: newBuckets[netip.Prefix](Most)}
	for _, prefix := range v.prefixes() {
		items, _, err := w.KV.List(ctx, prefix)
		if err != nil {
			return nil, fmt.Errorf("read the network's rules: %w", err)
		}
		v.replace(prefix, items)
	}
	return v, nil
}

func (v *View) prefixes() []string { return []string{groupPrefix, v.cfg.Prefix + networkName} }

// Run follows the records until ctx ends.
func (v *View) Run(ctx context.Context) error {
	var wait sync.WaitGroup
	defer wait.Wait()
	for _, prefix := range v.prefixes() {
		wait.Go(func() { v.follow(ctx, prefix) })
	}
	<-ctx.Done()
	return nil
}

// retryPause is before the records are read again that could not be.
const retryPause = time.Second

func (v *View) follow(ctx context.Context, prefix string) {
	reset := func(items []kv.Item, _ int64) error {
		v.replace(prefix, items)
		v.tell()
		return nil
	}
	change := func(e kv.Event) error {
		v.mu.Lock()
		delete(v.items, e.Item.Key)
		if e.Type == kv.EventPut {
			v.items[e.Item.Key] = e.Item.Value
		}
		v.buildLocked()
		v.mu.Unlock()
		v.tell()
		return nil
	}
	for ctx.Err() == nil {
		if err := kv.Follow(ctx, v.world.KV, prefix, reset, change); ctx.Err() == nil {
			v.world.Log.Warn("rules of the network could not be read, trying again", "err", err)
			t := time.NewTimer(retryPause)
			select {
			case <-ctx.Done():
			case <-t.C:
			}
			t.Stop()
		}
	}
}

func (v *View) tell() {
	if v.cfg.Changed != nil {
		v.cfg.Changed()
	}
}

// replace takes all items of a prefix.
func (v *View) replace(prefix string, items []kv.Item) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for key := range v.items {
		if strings.HasPrefix(key, prefix) {
			delete(v.items, key)
		}
	}
	for _, item := range items {
		v.items[item.Key] = item.Value
	}
	v.buildLocked()
}

// buildLocked makes the rules anew; v.mu is held. What cannot be read lets nobody in (W2).
func (v *View) buildLocked() {
	r := &rules{groups: map[string]Group{}, private: map[string]Connection{}}
	for key, value := range v.items {
		name, isGroup := strings.CutPrefix(key, groupPrefix)
		switch {
		case isGroup:
			g, err := decode[Group](value)
			if err != nil || g.Name != name {
				v.world.Log.Error("security group cannot be read, it lets nobody in", "group", name, "err", err)
				continue
			}
			r.groups[name] = g
		case key == v.cfg.Prefix+networkName:
			n, err := decode[Network](value)
			if err != nil {
				v.world.Log.Error("rules of the network cannot be read, nobody is let in", "cluster", v.cfg.Prefix, "err", err)
				r.broken = true
				continue
			}
			r.network = n
		}
	}
	for _, c := range r.network.Connections {
		if c.State == Active {
			r.private[c.ListenerName()] = c
		}
	}
	v.rules.Store(r)
}

// Active are the private connections that brokers listen for, by name.
func (v *View) Active() []Connection {
	r := v.rules.Load()
	var all []Connection
	for _, c := range r.network.Connections {
		if c.State == Active {
			all = append(all, c)
		}
	}
	return all
}

// Allowed implements server.Filter.
func (v *View) Allowed(w server.Way) error {
	r := v.rules.Load()
	if w.Listener == internal || v.inside(w) {
		return nil
	}
	groups := r.network.Guards[w.Listener]
	if strings.Contains(w.Listener, privateSuffix) {
		c, ok := r.private[w.Listener]
		if !ok {
			return fmt.Errorf("%w: the private connection is not active", ErrRefused)
		}
		groups = c.Groups
	}
	switch {
	case r.broken:
		return fmt.Errorf("%w: the rules cannot be read", ErrRefused)
	case len(groups) == 0:
		return nil
	case !w.From.IsValid():
		return fmt.Errorf("%w: the client has no address", ErrRefused)
	case slices.ContainsFunc(groups, func(name string) bool { return r.groups[name].Has(w.From) }):
		return nil
	}
	return fmt.Errorf("%w: %s is in no network of %s", ErrRefused, w.From, strings.Join(groups, ", "))
}

// inside says that a connection to CLIENT is a broker's or an agent's (W3).
func (v *View) inside(w server.Way) bool {
	return w.Listener == client && v.cfg.Inside != nil && w.From.IsValid() && (w.From == w.To || v.cfg.Inside(w.From))
}

// Admit implements server.Filter: Allowed, and within the limits. What is refused is not counted, so that strangers use up nobody's.
func (v *View) Admit(w server.Way) error {
	if err := v.Allowed(w); err != nil {
		return err
	}
	limits := v.rules.Load().network.Limits
	if limits == (Limits{}) || w.Listener == internal {
		return nil
	}
	now := v.world.Clock.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	if limits.PerAddress > 0 && w.From.IsValid() && !v.addresses.take(place(w.From), limits.PerAddress, now) {
		return fmt.Errorf("%w: more than %d a second from %s", ErrBusy, limits.PerAddress, w.From)
	}
	if limits.PerListener > 0 && !v.listeners.take(w.Listener, limits.PerListener, now) {
		return fmt.Errorf("%w: more than %d a second at %s", ErrBusy, limits.PerListener, w.Listener)
	}
	return nil
}
