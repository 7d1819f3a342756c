package certs

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"log/slog"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/slab"
	"millrace/kafka/server"
	"millrace/secure/cert"
	"millrace/test/harness"
)

// openly seals nothing: what lies in etcd is not looked at here.
type openly struct{}

func (openly) Seal(plain, _ []byte) ([]byte, error) { return bytes.Clone(plain), nil }
func (openly) Open(sealed, _ []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, errors.New("nothing")
	}
	return bytes.Clone(sealed), nil
}

// silent lets everybody in and answers nothing.
type silent struct{}

func (silent) Versions(int16) (int16, int16, bool)           { return 0, 0, false }
func (silent) Handle(_ context.Context, r *server.Request)   { r.Close() }
func (silent) Connected(context.Context, *server.Conn) error { return nil }
func (silent) Disconnected(*server.Conn)                     {}

// listen runs a listener as brokers have it, and returns its address.
func listen(t *testing.T, auth cert.ClientAuth) string {
	t.Helper()
	store := kv.NewMemory()
	t.Cleanup(func() { _ = store.Close() })
	log := slog.New(slog.DiscardHandler)
	w := cert.World{KV: store, Clock: clock.System{}, Log: log, FS: disk.OS("")}
	ca, err := cert.OpenAuthority(t.Context(), cert.AuthorityConfig{}, openly{}, w)
	if err != nil {
		t.Fatal(err)
	}
	node := cert.Broker("scan", 1)
	names := node.Names("127.0.0.1:1")
	keeper, err := cert.NewKeeper(cert.KeeperConfig{Node: node, Names: names, File: filepath.Join(t.TempDir(), "node.pem")}, w)
	if err != nil {
		t.Fatal(err)
	}
	slabs, err := slab.New(slab.Config{})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{}, silent{}, server.World{Log: log, Clock: clock.System{}, Slabs: slabs})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 3)
	go func() {
		ended <- cert.NewSigner(ca, func(context.Context, cert.Node) (cert.Names, error) { return names, nil }, w).Run(ctx)
	}()
	go func() { ended <- keeper.Run(ctx) }()
	go func() { ended <- srv.ServeTLS(ctx, "TLS", ln, cert.ServerTLS(keeper, auth)) }()
	t.Cleanup(func() {
		cancel()
		closing, done := context.WithTimeout(context.Background(), 10*time.Second)
		defer done()
		for range cap(ended) {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		_ = srv.Close(closing)
	})
	if err := keeper.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ln.Addr().String()
}

// report is what sslscan prints as XML.
type report struct {
	Protocols []struct {
		Type    string `xml:"type,attr"`
		Version string `xml:"version,attr"`
		Enabled int    `xml:"enabled,attr"`
	} `xml:"ssltest>protocol"`
	Ciphers []struct {
		Version string `xml:"sslversion,attr"`
		Name    string `xml:"cipher,attr"`
		Bits    int    `xml:"bits,attr"`
	} `xml:"ssltest>cipher"`
	Groups []struct {
		Version string `xml:"sslversion,attr"`
		Name    string `xml:"name,attr"`
	} `xml:"ssltest>group"`
	Compression struct {
		Supported int `xml:"supported,attr"`
	} `xml:"ssltest>compression"`
	Renegotiation struct {
		Supported int `xml:"supported,attr"`
		Secure    int `xml:"secure,attr"`
	} `xml:"ssltest>renegotiation"`
	Fallback struct {
		Supported int `xml:"supported,attr"`
	} `xml:"ssltest>fallback"`
	Heartbleed []struct {
		Vulnerable int `xml:"vulnerable,attr"`
	} `xml:"ssltest>heartbleed"`
	Certificates []struct {
		Signature string `xml:"signature-algorithm"`
		Key       struct {
			Type string `xml:"type,attr"`
			Bits int    `xml:"bits,attr"`
		} `xml:"pk"`
		Altnames string `xml:"altnames"`
		Expired  bool   `xml:"expired"`
	} `xml:"ssltest>certificates>certificate"`
}

// TestScan: T1.
func TestScan(t *testing.T) {
	program := harness.Require(t, harness.SSLScan)
	for _, auth := range []cert.ClientAuth{cert.NoClientCert, cert.WantClientCert} {
		t.Run(string(auth), func(t *testing.T) {
			output, err := exec.Command(program, "--xml=-", "--show-sigs", listen(t, auth)).Output()
			if err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			r := readReport(t, output)
			r.check(t, "broker-1.scan.millrace")
			if t.Failed() {
				t.Logf("%s", output)
			}
		})
	}
}

func readReport(t *testing.T, output []byte) (r report) {
	t.Helper()
	if err := xml.Unmarshal(output, &r); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return r
}

// check says what is wrong with what was scanned, whose certificate must be for name.
func (r report) check(t *testing.T, name string) {
	t.Helper()
	want := map[string]int{"ssl2": 0, "ssl3": 0, "tls1.0": 0, "tls1.1": 0, "tls1.2": 1, "tls1.3": 1}
	for _, p := range r.Protocols {
		if enabled, ok := want[p.Type+p.Version]; ok {
			if p.Enabled != enabled {
				t.Errorf("%s %s: enabled %d", p.Type, p.Version, p.Enabled)
			}
			delete(want, p.Type+p.Version)
		}
	}
	delete(want, "ssl2") // builds of sslscan without SSL 2 and 3 do not look
	delete(want, "ssl3")
	if len(want) > 0 {
		t.Errorf("not looked at: %v", want)
	}
	versions := map[string]int{}
	for _, c := range r.Ciphers {
		versions[c.Version]++
		aead := strings.Contains(c.Name, "GCM") || strings.Contains(c.Name, "CHACHA20")
		if !aead || c.Bits < 128 || !strings.HasPrefix(c.Name, "ECDHE-") && !strings.HasPrefix(c.Name, "TLS_") {
			t.Errorf("suite %s of %d bits in %s", c.Name, c.Bits, c.Version)
		}
	}
	if versions["TLSv1.2"] != 3 || versions["TLSv1.3"] != 3 || len(versions) != 2 {
		t.Errorf("suites: %v", versions)
	}
	groups := map[string]bool{}
	for _, g := range r.Groups {
		groups[g.Name] = true
		if !strings.Contains(strings.ToLower(g.Name), "25519") && !strings.Contains(g.Name, "256") {
			t.Errorf("group %s in %s", g.Name, g.Version)
		}
	}
	if len(groups) < 2 {
		t.Errorf("groups: %v", groups)
	}
	if r.Compression.Supported != 0 || r.Renegotiation.Supported != 0 && r.Renegotiation.Secure == 0 {
		t.Errorf("compression %+v, renegotiation %+v", r.Compression, r.Renegotiation)
	}
	for _, h := range r.Heartbleed {
		if h.Vulnerable != 0 {
			t.Error("heartbleed")
		}
	}
	for _, c := range r.Certificates {
		if c.Expired || c.Signature == "" || strings.Contains(c.Signature, "sha1") || !strings.Contains(c.Altnames, name) {
			t.Errorf("certificate: %+v", c)
		}
	}
	if len(r.Certificates) == 0 {
		t.Error("no certificate seen")
	}
}
