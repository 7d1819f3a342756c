package keys

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
)

func TestSealedIsOpenedWithItsContextOnly(t *testing.T) {
	store := kv.NewMemory()
	k := newKeyring(t)
	r := openRing(t, store, "secrets", k, testWorld())
	other := openRing(t, store, "clusters/a", k, testWorld())
	sealed, err := r.Seal([]byte("hunter2"), []byte("clusters/a/scram/alice"))
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := r.Seal([]byte("hunter2"), []byte("clusters/a/scram/alice")); bytes.Equal(again, sealed) {
		t.Error("sealing twice gave the same bytes")
	}
	plain, err := r.Open(sealed, []byte("clusters/a/scram/alice"))
	if err != nil || string(plain) != "hunter2" {
		t.Fatalf("opened %q, %v", plain, err)
	}
	if _, err := r.Open(sealed, []byte("clusters/a/scram/bob")); !errors.Is(err, ErrSealed) {
		t.Errorf("another context: %v", err)
	}
	if _, err := other.Open(sealed, []byte("clusters/a/scram/alice")); !errors.Is(err, ErrSealed) {
		t.Errorf("another purpose: %v", err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := r.Open(bad, []byte("clusters/a/scram/alice")); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
		if _, err := r.Open(sealed[:i], []byte("clusters/a/scram/alice")); err == nil {
			t.Errorf("opened %d bytes of %d", i, len(sealed))
		}
	}
	if empty, err := r.Seal(nil, nil); err != nil {
		t.Error(err)
	} else if plain, err := r.Open(empty, nil); err != nil || len(plain) != 0 {
		t.Errorf("nothing came back as %q, %v", plain, err)
	}
}

// Y1.
func TestRingGoesOnWithoutKMSAndStore(t *testing.T) {
	store := kv.NewMemory()
	k := &gate{KMS: newKeyring(t)}
	r := openRing(t, store, "secrets", k, testWorld())
	asked := k.count()
	k.set(true)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	sealed, err := r.Seal([]byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Open(sealed, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.Derive(t.Context(), r.Newest(), "file", []byte("salt"), make([]byte, 32)); err != nil {
		t.Fatal(err)
	}
	if n := k.count(); n != asked {
		t.Errorf("the KMS was asked %d times", n-asked)
	}
}

// Y2, Y3.
func TestManyOpenTogether(t *testing.T) {
	store := kv.NewMemory()
	k := newKeyring(t)
	var group sync.WaitGroup
	rings := make([]*Ring, 8)
	for i := range rings {
		group.Go(func() {
			r, err := OpenRing(t.Context(), store, "secrets", k, testWorld())
			if err != nil {
				t.Error(err)
				return
			}
			rings[i] = r
		})
	}
	group.Wait()
	if t.Failed() {
		return
	}
	sealed, _ := rings[0].Seal([]byte("x"), nil)
	for _, r := range rings {
		if _, err := r.Open(sealed, nil); err != nil {
			t.Error(err)
		}
		r.Close()
		r.Close()
	}
	items, _, _ := store.List(t.Context(), prefix)
	if len(items) != 1 {
		t.Errorf("%d data keys were made", len(items))
	}
}

// Y2, Y4: what was sealed stays readable; all learn the new key.
func TestRotate(t *testing.T) {
	store := kv.NewMemory()
	k := newKeyring(t)
	a, b := openRing(t, store, "secrets", k, testWorld()), openRing(t, store, "secrets", k, testWorld())
	old, _ := a.Seal([]byte("old"), nil)
	var derived, again [32]byte
	if err := a.Derive(t.Context(), 1, "file", []byte("salt"), derived[:]); err != nil {
		t.Fatal(err)
	}
	for want := uint32(2); want < 5; want++ {
		id, err := a.Rotate(t.Context())
		if err != nil || id != want || a.Newest() != want {
			t.Fatalf("rotated to %d (newest %d), %v, want %d", id, a.Newest(), err, want)
		}
		sealed, _ := a.Seal([]byte("new"), nil)
		if err := b.Derive(t.Context(), id, "file", nil, again[:]); err != nil { // waits for it
			t.Fatal(err)
		}
		if plain, err := b.Open(sealed, nil); err != nil || string(plain) != "new" {
			t.Fatalf("the other opened %q, %v", plain, err)
		}
	}
	if plain, err := b.Open(old, nil); err != nil || string(plain) != "old" {
		t.Fatalf("old: %q, %v", plain, err)
	}
	c := openRing(t, store, "secrets", k, testWorld())
	if plain, err := c.Open(old, nil); err != nil || string(plain) != "old" || c.Newest() != 4 || len(c.Keys()) != 4 {
		t.Fatalf("after a restart: %q, %v, newest %d of %d", plain, err, c.Newest(), len(c.Keys()))
	}
	if err := c.Derive(t.Context(), 1, "file", []byte("salt"), again[:]); err != nil || again != derived {
		t.Fatalf("derived another key after a restart, %v", err)
	}
}

// Y4.
func TestNewKeySettlesBeforeItSeals(t *testing.T) {
	store := kv.NewMemory()
	k := newKeyring(t)
	now := clock.NewManual(time.Unix(1e9, 0))
	w := testWorld()
	w.Clock, w.Settle = now, 5*time.Second
	r := openRing(t, store, "secrets", k, w)
	if _, err := r.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.Newest() != 1 {
		t.Error("a new key is used at once")
	}
	late := openRing(t, store, "secrets", k, w)
	if late.Newest() != 1 {
		t.Error("a key that is just made is used at once after a start")
	}
	now.Advance(5 * time.Second)
	if r.Newest() != 2 || late.Newest() != 2 {
		t.Errorf("keys %d and %d are used after the new one has settled", r.Newest(), late.Newest())
	}
	if openRing(t, store, "secrets", k, w).Newest() != 2 {
		t.Error("an old key is not used at once after a start")
	}
}

func TestRotateTogether(t *testing.T) {
	store := kv.NewMemory()
	k := newKeyring(t)
	r := openRing(t, store, "secrets", k, testWorld())
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, err := r.Rotate(t.Context()); err != nil && !errors.Is(err, kv.ErrConflict) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	items, _, _ := store.List(t.Context(), prefix)
	waitLearned(r, func() bool { return len(r.Keys()) == len(items) })
	openRing(t, store, "secrets", k, testWorld())
}

// Y3.
func TestWrongKMSIsRefusedAndNothingWritten(t *testing.T) {
	store := kv.NewMemory()
	openRing(t, store, "secrets", newKeyring(t), testWorld())
	before, _, _ := store.List(t.Context(), "")
	_, err := OpenRing(t.Context(), store, "secrets", newKeyring(t), testWorld())
	if !errors.Is(err, ErrWrongKMS) {
		t.Fatalf("opened with another key ring: %v", err)
	}
	for _, word := range []string{"data key 1", "secrets", "keyring:///"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
	after, _, _ := store.List(t.Context(), "")
	if fmt.Sprint(before) != fmt.Sprint(after) {
		t.Error("etcd was changed")
	}
}

func TestRecordsAreBoundToTheirPlace(t *testing.T) {
	store := kv.NewMemory()
	k := newKeyring(t)
	openRing(t, store, "clusters/a", k, testWorld())
	item, err := store.Get(t.Context(), recordKey("clusters/a", 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{recordKey("clusters/b", 1), recordKey("clusters/a", 2)} {
		if _, err := store.Txn(t.Context(), nil, []kv.Op{kv.Put(place, item.Value)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, purpose := range []string{"clusters/a", "clusters/b"} {
		if _, err := OpenRing(t.Context(), store, purpose, k, testWorld()); !errors.Is(err, ErrWrongKMS) {
			t.Errorf("%s: a copied record was taken: %v", purpose, err)
		}
	}
}

func TestLostKeyIsFound(t *testing.T) {
	store := kv.NewMemory()
	k := newKeyring(t)
	r := openRing(t, store, "secrets", k, testWorld())
	if _, err := r.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Txn(t.Context(), nil, []kv.Op{kv.Delete(recordKey("secrets", 1))}); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRing(t.Context(), store, "secrets", k, testWorld()); !errors.Is(err, errGap) {
		t.Fatalf("key 1 is lost and nobody says so: %v", err)
	}
}

// Y3: a start waits for the KMS.
func TestStartWaitsForTheKMS(t *testing.T) {
	for _, first := range []bool{true, false} {
		store := kv.NewMemory()
		k := &gate{KMS: newKeyring(t)}
		if !first {
			openRing(t, store, "secrets", k, testWorld())
		}
		k.set(true)
		var log bytes.Buffer
		w := testWorld()
		w.Log = slog.New(slog.NewTextHandler(&log, nil))
		opened := make(chan error, 1)
		asked := k.count()
		go func() {
			r, err := OpenRing(t.Context(), store, "secrets", k, w)
			if err == nil {
				r.Close()
			}
			opened <- err
		}()
		k.waitAsked(asked + 1)
		k.set(false)
		if err := <-opened; err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), "KMS is away") {
			t.Errorf("nothing was said: %s", &log)
		}
	}
	k := &gate{KMS: newKeyring(t), away: true}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := OpenRing(ctx, kv.NewMemory(), "secrets", k, testWorld()); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrUnavailable) {
		t.Errorf("after its time: %v", err)
	}
}

// A key that another process makes while the KMS is away here is learned when it is back.
func TestFollowingWaitsForTheKMS(t *testing.T) {
	store := kv.NewMemory()
	local := newKeyring(t)
	k := &gate{KMS: local}
	a, b := openRing(t, store, "secrets", local, testWorld()), openRing(t, store, "secrets", k, testWorld())
	k.set(true)
	asked := k.count()
	if _, err := a.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.waitAsked(asked)
	if b.Newest() != 1 {
		t.Error("a key that was not unwrapped is in use")
	}
	if _, err := b.Seal([]byte("x"), nil); err != nil {
		t.Error(err)
	}
	k.set(false)
	waitLearned(b, func() bool { return b.Newest() == 2 })
}

// Y7.
func TestRewrap(t *testing.T) {
	store := kv.NewMemory()
	from, to := newKeyring(t), newKeyring(t)
	a := openRing(t, store, "secrets", from, testWorld())
	if _, err := a.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	openRing(t, store, "clusters/a", from, testWorld())
	sealed, _ := a.Seal([]byte("x"), nil)
	if _, err := Rewrap(t.Context(), store, to, newKeyring(t)); !errors.Is(err, ErrWrongKMS) {
		t.Fatalf("rewrapped from a KMS that wrapped nothing: %v", err)
	}
	if n, err := Rewrap(t.Context(), store, from, to); n != 3 || err != nil {
		t.Fatalf("rewrapped %d, %v", n, err)
	}
	if n, err := Rewrap(t.Context(), store, from, to); n != 0 || err != nil {
		t.Fatalf("rewrapped %d the second time, %v", n, err)
	}
	if _, err := OpenRing(t.Context(), store, "secrets", from, testWorld()); !errors.Is(err, ErrWrongKMS) {
		t.Fatalf("the old KMS still opens: %v", err)
	}
	b := openRing(t, store, "secrets", to, testWorld())
	if plain, err := b.Open(sealed, nil); err != nil || string(plain) != "x" {
		t.Fatalf("%q, %v", plain, err)
	}
	infos, err := List(t.Context(), store)
	if err != nil || len(infos) != 3 {
		t.Fatalf("%v, %v", infos, err)
	}
	for _, info := range infos {
		if info.KMS != to.Name() {
			t.Errorf("%v", info)
		}
	}
}

// Y5.
func TestNothingPrintsAKey(t *testing.T) {
	fs := disk.NewMem()
	const url = "keyring:///data/keyring.json"
	if err := CreateKeyring(url, fs); err != nil {
		t.Fatal(err)
	}
	data, _ := fs.ReadFile("/data/keyring.json")
	k, err := OpenKMS(t.Context(), url, fs)
	if err != nil {
		t.Fatal(err)
	}
	r := openRing(t, kv.NewMemory(), "secrets", k, testWorld())
	root := r.now.Load().newest.root
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "ring", r, "kms", k)
	all := log.String()
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		all += fmt.Sprintf(format+" "+format+" "+format, r, k, struct {
			R *Ring
			K KMS
		}{r, k})
	}
	_, err = decodeKeyring(bytes.Replace(data, []byte(`"format": 1`), []byte(`"format": x`), 1))
	all += err.Error()
	secrets := [][]byte{root}
	for _, key := range []string{string(data[bytes.Index(data, []byte(`"key": "`))+8:])} {
		raw, _ := base64.StdEncoding.DecodeString(key[:44])
		secrets = append(secrets, raw)
	}
	for _, s := range secrets {
		if len(s) != keyBytes {
			t.Fatalf("a secret of %d bytes", len(s))
		}
		for _, shape := range []string{hex.EncodeToString(s), base64.StdEncoding.EncodeToString(s), fmt.Sprint(s)[1:20], string(s)} {
			if strings.Contains(all, shape) {
				t.Errorf("a key shows as %q", shape)
			}
		}
	}
}
