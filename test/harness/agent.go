package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// agentStartLimit is how long an agent may take to join; it needs a fraction of a second once etcd answers.
const agentStartLimit = 60 * time.Second

// AgentOptions says how `millrace agent` is started. Host and Etcd are required.
type AgentOptions struct {
	Host  Host
	Etcd  *Etcd
	Dir   string   // data folder; empty means a new one in the test's temporary folder
	Zone  string   // empty: the host is a zone of its own
	Store string   // empty: that of serve
	Args  []string // added to `millrace agent`
	Env   []string // added to the environment, as NAME=VALUE
	// Early does not wait until the host has joined.
	Early bool
}

// An Agent is a running `millrace agent`, with the brokers of its host. All of them end with the test.
type Agent struct {
	Host   Host
	Dir    string
	Status string // HOST:PORT of /healthz, /readyz and /metrics, on the host's own loopback

	process *Process
}

// StartAgent starts an agent on a host and waits until it has joined. When the test ends it is stopped with SIGTERM, and must then
// exit with 0; brokers that a killed agent left behind are killed.
func StartAgent(t testing.TB, options AgentOptions) *Agent {
	t.Helper()
	if options.Dir == "" {
		options.Dir = filepath.Join(t.TempDir(), "data")
	}
	a := &Agent{Host: options.Host, Dir: options.Dir, Status: loopback(FreePorts(t, 1))}
	args := []string{"agent", "--join", options.Etcd.URLs(), "--name", a.Host.Name, "--advertise", a.Host.Address, "--data", a.Dir, "--listen", a.Status}
	args = append(args, options.Etcd.TLSArgs()...)
	if options.Zone != "" {
		args = append(args, "--zone", options.Zone)
	}
	if options.Store != "" {
		args = append(args, "--store", options.Store)
	}
	if a.Host.Netns != "" {
		args = append(args, "--insecure")
	}
	command := a.Host.Command(MillraceBinary(t), append(args, options.Args...)...)
	command.Env = append(os.Environ(), options.Env...)
	log := filepath.Join(t.TempDir(), "agent.log")
	t.Cleanup(func() { killBrokers(a.Dir) })
	a.process = StartProcess(t, "millrace agent "+a.Host.Name, log, command)
	t.Cleanup(func() { a.Stop(t) })
	if !options.Early {
		waitReady(t, a.process, agentStartLimit, func(context.Context) error {
			text, err := os.ReadFile(log)
			if err == nil && !bytes.Contains(text, []byte("host has joined")) {
				err = errors.New("it has not joined")
			}
			return err
		})
	}
	return a
}

// Process returns the agent's own process.
func (a *Agent) Process() *Process { return a.process }

// Log returns what the agent has written so far.
func (a *Agent) Log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(a.process.logPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Brokers are the processes of the host's brokers, by broker id.
func (a *Agent) Brokers() map[int]int { return brokersBelow(a.Dir) }

// Stop ends the agent in good order, and its brokers with it, and checks the exit code.
func (a *Agent) Stop(t testing.TB) {
	t.Helper()
	if a.process.expected.Load() {
		return
	}
	if code := a.process.Stop(t); code != 0 {
		t.Errorf("agent of %s stopped with exit code %d", a.Host.Name, code)
	}
}

// KillHost kills the agent and its brokers, as when the machine loses power. It may be started again on the same Dir.
func (a *Agent) KillHost() {
	a.process.Kill()
	killBrokers(a.Dir)
}

// Brokers are the processes of the brokers of serve's own host, by broker id.
func (c *Cluster) Brokers() map[int]int { return brokersBelow(c.Dir) }

// brokersBelow finds the brokers whose data lies below a folder, whoever started them.
func brokersBelow(dir string) map[int]int {
	found := map[int]int{}
	for pid, p := range processes() {
		mine := slices.ContainsFunc(p.arguments, func(a string) bool { return strings.HasPrefix(a, filepath.Join(dir, "brokers")+"/") })
		at := slices.Index(p.arguments, "--id")
		if !mine || !slices.Contains(p.arguments, "broker") || at < 0 || at+1 >= len(p.arguments) {
			continue
		}
		if id, err := strconv.Atoi(p.arguments[at+1]); err == nil {
			found[id] = pid
		}
	}
	return found
}

// killBrokers kills the brokers below a folder and waits until they are gone.
func killBrokers(dir string) {
	for _, pid := range brokersBelow(dir) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	_ = Poll(ctx, func(context.Context) error { // one that stays shows in the test that starts another
		if left := brokersBelow(dir); len(left) > 0 {
			return fmt.Errorf("left: %v", left)
		}
		return nil
	})
}
