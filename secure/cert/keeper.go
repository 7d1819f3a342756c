package cert

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"millrace/base/kv"
)

// KeeperConfig is read once by NewKeeper.
type KeeperConfig struct {
	Node    Node          // whose certificate it is; no default
	Names   Names         // that the certificate must have; Node.Names makes them of addresses
	File    string        // where key and certificate are kept, in a folder of the node's own
	Mapping Rules         // of names in clients' certificates to principals; zero: DEFAULT
	Settle  time.Duration // between a new certificate and its use, in which the others hear of it; default 2 s
}

// Keeper has a node's certificate and knows whom to trust. Make one with NewKeeper; it does nothing before Run.
type Keeper struct {
	cfg   KeeperConfig
	world World

	state atomic.Pointer[state] // never nil
	ready chan struct{}         // closed when the state has become complete for the first time
	seen  chan struct{}         // capacity 1: the view has changed
	want  chan struct{}         // capacity 1: names have changed, or Renew was called

	mu       sync.Mutex // guards the rest, and who stores the state
	names    Names
	asked    bool // Renew was called
	fault    error
	watchers map[chan struct{}]bool
	isReady  bool
}

// state is what handshakes read. It is not changed.
type state struct {
	pair *pair // nil: none yet
	view *view // nil: etcd was not read yet
}

// NewKeeper makes a Keeper, with the certificate that it left in its file.
func NewKeeper(cfg KeeperConfig, w World) (*Keeper, error) {
	if err := cfg.Node.check(); err != nil {
		return nil, err
	}
	if cfg.Names.IsEmpty() || len(cfg.Names.DNS)+len(cfg.Names.IPs) > maxNames {
		return nil, fmt.Errorf("%w: %d names for %s; 1 to %d can be", ErrRequest, len(cfg.Names.DNS)+len(cfg.Names.IPs), cfg.Node, maxNames)
	}
	if cfg.Settle == 0 {
		cfg.Settle = 2 * time.Second
	}
	k := &Keeper{
		cfg: cfg, world: w, names: cfg.Names.Add(Names{}),
		ready: make(chan struct{}), seen: make(chan struct{}, 1), want: make(chan struct{}, 1),
		watchers: make(map[chan struct{}]bool),
	}
	p, err := loadPair(w.FS, cfg.File)
	if err != nil {
		// Nothing is lost: another one is asked for.
		w.Log.Warn("kept certificate cannot be used; asking for another", "node", string(cfg.Node), "err", err)
	}
	k.state.Store(&state{pair: p})
	return k, nil
}

// Run keeps the certificate and what is trusted up to date until ctx ends; then it returns nil.
func (k *Keeper) Run(ctx context.Context) error {
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		k.follow(ctx)
	}()
	defer func() { <-followed }()
	pause := retryPause
	for ctx.Err() == nil {
		why, next := k.due()
		if why == "" {
			k.idle(ctx, next, k.seen)
			continue
		}
		err := k.renew(ctx, why)
		k.setFault(err)
		switch {
		case err == nil:
			pause = retryPause
		case ctx.Err() == nil && !errors.Is(err, errAgain):
			k.world.Log.Warn("no new certificate; trying again", "node", string(k.cfg.Node), "why", why, "retry_in", pause, "err", err)
			k.idle(ctx, pause, nil)
			pause = min(2*pause, time.Minute)
		}
	}
	return nil
}

// idle waits for d, or until other names are wanted, or seen has something.
func (k *Keeper) idle(ctx context.Context, d time.Duration, seen chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-k.want:
	case <-seen:
	}
}

// Wait returns when there are a certificate to show and a list of what is revoked, or ctx ends. Run must be running.
func (k *Keeper) Wait(ctx context.Context) error {
	select {
	case <-k.ready:
		return nil
	case <-ctx.Done():
		k.mu.Lock()
		defer k.mu.Unlock()
		return fmt.Errorf("cert: no certificate for %s yet: %w", k.cfg.Node, errors.Join(ctx.Err(), k.fault))
	}
}

// SetNames changes which names the certificate must have, such as after a change of listeners.
func (k *Keeper) SetNames(names Names) {
	k.mu.Lock()
	k.names = names.Add(Names{})
	k.mu.Unlock()
	signal(k.want)
}

// Renew asks for another certificate now.
func (k *Keeper) Renew() {
	k.mu.Lock()
	k.asked = true
	k.mu.Unlock()
	signal(k.want)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Status is how a Keeper stands.
type Status struct {
	Node    Node
	Serial  string // "": it has no certificate
	Names   Names
	Issued  time.Time // begin of the certificate
	Ends    time.Time
	RenewAt time.Time
	Fault   error // why the last attempt to get another failed; nil: it did not
}

// Status tells how the Keeper stands.
func (k *Keeper) Status() Status {
	s := Status{Node: k.cfg.Node}
	if p := k.state.Load().pair; p != nil {
		s.Serial, s.Names, s.Issued, s.Ends, s.RenewAt = p.serial(), namesIn(p.leaf()), p.leaf().NotBefore, p.leaf().NotAfter, p.renewAt()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	s.Fault = k.fault
	return s
}

// RootsPEM are the authorities that are trusted now, the present one first; "" before Wait has returned.
func (k *Keeper) RootsPEM() string {
	if v := k.state.Load().view; v != nil {
		return encodePEM(v.roots...)
	}
	return ""
}

// Watch calls f at its begin, and after each change of what is trusted or revoked, until ctx ends; changes that come together may be told
// by one call. f then asks Refused for the connections that are open: the first call is for those that were opened before Watch.
func (k *Keeper) Watch(ctx context.Context, f func()) error {
	changed := make(chan struct{}, 1)
	signal(changed)
	k.mu.Lock()
	k.watchers[changed] = true
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.watchers, changed)
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			f()
		}
	}
}

// follow reads etcd until ctx ends.
func (k *Keeper) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := kv.Follow(ctx, k.world.KV, trustPrefix,
			func(items []kv.Item, _ int64) error {
				v, faults := readView(items)
				if err := errors.Join(faults...); err != nil {
					k.world.Log.Error("records of certificates cannot be read", "err", err)
				}
				k.see(v)
				return nil
			},
			func(e kv.Event) error {
				v, err := k.state.Load().view.apply(e)
				if err != nil {
					k.world.Log.Error("record of a certificate cannot be read", "err", err)
					return nil // the last good one holds
				}
				k.see(v)
				return nil
			})
		if ctx.Err() == nil {
			k.world.Log.Warn("etcd cannot be read; certificates are judged by what was read last", "retry_in", retryPause, "err", err)
			wait(ctx, retryPause)
		}
	}
}

// see takes a new view. One without an authority does not replace one that has one: etcd does not lose it, but somebody may.
func (k *Keeper) see(v *view) {
	k.mu.Lock()
	old := k.state.Load()
	if v.issuer == "" && old.view != nil && old.view.issuer != "" {
		v.issuer, v.roots, v.bridges, v.pool, v.anchors = old.view.issuer, old.view.roots, old.view.bridges, old.view.pool, old.view.anchors
	}
	k.storeLocked(&state{pair: old.pair, view: v})
	for w := range k.watchers {
		signal(w)
	}
	k.mu.Unlock()
	signal(k.seen)
}

func (k *Keeper) storeLocked(s *state) {
	k.state.Store(s)
	if !k.isReady && s.view != nil && s.pair != nil && k.faultOf(s) == "" {
		k.isReady = true
		close(k.ready)
	}
}

func (k *Keeper) setFault(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fault = err
}

// faultOf says why others would refuse the certificate of s now; "": they take it.
func (k *Keeper) faultOf(s *state) string {
	now := k.world.Clock.Now()
	switch {
	case s.pair == nil:
		return "there is none"
	case !now.Before(s.pair.leaf().NotAfter):
		return "it has ended"
	case s.view.revoked[s.pair.serial()]:
		return "it is revoked"
	}
	if _, ok := s.view.node(s.pair.leaf()); !ok {
		return "it is not on record"
	}
	if err := s.pair.verify(s.view.pool, now); err != nil {
		return err.Error()
	}
	return ""
}

// due says why a new certificate is needed; "" and in how long to look again where none is.
func (k *Keeper) due() (why string, next time.Duration) {
	s := k.state.Load()
	if s.view == nil || s.view.issuer == "" {
		return "", time.Hour // see signals it
	}
	if why := k.faultOf(s); why != "" {
		return why, 0
	}
	k.mu.Lock()
	names, asked := k.names, k.asked
	k.mu.Unlock()
	record, _ := s.view.node(s.pair.leaf())
	left := s.pair.renewAt().Sub(k.world.Clock.Now())
	switch {
	case asked:
		return "asked for", 0
	case record.Issuer != s.view.issuer:
		return "the authority is another", 0
	case !s.pair.covers(names):
		return "names have changed", 0
	case left <= 0:
		return "it grows old", 0
	}
	return "", left
}

// errAgain: what was asked for is out of date; ask anew.
var errAgain = errors.New("cert: ask anew")

// renew gets a new certificate with a new key, keeps it, and puts it in the place of the old one.
func (k *Keeper) renew(ctx context.Context, why string) error {
	k.mu.Lock()
	names := k.names
	k.asked = false
	k.mu.Unlock()
	key, err := newKey()
	if err != nil {
		return err
	}
	csr, err := makeRequest(key, names)
	if err != nil {
		return err
	}
	request, err := encode(requestRecord{Format: format, Node: k.cfg.Node, CSR: csr, Asked: k.world.Clock.Now().UTC()})
	if err != nil {
		return err
	}
	if _, err := k.world.KV.Txn(ctx, nil, []kv.Op{kv.Put(requestPrefix+string(k.cfg.Node), request)}); err != nil && !errors.Is(err, kv.ErrUnknown) {
		return fmt.Errorf("cert: ask for a certificate: %w", err)
	}
	answer, err := k.await(ctx, digest(csr), names)
	if err != nil {
		return err
	}
	if answer.Refused != "" {
		return fmt.Errorf("%w: %s", ErrRequest, clip(answer.Refused))
	}
	chain, err := parsePEM([]byte(answer.Chain))
	if err != nil {
		return fmt.Errorf("cert: answer: %w", err)
	}
	p, err := newPair(key, chain)
	if err != nil {
		return fmt.Errorf("cert: answer: %w", err)
	}
	if !p.covers(names) {
		return fmt.Errorf("%w: the answer lacks some of the names", ErrRecord)
	}
	return k.install(ctx, p, why)
}

// install waits until the certificate counts here and with the others, keeps it and swaps it in.
func (k *Keeper) install(ctx context.Context, p *pair, why string) error {
	if err := k.awaitView(ctx, p); err != nil {
		return err
	}
	if err := p.store(k.world.FS, k.cfg.File); err != nil {
		// It serves all the same; after a restart another one is asked for.
		k.world.Log.Warn("certificate cannot be kept", "node", string(k.cfg.Node), "err", err)
	}
	if old := k.state.Load(); k.faultOf(old) == "" {
		wait(ctx, k.cfg.Settle)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.storeLocked(&state{pair: p, view: k.state.Load().view})
	k.world.Log.Info("certificate in use", "node", string(k.cfg.Node), "why", why, "serial", p.serial(), "ends", p.leaf().NotAfter,
		"names", namesIn(p.leaf()).String())
	return nil
}

// awaitView waits until what follows etcd has seen the certificate on record, which is of the same step as the answer, and checks it then.
func (k *Keeper) awaitView(ctx context.Context, p *pair) error {
	const most = 30 * time.Second // the certificate may have ended meanwhile, and its record be gone
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		s := k.state.Load()
		if _, ok := s.view.node(p.leaf()); ok {
			if why := k.faultOf(&state{pair: p, view: s.view}); why != "" {
				return fmt.Errorf("%w: %s", ErrRefused, why)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cert: the certificate does not come on record: %w", ctx.Err())
		case <-k.seen:
		}
	}
}

// await waits for the answer to a request. It gives up with errAgain when other names are wanted meanwhile.
func (k *Keeper) await(ctx context.Context, request string, names Names) (answerRecord, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	var wanted bool
	defer func() {
		cancel(nil)
		watch.Wait()
		if wanted { // the loop is to hear of it too
			signal(k.want)
		}
	}()
	watch.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-k.want:
				wanted = true
				if k.wantsOther(names) {
					cancel(errAgain)
				}
			}
		}
	})
	key := answerPrefix + string(k.cfg.Node)
	var found *answerRecord
	errFound := errors.New("found")
	look := func(i kv.Item) error {
		if i.Key != key {
			return nil
		}
		a, err := decode[answerRecord](key, i.Value)
		if err != nil || a.Request != request {
			return err
		}
		found = &a
		return errFound
	}
	err := kv.Follow(ctx, k.world.KV, key,
		func(items []kv.Item, _ int64) error {
			for _, i := range items {
				if err := look(i); err != nil {
					return err
				}
			}
			return nil
		},
		func(e kv.Event) error {
			if e.Type != kv.EventPut {
				return nil
			}
			return look(e.Item)
		})
	switch {
	case found != nil:
		return *found, nil
	case errors.Is(context.Cause(ctx), errAgain):
		return answerRecord{}, errAgain
	}
	return answerRecord{}, fmt.Errorf("cert: await the answer: %w", err)
}

// wantsOther says that a certificate with the names is not what is wanted now. Being asked for another is no reason: what is under way is one.
func (k *Keeper) wantsOther(names Names) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.names.String() != names.String()
}

// String names the node.
func (k *Keeper) String() string { return "certificate of " + strings.TrimSpace(string(k.cfg.Node)) }
