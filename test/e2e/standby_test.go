package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace/test/harness"
)

// planes are two control planes on one etcd, with three brokers of the default cluster: on the leader's host, on that of the one that
// stands by, and on that of an agent.
type planes struct {
	etcd          *harness.Etcd
	args          []string // of every serve
	leads, stands *harness.Cluster
	agent         *harness.Agent
}

func startPlanes(t *testing.T) *planes {
	t.Helper()
	dir := t.TempDir()
	p := &planes{
		etcd: harness.StartEtcd(t, harness.EtcdOptions{}),
		args: []string{"--store", "file://" + filepath.Join(dir, "store"), "--kms", "keyring://" + filepath.Join(dir, "keyring.json")},
	}
	p.leads = harness.StartMillrace(t, harness.MillraceOptions{Host: loopbackHost(1), Etcd: p.etcd, MostBrokers: 6, Args: p.args})
	p.stands = p.serve(t, 2, "", "--brokers", "1")
	p.agent = harness.StartAgent(t, harness.AgentOptions{Host: loopbackHost(3), Etcd: p.etcd})
	who(t, p.leads, "h1", true)
	who(t, p.stands, "h1", false)
	operate(t, p.stands, "scale", "--brokers", "3") // asked of the one, done by the other
	return p
}

// serve starts a further control plane, whose flags say another default cluster than there is: another address, and what args say.
func (p *planes) serve(t *testing.T, k int, dir string, args ...string) *harness.Cluster {
	t.Helper()
	port := 0
	if dir != "" {
		_, text, _ := net.SplitHostPort(p.leads.Bootstrap)
		port, _ = strconv.Atoi(text)
	}
	c := harness.StartMillrace(t, harness.MillraceOptions{
		KafkaPort: port, Host: loopbackHost(k), Etcd: p.etcd, Dir: dir, Args: append(args, p.args...), KeepRebalanceDelay: true,
	})
	c.Bootstrap = p.leads.Bootstrap
	return c
}

// readyz is who leads, as a control plane says.
type readyz struct {
	Leader string `json:"leader"`
	Leads  bool   `json:"leads"`
}

func leader(t *testing.T, c *harness.Cluster) (r readyz) {
	t.Helper()
	_, body := get(t, "http://"+c.API+"/readyz")
	decode(t, body, &r)
	return r
}

// who waits until a control plane says that a host leads.
func who(t *testing.T, c *harness.Cluster, host string, itself bool) {
	t.Helper()
	harness.Eventually(t, 30*time.Second, host+" to lead", func(context.Context) error {
		if got := leader(t, c); got != (readyz{host, itself}) {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
}

func lastOperation(t *testing.T, c *harness.Cluster) operation {
	t.Helper()
	var all struct{ Operations []operation }
	code, body := get(t, "http://"+c.API+"/millrace/v1/clusters/default/operations")
	if decode(t, body, &all); code != http.StatusOK || len(all.Operations) == 0 {
		t.Fatalf("%d %s", code, body)
	}
	return all.Operations[len(all.Operations)-1]
}

// under waits until so many steps of the last operation have begun.
func under(t *testing.T, c *harness.Cluster, steps int) {
	t.Helper()
	harness.Eventually(t, time.Minute, fmt.Sprintf("step %d", steps), func(context.Context) error {
		op, begun := lastOperation(t, c), 0
		for _, s := range op.Steps {
			if s.State != "PENDING" {
				begun++
			}
		}
		if begun < steps {
			return fmt.Errorf("%+v", op)
		}
		return nil
	})
}

// ends waits until the last operation has ended well.
func ends(t *testing.T, c *harness.Cluster) operation {
	t.Helper()
	var op operation
	harness.Eventually(t, 90*time.Second, "the operation to end", func(context.Context) error {
		if op = lastOperation(t, c); op.State == "RUNNING" {
			return fmt.Errorf("%+v", op)
		}
		return nil
	})
	if op.State != "DONE" {
		t.Errorf("%+v", op)
	}
	return op
}

// starts are how often brokers were started, by id, as the logs of their hosts' agents say.
func starts(t *testing.T, processes ...*harness.Process) map[int]int {
	t.Helper()
	count, seen := map[int]int{}, map[string]bool{}
	for _, p := range processes {
		if seen[p.Log()] {
			continue
		}
		seen[p.Log()] = true
		text, err := os.ReadFile(p.Log())
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var said struct {
				Msg    string
				Broker int
			}
			if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "broker started" {
				count[said.Broker]++
			}
		}
	}
	return count
}

// brokers are those of the default cluster that shall run.
func brokers(t *testing.T, c *harness.Cluster) int {
	t.Helper()
	var got struct {
		Nodes []struct{ Spec struct{ ID int } }
	}
	code, body := get(t, "http://"+c.API+"/millrace/v1/clusters/default")
	if decode(t, body, &got); code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	return len(got.Nodes)
}

// begin asks for a roll of all brokers and does not wait for it.
func begin(t *testing.T, c *harness.Cluster) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+c.API+"/millrace/v1/clusters/default/operations", strings.NewReader(`{"kind":"ROLL"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusAccepted {
		t.Fatal(answer.Status)
	}
}

// rolledOnce waits until all brokers serve, and checks that each was started twice: at first, and by the roll.
func rolledOnce(t *testing.T, c *harness.Cluster, processes ...*harness.Process) {
	t.Helper()
	harness.Eventually(t, 30*time.Second, "all brokers", func(context.Context) error {
		if code, body := get(t, "http://"+c.API+"/healthz"); code != http.StatusOK {
			return errors.New(body)
		}
		return nil
	})
	if got := starts(t, processes...); !maps.Equal(got, map[int]int{1: 2, 2: 2, 3: 2}) {
		t.Errorf("starts of brokers: %v", got)
	}
	if got := brokers(t, c); got != 3 {
		t.Errorf("%d brokers", got)
	}
}

// TestStandbyGoesOnWithTheOperation kills the control plane that leads while it starts brokers anew, one after the other. Another leads
// then, by whose flags there would be another default cluster; and when the first is back, the operation ends as if undisturbed.
func TestStandbyGoesOnWithTheOperation(t *testing.T) {
	const partitions = 6
	p := startPlanes(t)
	spread(t, p.leads, "t", partitions, 3)
	l, r := startLoad(t, p.leads, "t", partitions), startReader(t, p.leads, "t")
	begin(t, p.stands)
	under(t, p.stands, 2)
	p.leads.Process().Kill()
	killed := time.Now()
	who(t, p.stands, "h2", true)
	t.Logf("another leads %v after the kill", time.Since(killed).Round(10*time.Millisecond))
	again := p.serve(t, 1, p.leads.Dir)
	op := ends(t, p.stands)
	who(t, again, "h2", false)
	t.Logf("%d steps, ended %v after the kill", len(op.Steps), time.Since(killed).Round(10*time.Millisecond))
	rolledOnce(t, again, p.leads.Process(), p.stands.Process(), p.agent.Process(), again.Process())
	l.stop(t, p.leads, "t")
	r.stop(t, l.acked)
	// Who stops gives the lead away at once.
	stopped := time.Now()
	p.stands.Process().Stop(t)
	who(t, again, "h1", true)
	t.Logf("another leads %v after a stop began", time.Since(stopped).Round(10*time.Millisecond))
	if got := brokers(t, again); got != 3 {
		t.Errorf("%d brokers after the flags of the first count again", got)
	}
}

// TestStandbyWhileTheLeaderHangs stops the process that leads past its lease, in the midst of an operation, and lets it go on while
// another does the rest.
func TestStandbyWhileTheLeaderHangs(t *testing.T) {
	p := startPlanes(t)
	begin(t, p.stands)
	under(t, p.stands, 2)
	pid := p.leads.Process().PID()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	stopped := time.Now()
	who(t, p.stands, "h2", true)
	t.Logf("another leads %v after the stop", time.Since(stopped).Round(10*time.Millisecond))
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	who(t, p.leads, "h2", false)
	ends(t, p.stands)
	// What the harness has set at the brokers is in no configuration; a control plane that stands by tells of it too.
	if code, body := get(t, "http://"+p.leads.API+"/millrace/v1/clusters/default/drift"); code != http.StatusOK || !strings.Contains(body, `"name":"group.initial.rebalance.delay.ms"`) {
		t.Errorf("drift: %d %s", code, body)
	}
	rolledOnce(t, p.leads, p.leads.Process(), p.stands.Process(), p.agent.Process())
}

// TestServeBesideAnother has what is wrong with a second one said.
func TestServeBesideAnother(t *testing.T) {
	dir := t.TempDir()
	etcd := harness.StartEtcd(t, harness.EtcdOptions{})
	kms := []string{"--kms", "keyring://" + filepath.Join(dir, "keyring.json")}
	first := harness.StartMillrace(t, harness.MillraceOptions{Host: loopbackHost(1), Etcd: etcd, Args: append([]string{"--secure"}, kms...), KeepRebalanceDelay: true})
	serve := func(args ...string) []string {
		return append(append([]string{"serve", "--etcd", etcd.URLs(), "--data", filepath.Join(dir, "other"), "--listen", fmt.Sprintf("127.0.0.1:%d", harness.FreePorts(t, 1))}, kms...), args...)
	}
	if r := millrace(t, "", serve("--name", "h1")...); r.code != 1 || !strings.Contains(r.err, "choose another with --name") {
		t.Errorf("the name of a live host: exit code %d: %s", r.code, r.err)
	}
	first.Process().Kill()
	for _, pid := range first.Brokers() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if r := millrace(t, "", serve("--name", "h1")...); r.code != 1 || !strings.Contains(r.err, "brokers of another data directory") {
		t.Errorf("the name of a host that is gone, with its brokers: exit code %d: %s", r.code, r.err)
	}
}
