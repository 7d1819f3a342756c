package warden

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace/engine"
	"millrace/standard/warden"
	"millrace/test/harness"
)

const (
	clusterID = "bWlsbHJhY2UtdGVzdHMtMQ"
	voters    = 3 // nodes 1 to 3 are brokers and controllers
	most      = 4 // nodes that there can be
	patience  = 3 * time.Minute
)

// fleet is a cluster: nodes 1 to 3 in zones a to c, and brokers that a test adds.
type fleet struct {
	t     testing.TB
	jars  string
	first int // port
	nodes map[int32]*node
	zones map[int32]string
	old   string // release that storage is formatted for
}

type node struct {
	dir     string
	process *harness.Process
}

// newFleet starts nodes 1 to 3, formatted as by an older release.
func newFleet(t testing.TB, release string) *fleet {
	f := &fleet{t: t, jars: harness.Require(t, harness.Java), first: harness.FreePorts(t, 2*most), nodes: map[int32]*node{}, old: release}
	f.zones = map[int32]string{}
	for id := int32(1); id <= voters; id++ {
		f.prepare(id, string('a'+rune(id-1)))
	}
	for id := int32(1); id <= voters; id++ {
		f.start(id)
	}
	return f
}

func (f *fleet) address(id int32, controller int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(f.first+2*int(id-1)+controller))
}

// target is how the fleet is asked, through all nodes that there should be.
func (f *fleet) target() engine.Target {
	c := engine.Target{Cluster: "fleet", Zones: maps.Clone(f.zones)}
	for _, id := range slices.Sorted(maps.Keys(f.zones)) {
		c.Bootstrap = append(c.Bootstrap, f.address(id, 0))
	}
	for id := int32(1); id <= voters; id++ {
		c.Controllers = append(c.Controllers, f.address(id, 1))
	}
	return c
}

// prepare formats a node's storage.
func (f *fleet) prepare(id int32, zone string) {
	f.t.Helper()
	f.zones[id] = zone
	n := &node{dir: f.t.TempDir()}
	f.nodes[id] = n
	var quorum []string
	for v := int32(1); v <= voters; v++ {
		quorum = append(quorum, fmt.Sprintf("%d@%s", v, f.address(v, 1)))
	}
	lines := []string{
		"node.id=" + strconv.Itoa(int(id)), "broker.rack=" + zone, "log.dirs=" + filepath.Join(n.dir, "data"),
		"controller.quorum.voters=" + strings.Join(quorum, ","), "controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"advertised.listeners=PLAINTEXT://" + f.address(id, 0), "auto.create.topics.enable=false",
		"default.replication.factor=3", "min.insync.replicas=2", "offsets.topic.num.partitions=2", "num.io.threads=2",
		"auto.leader.rebalance.enable=false", "replica.lag.time.max.ms=5000",
	}
	if id <= voters {
		lines = append(lines, "process.roles=broker,controller",
			"listeners=PLAINTEXT://"+f.address(id, 0)+",CONTROLLER://"+f.address(id, 1))
	} else {
		lines = append(lines, "process.roles=broker", "listeners=PLAINTEXT://"+f.address(id, 0))
	}
	if err := os.WriteFile(f.config(id), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		f.t.Fatal(err)
	}
	format := exec.Command("java", harness.JavaArgs(f.jars, "kafka.tools.StorageTool",
		"format", "-t", clusterID, "-c", f.config(id), "--release-version", f.old)...)
	if out, err := format.CombinedOutput(); err != nil {
		f.t.Fatalf("format node %d: %v\n%s", id, err, out)
	}
}

func (f *fleet) config(id int32) string { return filepath.Join(f.nodes[id].dir, "server.properties") }

func (f *fleet) start(id int32) {
	f.t.Helper()
	n := f.nodes[id]
	command := exec.Command("java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f.jars, "kafka.Kafka", f.config(id))
	command.Dir = n.dir
	n.process = harness.StartProcess(f.t, fmt.Sprintf("Apache Kafka %d", id), filepath.Join(n.dir, "kafka.log"), command)
	f.t.Cleanup(n.process.Kill)
}

// kill ends a node with SIGKILL and waits for its end.
func (f *fleet) kill(id int32) {
	f.nodes[id].process.Kill()
	<-f.nodes[id].process.Done()
}

// stop ends a node in good order.
func (f *fleet) stop(id int32) {
	f.t.Helper()
	p := f.nodes[id].process
	p.Expect()
	f.signal(id, syscall.SIGTERM)
	select {
	case <-p.Done():
	case <-time.After(patience):
		f.t.Fatalf("node %d does not stop", id)
	}
}

func (f *fleet) signal(id int32, s syscall.Signal) {
	f.t.Helper()
	if err := syscall.Kill(f.nodes[id].process.PID(), s); err != nil {
		f.t.Fatal(err)
	}
}

// until asks again until check is content.
func until(t testing.TB, what string, check func(ctx context.Context) error) {
	t.Helper()
	harness.Eventually(t, patience, what, check)
}

// settled waits until all is as it should be.
func (f *fleet) settled(w *warden.Warden) {
	f.t.Helper()
	until(f.t, "the cluster settles", func(ctx context.Context) error {
		return empty(w.Settled(ctx, f.target()))
	})
}

// empty makes an error of what stands in the way.
func empty(why string, err error) error {
	if err == nil && why != "" {
		err = fmt.Errorf("%s", why)
	}
	return err
}

// none makes an error of what is left.
func none(left int, err error) error {
	if err == nil && left > 0 {
		err = fmt.Errorf("%d left", left)
	}
	return err
}
