package flood

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/aws"

	"millrace/test/harness"
)

// Ports of listeners above that of PLAINTEXT, as MSK numbers them.
const (
	portTLS   = 2
	portScram = 4
	portIAM   = 6
)

const (
	region   = "us-east-1"
	goodUser = "good"
	goodWord = "correct-horse-4711"
	goodHost = "127.0.0.2" // that good clients come from, and no attacker
	topic    = "served"
)

// fortress is a running `millrace serve --secure`.
type fortress struct {
	*harness.Cluster
	t          testing.TB
	tls        *tls.Config
	id, secret string // of root's key
}

func start(t *testing.T, args ...string) *fortress {
	t.Helper()
	t.Setenv("AWS_REGION", region) // franz-go finds none in a loopback address
	f := &fortress{t: t, Cluster: harness.StartMillrace(t, harness.MillraceOptions{KeepRebalanceDelay: true, Args: append([]string{"--secure"}, args...)})}
	var key struct {
		ID     string `json:"access_key_id"`
		Secret string `json:"secret_access_key"`
	}
	must(t, json.Unmarshal(f.read("secure", "root.json"), &key))
	f.id, f.secret = key.ID, key.Secret
	f.tls = trusting(f.read("secure", "ca.pem"))
	admin := kadm.NewClient(f.iam())
	_, err := admin.CreateTopic(t.Context(), 1, 1, nil, topic)
	must(t, err)
	f.user(goodUser, goodWord)
	return f
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// read reads a file of serve's directory.
func (f *fortress) read(path ...string) []byte {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{f.Dir}, path...)...))
	must(f.t, err)
	return text
}

// at is the address of a listener.
func (f *fortress) at(step int) string {
	f.t.Helper()
	host, text, err := net.SplitHostPort(f.Bootstrap)
	must(f.t, err)
	port, err := strconv.Atoi(text)
	must(f.t, err)
	return net.JoinHostPort(host, strconv.Itoa(port+step))
}

// iam is a client with root's key.
func (f *fortress) iam() *kgo.Client {
	f.t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(f.at(portIAM)), kgo.DialTLSConfig(f.tls), kgo.SASL(aws.Auth{AccessKey: f.id, SecretKey: f.secret}.AsManagedStreamingIAMMechanism()))
	must(f.t, err)
	f.t.Cleanup(c.Close)
	return c
}

// user makes one that logs in by a password.
func (f *fortress) user(name, password string) {
	f.t.Helper()
	change := kadm.UpsertSCRAM{User: name, Mechanism: kadm.ScramSha512, Iterations: 4096, Password: password}
	done, err := kadm.NewClient(f.iam()).AlterUserSCRAMs(f.t.Context(), nil, []kadm.UpsertSCRAM{change})
	must(f.t, errors.Join(err, done.Error()))
}

// watch notes the resident memory of processes now and then, but for the pages of files, until enough.
func (f *fortress) watch(pids map[string]int, enough <-chan struct{}) (courses map[string][]int64) {
	const every = 5 * time.Second
	courses = map[string][]int64{}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-enough:
			return courses
		case <-tick.C:
			for name, pid := range pids {
				courses[name] = append(courses[name], f.status(pid, "RssAnon:")>>20)
			}
		}
	}
}

// roomForAttacks is how far resident memory may grow under an attack, in bytes.
const roomForAttacks = 128 << 20

// besieged runs an attack while good clients work, and checks F1 to F3.
func (f *fortress) besieged(attack func()) {
	f.t.Helper()
	before := f.guests().leave()
	if before.Err != "" {
		f.t.Fatalf("good clients: %s", before.Err)
	}
	broker, err := f.BrokerPID()
	must(f.t, err)
	pids := map[string]int{"broker": broker, "serve": f.Process().PID()}
	memory := map[string]int64{}
	for name, pid := range pids {
		memory[name] = f.status(pid, "VmRSS:")
		const resetPeak = "5"
		must(f.t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte(resetPeak), 0))
	}
	enough, courses, good := make(chan struct{}), make(chan map[string][]int64), f.guests()
	go func() { courses <- f.watch(pids, enough) }()
	attack()
	close(enough)
	during, resident := good.leave(), <-courses
	if during.Err != "" {
		f.t.Errorf("good clients: %s", during.Err)
	} else {
		f.t.Logf("logins in their order: %s; records: %s", course(during.Logins), course(during.Records))
		f.t.Logf("records: %s; logins: %s", ratios(before.Records, during.Records), ratios(before.Logins, during.Logins))
	}
	for name, pid := range pids {
		peak := f.status(pid, "VmHWM:")
		f.t.Logf("%s: %d MiB before, %d MiB at most; without files, every 5 s: %v", name, memory[name]>>20, peak>>20, resident[name])
		if peak > memory[name]+roomForAttacks {
			f.t.Errorf("%s grew from %d to %d MiB, %d more are allowed", name, memory[name]>>20, peak>>20, roomForAttacks>>20)
		}
	}
	if now, err := f.BrokerPID(); err != nil || now != broker {
		f.t.Errorf("the broker was process %d and is %d: %v", broker, now, err)
	}
	for _, line := range f.logged() {
		if strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, goodWord) || strings.Contains(line, f.secret) {
			f.t.Errorf("in the broker's log: %.2000s", line)
		}
	}
}

// logged are the lines that the broker has printed.
func (f *fortress) logged() []string {
	f.t.Helper()
	files, err := filepath.Glob(filepath.Join(f.Dir, "logs", "*.log"))
	if err != nil || len(files) == 0 {
		f.t.Fatalf("no log of a broker: %v", err)
	}
	var lines []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(f.t, err)
		lines = append(lines, strings.Split(strings.TrimSpace(string(text)), "\n")...)
	}
	return lines
}

// status is a size out of /proc/PID/status in bytes; the test is skipped where there is no such file.
func (f *fortress) status(pid int, field string) int64 {
	f.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if os.IsNotExist(err) {
		f.t.Skip("memory is read from /proc")
	}
	must(f.t, err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			var kib int64
			_, err := fmt.Sscan(rest, &kib)
			must(f.t, err)
			return kib << 10
		}
	}
	f.t.Fatalf("no %s of process %d", field, pid)
	return 0
}
