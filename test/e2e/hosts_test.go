package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace/test/harness"
)

// site is a serve and agents on hosts of their own, with etcd over TLS and a store that all of them see.
type site struct {
	*harness.Cluster
	etcd   *harness.Etcd
	agents []*harness.Agent // of the hosts h2, h3, ...
	store  string
}

// loopbackHost stands for a machine by an address of its own.
func loopbackHost(k int) harness.Host {
	return harness.Host{Name: "h" + strconv.Itoa(k), Address: "127.0.0." + strconv.Itoa(k)}
}

// startSite starts serve on h1 with one broker, and agents on n-1 others.
func startSite(t *testing.T, n int, args ...string) *site {
	t.Helper()
	s := &site{etcd: harness.StartEtcd(t, harness.EtcdOptions{Members: 1, TLS: true}), store: "file://" + filepath.Join(t.TempDir(), "store")}
	for k := 2; k <= n; k++ {
		options := harness.AgentOptions{Host: loopbackHost(k), Etcd: s.etcd, Zone: fmt.Sprint("z", k)}
		if k == 3 {
			first := harness.FreePorts(t, 16)
			options.Args = []string{"--ports", fmt.Sprintf("%d-%d", first, first+15)}
		}
		s.agents = append(s.agents, harness.StartAgent(t, options))
	}
	s.Cluster = harness.StartMillrace(t, harness.MillraceOptions{
		Host: loopbackHost(1), Etcd: s.etcd, MostBrokers: 2 * n, Args: append([]string{"--zone", "z1", "--store", s.store}, args...),
	})
	return s
}

func (s *site) client() *harness.Cluster { return s.Cluster }

func TestScaleAndRollOverHosts(t *testing.T) {
	harness.Long(t, "make suite SUITE=e2e")
	const partitions = 12
	s := startSite(t, 3)
	c := s.client()
	spread(t, c, "t", partitions, 1)
	l, r := startLoad(t, c, "t", partitions), startReader(t, c, "t")
	operate(t, c, "scale", "--brokers", "3")
	if got := leaders(t, c, "t"); len(got) != 3 {
		t.Errorf("leaders after scaling out: %v", got)
	}
	for i, a := range s.agents {
		if got := a.Brokers(); len(got) != 1 {
			t.Errorf("agent %d runs %v", i, got)
		}
	}
	var described struct{ Brokers []struct{ Host, Rack string } }
	decode(t, ok(t, "", "cluster", "describe", "--output", "json", "--bootstrap="+c.Bootstrap), &described)
	for i, b := range described.Brokers {
		if want := strconv.Itoa(i + 1); b.Rack != "z"+want || b.Host != "127.0.0."+want {
			t.Errorf("broker %d is %+v", i+1, b)
		}
	}
	before := s.agents[0].Brokers()
	operate(t, c, "roll")
	for id, pid := range s.agents[0].Brokers() {
		if before[id] == pid {
			t.Errorf("broker %d was not restarted", id)
		}
	}
	operate(t, c, "scale", "--brokers", "1")
	if got := leaders(t, c, "t"); got[1] != partitions {
		t.Errorf("leaders after scaling in: %v", got)
	}
	for i, a := range s.agents {
		left, err := filepath.Glob(filepath.Join(a.Dir, "brokers", "*"))
		if got := a.Brokers(); len(got) != 0 || len(left) != 0 || err != nil {
			t.Errorf("agent %d runs %v and has %v (%v)", i, got, left, err)
		}
	}
	l.stop(t, c, "t")
	r.stop(t, l.acked)
}

func TestHostMovesToAnotherAddress(t *testing.T) {
	s := startSite(t, 2)
	c := s.client()
	operate(t, c, "scale", "--brokers", "2")
	spread(t, c, "t", 4, 2)
	produceAll(t, c, "t", 4, "v")
	s.agents[0].Stop(t)
	moved := s.agents[0].Host
	moved.Address = "127.0.0.9"
	harness.StartAgent(t, harness.AgentOptions{Host: moved, Etcd: s.etcd, Zone: "z2", Dir: s.agents[0].Dir})
	harness.Eventually(t, 30*time.Second, "the broker at its new address", func(context.Context) error {
		out := ok(t, "", "cluster", "describe", "--output", "json", "--bootstrap="+c.Bootstrap)
		if code, body := get(t, "http://"+c.API+"/healthz"); code != 200 || !strings.Contains(out, moved.Address) {
			return fmt.Errorf("%d %s: %s", code, body, out)
		}
		return nil
	})
	consumeAll(t, c, "t", 4)
}

func TestAgentThatIsKilledAdoptsItsBrokers(t *testing.T) {
	s := startSite(t, 2)
	c := s.client()
	operate(t, c, "scale", "--brokers", "2")
	spread(t, c, "t", 4, 2)
	produceAll(t, c, "t", 4, "v")
	first := s.agents[0]
	before := first.Brokers()
	first.Process().Kill()
	if got := first.Brokers(); len(got) != 1 || got[2] != before[2] {
		t.Fatalf("brokers %v after the agent was killed, before %v", got, before)
	}
	produceAll(t, c, "t", 4, "v")
	again := harness.StartAgent(t, harness.AgentOptions{Host: first.Host, Etcd: s.etcd, Zone: "z2", Dir: first.Dir})
	harness.Eventually(t, 20*time.Second, "adoption", func(context.Context) error {
		if !strings.Contains(again.Log(t), "running broker adopted") {
			return errors.New("not said")
		}
		return nil
	})
	if got := again.Brokers(); got[2] != before[2] {
		t.Errorf("brokers %v, before %v", got, before)
	}
	consumeAll(t, c, "t", 8)
	operate(t, c, "roll")
	if got := again.Brokers(); got[2] == before[2] {
		t.Error("the adopted broker was not restarted by the roll")
	}
}

// hostStates are what `millrace cluster hosts` says: "h2 lost: 2".
func hostStates(t *testing.T, c *harness.Cluster) string {
	t.Helper()
	var list []struct {
		Host  struct{ Name, Version string }
		Lost  bool
		Nodes []struct{ Spec struct{ ID int } }
	}
	decode(t, ok(t, "", "cluster", "hosts", "--api", "http://"+c.API, "--output", "json"), &list)
	var lines []string
	for _, h := range list {
		line := h.Host.Name + " live:"
		if h.Lost {
			line = h.Host.Name + " lost:"
		}
		for _, n := range h.Nodes {
			line += fmt.Sprint(" ", n.Spec.ID)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "; ")
}

func TestHostThatIsLostIsNamedAndComesBack(t *testing.T) {
	harness.Long(t, "make suite SUITE=e2e")
	s := startSite(t, 3)
	c := s.client()
	operate(t, c, "scale", "--brokers", "3")
	spread(t, c, "t", 6, 3)
	produceAll(t, c, "t", 6, "v")
	if got, want := hostStates(t, c), "h1 live: 1; h2 live: 2; h3 live: 3"; got != want {
		t.Errorf("hosts %q, want %q", got, want)
	}
	lost := s.agents[0]
	lost.KillHost()
	harness.Eventually(t, 30*time.Second, "the loss to be noticed", func(context.Context) error {
		if got, want := hostStates(t, c), "h1 live: 1; h2 lost: 2; h3 live: 3"; got != want {
			return errors.New(got)
		}
		return nil
	})
	if code, body := get(t, "http://"+c.API+"/readyz"); code != 503 || !strings.Contains(body, "broker 2") || !strings.Contains(body, "millrace agent --name h2") {
		t.Errorf("/readyz: %d %s", code, body)
	}
	for _, args := range [][]string{{"roll"}, {"scale", "--brokers", "1"}} {
		r := millrace(t, "", append([]string{"cluster"}, append(args, "--api", c.API)...)...)
		if r.code != 1 || !strings.Contains(r.err, "host h2") {
			t.Errorf("%v with a host away: exit code %d: %s", args, r.code, r.err)
		}
	}
	operate(t, c, "scale", "--brokers", "4")
	again := harness.StartAgent(t, harness.AgentOptions{Host: lost.Host, Etcd: s.etcd, Zone: "z2", Dir: lost.Dir})
	harness.Eventually(t, 30*time.Second, "the host again", func(context.Context) error {
		if code, body := get(t, "http://"+c.API+"/healthz"); code != 200 {
			return errors.New(body)
		}
		return nil
	})
	if got := again.Brokers(); len(got) != 1 || got[2] == 0 {
		t.Errorf("brokers %v", got)
	}
	consumeAll(t, c, "t", 6)
	_, metrics := get(t, "http://"+again.Status+"/metrics")
	if !strings.Contains(metrics, `millrace_agent_broker_up{broker="2",cluster="default"} 1`) || !strings.Contains(metrics, "millrace_agent_joined") {
		t.Errorf("metrics:\n%s", metrics)
	}
	if code, body := get(t, "http://"+again.Status+"/readyz"); code != 200 {
		t.Errorf("/readyz of the agent: %d %s", code, body)
	}
}

// A host that is stopped in good order hands over first, so nobody waits for it.
func TestAgentThatIsStoppedHandsOver(t *testing.T) {
	const partitions = 6
	s := startSite(t, 2)
	c := s.client()
	operate(t, c, "scale", "--brokers", "2")
	spread(t, c, "t", partitions, 2)
	l := startLoad(t, c, "t", partitions)
	s.agents[0].Stop(t)
	if got := leaders(t, c, "t"); got[1] != partitions {
		t.Errorf("leaders after the stop: %v", got)
	}
	l.stop(t, c, "t")
}

// etcd away: what runs goes on, and agents may be started and killed meanwhile; they join when it is back.
func TestHostsOutliveEtcd(t *testing.T) {
	s := startSite(t, 2)
	c := s.client()
	operate(t, c, "scale", "--brokers", "2")
	before := s.agents[0].Brokers()
	s.etcd.Members[0].Process().Kill()
	s.agents[0].Process().Kill()
	again := harness.StartAgent(t, harness.AgentOptions{Host: s.agents[0].Host, Etcd: s.etcd, Zone: "z2", Dir: s.agents[0].Dir, Early: true})
	harness.Eventually(t, 20*time.Second, "the agent to say what it waits for", func(context.Context) error {
		if log := again.Log(t); !strings.Contains(log, "etcd cannot be reached") {
			return errors.New(log)
		}
		return nil
	})
	s.etcd.Members[0].Start(t)
	harness.Eventually(t, time.Minute, "all again", func(context.Context) error {
		if log := again.Log(t); !strings.Contains(log, "host has joined") {
			return errors.New(log)
		}
		if got := hostStates(t, c); got != "h1 live: 1; h2 live: 2" {
			return errors.New(got)
		}
		if code, body := get(t, "http://"+c.API+"/healthz"); code != 200 {
			return errors.New(body)
		}
		return nil
	})
	if got := again.Brokers(); len(before) != 1 || got[2] != before[2] {
		t.Logf("broker 2 was %d and is %d: its lease ended while etcd was away", before[2], got[2])
	}
	spread(t, c, "t", 4, 2)
	produceAll(t, c, "t", 4, "v")
	consumeAll(t, c, "t", 4)
}

// An address that another process has keeps a broker from starting, and the operation says so until it is free.
func TestAddressThatIsTakenOnAnotherHost(t *testing.T) {
	s := startSite(t, 2)
	c := s.client()
	l, err := net.Listen("tcp", net.JoinHostPort(s.agents[0].Host.Address, strconv.Itoa(portOf(t, c)+100)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ok(t, "", "cluster", "scale", "--brokers", "2", "--no-wait", "--api", c.API)
	look := func(word string) {
		t.Helper()
		harness.Eventually(t, 30*time.Second, word, func(context.Context) error {
			if _, body := get(t, "http://"+c.API+"/millrace/v1/clusters/default/operations/1"); !strings.Contains(body, word) {
				return errors.New(body)
			}
			return nil
		})
	}
	look("another process may have it")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	look(`"state":"DONE","began"`)
}

func TestAgentAndServeRefuseWhatCannotBe(t *testing.T) {
	e := harness.StartEtcd(t, harness.EtcdOptions{TLS: true})
	foreign := harness.NewCA(t)
	theirs := foreign.Issue(t, "theirs")
	dir := t.TempDir()
	agent := func(args ...string) []string {
		return append([]string{"agent", "--data", filepath.Join(dir, "data"), "--name", "x", "--listen", "127.0.0.1:" + strconv.Itoa(harness.FreePorts(t, 1))}, args...)
	}
	serve := func(args ...string) []string {
		port := strconv.Itoa(harness.FreePorts(t, 1))
		return append([]string{"serve", "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:" + port, "--kafka", "127.0.0.1:1"}, args...)
	}
	live := harness.StartAgent(t, harness.AgentOptions{Host: loopbackHost(2), Etcd: e})
	tls := e.TLSArgs()
	for _, f := range []struct {
		name string
		args []string
		code int
		word string
	}{
		{"nothing to join", agent(), 2, "--join is required"},
		{"an embedded etcd", agent("--join", "unix:///tmp/etcd.sock"), 2, "for one host"},
		{"no URL", agent("--join", "etcd1:2379"), 2, "http://HOST:PORT"},
		{"files for http", append(agent("--join", "http://127.0.0.1:1"), tls...), 2, "https://"},
		{"half a certificate", agent("--join", "https://127.0.0.1:1", "--etcd-cert", theirs.Cert), 2, "belong together"},
		{"a file that is not there", agent("--join", "https://127.0.0.1:1", "--etcd-ca", "/nowhere/ca.pem"), 2, "/nowhere/ca.pem"},
		{"an address of others", agent("--join", e.URLs(), "--advertise", "10.1.2.3"), 2, "--insecure"},
		{"every address", agent("--join", e.URLs(), "--advertise", "0.0.0.0", "--insecure"), 2, "the one address"},
		{"few ports", agent("--join", e.URLs(), "--ports", "9000-9005"), 2, "eight"},
		{"a status for everybody", agent("--join", e.URLs(), "--listen", "0.0.0.0:1"), 2, "loopback"},
		{"no certificate", agent("--join", e.URLs(), "--etcd-ca", e.CA.File), 1, "does not take this side's certificate"},
		{"a foreign certificate", agent("--join", e.URLs(), "--etcd-ca", e.CA.File, "--etcd-cert", theirs.Cert, "--etcd-key", theirs.Key), 1, "does not take this side's certificate"},
		{"a foreign CA", agent("--join", e.URLs(), "--etcd-ca", foreign.File), 1, "not one that the CA vouches for"},
		{"a name that is taken", append(agent("--join", e.URLs(), "--name", live.Host.Name), tls...), 1, "choose another with --name"},
		{"serve: no certificate", serve("--etcd", e.URLs(), "--etcd-ca", e.CA.File), 1, "does not take this side's certificate"},
		{"serve: a name that is taken", append(serve("--etcd", e.URLs(), "--name", live.Host.Name), tls...), 1, "choose another with --name"},
		{"serve: two addresses", serve("--advertise", "127.0.0.3"), 2, "two addresses"},
	} {
		if r := millrace(t, "", f.args...); r.code != f.code || !strings.Contains(r.err+r.out, f.word) {
			t.Errorf("%s: exit code %d, want %d and %q: %s%s", f.name, r.code, f.code, f.word, r.err, r.out)
		}
	}
	t.Run("a second control plane without the keys", func(t *testing.T) {
		harness.StartMillrace(t, harness.MillraceOptions{Host: loopbackHost(1), Etcd: e, Args: []string{"--store", "file://" + filepath.Join(dir, "store")}})
		r := millrace(t, "", append(serve("--etcd", e.URLs(), "--name", "other"), tls...)...)
		if r.code != 1 || !strings.Contains(r.err, "give --kms, the same to every serve") {
			t.Errorf("exit code %d: %s", r.code, r.err)
		}
	})
}

// notLed waits until a broker leads nothing and the others lead all.
func notLed(t *testing.T, c *harness.Cluster, topic string, partitions int, broker int32) {
	t.Helper()
	harness.Eventually(t, time.Minute, "the partitions to be taken over", func(context.Context) error {
		led, total := leaders(t, c, topic), 0
		for id, n := range led {
			if id > 0 {
				total += n
			}
		}
		if led[broker] > 0 || total != partitions {
			return fmt.Errorf("leaders %v", led)
		}
		return nil
	})
}

// With the logs in the object store a host may burn down: others take its partitions, and a new machine takes its name.
func TestHostThatBurnsDown(t *testing.T) {
	harness.Long(t, "make suite SUITE=e2e")
	const partitions = 12
	s := startSite(t, 3, "--wal", "object")
	c := s.client()
	operate(t, c, "scale", "--brokers", "3")
	spread(t, c, "t", partitions, 3)
	l, r := startLoad(t, c, "t", partitions), startReader(t, c, "t")
	l.grow(t)
	s.agents[1].KillHost()
	t.Logf("longest time without acks %v", l.everywhere(t))
	notLed(t, c, "t", partitions, 3)
	harness.Eventually(t, time.Minute, "the loss to be noticed", func(context.Context) error {
		if got := hostStates(t, c); !strings.Contains(got, "h3 lost: 3") {
			return errors.New(got)
		}
		return nil
	})
	harness.StartAgent(t, harness.AgentOptions{Host: s.agents[1].Host, Etcd: s.etcd, Zone: "z3"})
	harness.Eventually(t, time.Minute, "the new machine", func(context.Context) error {
		if code, body := get(t, "http://"+c.API+"/healthz"); code != 200 || leaders(t, c, "t")[3] == 0 {
			return fmt.Errorf("%d %s, leaders %v", code, body, leaders(t, c, "t"))
		}
		return nil
	})
	operate(t, c, "roll")
	l.stop(t, c, "t")
	r.stop(t, l.acked)
}

// A host whose network is cut, from etcd, the others and the clients, is as good as burnt down; joined again, it serves again.
func TestHostThatIsCutOff(t *testing.T) {
	harness.Long(t, "make suite SUITE=e2e")
	const partitions = 12
	n := harness.NewNetwork(t, 3)
	self := harness.Host{Address: n.Self}
	e := harness.StartEtcd(t, harness.EtcdOptions{TLS: true, Hosts: []harness.Host{self}})
	var agents []*harness.Agent
	for _, h := range n.Hosts[1:] {
		agents = append(agents, harness.StartAgent(t, harness.AgentOptions{Host: h, Etcd: e}))
	}
	c := harness.StartMillrace(t, harness.MillraceOptions{
		Host: n.Hosts[0], Etcd: e, MostBrokers: 3, Args: []string{"--wal", "object", "--store", "file://" + filepath.Join(t.TempDir(), "store"), "--zone", "h1"},
	})
	if out, err := c.Verb("cluster", "scale", "--brokers", "3").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	spread(t, c, "t", partitions, 3)
	l, r := startLoad(t, c, "t", partitions), startReader(t, c, "t")
	cut := n.Hosts[2].Address
	l.grow(t)
	n.Isolate(t, cut)
	notLed(t, c, "t", partitions, 3)
	t.Logf("longest time without acks %v", l.everywhere(t))
	harness.Eventually(t, time.Minute, "its broker at another host", func(context.Context) error {
		if code, body := get(t, "http://"+c.API+"/healthz"); code != 200 || leaders(t, c, "t")[3] == 0 {
			return fmt.Errorf("%d %s, leaders %v", code, body, leaders(t, c, "t"))
		}
		return nil
	})
	n.Rejoin(t, cut)
	harness.Eventually(t, time.Minute, "no broker at the host that is back", func(context.Context) error {
		if there := agents[1].Brokers(); len(there) != 0 {
			return fmt.Errorf("brokers %v", there)
		}
		return nil
	})
	l.stop(t, c, "t")
	r.stop(t, l.acked)
}
