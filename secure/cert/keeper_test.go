package cert

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/disk"
	"millrace/base/kv"
)

// inBubble runs f with a fake clock, in an installation that is over when f returns.
func inBubble(t *testing.T, cfg AuthorityConfig, f func(t *testing.T, i *install)) {
	synctest.Test(t, func(t *testing.T) { f(t, newInstall(t, cfg)) })
}

// TestKeeperRenews at two thirds of each life, with a new key each time, for a year (C4).
func TestKeeperRenews(t *testing.T) {
	inBubble(t, AuthorityConfig{}, func(t *testing.T, i *install) {
		i.sign(i.authority)
		k, _ := i.keeper(Broker("c", 1), testWorld(i.store))
		var last *pair
		for range 6 {
			p := k.state.Load().pair
			if last != nil && (p.same(last) || sameKey(p.leaf(), last.key.Public())) {
				t.Fatal("not renewed, or with the former key")
			}
			last = p
			time.Sleep(time.Until(p.renewAt()) - time.Minute)
			if now := k.state.Load().pair; !now.same(p) {
				t.Fatalf("renewed %s before its end", time.Until(p.leaf().NotAfter))
			}
			time.Sleep(2 * time.Minute)
		}
		if s := k.Status(); s.Fault != nil || s.Serial == "" || s.RenewAt.Before(time.Now()) {
			t.Errorf("status: %+v", s)
		}
		time.Sleep(100 * day)
		items, _, err := i.store.List(t.Context(), trustNodes)
		if err != nil || len(items) > 3 {
			t.Errorf("%d records of nodes are left (%v)", len(items), err)
		}
	})
}

// TestKeeperWithoutControlPlane: who is away for weeks delays the renewal and ends nothing (C4).
func TestKeeperWithoutControlPlane(t *testing.T) {
	inBubble(t, AuthorityConfig{}, func(t *testing.T, i *install) {
		remote := newRemote(i.store)
		stop := i.sign(i.authority)
		k, _ := i.keeper(Broker("c", 1), testWorld(remote))
		first := k.state.Load().pair
		stop()
		time.Sleep(80 * day)
		if !k.state.Load().pair.same(first) || k.faultOf(k.state.Load()) != "" {
			t.Fatal("the certificate was not kept")
		}
		remote.setAway(true)
		stop = i.sign(i.authority) // etcd is away for the node only
		time.Sleep(5 * day)
		if !k.state.Load().pair.same(first) {
			t.Fatal("renewed through an etcd that is away")
		}
		remote.setAway(false)
		time.Sleep(time.Minute)
		if p := k.state.Load().pair; p.same(first) {
			t.Fatalf("not renewed after all are back: %+v", k.Status())
		}
		stop()
		time.Sleep(200 * day) // for so long that it ends
		if k.faultOf(k.state.Load()) == "" {
			t.Fatal("a certificate without end")
		}
		i.sign(i.authority)
		time.Sleep(time.Minute)
		if why := k.faultOf(k.state.Load()); why != "" {
			t.Fatalf("after the control plane is back: %s", why)
		}
	})
}

// TestKeeperBeginsWithItsFile: a restart asks for nothing, and needs no control plane; but it needs to read etcd (C9).
func TestKeeperBeginsWithItsFile(t *testing.T) {
	inBubble(t, AuthorityConfig{}, func(t *testing.T, i *install) {
		remote := newRemote(i.store)
		w := testWorld(remote)
		stopSigner := i.sign(i.authority)
		k, stop := i.keeper(Broker("c", 1), w)
		stop()
		stopSigner()
		first := k.state.Load().pair
		if info, err := w.FS.Stat("/node/node.pem"); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("file of the key: %v, %v", info.Mode(), err)
		}
		remote.setAway(true)
		again := i.newKeeper(Broker("c", 1), w, Rules{})
		stop = background(t, again.Run)
		time.Sleep(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := again.Wait(ctx); err == nil {
			t.Fatal("ready without knowing what is revoked")
		}
		remote.setAway(false)
		i.wait(again)
		if !again.state.Load().pair.same(first) {
			t.Error("it has another certificate")
		}
		stop()
		for name, spoil := range map[string]func(){
			"damaged": func() { _ = w.FS.WriteFileAtomic("/node/node.pem", []byte("-----BEGIN PRIVATE KEY-----\n")) },
			"others may read it": func() {
				text, _ := w.FS.ReadFile("/node/node.pem")
				_ = w.FS.Remove("/node/node.pem")
				f, err := w.FS.OpenFile("/node/node.pem", os.O_CREATE|os.O_WRONLY, 0o644)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = f.WriteAt(text, 0)
				_ = f.Close()
			},
		} {
			last, err := loadPair(w.FS, "/node/node.pem")
			if err != nil || last == nil {
				t.Fatal(err)
			}
			spoil()
			stopSigner := i.sign(i.authority)
			k, stop := i.keeper(Broker("c", 1), w)
			if k.state.Load().pair.same(last) {
				t.Errorf("%s: it is used", name)
			}
			stop()
			stopSigner()
		}
	})
}

// TestSettle: the others hear of a certificate before it is shown to them, unless there is none to show meanwhile.
func TestSettle(t *testing.T) {
	inBubble(t, AuthorityConfig{}, func(t *testing.T, i *install) {
		i.sign(i.authority)
		k, err := NewKeeper(KeeperConfig{Node: Broker("c", 1), Names: Broker("c", 1).Names(), File: "/f", Settle: 10 * time.Second}, testWorld(i.store))
		if err != nil {
			t.Fatal(err)
		}
		background(t, k.Run)
		synctest.Wait()
		first := k.state.Load().pair
		if first == nil {
			t.Fatal("the first certificate was held back")
		}
		k.Renew()
		time.Sleep(9 * time.Second)
		if !k.state.Load().pair.same(first) {
			t.Error("a certificate is shown at once")
		}
		time.Sleep(2 * time.Second)
		second := k.state.Load().pair
		if second.same(first) {
			t.Error("not renewed")
		}
		if _, err := i.authority.Revoke(t.Context(), RevokeRequest{Serial: second.serial()}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if k.state.Load().pair.same(second) {
			t.Error("a revoked certificate is shown on")
		}
	})
}

func TestKeeperReasons(t *testing.T) {
	inBubble(t, AuthorityConfig{}, func(t *testing.T, i *install) {
		i.sign(i.authority)
		k, _ := i.keeper(Broker("c", 1), testWorld(i.store))
		last := k.state.Load().pair
		changed := func(what string) {
			t.Helper()
			time.Sleep(time.Second)
			p := k.state.Load().pair
			if p.same(last) || k.faultOf(k.state.Load()) != "" {
				t.Fatalf("%s: %+v", what, k.Status())
			}
			last = p
		}
		k.Renew()
		changed("asked for")
		if _, err := i.authority.Revoke(t.Context(), RevokeRequest{Serial: strings.ToUpper(last.serial())}); err != nil {
			t.Fatal(err)
		}
		changed("revoked")
		more := Broker("c", 1).Names("127.0.0.1:1", "broker.example.com:9092", "10.1.2.3:9")
		i.mayBe(more)
		k.SetNames(more)
		changed("other names")
		if !last.covers(more) {
			t.Errorf("names: %s", namesIn(last.leaf()))
		}
		if err := i.authority.Replace(t.Context()); err != nil {
			t.Fatal(err)
		}
		changed("another authority")
		if _, err := i.store.Txn(t.Context(), nil, []kv.Op{kv.DeletePrefix(trustNodes)}); err != nil {
			t.Fatal(err)
		}
		changed("records lost")
		// Less is no reason.
		k.SetNames(Broker("c", 1).Names())
		time.Sleep(time.Hour)
		if !k.state.Load().pair.same(last) {
			t.Error("renewed for fewer names")
		}
	})
}

// TestSignerRefuses what a node may not have (C3), and the node gets it once it may.
func TestSignerRefuses(t *testing.T) {
	inBubble(t, AuthorityConfig{}, func(t *testing.T, i *install) {
		i.sign(i.authority)
		w := testWorld(i.store)
		foreign := Broker("c", 1).Names("bank.example.com:9092")
		k, err := NewKeeper(KeeperConfig{Node: Broker("c", 1), Names: foreign, File: "/f"}, w)
		if err != nil {
			t.Fatal(err)
		}
		background(t, k.Run)
		time.Sleep(time.Hour)
		if s := k.Status(); s.Serial != "" || !errors.Is(s.Fault, ErrRequest) || !strings.Contains(s.Fault.Error(), "bank.example.com") {
			t.Fatalf("status: %+v", s)
		}
		items, _, _ := i.store.List(t.Context(), trustNodes)
		if len(items) > 0 {
			t.Fatalf("%d certificates were signed", len(items))
		}
		i.mayBe(foreign)
		time.Sleep(2 * time.Minute)
		if s := k.Status(); s.Serial == "" || s.Fault != nil {
			t.Errorf("status: %+v", s)
		}
	})
}

// TestKeeperDiskFull serves what it cannot keep.
func TestKeeperDiskFull(t *testing.T) {
	inBubble(t, AuthorityConfig{}, func(t *testing.T, i *install) {
		i.sign(i.authority)
		w := testWorld(i.store)
		var full atomic.Bool
		full.Store(true)
		w.FS = disk.Faulty(w.FS, func(op disk.Op) error {
			if full.Load() && op.Kind == disk.OpWrite {
				return errors.New("no space left on device")
			}
			return nil
		})
		k, _ := i.keeper(Broker("c", 1), w)
		full.Store(false)
		k.Renew()
		time.Sleep(time.Minute)
		p, err := loadPair(w.FS, "/node/node.pem")
		if err != nil || !p.same(k.state.Load().pair) {
			t.Errorf("kept: %v", err)
		}
	})
}

// TestWrongAnswers: whatever stands in the place of an answer, the Keeper takes only a certificate for its key, its names and by the
// authority, that is on record.
func TestWrongAnswers(t *testing.T) {
	inBubble(t, AuthorityConfig{}, func(t *testing.T, i *install) {
		stranger := newInstall(t, AuthorityConfig{})
		w := testWorld(i.store)
		k := i.newKeeper(Broker("c", 1), w, Rules{})
		background(t, k.Run)
		client := i.client(ClientRequest{Name: "client"})
		answers := []func(r requestRecord) answerRecord{
			func(requestRecord) answerRecord { return answerRecord{Format: 2} },
			func(requestRecord) answerRecord { return answerRecord{Format: 1, Chain: "hello"} },
			func(requestRecord) answerRecord { return answerRecord{Format: 1, Chain: encodePEM(client.leaf())} },
			func(r requestRecord) answerRecord { // signed, but by another authority
				leaf, _, err := NewSigner(stranger.authority, stranger.allow, w).sign(t.Context(), stranger.authority.standing(), r)
				if err != nil {
					t.Fatal(err)
				}
				record, _ := encode(nodeRecord{Format: 1, Fingerprint: fingerprint(leaf)})
				if _, err := i.store.Txn(t.Context(), nil, []kv.Op{kv.Put(trustNodes+serialText(leaf.SerialNumber), record)}); err != nil {
					t.Fatal(err)
				}
				return answerRecord{Format: 1, Chain: encodePEM(leaf)}
			},
			func(r requestRecord) answerRecord { // signed, but not on record
				leaf, _, err := NewSigner(i.authority, i.allow, w).sign(t.Context(), i.authority.standing(), r)
				if err != nil {
					t.Fatal(err)
				}
				return answerRecord{Format: 1, Chain: encodePEM(leaf)}
			},
		}
		for n, make := range answers {
			time.Sleep(time.Minute)
			item, err := i.store.Get(t.Context(), requestPrefix+"broker/c/1")
			if err != nil {
				t.Fatal(err)
			}
			r, err := decode[requestRecord](item.Key, item.Value)
			if err != nil {
				t.Fatal(err)
			}
			a := make(r)
			a.Request = digest(r.CSR)
			value, _ := encode(a)
			if _, err := i.store.Txn(t.Context(), nil, []kv.Op{kv.Put(answerPrefix+"broker/c/1", value)}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if s := k.Status(); s.Serial != "" || s.Fault == nil {
				t.Errorf("answer %d: %+v", n, s)
			}
		}
		i.sign(i.authority)
		time.Sleep(2 * time.Minute)
		i.wait(k)
	})
}

// TestRequestsOfHostileNodes: nothing but an answer that refuses, or none, comes of these.
func TestRequestsOfHostileNodes(t *testing.T) {
	inBubble(t, AuthorityConfig{}, func(t *testing.T, i *install) {
		i.sign(i.authority)
		key, err := newKey()
		if err != nil {
			t.Fatal(err)
		}
		good, err := makeRequest(key, Broker("c", 1).Names())
		if err != nil {
			t.Fatal(err)
		}
		nameless, err := makeRequest(key, Names{})
		if err != nil {
			t.Fatal(err)
		}
		forged := append([]byte(nil), good...)
		forged[len(forged)-1] ^= 1 // of the signature
		put := func(at string, v any) {
			t.Helper()
			var value []byte
			switch v := v.(type) {
			case requestRecord:
				value, _ = encode(v)
			case string:
				value = []byte(v)
			}
			if _, err := i.store.Txn(t.Context(), nil, []kv.Op{kv.Put(requestPrefix+at, value)}); err != nil {
				t.Fatal(err)
			}
		}
		put("broker/c/1", requestRecord{Format: 1, Node: "broker/c/1", CSR: forged})
		put("broker/c/2", requestRecord{Format: 1, Node: "broker/c/1", CSR: good})
		put("broker/c/3", requestRecord{Format: 1, Node: "broker/c/3", CSR: nameless})
		put("broker/c/4", "not JSON")
		put("broker/c/5", requestRecord{Format: 2, Node: "broker/c/5", CSR: good})
		put("root/x", requestRecord{Format: 1, Node: "root/x", CSR: good})
		put("broker/c/6", requestRecord{Format: 1, Node: "broker/c/6", CSR: make([]byte, maxRequestDER+1)})
		put("../../security/authority", requestRecord{Format: 1, Node: "../../security/authority", CSR: good})
		time.Sleep(time.Minute)
		if items, _, _ := i.store.List(t.Context(), trustNodes); len(items) > 0 {
			t.Errorf("%d certificates were signed", len(items))
		}
		answers, _, _ := i.store.List(t.Context(), answerPrefix)
		for _, item := range answers {
			if a, err := decode[answerRecord](item.Key, item.Value); err != nil || a.Refused == "" || a.Chain != "" {
				t.Errorf("%s: %+v, %v", item.Key, a, err)
			}
		}
		if len(answers) != 3 {
			t.Errorf("%d answers, want those of brokers 1, 3 and 6", len(answers))
		}
		// The signer still works.
		i.keeper(Broker("c", 2), testWorld(i.store))
	})
}

// TestKeeperLives lets everything happen that may: crashes of the node at any write to its disk, of the control plane, etcd away,
// revocations, replaced authorities, time. Whenever all have been there for a while, there is a good certificate; and the file always
// holds a whole pair.
func TestKeeperLives(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, AuthorityConfig{NodeLife: 9 * time.Hour, Life: 60 * time.Hour}, func(t *testing.T, i *install) { lives(t, i, seed) })
		})
	}
}

func lives(t *testing.T, i *install, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 6))
	remote := newRemote(i.store)
	crash := disk.NewMem()
	var budget atomic.Int64
	budget.Store(-1)
	w := testWorld(remote)
	w.FS = disk.Faulty(crash, func(disk.Op) error {
		for {
			left := budget.Load()
			switch {
			case left == 0:
				return errors.New("the process is dead")
			case left < 0 || budget.CompareAndSwap(left, left-1):
				return nil
			}
		}
	})
	k := i.newKeeper(Broker("c", 1), w, Rules{})
	stopKeeper, stopSigner := background(t, k.Run), i.sign(i.authority)
	signs := true
	for range 60 {
		switch random.IntN(7) {
		case 0: // the node dies at one of its next writes, or at once
			budget.Store(random.Int64N(8))
			k.Renew()
			time.Sleep(time.Duration(random.IntN(5000)) * time.Millisecond)
			stopKeeper()
			budget.Store(-1)
			if p, err := loadPair(w.FS, "/node/node.pem"); err != nil || p != nil && !sameKey(p.leaf(), p.key.Public()) {
				t.Fatalf("file after a crash: %v", err)
			}
			k = i.newKeeper(Broker("c", 1), w, Rules{})
			stopKeeper = background(t, k.Run)
		case 1:
			if stopSigner(); !signs {
				stopSigner = i.sign(i.open(AuthorityConfig{NodeLife: 9 * time.Hour, Life: 60 * time.Hour}))
			}
			signs = !signs
		case 2:
			remote.setAway(true)
		case 3:
			remote.setAway(false)
		case 4:
			if s := k.Status(); s.Serial != "" && random.IntN(2) == 0 {
				if _, err := i.authority.Revoke(t.Context(), RevokeRequest{Serial: s.Serial, Foreign: true}); err != nil {
					t.Fatal(err)
				}
			}
		case 5:
			if err := i.authority.Replace(t.Context()); err != nil && !errors.Is(err, ErrGiven) {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Duration(random.Int64N(int64(3 * time.Hour))))
	}
	remote.setAway(false)
	if !signs {
		stopSigner = i.sign(i.authority)
	}
	time.Sleep(2 * time.Minute)
	if why := k.faultOf(k.state.Load()); why != "" {
		t.Errorf("all are there, and still: %s; %+v", why, k.Status())
	}
	if why, _ := k.due(); why != "" {
		t.Errorf("all are there, and still a certificate is due: %s", why)
	}
	stopKeeper()
	stopSigner()
}
