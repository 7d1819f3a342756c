package robust

import (
	"bytes"
	"context"
	cryptorand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
	"millrace/test/robust/nemesis"
	"millrace/test/robust/proxy"
)

const (
	// firstBrokers is how many brokers a victim has; while a round scales it, it has one more.
	firstBrokers = 3
	// pastLease is longer than a broker's registration lasts without its broker.
	pastLease = 7 * time.Second
	// pastHang is longer than a broker may be silent before its agent kills it.
	pastHang = 3 * time.Second
	// operationLimit is how long an operation may take while faults happen.
	operationLimit = 3 * time.Minute
)

// victim is a cluster of several brokers that a nemesis strikes.
type victim struct {
	why []string // what the nemesis failed of
	*run
	options harness.MillraceOptions
	store   *proxy.Store // nil where the object store is a folder
	disk    string       // the folder of the brokers' logs where it is a file system of its own; empty: it is not
	twins   int
	site    *site // nil where all brokers are on one host
	seeds   string
}

// bootstrap names all brokers, so that clients find the cluster while any is away.
func (v *victim) bootstrap() string {
	if v.seeds != "" {
		return v.seeds
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(v.cluster.Bootstrap))
	if err != nil {
		v.t.Fatal(err)
	}
	defer client.Close()
	harness.Eventually(v.t, returnLimit, "all brokers are known", func(ctx context.Context) error {
		brokers, err := kadm.NewClient(client).ListBrokers(ctx)
		if err == nil && len(brokers) < firstBrokers {
			err = fmt.Errorf("there are %d", len(brokers))
		}
		if err != nil {
			return err
		}
		addresses := make([]string, len(brokers))
		for i, b := range brokers {
			addresses[i] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		}
		v.seeds = strings.Join(addresses, ",")
		return nil
	})
	return v.seeds
}

// begin makes a fault happen. What it returns ends it, and returns when the fault is over.
func (v *victim) begin(f nemesis.Fault) (heal func()) {
	v.t.Helper()
	none := func() {}
	switch f.Kind {
	case nemesis.Kill:
		v.strike(v.brokers()[f.Broker], syscall.SIGKILL)
	case nemesis.KillAgain:
		first := v.pid(f.Broker, 0)
		v.strike(first, syscall.SIGKILL)
		return func() { v.strike(v.pid(f.Broker, first), syscall.SIGKILL) }
	case nemesis.KillAll:
		v.killBrokers()
	case nemesis.KillServe:
		v.cluster.Process().Kill()
		return v.again
	case nemesis.Crash, nemesis.Torn:
		return v.crash(f.Kind == nemesis.Torn)
	case nemesis.Pause:
		return v.stop(v.brokers()[f.Broker], 0)
	case nemesis.Hang:
		return v.stop(v.pid(f.Broker, 0), pastHang)
	case nemesis.PauseServe:
		return v.stop(v.cluster.Process().PID(), pastLease)
	case nemesis.Freeze:
		supervisor, broker := v.stop(v.supervisor(f.Broker), 0), v.stop(v.brokers()[f.Broker], pastLease)
		return func() { broker(); supervisor() }
	case nemesis.Roll:
		return v.operate("roll")
	case nemesis.Scale:
		grown := v.operate("scale", "--brokers", strconv.Itoa(firstBrokers+1))
		return func() {
			grown()
			v.operate("scale", "--brokers", strconv.Itoa(firstBrokers))()
		}
	case nemesis.SlowEtcd:
		if v.site == nil { // serve is etcd
			return v.slow([]int{v.cluster.Process().PID()})
		}
		heal, _ = v.hostFault(f)
		return heal
	case nemesis.Twin:
		return v.twin(f.Broker)
	case nemesis.DiskFull:
		ballast := filepath.Join(v.disk, "ballast")
		fill(v.t, ballast)
		return func() {
			if err := os.Remove(ballast); err != nil {
				v.t.Fatal(err)
			}
		}
	default:
		if v.site != nil {
			if heal, ok := v.hostFault(f); ok {
				return heal
			}
		}
		return v.storeFault(f.Kind)
	}
	return none
}

// supervisor is the process that looks after a broker: its agent, or serve.
func (v *victim) supervisor(id int) (pid int) {
	if v.site != nil {
		for _, a := range v.site.agents {
			if _, ok := a.Brokers()[id]; ok {
				return a.Process().PID()
			}
		}
	}
	return v.cluster.Process().PID()
}

// storeFault makes the object store fail.
func (v *victim) storeFault(kind nemesis.Kind) (heal func()) {
	v.t.Helper()
	rules := map[nemesis.Kind]proxy.Rule{
		nemesis.StoreErrors: {Refused: 0.4, Reset: 0.2},
		nemesis.StoreLost:   {Lost: 0.4, Delay: 50 * time.Millisecond},
		nemesis.StoreSlow:   {Delay: 2 * time.Second},
		nemesis.StoreHang:   {Hang: true},
		nemesis.StoreTorn:   {Torn: 0.3},
	}
	if rule, ok := rules[kind]; ok {
		v.store.Set(rule)
		return func() { v.store.Set(proxy.Rule{}) }
	}
	trap := &ambush{victim: v, after: kind == nemesis.StoreCrash2}
	trap.set()
	return trap.lift
}

// ambush kills all brokers at a write to the store, and again some writes later, until it is lifted.
type ambush struct {
	victim *victim
	after  bool // when the store has done what it was asked for
	mu     sync.Mutex
	lifted bool // guarded by mu
}

// set waits for some writes, and then for one more.
func (a *ambush) set() {
	const most = 6
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lifted {
		return
	}
	var passed atomic.Int64
	wait := rand.Int64N(most)
	writes := func(r *http.Request) bool {
		return (r.Method == http.MethodPut || r.Method == http.MethodPost) && passed.Add(1) > wait
	}
	a.victim.store.Strike(writes, a.after, func() {
		for _, pid := range a.victim.brokers() {
			_ = syscall.Kill(pid, syscall.SIGKILL) // one that has ended meanwhile is no fault
		}
		a.set()
	})
}

// lift ends it.
func (a *ambush) lift() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lifted = true
	a.victim.store.Strike(nil, false, nil)
}

// strike sends a signal; 0 stands for a broker that is away because of another fault.
func (v *victim) strike(pid int, signal syscall.Signal) {
	v.t.Helper()
	if pid > 0 {
		v.signal(pid, signal)
	}
}

// stop stops the clock of a process, and starts it again no sooner than after least.
func (v *victim) stop(pid int, least time.Duration) (heal func()) {
	v.t.Helper()
	v.strike(pid, syscall.SIGSTOP)
	timer := time.NewTimer(least)
	return func() {
		select {
		case <-timer.C:
		case <-v.t.Context().Done():
		}
		v.strike(pid, syscall.SIGCONT)
	}
}

// slow stops the clocks of processes, each for most of the time and never for so long that another takes it for gone, until it is healed.
func (v *victim) slow(pids []int) (heal func()) {
	v.t.Helper()
	const (
		stopped = 400 * time.Millisecond // less than half of what a member of etcd waits for its leader
		awake   = 100 * time.Millisecond
	)
	ctx, cancel := context.WithCancel(v.t.Context())
	var slowing sync.WaitGroup
	for _, pid := range pids {
		slowing.Go(func() {
			for ctx.Err() == nil {
				_ = syscall.Kill(pid, syscall.SIGSTOP) // one that was killed by another fault of the round is no fault
				v.idle(stopped)
				_ = syscall.Kill(pid, syscall.SIGCONT)
				v.idle(awake)
			}
		})
	}
	return func() { cancel(); slowing.Wait() }
}

// crash kills everything; healing starts it again, with garbage behind the ends of the logs if the last writes are to be torn.
func (v *victim) crash(torn bool) (heal func()) {
	v.t.Helper()
	v.cluster.Process().Kill()
	v.killBrokers()
	if torn {
		noise := make([]byte, 3000)
		if _, err := cryptorand.Read(noise); err != nil {
			v.t.Fatal(err)
		}
		folders, err := filepath.Glob(filepath.Join(v.cluster.Dir, "brokers", "*"))
		if err != nil {
			v.t.Fatal(err)
		}
		for _, folder := range folders {
			if path := newestIn(v.t, folder); path != "" {
				editFile(v.t, path, func(data []byte) []byte { return append(nextSector(data), noise...) })
			}
		}
	}
	return v.again
}

// again starts serve, whose process was killed.
func (v *victim) again() {
	v.t.Helper()
	v.cluster = harness.StartMillrace(v.t, v.options)
}

// twin starts a process with a broker's identity and its command line, kills the broker, and kills the twin at the end.
func (v *victim) twin(id int) (heal func()) {
	v.t.Helper()
	pid := v.pid(id, 0)
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return func() {} // the broker has just ended
	}
	words := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
	command := exec.Command(words[0], words[1:]...)
	command.Env = append(os.Environ(), v.options.Env...)
	v.twins++
	process := harness.StartProcess(v.t, "twin", filepath.Join(v.cluster.Dir, "logs", fmt.Sprintf("twin-%d.log", v.twins)), command)
	process.Expect()
	v.strike(pid, syscall.SIGKILL)
	return process.Kill
}

// operation is what the verbs print with --output json.
type operation struct {
	Number int64
	State  string
	Error  string
}

// operate begins an operation; what it returns waits for its end.
func (v *victim) operate(verb ...string) (wait func()) {
	v.t.Helper()
	var op operation
	harness.Eventually(v.t, operationLimit, fmt.Sprintf("%v begins", verb), func(ctx context.Context) error {
		return v.ask(ctx, &op, append(verb, "--no-wait")...)
	})
	return func() {
		v.t.Helper()
		if op.Number == 0 {
			return // there was nothing to do
		}
		harness.Eventually(v.t, operationLimit, fmt.Sprintf("%v ends", verb), func(ctx context.Context) error {
			var all []operation
			if err := v.ask(ctx, &all, "operations"); err != nil {
				return err
			}
			at := slices.IndexFunc(all, func(o operation) bool { return o.Number == op.Number })
			if at < 0 {
				return fmt.Errorf("operation %d is not among %d", op.Number, len(all))
			}
			if op = all[at]; op.State != "DONE" && op.State != "FAILED" {
				return fmt.Errorf("it is %s", op.State)
			}
			return nil
		})
		if op.State != "DONE" {
			v.t.Errorf("%v: %s", verb, op.Error)
		}
	}
}

// ask runs a verb of `millrace cluster` on serve's host, whose operations are for nobody else.
func (v *victim) ask(ctx context.Context, answer any, verb ...string) error {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	api := net.JoinHostPort("127.0.0.1", strconv.Itoa(v.options.APIPort))
	args := append(append([]string{"cluster"}, verb...), "--output", "json", "--api", "http://"+api)
	command := v.options.Host.Command(v.cluster.Binary(), args...)
	var out, told bytes.Buffer
	command.Stdout, command.Stderr = &out, &told
	if err := command.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = command.Process.Kill() })
	defer stop()
	if err := command.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, told.Bytes())
	}
	return json.Unmarshal(out.Bytes(), answer)
}

// pid returns the process of a broker, waiting for one other than old.
func (v *victim) pid(id, old int) (pid int) {
	v.t.Helper()
	harness.Eventually(v.t, returnLimit, fmt.Sprintf("broker %d runs", id), func(context.Context) error {
		if pid = v.brokers()[id]; pid == 0 || pid == old {
			return fmt.Errorf("its process is %d", pid)
		}
		return nil
	})
	return pid
}

func (v *victim) killBrokers() {
	v.t.Helper()
	for _, pid := range v.brokers() {
		v.strike(pid, syscall.SIGKILL)
	}
}

// brokers returns the running brokers' processes by broker id, whoever has started them.
func (v *victim) brokers() map[int]int {
	found := v.cluster.Brokers()
	if v.site != nil {
		for _, a := range v.site.agents {
			maps.Copy(found, a.Brokers())
		}
	}
	maps.DeleteFunc(found, func(_, pid int) bool { return !runs(pid) })
	return found
}

// newestIn returns the log file of a broker that was written last; empty: there is none.
func newestIn(t *testing.T, folder string) (newest string) {
	t.Helper()
	var modified time.Time
	err := filepath.WalkDir(filepath.Join(folder, "wal"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Size() > 0 && info.ModTime().After(modified) {
			newest, modified = path, info.ModTime()
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return newest
}
