package harness

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// etcdStartLimit is how long an etcd cluster may take to elect a leader; it needs a second or two.
const etcdStartLimit = 60 * time.Second

// EtcdOptions says what cluster StartEtcd starts. The zero value is one member without TLS on loopback.
type EtcdOptions struct {
	Members int    // 0: one
	TLS     bool   // with a CA of its own; clients need a certificate of it too
	Hosts   []Host // on which the members run, in turn; empty: this one, on loopback
}

// Etcd is a running etcd cluster. It ends with the test that started it.
type Etcd struct {
	CA      *CA  // nil without TLS
	Client  Cert // a certificate that the members let in
	Members []*EtcdMember
}

// EtcdMember is one process of the cluster. Its data stays when it ends, and it may be started again.
type EtcdMember struct {
	Name string
	URL  string // for clients

	address string
	host    Host
	log     string
	args    []string
	process *Process
}

// StartEtcd starts an etcd cluster and waits until every member serves clients.
func StartEtcd(t testing.TB, options EtcdOptions) *Etcd {
	t.Helper()
	n := max(options.Members, 1)
	hosts := options.Hosts
	if len(hosts) == 0 {
		hosts = []Host{{Address: "127.0.0.1"}}
	}
	e, scheme := &Etcd{}, "http"
	if options.TLS {
		e.CA, scheme = NewCA(t), "https"
		e.Client = e.CA.Issue(t, "client")
	}
	ports, dir := FreePorts(t, 2*n), t.TempDir()
	var members []string
	for i := range n {
		host := hosts[i%len(hosts)]
		m := &EtcdMember{Name: "m" + strconv.Itoa(i+1), host: host, address: net.JoinHostPort(host.Address, strconv.Itoa(ports+2*i))}
		m.URL = scheme + "://" + m.address
		peer := scheme + "://" + net.JoinHostPort(host.Address, strconv.Itoa(ports+2*i+1))
		members = append(members, m.Name+"="+peer)
		m.log = filepath.Join(dir, m.Name+".log")
		m.args = []string{"--name", m.Name, "--dir", filepath.Join(dir, m.Name), "--client", m.URL, "--peer", peer}
		if options.TLS {
			cert := e.CA.Issue(t, m.Name, host.Address)
			m.args = append(m.args, "--ca", e.CA.File, "--cert", cert.Cert, "--key", cert.Key)
		}
		e.Members = append(e.Members, m)
	}
	for _, m := range e.Members {
		m.args = append(m.args, "--members", strings.Join(members, ","))
		t.Cleanup(func() {
			if m.process != nil {
				m.process.Kill()
			}
		})
		m.start(t)
	}
	for _, m := range e.Members {
		waitReady(t, m.process, etcdStartLimit, func(ctx context.Context) error { return e.healthy(ctx, m) })
	}
	return e
}

func (m *EtcdMember) start(t testing.TB) {
	t.Helper()
	m.process = StartProcess(t, "etcd member "+m.Name, m.log, m.host.Command(etcdBinary(t), m.args...))
	m.process.Expect() // StartEtcd's own cleanup ends it: of a member that was started again too, after all that the test has started before
}

// Process returns the member's process.
func (m *EtcdMember) Process() *Process { return m.process }

// Start starts the member again after its process was killed, and does not wait for it.
func (m *EtcdMember) Start(t testing.TB) {
	t.Helper()
	m.start(t)
}

// URLs are those of all members, separated by commas, as --etcd and --join take them.
func (e *Etcd) URLs() string {
	urls := make([]string, len(e.Members))
	for i, m := range e.Members {
		urls[i] = m.URL
	}
	return strings.Join(urls, ",")
}

// TLSArgs are the flags of millrace with which the members let it in; none without TLS.
func (e *Etcd) TLSArgs() []string {
	if e.CA == nil {
		return nil
	}
	return []string{"--etcd-ca", e.CA.File, "--etcd-cert", e.Client.Cert, "--etcd-key", e.Client.Key}
}

// healthy asks a member through the HTTP that it serves beside gRPC.
func (e *Etcd) healthy(ctx context.Context, m *EtcdMember) error {
	var cfg *tls.Config
	if e.CA != nil {
		var err error
		if cfg, err = e.CA.clientConfig(e.Client); err != nil {
			return err
		}
	}
	code, body, err := fetch(ctx, cfg, m.URL+"/health")
	if err == nil && code != 200 {
		err = fmt.Errorf("health of %s: %d %s", m.Name, code, body)
	}
	return err
}

// etcdBinary returns the path of tools/etcdserver, which is built once per test binary.
func etcdBinary(t testing.TB) string {
	t.Helper()
	binary, err := builtEtcd()
	if err != nil {
		t.Fatalf("build etcdserver: %v", err)
	}
	return binary
}

// builtEtcd is a value computed once, as builtMillrace is.
var builtEtcd = sync.OnceValues(func() (string, error) { return built("etcdserver", "./tools/etcdserver") })
