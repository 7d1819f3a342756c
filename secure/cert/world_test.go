package cert

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
)

// testSealer seals with a key of its own.
type testSealer struct{ gcm cipher.AEAD }

func newSealer(t testing.TB, seed byte) testSealer {
	t.Helper()
	block, err := aes.NewCipher(bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return testSealer{gcm}
}

func (s testSealer) Seal(plain, context []byte) ([]byte, error) {
	nonce := make([]byte, s.gcm.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return s.gcm.Seal(nonce, nonce, plain, context), nil
}

func (s testSealer) Open(sealed, context []byte) ([]byte, error) {
	if len(sealed) < s.gcm.NonceSize() {
		return nil, errors.New("short")
	}
	return s.gcm.Open(nil, sealed[:s.gcm.NonceSize()], sealed[s.gcm.NonceSize():], context)
}

// remoteKV is a store that can be away: then nothing is answered, as with etcd, until the caller gives up or it is back.
type remoteKV struct {
	kv.KV

	mu   sync.Mutex
	back chan struct{} // closed while it is there
}

func newRemote(store kv.KV) *remoteKV {
	r := &remoteKV{KV: store, back: make(chan struct{})}
	close(r.back)
	return r
}

func (r *remoteKV) setAway(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.back:
		if away {
			r.back = make(chan struct{})
		}
	default:
		if !away {
			close(r.back)
		}
	}
}

func (r *remoteKV) reach(ctx context.Context) error {
	r.mu.Lock()
	back := r.back
	r.mu.Unlock()
	select {
	case <-back:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *remoteKV) Get(ctx context.Context, key string) (kv.Item, error) {
	if err := r.reach(ctx); err != nil {
		return kv.Item{}, err
	}
	return r.KV.Get(ctx, key)
}

func (r *remoteKV) List(ctx context.Context, prefix string) ([]kv.Item, int64, error) {
	if err := r.reach(ctx); err != nil {
		return nil, 0, err
	}
	return r.KV.List(ctx, prefix)
}

func (r *remoteKV) Txn(ctx context.Context, cond []kv.Cond, then []kv.Op) (int64, error) {
	if err := r.reach(ctx); err != nil {
		return 0, err
	}
	return r.KV.Txn(ctx, cond, then)
}

func (r *remoteKV) Watch(ctx context.Context, prefix string, from int64) <-chan kv.Event {
	in, out := r.KV.Watch(ctx, prefix, from), make(chan kv.Event)
	go func() {
		defer close(out)
		for e := range in {
			if r.reach(ctx) != nil {
				continue // ctx has ended: in ends too
			}
			select {
			case out <- e:
			case <-ctx.Done():
			}
		}
	}()
	return out
}

// install is an installation in a test.
type install struct {
	t         testing.TB
	store     *kv.Memory
	sealer    testSealer
	authority *Authority

	mu    sync.Mutex
	names Names // that Allow gives everybody
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func testWorld(store kv.KV) World {
	return World{KV: store, Clock: clock.System{}, Log: discard(), FS: disk.NewMem()}
}

func newInstall(t testing.TB, cfg AuthorityConfig) *install {
	t.Helper()
	i := &install{t: t, store: kv.NewMemory(), sealer: newSealer(t, 1)}
	t.Cleanup(func() { _ = i.store.Close() })
	i.names = Broker("c", 1).Names("127.0.0.1:9092").Add(Broker("c", 2).Names()).Add(Agent("h").Names()).Add(Serve("h").Names())
	i.authority = i.open(cfg)
	return i
}

func (i *install) open(cfg AuthorityConfig) *Authority {
	i.t.Helper()
	a, err := OpenAuthority(i.t.Context(), cfg, i.sealer, testWorld(i.store))
	if err != nil {
		i.t.Fatal(err)
	}
	return a
}

func (i *install) allow(context.Context, Node) (Names, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.names, nil
}

// mayBe lets nodes have more names.
func (i *install) mayBe(more Names) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.names = i.names.Add(more)
}

// background runs f until the end of the test, or until stop.
func background(t testing.TB, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func (i *install) sign(a *Authority) (stop func()) {
	return background(i.t, NewSigner(a, i.allow, testWorld(i.store)).Run)
}

// keeper makes and runs one, and waits until it is ready.
func (i *install) keeper(n Node, w World) (k *Keeper, stop func()) {
	i.t.Helper()
	k = i.newKeeper(n, w, Rules{})
	stop = background(i.t, k.Run)
	i.wait(k)
	return k, stop
}

func (i *install) newKeeper(n Node, w World, rules Rules) *Keeper {
	i.t.Helper()
	k, err := NewKeeper(KeeperConfig{Node: n, Names: n.Names("127.0.0.1:9092"), File: "/node/node.pem", Settle: time.Millisecond, Mapping: rules}, w)
	if err != nil {
		i.t.Fatal(err)
	}
	return k
}

func (i *install) wait(k *Keeper) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(i.t.Context(), 20*time.Second)
	defer cancel()
	if err := k.Wait(ctx); err != nil {
		i.t.Fatal(err)
	}
}

// client makes a certificate for a client.
func (i *install) client(r ClientRequest) *pair {
	i.t.Helper()
	key, err := newKey()
	if err != nil {
		i.t.Fatal(err)
	}
	if r.CSR, err = makeRequest(key, Names{}); err != nil {
		i.t.Fatal(err)
	}
	issued, err := i.authority.IssueClient(i.t.Context(), r)
	if err != nil {
		i.t.Fatal(err)
	}
	chain, err := parsePEM([]byte(issued.Chain))
	if err != nil {
		i.t.Fatal(err)
	}
	p, err := newPair(key, chain)
	if err != nil {
		i.t.Fatal(err)
	}
	return p
}

// meet waits until each of the Keepers has read which certificates the others have: by its watch, so a moment after they have them.
func meet(t testing.TB, keepers ...*Keeper) {
	t.Helper()
	for _, k := range keepers {
		for _, other := range keepers {
			until(t, "a node knows of another", func() bool {
				_, known := k.state.Load().view.nodes[other.Status().Serial]
				return known
			})
		}
	}
}

// until waits for a condition of a Keeper, which is looked at after each change that it can have seen.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("not reached: %s", what)
		case <-tick.C:
		}
	}
}
