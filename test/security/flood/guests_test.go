package flood

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Good clients do at least so much, before and during an attack.
const (
	leastRecords = 300
	leastLogins  = 20
)

// guest is what good clients know. They are a process of their own: in that of the attackers they would wait behind these.
type guest struct {
	Address string // of the listener for passwords
	CA      string // PEM file
	tls     *tls.Config
}

// asGuests has the test's program be good clients, until the end of its input.
const asGuests = "MILLRACE_FLOOD_GUESTS"

func TestMain(m *testing.M) {
	if text := os.Getenv(asGuests); text != "" {
		os.Exit(beGuests(text))
	}
	os.Exit(m.Run())
}

func beGuests(text string) (code int) {
	var g guest
	if err := json.Unmarshal([]byte(text), &g); err != nil {
		panic(err)
	}
	pem, err := os.ReadFile(g.CA)
	if err != nil {
		panic(err)
	}
	g.tls = trusting(pem)
	enough := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(enough)
	}()
	if err := json.NewEncoder(os.Stdout).Encode(g.work(leastRecords, leastLogins, enough)); err != nil {
		return 1
	}
	return 0
}

// trusting resumes sessions, so that attackers and guests can come faster.
func trusting(pem []byte) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
}

// guests are good clients that are at work.
type guests struct {
	t       testing.TB
	command *exec.Cmd
	stay    io.Closer
	out     bytes.Buffer
}

func (f *fortress) guests() *guests {
	f.t.Helper()
	text, err := json.Marshal(guest{Address: f.at(portScram), CA: filepath.Join(f.Dir, "secure", "ca.pem")})
	must(f.t, err)
	g := &guests{t: f.t, command: exec.CommandContext(f.t.Context(), os.Args[0])}
	g.command.Env = append(os.Environ(), asGuests+"="+string(text))
	g.command.Stdout, g.command.Stderr = &g.out, os.Stderr
	g.stay, err = g.command.StdinPipe()
	must(f.t, err)
	must(f.t, g.command.Start())
	return g
}

// leave lets them go when they have done their part, and returns what they did.
func (g *guests) leave() (s served) {
	g.t.Helper()
	must(g.t, g.stay.Close())
	must(g.t, g.command.Wait())
	must(g.t, json.Unmarshal(g.out.Bytes(), &s))
	return s
}

// good is a client by password that retries nothing: an error that it would have to get over is an error here.
func (g guest) good() (*kgo.Client, error) {
	dialer := &tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(goodHost)}}, Config: g.tls}
	return kgo.NewClient(kgo.SeedBrokers(g.Address), kgo.Dialer(dialer.DialContext), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0),
		kgo.SASL(scram.Auth{User: goodUser, Pass: goodWord}.AsSha512Mechanism()), kgo.RecordRetries(0), kgo.RequestRetries(0))
}

// served counts what good clients did, and how long each of it took.
type served struct {
	Records, Logins []time.Duration
	Err             string // "": there was none
}

// work has one client produce, and others come anew, until both have done their part and enough says so.
func (g guest) work(records, logins int, enough <-chan struct{}) (s served) {
	var both sync.WaitGroup
	var produced, came error
	both.Go(func() {
		c, err := g.good()
		if err != nil {
			produced = err
			return
		}
		defer c.Close()
		produced = repeat(&s.Records, records, enough, func(ctx context.Context) error {
			return c.ProduceSync(ctx, kgo.StringRecord("one more")).FirstErr()
		})
	})
	both.Go(func() {
		came = repeat(&s.Logins, logins, enough, func(ctx context.Context) error {
			c, err := g.good()
			if err != nil {
				return err
			}
			defer c.Close()
			return c.ProduceSync(ctx, kgo.StringRecord("new here")).FirstErr()
		})
	})
	both.Wait()
	if err := errors.Join(produced, came); err != nil {
		s.Err = err.Error()
	}
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
	return fmt.Sprintf("%d, p50 %.1f times, p99 %.1f times that of before (%.1f and %.1f ms)", len(during),
		at(during, middle)/at(before, middle), at(during, slow)/at(before, slow), at(during, middle)/1e6, at(during, slow)/1e6)
}

// course says how something went: the middle of each tenth.
func course(took []time.Duration) string {
	const parts = 10
	if len(took) < parts {
		return "too few to tell"
	}
	var out []string
	for i := range parts {
		part := slices.Sorted(slices.Values(took[i*len(took)/parts : (i+1)*len(took)/parts]))
		out = append(out, strconv.FormatInt(part[len(part)/2].Milliseconds(), 10))
	}
	return strings.Join(out, " ") + " ms"
}
