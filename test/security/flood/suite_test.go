package flood

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/aws"
	"github.com/twmb/franz-go/pkg/sasl/scram"

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
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(f.read("secure", "ca.pem")) {
		t.Fatal("no certificate of the authority")
	}
	// Sessions are resumed, so that the attackers can come faster.
	f.tls = &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
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

// good is a client by password that retries nothing: an error that it would have to get over is an error here.
func (f *fortress) good() (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(f.at(portScram)), kgo.DialTLSConfig(f.tls), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0),
		kgo.SASL(scram.Auth{User: goodUser, Pass: goodWord}.AsSha512Mechanism()), kgo.RecordRetries(0), kgo.RequestRetries(0))
}

// served counts what good clients did, and how long each of it took.
type served struct {
	records, logins []time.Duration
	err             error
}

// serve has one client produce, and others come anew, until both have done their part and enough says so.
func (f *fortress) serve(records, logins int, enough <-chan struct{}) (s served) {
	var both sync.WaitGroup
	var produced, came error
	both.Go(func() {
		c, err := f.good()
		if err != nil {
			produced = err
			return
		}
		defer c.Close()
		produced = repeat(&s.records, records, enough, func(ctx context.Context) error {
			return c.ProduceSync(ctx, kgo.StringRecord("one more")).FirstErr()
		})
	})
	both.Go(func() {
		came = repeat(&s.logins, logins, enough, func(ctx context.Context) error {
			c, err := f.good()
			if err != nil {
				return err
			}
			defer c.Close()
			return c.ProduceSync(ctx, kgo.StringRecord("new here")).FirstErr()
		})
	})
	both.Wait()
	s.err = errors.Join(produced, came)
	return s
}

// repeat does something least times, and on until enough.
func repeat(took *[]time.Duration, least int, enough <-chan struct{}, do func(context.Context) error) error {
	for n := 0; ; n++ {
		if n >= least {
			select {
			case <-enough:
				return nil
			default:
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		began := time.Now()
		err := do(ctx)
		cancel()
		if err != nil {
			return fmt.Errorf("number %d: %w", n, err)
		}
		*took = append(*took, time.Since(began))
	}
}

// ratios says how many times longer it took than before: in the middle, and of the slowest hundredth.
func ratios(before, during []time.Duration) string {
	at := func(all []time.Duration, share int) float64 {
		slices.Sort(all)
		return float64(all[len(all)*share/100])
	}
	const middle, slow = 50, 99
	return fmt.Sprintf("%d, p50 %.1f times, p99 %.1f times that of before", len(during), at(during, middle)/at(before, middle), at(during, slow)/at(before, slow))
}

// Good clients do at least so much, before and during an attack.
const (
	leastRecords = 300
	leastLogins  = 20
)

// roomForAttacks is how far resident memory may grow under an attack, in bytes.
const roomForAttacks = 128 << 20

// besieged runs an attack while good clients work, and checks F1 to F3.
func (f *fortress) besieged(attack func()) {
	f.t.Helper()
	done := make(chan struct{})
	close(done)
	before := f.serve(leastRecords, leastLogins, done)
	must(f.t, before.err)
	broker, err := f.BrokerPID()
	must(f.t, err)
	pids := map[string]int{"broker": broker, "serve": f.Process().PID()}
	memory := map[string]int64{}
	for name, pid := range pids {
		memory[name] = f.status(pid, "VmRSS:")
		const resetPeak = "5"
		must(f.t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte(resetPeak), 0))
	}
	enough, results := make(chan struct{}), make(chan served)
	go func() { results <- f.serve(leastRecords, leastLogins, enough) }()
	attack()
	close(enough)
	during := <-results
	if during.err != nil {
		f.t.Errorf("good clients: %v", during.err)
	} else {
		f.t.Logf("records: %s; logins: %s", ratios(before.records, during.records), ratios(before.logins, during.logins))
	}
	for name, pid := range pids {
		peak := f.status(pid, "VmHWM:")
		f.t.Logf("%s: %d MiB before, %d MiB at most", name, memory[name]>>20, peak>>20)
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
