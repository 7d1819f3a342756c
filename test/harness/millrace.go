package harness

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// millraceStartLimit is how long `millrace serve` may take until /healthz answers 200. It needs less than a second; the rest
// is for machines with other work.
const millraceStartLimit = 60 * time.Second

// MillraceOptions says how millrace is started. The zero value is a good one.
type MillraceOptions struct {
	// Dir is the data folder; empty means a new one in the test's temporary folder.
	Dir string
	// Brokers is passed as --brokers where it is not 0. Broker k listens 100*(k-1) ports above the first one.
	Brokers int
	// KafkaPort and APIPort are loopback ports; 0 means free ones. The free ones leave room for MostBrokers brokers.
	KafkaPort, APIPort int
	MostBrokers        int
	// Host is where serve runs; the zero value is this one, on loopback. In a network namespace the API answers at all addresses.
	Host Host
	// Etcd is an etcd cluster to use; nil: an embedded one.
	Etcd *Etcd
	// Args are added to `millrace serve`.
	Args []string
	// Env is added to the environment, as NAME=VALUE.
	Env []string
	// KeepRebalanceDelay leaves group.initial.rebalance.delay.ms at its default; otherwise it is 0.
	KeepRebalanceDelay bool
}

// kafkaPorts is the number of consecutive ports that the listeners of one broker may take.
const kafkaPorts = 8

// brokerPortStep is between the ports of one broker and of the next.
const brokerPortStep = 100

// freeBlocks returns the port of the first of n brokers that can all listen.
func freeBlocks(t testing.TB, n int) int {
	t.Helper()
	const tries = 200
	for range tries {
		first, free := FreePorts(t, kafkaPorts), true
		for k := 1; k < n && free; k++ {
			free = allFree(first+k*brokerPortStep, kafkaPorts)
		}
		if free {
			return first
		}
	}
	t.Fatalf("no ports for %d brokers found in %d tries", n, tries)
	return 0
}

// StartMillrace starts `millrace serve` and waits until its default cluster takes produce. When the test ends it is
// stopped with SIGTERM, and must then exit with 0.
func StartMillrace(t testing.TB, options MillraceOptions) *Cluster {
	t.Helper()
	binary := MillraceBinary(t)
	if options.Dir == "" {
		options.Dir = filepath.Join(t.TempDir(), "data")
	}
	if options.KafkaPort == 0 {
		options.KafkaPort = freeBlocks(t, max(options.Brokers, options.MostBrokers, 1))
	}
	if options.APIPort == 0 {
		options.APIPort = FreePorts(t, 1)
	}
	cluster := &Cluster{
		Engine: Millrace, Bootstrap: loopback(options.KafkaPort), API: loopback(options.APIPort), Host: options.Host,
		Dir: options.Dir, binary: binary,
	}
	listen, command := cluster.API, options.Host.Command
	if options.Host.Address != "" {
		cluster.Bootstrap = net.JoinHostPort(options.Host.Address, strconv.Itoa(options.KafkaPort))
	}
	if options.Host.Netns != "" {
		cluster.API = net.JoinHostPort(options.Host.Address, strconv.Itoa(options.APIPort))
		listen = net.JoinHostPort("0.0.0.0", strconv.Itoa(options.APIPort))
		options.Args = append([]string{"--insecure"}, options.Args...)
	}
	args := []string{"serve", "--data", options.Dir, "--listen", listen, "--kafka", cluster.Bootstrap}
	if options.Host.Name != "" {
		args = append(args, "--name", options.Host.Name)
	}
	if options.Etcd != nil {
		args = append(append(args, "--etcd", options.Etcd.URLs()), options.Etcd.TLSArgs()...)
	}
	if options.Brokers != 0 {
		args = append(args, "--brokers", strconv.Itoa(options.Brokers))
	}
	serve := command(binary, append(args, options.Args...)...)
	serve.Env = append(os.Environ(), options.Env...)
	cluster.process = StartProcess(t, "millrace serve", filepath.Join(t.TempDir(), "serve.log"), serve)
	t.Cleanup(func() { cluster.Stop(t) })
	waitReady(t, cluster.process, millraceStartLimit, func(ctx context.Context) error { return healthy(ctx, cluster.API) })
	if !options.KeepRebalanceDelay {
		skipRebalanceDelay(t, cluster)
	}
	return cluster
}

// skipRebalanceDelay makes the first rebalance of each group start at once: with the default, as in Apache Kafka, it
// waits three seconds for more members.
func skipRebalanceDelay(t testing.TB, cluster *Cluster) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Bootstrap))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	none := "0"
	delay := kadm.AlterConfig{Op: kadm.SetConfig, Name: "group.initial.rebalance.delay.ms", Value: &none}
	done, err := kadm.NewClient(client).AlterBrokerConfigs(ctx, []kadm.AlterConfig{delay})
	if err == nil {
		_, err = done.On("", func(r *kadm.AlterConfigsResponse) error { return r.Err })
	}
	if err != nil {
		t.Fatalf("set %s: %v", delay.Name, err)
	}
}

func healthy(ctx context.Context, api string) error {
	code, body, err := fetch(ctx, nil, "http://"+api+"/healthz")
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("healthz: %d: %s", code, body)
	}
	return err
}

// fetch reads a small page; cfg is for https.
func fetch(ctx context.Context, cfg *tls.Config, url string) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	transport := &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	return response.StatusCode, body, err
}

// MillraceBinary returns the path of the millrace program: the one that MILLRACE_BIN names, or one that is built from
// cmd/millrace, once per test binary.
func MillraceBinary(t testing.TB) string {
	t.Helper()
	if binary := os.Getenv("MILLRACE_BIN"); binary != "" {
		return binary
	}
	binary, err := builtMillrace()
	if err != nil {
		t.Fatalf("build millrace: %v", err)
	}
	return binary
}

// builtMillrace is a value computed once, not state: every caller gets the same path.
var builtMillrace = sync.OnceValues(func() (string, error) { return built("millrace", "./cmd/millrace") })

// built compiles a program of this module into the cache. The go command leaves one alone that is up to date, so test processes that
// run at a time share it.
func built(name, source string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	binary := filepath.Join(dir, name)
	err = locked(binary+".lock", func() error {
		_, err := run(root, "go", "build", "-o", binary, source)
		return err
	})
	return binary, errors.Join(err, lookAtSources(root, source))
}

// lookAtSources looks at each file of this module that the program is made of. The go command remembers what a test has looked at, and takes
// no result from its cache once one of these files has changed; of what a child process compiles it knows nothing.
func lookAtSources(root, source string) error {
	const files = `{{if not .Standard}}{{$dir := .Dir}}{{range .GoFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}{{range .EmbedFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}{{end}}`
	list, err := run(root, "go", "list", "-deps", "-f", files, source)
	if err != nil {
		return err
	}
	for file := range strings.Lines(list) {
		if file = strings.TrimSpace(file); strings.HasPrefix(file, root) {
			if _, err := os.Stat(file); err != nil {
				return err
			}
		}
	}
	return nil
}
