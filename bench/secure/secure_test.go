package secure

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/test/harness"
)

var (
	full    = flag.Bool("full", false, "measure at full size; without it a tiny run shows that the bench works")
	summary = flag.String("summary", "", "also write the page into this file")
	only    = flag.String("only", "", "ways whose names begin with one of these, with semicolons between; empty: all")

	rounds  = flag.Int("rounds", 3, "rounds")
	mb      = flag.Int("mb", 256, "MB of records a turn")
	batch   = flag.Int("batch", 16<<10, "most bytes of a batch; the Java client's default is 16384")
	rate    = flag.Int("rate", 1000, "records per second of the latency part")
	lasting = flag.Duration("latency", 1500*time.Millisecond, "how long the latency part takes")
	count   = flag.Int("logins", 200, "logins by each method")
	heap    = flag.Int("heap", 1024, "heap of Apache Kafka in MB")
)

// TestSecure runs all ways and prints the page. It asserts no figure.
func TestSecure(t *testing.T) {
	harness.Long(t, "make secure")
	o := options{Rounds: 1, MB: 4, Batch: 16 << 10, Rate: 200, Latency: time.Second / 2, Logins: 8, Patience: time.Second, Partitions: 3, RecordSize: 1024}
	if *full {
		o = options{Rounds: *rounds, MB: *mb, Batch: *batch, Rate: *rate, Latency: *lasting, Logins: *count, Patience: 3 * time.Second, Partitions: 3, RecordSize: 1024}
	}
	t.Setenv("AWS_REGION", "us-east-1") // franz-go finds no region in a loopback address
	r := &result{options: o, load: loadAverage()}
	open, kept := startExpress(t), startExpress(t, "--secure")
	r.encrypted = kept.encrypted(t)
	r.ways = []*way{
		open.way(t, namePlain, "", 0),
		open.way(t, nameTLS, namePlain, portTLS),
		open.way(t, "express, TLS, IAM", namePlain, portIAM, open.iam),
		kept.way(t, nameRest, namePlain, 0),
		kept.way(t, "express, TLS, IAM, at rest", namePlain, portIAM, kept.iam),
	}
	r.methods = open.methods(t)
	if wanted(nameKafka) {
		kafka, kafkaTLS := startKafka(t, *heap)
		r.ways = append(r.ways, kafka, kafkaTLS, startGateway(t, kafka))
		r.methods = append(r.methods, &method{name: "Apache Kafka, none", way: kafka}, &method{name: "Apache Kafka, TLS without login", way: kafkaTLS})
	}
	r.ways = slices.DeleteFunc(r.ways, func(w *way) bool { return !wanted(w.name) })
	r.run(t)
	page := r.markdown()
	t.Logf("\n%s", page)
	if *full && *summary != "" {
		if err := os.WriteFile(*summary, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func wanted(name string) bool {
	return *only == "" || slices.ContainsFunc(strings.Split(*only, ";"), func(p string) bool { return strings.HasPrefix(name, p) })
}

// run does the warm-up, the rounds and the logins.
func (r *result) run(t *testing.T) {
	t.Helper()
	warm := r.options
	warm.MB, warm.Latency = max(r.MB/4, 1), r.Latency/4
	order := slices.Clone(r.ways)
	for round := range r.Rounds + 1 {
		o := r.options
		if round == 0 {
			o = warm
		}
		for i, w := range order {
			f, err := w.turn(t.Context(), fmt.Sprintf("round-%d-%d", round, i), o)
			if err != nil {
				t.Fatalf("%s: %v", w.name, err)
			}
			if round > 0 {
				w.rounds = append(w.rounds, f)
			}
			t.Logf("round %d: %-28s produce %4.0f MB/s %.2f CPU-s/GB, consume %4.0f MB/s %.2f CPU-s/GB, p50 %.2f ms, p99 %.2f ms", round, w.name,
				f["produce"], f["produce_cpu"], f["consume"], f["consume_cpu"], f["p50"], f["p99"])
		}
		slices.Reverse(order)
	}
	if err := measure(t.Context(), r.methods, r.options); err != nil {
		t.Fatalf("logins: %v", err)
	}
}
