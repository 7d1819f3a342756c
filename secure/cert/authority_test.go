package cert

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/base/kv"
)

// together keeps the first answers about the authority back until all have asked.
type together struct {
	kv.KV
	asked sync.WaitGroup
}

func (g *together) Get(ctx context.Context, key string) (kv.Item, error) {
	item, err := g.KV.Get(ctx, key)
	if errors.Is(err, kv.ErrNotFound) {
		g.asked.Done()
		g.asked.Wait()
	}
	return item, err
}

// TestAuthorityIsMadeOnce opens it from several processes at a time.
func TestAuthorityIsMadeOnce(t *testing.T) {
	store := kv.NewMemory()
	defer store.Close()
	prints := make([]string, 8)
	at := &together{KV: store}
	at.asked.Add(len(prints))
	var all sync.WaitGroup
	for n := range prints {
		all.Go(func() {
			a, err := OpenAuthority(t.Context(), AuthorityConfig{}, newSealer(t, 1), testWorld(at))
			if err != nil {
				t.Error(err)
				return
			}
			prints[n] = a.CA().Fingerprint
		})
	}
	all.Wait()
	for _, p := range prints {
		if p == "" || p != prints[0] {
			t.Fatalf("authorities: %q", prints)
		}
	}
}

// TestAuthorityKeyIsSealed looks for the key in all of etcd (C1), and opens it with another sealer.
func TestAuthorityKeyIsSealed(t *testing.T) {
	i := newInstall(t, AuthorityConfig{})
	der, err := x509.MarshalPKCS8PrivateKey(i.authority.standing().issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	key := i.authority.standing().issuer.key
	secret := der[len(der)-100:]
	items, _, err := i.store.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range items {
		if bytes.Contains(item.Value, secret[:20]) || strings.Contains(string(item.Value), "PRIVATE") {
			t.Errorf("%s holds the key", item.Key)
		}
	}
	before, _ := i.store.Get(t.Context(), authorityKey)
	_, err = OpenAuthority(t.Context(), AuthorityConfig{}, newSealer(t, 2), testWorld(i.store))
	if !errors.Is(err, ErrSealed) {
		t.Errorf("opened with a wrong key: %v", err)
	}
	if after, _ := i.store.Get(t.Context(), authorityKey); after.ModRev != before.ModRev {
		t.Error("the record was changed")
	}
	for _, text := range []string{fmt.Sprintf("%v", i.authority), fmt.Sprintf("%+v", Given{Key: []byte("hidden")}), fmt.Sprintf("%#v", Given{Key: []byte("hidden")})} {
		if strings.Contains(text, "hidden") || strings.Contains(text, fmt.Sprint(key)) {
			t.Errorf("printed: %s", text)
		}
	}
}

func TestNewerAuthority(t *testing.T) {
	store := kv.NewMemory()
	defer store.Close()
	if _, err := store.Txn(t.Context(), nil, []kv.Op{kv.Put(authorityKey, []byte(`{"format":2}`))}); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthority(t.Context(), AuthorityConfig{}, newSealer(t, 1), testWorld(store)); !errors.Is(err, ErrNewer) {
		t.Errorf("a newer record: %v", err)
	}
}

// givenBy makes what an operator would give.
func givenBy(t *testing.T, i *issuer) Given {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		t.Fatal(err)
	}
	return Given{Chain: []byte(encodePEM(i.chain...)), Key: pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der})}
}

// TestGivenReplaces: who trusts only the former authority still accepts what the new one signs, and the other way round what the
// former has signed is still trusted (C2); until it is distrusted.
func TestGivenReplaces(t *testing.T) {
	i := newInstall(t, AuthorityConfig{})
	old := i.authority.standing()
	former := i.client(ClientRequest{Name: "former"})
	next, err := makeIssuer("corporate", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	i.authority = i.open(AuthorityConfig{Given: givenBy(t, next)})
	if ca := i.authority.CA(); !ca.Given || ca.Fingerprint != fingerprint(next.cert()) || len(ca.Trusted) != 2 {
		t.Fatalf("authority: %+v", ca)
	}
	signs := i.sign(i.authority)
	k, stop := i.keeper(Broker("c", 1), testWorld(i.store))
	stop()
	signs()
	oldOnly := x509.NewCertPool()
	oldOnly.AddCert(old.issuer.anchor())
	if err := k.state.Load().pair.verify(oldOnly, time.Now()); err != nil {
		t.Errorf("who trusts the former authority: %v", err)
	}
	newOnly := x509.NewCertPool()
	newOnly.AddCert(next.anchor())
	if err := k.state.Load().pair.verify(newOnly, time.Now()); err != nil {
		t.Errorf("who trusts the new authority: %v", err)
	}
	if _, err := former.leaf().Verify(x509.VerifyOptions{Roots: k.state.Load().view.pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("what the former has signed: %v", err)
	}
	if err := i.authority.Distrust(t.Context(), fingerprint(next.cert())); !errors.Is(err, ErrRequest) {
		t.Errorf("the present authority was distrusted: %v", err)
	}
	if err := i.authority.Distrust(t.Context(), fingerprint(old.issuer.cert())); err != nil {
		t.Fatal(err)
	}
	if ca := i.authority.CA(); len(ca.Trusted) != 1 || i.authority.standing().bridges != nil {
		t.Errorf("after distrust: %+v", ca)
	}
	// Given again, nothing changes; without, it stays.
	rev := i.authority.standing().rev
	for _, cfg := range []AuthorityConfig{{Given: givenBy(t, next)}, {}} {
		if a := i.open(cfg); a.CA().Fingerprint != fingerprint(next.cert()) || len(a.CA().Trusted) != 1 {
			t.Errorf("opened again: %+v", a.CA())
		}
	}
	if item, _ := i.store.Get(t.Context(), authorityKey); item.ModRev != rev {
		t.Error("opening it again has changed the record")
	}
}

// TestGivenReplacesLostKey: an authority whose key cannot be opened any more is replaced by one that is given.
func TestGivenReplacesLostKey(t *testing.T) {
	i := newInstall(t, AuthorityConfig{})
	old := i.authority.CA().Fingerprint
	next, err := makeIssuer("corporate", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	a, err := OpenAuthority(t.Context(), AuthorityConfig{Given: givenBy(t, next)}, newSealer(t, 9), testWorld(i.store))
	if err != nil {
		t.Fatal(err)
	}
	if ca := a.CA(); ca.Fingerprint != fingerprint(next.cert()) || len(ca.Trusted) != 2 || ca.Trusted[1].Fingerprint != old {
		t.Errorf("authority: %+v", ca)
	}
	// Who cannot open the new key refuses to sign, and keeps what it had.
	if err := i.authority.Replace(t.Context()); !errors.Is(err, ErrSealed) {
		t.Errorf("replaced with a wrong key: %v", err)
	}
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	r := ClientRequest{Name: "x"}
	r.CSR, _ = makeRequest(key, Names{})
	if _, err := i.authority.IssueClient(t.Context(), r); !errors.Is(err, ErrSealed) {
		t.Errorf("signed with a former key: %v", err)
	}
}

// TestGivenFaults: nothing is changed by what cannot be used.
func TestGivenFaults(t *testing.T) {
	i := newInstall(t, AuthorityConfig{})
	good, err := makeIssuer("good", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	other, err := makeIssuer("other", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ended, err := makeIssuer("ended", time.Now().Add(-2*time.Hour), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	leaf := i.client(ClientRequest{Name: "leaf"})
	mixed := givenBy(t, good)
	mixed.Key = givenBy(t, other).Key
	unrelated := givenBy(t, good)
	unrelated.Chain = append(unrelated.Chain, givenBy(t, other).Chain...)
	for name, g := range map[string]Given{
		"no key":         {Chain: givenBy(t, good).Chain},
		"no certificate": {Key: givenBy(t, good).Key},
		"another's key":  mixed,
		"ended":          givenBy(t, ended),
		"no authority":   givenBy(t, &issuer{chain: leaf.cert1(), key: leaf.key}),
		"wrong chain":    unrelated,
		"not PEM":        {Chain: []byte("hello"), Key: givenBy(t, good).Key},
		"key not PEM":    {Chain: givenBy(t, good).Chain, Key: []byte("hello")},
		"key damaged":    {Chain: givenBy(t, good).Chain, Key: []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")},
		"key encrypted":  {Chain: givenBy(t, good).Chain, Key: []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")},
	} {
		before := i.authority.standing().rev
		_, err := OpenAuthority(t.Context(), AuthorityConfig{Given: g}, i.sealer, testWorld(i.store))
		if !errors.Is(err, ErrGiven) {
			t.Errorf("%s: %v", name, err)
		}
		if item, _ := i.store.Get(t.Context(), authorityKey); item.ModRev != before {
			t.Errorf("%s: the authority was changed", name)
		}
	}
}

// cert1 is the certificate alone.
func (p *pair) cert1() []*x509.Certificate { return []*x509.Certificate{p.leaf()} }

// TestGivenIntermediate: an authority that another has signed. Clients trust either.
func TestGivenIntermediate(t *testing.T) {
	root, err := makeIssuer("root", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := makeIssuer("signer", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := bridge(root, signer)
	if err != nil {
		t.Fatal(err)
	}
	for name, chain := range map[string][]*x509.Certificate{"with its root": {signed[0], root.cert()}, "alone": {signed[0]}} {
		t.Run(name, func(t *testing.T) {
			i := newInstall(t, AuthorityConfig{Given: givenBy(t, &issuer{chain: chain, key: signer.key})})
			i.sign(i.authority)
			k, _ := i.keeper(Broker("c", 1), testWorld(i.store))
			pool := x509.NewCertPool()
			pool.AddCert(root.cert())
			if err := k.state.Load().pair.verify(pool, time.Now()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAuthorityGrowsOld: the installation's own authority is replaced in time, and its nodes follow.
func TestAuthorityGrowsOld(t *testing.T) {
	i := newInstall(t, AuthorityConfig{Life: 6 * time.Second})
	first := i.authority.CA().Fingerprint
	i.sign(i.authority)
	k, _ := i.keeper(Broker("c", 1), testWorld(i.store))
	until(t, "certificate of another authority", func() bool {
		s := k.state.Load()
		r, _ := s.view.node(s.pair.leaf())
		return s.view.issuer != first && r.Issuer == s.view.issuer && len(s.view.roots) == 2
	})
}
