package cert

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"strings"
	"testing"
	"time"

	"millrace/base/kv"
)

// FuzzRequest: a request that is taken has a strong key, a bounded number of host names, and nothing else.
func FuzzRequest(f *testing.F) {
	key, err := newKey()
	if err != nil {
		f.Fatal(err)
	}
	good, err := makeRequest(key, Broker("c", 1).Names("127.0.0.1:1", "example.com:1"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, der []byte) {
		public, names, err := readRequest(der)
		if err != nil {
			if !errors.Is(err, ErrRequest) {
				t.Errorf("error: %v", err)
			}
			return
		}
		if checkKey(public) != nil || len(names.DNS)+len(names.IPs) > maxNames {
			t.Errorf("taken: %v", names)
		}
		for _, d := range names.DNS {
			if !isDNS(d) || strings.ToLower(d) != d {
				t.Errorf("name %q", d)
			}
		}
	})
}

// FuzzIdentity: no certificate, however damaged, makes anybody Internal who is not on record, nor a panic.
func FuzzIdentity(f *testing.F) {
	i := newInstall(f, AuthorityConfig{})
	p := i.client(ClientRequest{Name: "alice", Unit: "ops"})
	f.Add(p.leaf().Raw, "DEFAULT")
	f.Add(p.leaf().Raw, "RULE:^CN=(.*?),.*$/$1/U")
	f.Add(i.authority.standing().issuer.cert().Raw, "")
	v := newView()
	v.pool.AddCert(i.authority.standing().issuer.cert())
	k := &Keeper{world: testWorld(i.store)}
	f.Fuzz(func(t *testing.T, der []byte, text string) {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		rules, err := ParseRules(text)
		if err != nil {
			return
		}
		k.cfg.Mapping = rules
		k.state.Store(&state{view: v})
		if who, err := k.Identity(tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}, VerifiedChains: [][]*x509.Certificate{{c}}}); err == nil {
			t.Errorf("let in without a trusted authority: %+v", who)
		}
		if who, err := v.identify(c, rules); err == nil && (who.Internal || !strings.HasPrefix(who.Principal, "User:")) {
			t.Errorf("identity: %+v", who)
		}
		_ = commonName(c.RawSubject)
	})
}

// FuzzName: any bytes in the place of a subject.
func FuzzName(f *testing.F) {
	f.Add([]byte{0x30, 0})
	der, err := asn1.Marshal([]asn1.RawValue{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Add([]byte("0\x101\x0e0\f\x06\x03U\x04\x03\f\x05alice"))
	f.Fuzz(func(t *testing.T, der []byte) {
		name, err := DistinguishedName(der)
		if err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("error: %v", err)
		}
		if len(name) > 8*len(der)+64 {
			t.Errorf("%d bytes make a name of %d", len(der), len(name))
		}
		_ = commonName(der)
	})
}

// FuzzRules: rules that are taken map any name to something, or to no rule.
func FuzzRules(f *testing.F) {
	for _, s := range []string{"", "DEFAULT", "RULE:^CN=(.*?),.*$/$1/L,DEFAULT", `RULE:a\/b/$0\$/U`, "RULE:.*/x/", "RULE:()/${0}/", "RULE:(a|(b))*/$2$1/"} {
		f.Add(s, "CN=Duke,OU=ServiceUsers,O=Org,C=US")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		r, err := ParseRules(text)
		if err != nil {
			if !errors.Is(err, ErrRules) {
				t.Errorf("error: %v", err)
			}
			return
		}
		if _, err := r.Principal(name); err != nil && !errors.Is(err, ErrNoRule) {
			t.Errorf("error: %v", err)
		}
		again, err := ParseRules(r.String())
		if err != nil {
			t.Fatalf("%q, printed as %q, cannot be read: %v", text, r, err)
		}
		a, errA := r.Principal(name)
		b, errB := again.Principal(name)
		if a != b || (errA == nil) != (errB == nil) {
			t.Errorf("%q and %q", a, b)
		}
	})
}

// FuzzRecords: whatever stands in etcd, a Keeper has a view, and the last good authority.
func FuzzRecords(f *testing.F) {
	i := newInstall(f, AuthorityConfig{})
	items, _, err := i.store.List(f.Context(), "")
	if err != nil {
		f.Fatal(err)
	}
	for _, item := range items {
		f.Add(item.Key, item.Value)
	}
	f.Add(trustNodes+"77", []byte(`{"format":1,"node":"broker/c/1"}`))
	f.Add(trustRevoked+"77", []byte(`{`))
	good, faults := readView(items[1:])
	if len(faults) > 0 || good.issuer == "" {
		f.Fatal(faults)
	}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		item := kv.Item{Key: key, Value: value}
		v, _ := readView([]kv.Item{item})
		if v == nil || v.nodes == nil || v.revoked == nil || v.pool == nil {
			t.Fatal("no view")
		}
		for _, kind := range []kv.EventType{kv.EventPut, kv.EventDelete} {
			next, err := good.apply(kv.Event{Type: kind, Item: item})
			if err == nil && (next.issuer == "" && key != trustAuthority || next.pool == nil) {
				t.Errorf("the authority is lost by %s", key)
			}
		}
		_, _ = decode[authorityRecord](key, value)
		_, _ = decode[requestRecord](key, value)
		_, _ = decode[answerRecord](key, value)
	})
}

// FuzzPair: a file that is taken holds a key and the certificate for it, and is written the same way.
func FuzzPair(f *testing.F) {
	i := newInstall(f, AuthorityConfig{})
	p := i.client(ClientRequest{Name: "x"})
	text, err := p.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := decodePair(text)
		if err != nil {
			return
		}
		if !sameKey(p.leaf(), p.key.Public()) {
			t.Error("a pair that is none")
		}
		again, err := p.encode()
		if err != nil {
			t.Fatal(err)
		}
		if q, err := decodePair(again); err != nil || !q.same(p) {
			t.Errorf("written and read: %v", err)
		}
	})
}

// FuzzGiven: an authority that is taken can sign.
func FuzzGiven(f *testing.F) {
	i, err := makeIssuer("given", time.Now(), time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	p := &pair{key: i.key}
	key, err := p.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(encodePEM(i.chain...)), key)
	f.Fuzz(func(t *testing.T, chain, key []byte) {
		g, err := (Given{Chain: chain, Key: key}).read(time.Now())
		if err != nil {
			if !errors.Is(err, ErrGiven) {
				t.Errorf("error: %v", err)
			}
			return
		}
		mine, err := newKey()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (standing{issuer: g}).sign(&x509.Certificate{}, mine.Public(), time.Now(), time.Minute); err != nil {
			t.Errorf("taken, and cannot sign: %v", err)
		}
	})
}
