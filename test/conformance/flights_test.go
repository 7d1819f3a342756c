package conformance

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"millrace/test/harness"
)

// The whole of examples/flights goes in and out.
const (
	flightRows       = 336_776
	flightPartitions = 6
	flightSeconds    = 180 // for one client to write or read; each needs a few
)

// TestFlights streams a year of real events into millrace with five producers and reads them back with every client.
func TestFlights(t *testing.T) {
	harness.Long(t, "make conformance")
	flights(t, harness.StartMillrace(t, harness.MillraceOptions{}))
}

// TestFlightsApacheKafka is the same on Apache Kafka, without millrace's own verbs: it shows that the test is right, and so is
// run with -rewrite only.
func TestFlightsApacheKafka(t *testing.T) {
	if !*rewrite {
		t.Skip("runs with -rewrite")
	}
	flights(t, harness.StartKafka(t, harness.KafkaOptions{}))
}

func flights(t *testing.T, cluster *harness.Cluster) {
	file := flightsFile(t)
	source := digestFile(t, file)
	all := startClients(t, cluster, *only)
	if cluster.Engine == harness.Millrace {
		all = append(all, newVerbs(cluster))
	}
	setUp := goClient("franz-go")(t, cluster)
	var written []string // topics, by the client that wrote them
	for _, one := range all {
		if one.about().offers("produce_lines") {
			written = append(written, one.about().Client)
			createFlights(t, setUp, flightsTopic(one.about().Client))
		}
	}
	t.Run("produce", func(t *testing.T) {
		for _, one := range all {
			if one.about().offers("produce_lines") {
				t.Run(one.about().Client, func(t *testing.T) {
					t.Parallel()
					r := request{Op: "produce_lines", Topic: flightsTopic(one.about().Client), File: file, Seconds: flightSeconds}
					if err := one.call(t.Context(), r, nil); err != nil {
						t.Fatal(err)
					}
				})
			}
		}
	})
	t.Run("consume", func(t *testing.T) {
		for i, one := range all {
			t.Run(one.about().Client, func(t *testing.T) {
				t.Parallel()
				readFlights(t, one, flightsToRead(one.about(), written, i), source)
			})
		}
	})
}

func flightsTopic(writer string) string { return "flights." + writer }

// flightsToRead says whose topics a client reads: those of all others, or one in turn where it takes long.
func flightsToRead(reader hello, written []string, turn int) []string {
	if reader.has("slow_reads") && len(written) > 0 {
		return []string{flightsTopic(written[turn%len(written)])}
	}
	var topics []string
	for _, writer := range written {
		if writer != reader.Client {
			topics = append(topics, flightsTopic(writer))
		}
	}
	return topics
}

// readFlights reads topics as the only member of a group and compares counts, the order by key and all bytes.
func readFlights(t *testing.T, reader client, topics []string, source map[string]*digest) {
	t.Helper()
	if len(topics) == 0 {
		t.Skip("nobody else wrote")
	}
	var got digests
	r := request{
		Op: "digest_group", Group: "flights." + reader.about().Client, Topics: topics, Count: flightRows * len(topics),
		Seconds: flightSeconds,
	}
	if err := reader.call(t.Context(), r, &got); err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		found := got.Topics[topic]
		for key, want := range source {
			switch one := found[key]; {
			case one == nil:
				t.Errorf("%s: nothing of %s", topic, key)
			case one.Count != want.Count:
				t.Errorf("%s: %d flights of %s, want %d", topic, one.Count, key, want.Count)
			case one.Hash != want.Hash:
				t.Errorf("%s: the flights of %s are not the bytes of the source, or not in their order", topic, key)
			}
		}
		if len(found) != len(source) {
			t.Errorf("%s: %d keys, want %d", topic, len(found), len(source))
		}
	}
}

func createFlights(t *testing.T, setUp client, topic string) {
	t.Helper()
	s := &session{T: t, client: setUp, setUp: setUp, about: setUp.about()}
	s.create(topic, flightPartitions)
}

// flightsFile returns the path of flights.tsv, which examples/flights/fetch.py makes.
func flightsFile(t *testing.T) string {
	t.Helper()
	python := harness.Require(t, harness.Python)
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(root, "examples", "flights", "fetch.py")
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := harness.Cached("flights", []string{string(text)}, func(dir string) error {
		said, err := exec.Command(python, script, "--out", dir).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, tail(string(said)))
		}
		return nil
	})
	if err != nil {
		if os.Getenv("MILLRACE_TEST_REQUIRE") == "all" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return filepath.Join(dir, "flights.tsv")
}

// digestFile sums up the source as a perfect reader would.
func digestFile(t *testing.T, path string) map[string]*digest {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var out digests
	lines := bufio.NewScanner(file)
	rows := 0
	for lines.Scan() {
		if err := out.addLine("", lines.Bytes()); err != nil {
			t.Fatal(err)
		}
		rows++
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if rows != flightRows {
		t.Fatalf("%s has %d rows, want %d", path, rows, flightRows)
	}
	return out.finish().Topics[""]
}

// newVerbs makes a client of `millrace produce` and `millrace consume`.
func newVerbs(cluster *harness.Cluster) client {
	run := func(ctx context.Context, each func([]byte) error, args ...string) error {
		return eachLine(ctx, each, cluster.Binary(), append(args, "--bootstrap", cluster.Bootstrap)...)
	}
	produce := func(ctx context.Context, r request) (any, error) {
		ignore := func([]byte) error { return nil }
		return nil, run(ctx, ignore, "produce", "--topic", r.Topic, "--key-separator", "\t", "--file", r.File)
	}
	consume := func(ctx context.Context, r request) (any, error) {
		var out digests
		for _, topic := range r.Topics {
			each := func(line []byte) error { return out.addLine(topic, line) }
			err := run(ctx, each, "consume", "--topic", topic, "--group", r.Group,
				"--count", strconv.Itoa(r.Count/len(r.Topics)), "--format", `%k\t%v\n`)
			if err != nil {
				return nil, err
			}
		}
		return out.finish(), nil
	}
	return &commandClient{
		hello: hello{Client: "millrace", Operations: []string{"produce_lines", "digest_group"}},
		operations: map[string]func(context.Context, request) (any, error){
			"produce_lines": produce, "digest_group": consume,
		},
	}
}
