package standard

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/agent"
	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/kv/etcd"
	"millrace/base/life"
	"millrace/base/proc"
	"millrace/cmd/standard"
	"millrace/engine"
	"millrace/secure/cert"
	"millrace/standard/dist"
	"millrace/test/harness"
)

// TestMain lets the test binary stand in for an agent: `agent FOLDER ETCD`.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "agent" {
		if err := runAgent(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	m.Run()
}

// runAgent runs until it is killed, or told to stop.
func runAgent(folder, url string) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	store, err := etcd.Dial(ctx, []string{url}, etcd.Options{})
	if err != nil {
		return err
	}
	defer store.Close()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	files := disk.OS("")
	me := cert.Agent(host)
	keeper, err := cert.NewKeeper(cert.KeeperConfig{Node: me, Names: me.Names("127.0.0.1"), File: filepath.Join(folder, "agent.pem")},
		cert.World{KV: store, Clock: clock.System{}, Log: log, FS: files})
	if err != nil {
		return err
	}
	h, err := standard.Open(standard.Config{Data: folder, ClientTLS: func(ctx context.Context, host string) (*tls.Config, error) {
		return cert.ClientTLS(keeper, host), keeper.Wait(ctx)
	}}, standard.World{KV: store, FS: files, Log: log})
	if err != nil {
		return err
	}
	logs := filepath.Join(folder, "logs")
	if err := files.MkdirAll(logs, 0o700); err != nil {
		return err
	}
	a := agent.New(agent.Config{Host: engine.Host{Name: host}, LogDir: logs}, agent.World{
		KV: store, FS: files, Clock: clock.System{}, Log: log, Engines: map[string]engine.Engine{engine.Standard: h.Engine()},
	})
	signals(stop)
	return life.Run(ctx,
		life.Actor{Name: "own certificate", Run: keeper.Run}, life.Actor{Name: "certificates", Run: h.Run},
		life.Actor{Name: "agent", Run: a.Run, Grace: time.Minute})
}

const (
	host      = "h"
	clusterID = "bWlsbHJhY2Utc3RhbmRhcg"
	least     = 10000 // ids of controllers are above
)

// limits of waiting; a busy machine starts six Java machines in half a minute.
const (
	readyLimit = 4 * time.Minute
	workLimit  = time.Minute
)

// cluster is one that an agent runs.
type cluster struct {
	t      *testing.T
	folder string
	url    string
	store  kv.KV
	specs  map[int32]engine.NodeSpec
	agent  *proc.Process
	began  time.Time
}

// newCluster writes down three controllers and so many brokers of a version, and starts an agent.
func newCluster(t *testing.T, version string, brokers int) *cluster {
	t.Helper()
	c := writeCluster(t, version, brokers)
	c.begin()
	return c
}

// begin tells the agent of all nodes, and starts it.
func (c *cluster) begin() {
	c.t.Helper()
	c.began = time.Now()
	for _, s := range c.specs {
		c.put(s)
	}
	c.startAgent()
}

// writeCluster is newCluster without telling anybody.
func writeCluster(t *testing.T, version string, brokers int) *cluster {
	t.Helper()
	harness.Require(t, harness.Java)
	kafka, err := harness.Cached("standard", []string{"1"}, func(string) error { return nil })
	must(t, err)
	files := disk.OS("")
	d, err := dist.New(dist.Config{Dir: kafka, FS: files, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	must(t, err)
	_, err = d.Get(t.Context(), version, func(string) {})
	must(t, err)
	c := &cluster{t: t, folder: t.TempDir(), specs: map[int32]engine.NodeSpec{}}
	must(t, os.Symlink(kafka, filepath.Join(c.folder, "kafka"))) // what is downloaded and made once is for all tests
	member, err := etcd.StartEmbedded(t.Context(), etcd.EmbeddedConfig{Dir: filepath.Join(c.folder, "etcd")})
	must(t, err)
	t.Cleanup(func() { _ = member.Close() })
	c.url = member.Endpoint()
	store, err := etcd.Dial(t.Context(), []string{c.url}, etcd.Options{})
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	c.store = store
	t.Cleanup(c.killAll)

	const controllers = 3
	first := harness.FreePorts(t, controllers+brokers)
	var voters []engine.Voter
	for i := range controllers {
		voters = append(voters, engine.Voter{ID: int32(least + 1 + i), Address: fmt.Sprintf("127.0.0.1:%d", first+i)})
	}
	replicas := min(brokers, 3)
	properties := fmt.Sprintf("default.replication.factor=%d\noffsets.topic.replication.factor=%d\ntransaction.state.log.replication.factor=%d\n"+
		"min.insync.replicas=%d\ntransaction.state.log.min.isr=%d\noffsets.topic.num.partitions=4\ngroup.initial.rebalance.delay.ms=0\n",
		replicas, replicas, replicas, max(replicas-1, 1), max(replicas-1, 1))
	base := engine.NodeSpec{
		Format: engine.Format, Host: host, Cluster: "c", Engine: engine.Standard, Version: version, ClusterID: clusterID, Voters: voters,
		Properties: properties, Heap: 192 << 20,
	}
	for _, v := range voters {
		s := base
		s.ID, s.Role, s.Listen, s.Heap = v.ID, engine.Controller, v.Address, 128<<20
		s.Listeners = []engine.Listener{{Name: engine.ControllerListener, Address: v.Address}}
		c.specs[s.ID] = s
	}
	for i := range brokers {
		s := base
		s.ID, s.Zone = int32(i+1), fmt.Sprintf("zone-%d", i%3+1)
		s.Listen = fmt.Sprintf("127.0.0.1:%d", first+controllers+i)
		s.Listeners = []engine.Listener{{Name: engine.Client, Address: s.Listen}}
		c.specs[s.ID] = s
	}
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) put(s engine.NodeSpec) {
	c.t.Helper()
	c.specs[s.ID] = s
	b, err := engine.Encode(s)
	must(c.t, err)
	_, err = c.store.Txn(c.t.Context(), nil, []kv.Op{kv.Put(s.Key(), b)})
	must(c.t, err)
}

func (c *cluster) startAgent() {
	c.t.Helper()
	self, err := proc.Self()
	must(c.t, err)
	c.agent, err = proc.Start(c.t.Context(), proc.Spec{
		Path: self, Args: []string{"agent", c.folder, c.url}, DieWithParent: true, LogFile: filepath.Join(c.folder, "agent.log"),
	})
	must(c.t, err)
}

// killAll ends the agent and every process that it has reported.
func (c *cluster) killAll() {
	if c.agent != nil {
		_ = c.agent.Kill()
		<-c.agent.Done()
	}
	ctx, cancel := context.WithTimeout(context.Background(), workLimit)
	defer cancel()
	for id := range c.specs {
		s, err := c.status(ctx, id)
		if err != nil || s.PID == 0 {
			continue
		}
		if p, err := proc.Adopt(s.PID, s.Began); err == nil {
			_ = p.Kill()
			<-p.Done()
		}
	}
	if c.t.Failed() {
		c.tell()
	}
}

// tell prints what the agent and the nodes have said last.
func (c *cluster) tell() {
	names, _ := filepath.Glob(filepath.Join(c.folder, "standard", "*", "logs", "server.log"))
	more, _ := filepath.Glob(filepath.Join(c.folder, "logs", "*"))
	for _, name := range append(append(names, more...), filepath.Join(c.folder, "agent.log")) {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		c.t.Logf("%s:\n%s", name, strings.Join(lines[max(0, len(lines)-8):], "\n"))
	}
}

func (c *cluster) status(ctx context.Context, id int32) (engine.NodeStatus, error) {
	item, err := c.store.Get(ctx, c.specs[id].StatusKey())
	if err != nil {
		return engine.NodeStatus{}, err
	}
	return engine.Decode[engine.NodeStatus](item.Value)
}

// await waits until what is reported of a node is as wanted.
func (c *cluster) await(id int32, what string, ok func(engine.NodeStatus) bool) (last engine.NodeStatus) {
	c.t.Helper()
	harness.Eventually(c.t, readyLimit, fmt.Sprintf("node %d is %s", id, what), func(ctx context.Context) error {
		s, err := c.status(ctx, id)
		if err != nil {
			return err
		}
		if last = s; !ok(s) {
			return fmt.Errorf("it is %s: %s", s.State, s.Message)
		}
		return nil
	})
	return last
}

func ready(s engine.NodeStatus) bool { return s.State == engine.Ready }

// awaitAll waits until every node is ready, and says when each was.
func (c *cluster) awaitAll() {
	c.t.Helper()
	for id := range c.specs {
		s := c.await(id, "ready", ready)
		c.t.Logf("node %d was ready after %v", id, s.Changed.Sub(c.began).Round(10*time.Millisecond))
	}
}

func (c *cluster) brokers() (addresses []string) {
	for id, s := range c.specs {
		if id < least {
			addresses = append(addresses, s.Listen)
		}
	}
	return addresses
}

// client is one of franz-go, for all brokers.
func (c *cluster) client(options ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.brokers()...)}, options...)...)
	must(c.t, err)
	c.t.Cleanup(cl.Close)
	return cl
}

// create makes a topic with the cluster's own number of replicas.
func (c *cluster) create(topic string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), workLimit)
	defer cancel()
	resp, err := kadm.NewClient(c.client()).CreateTopic(ctx, 3, -1, nil, topic)
	must(c.t, errors.Join(err, resp.Err))
}

// produce writes records FROM to below TO, each acknowledged by all replicas.
func (c *cluster) produce(topic string, from, to int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), workLimit)
	defer cancel()
	cl := c.client(kgo.DefaultProduceTopic(topic))
	for i := from; i < to; i++ {
		must(c.t, cl.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint(i))).FirstErr())
	}
}

// consume reads the topic from its beginning and fails unless it holds each of the numbers below N once.
func (c *cluster) consume(topic string, n int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), workLimit)
	defer cancel()
	cl := c.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	seen := map[string]int{}
	for len(seen) < n {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			c.t.Fatalf("%d records of %d were read", len(seen), n)
		}
		fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Value)]++ })
	}
	for i := range n {
		if seen[fmt.Sprint(i)] != 1 {
			c.t.Errorf("record %d was read %d times", i, seen[fmt.Sprint(i)])
		}
	}
}
