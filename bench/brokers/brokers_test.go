package brokers

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/test/harness"
)

var (
	full    = flag.Bool("full", false, "measure at full size; without it a tiny run shows that the bench works")
	only    = flag.String("only", "", "events to measure, with commas: nothing, kill, hang, roll, scale, many")
	engines = flag.String("engines", "millrace,kafka", "engines to measure")
	rounds  = flag.Int("rounds", 3, "rounds")
	size    = flag.Int("partitions", 12, "partitions of the topic that is written to")
	every   = flag.Duration("every", 5*time.Millisecond, "time between the records of a partition")
	count   = flag.Int("many", 10_000, "partitions of the broker that is restarted")
	hosts   = flag.Int("brokers", 1, "brokers of the cluster with many partitions")
	serve   = flag.String("serve", "", "options of millrace serve, with spaces")
	summary = flag.String("summary", "", "also write the tables into this file")
)

// TestBrokersComeAndGo measures both engines and prints the tables. It asserts no figure.
func TestBrokersComeAndGo(t *testing.T) {
	harness.Long(t, "make brokers")
	o := options{Partitions: 3, Every: 20 * time.Millisecond, Kill: time.Second, After: 100 * time.Millisecond, Rounds: 1, Most: 2, Many: 20,
		Only: []string{"kill", "roll", "scale", "many"}}
	names := []string{"millrace"}
	if *full {
		o = options{Partitions: *size, Every: *every, Warm: 11 * time.Second, Kill: 15 * time.Second, Hang: 20 * time.Second, After: 3 * time.Second,
			Rounds: *rounds, Most: 6, Many: *count, Heap: 512}
		if *only != "" {
			o.Only = strings.Split(*only, ",")
		}
		o.Serve = strings.Fields(*serve)
		names = strings.Split(*engines, ",")
	}
	r := newReport(t, o)
	keep := func() {}
	if *full {
		raw := filepath.Join("..", "results", "brokers-"+r.Began.Format("20060102-150405")+".json")
		keep = func() { write(t, raw, r) }
	}
	measure(t, r, names, keep)
	t.Logf("\n%s", r.markdown())
	if *summary != "" {
		if err := os.WriteFile(*summary, []byte(r.markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// measure does all that was asked for; keep is called after each figure, so that a run that fails leaves what it has.
func measure(t *testing.T, r *report, engines []string, keep func()) {
	o := r.Options
	wanted := func(event string) bool { return len(o.Only) == 0 || slices.Contains(o.Only, event) }
	if slices.ContainsFunc(events(), func(e event) bool { return wanted(e.name) }) {
		clusters := map[string]cluster{}
		if slices.Contains(engines, "kafka") {
			clusters[apacheKafka] = kafka{harness.StartKafkas(t, brokerCount, harness.KafkaOptions{HeapMB: o.Heap})}
		}
		if slices.Contains(engines, "millrace") {
			clusters[millrace] = startExpress(t, o, brokerCount, brokerCount)
		}
		for round := range o.Rounds {
			for _, e := range events() {
				for _, engine := range []string{millrace, apacheKafka} {
					if c := clusters[engine]; c != nil && wanted(e.name) {
						r.Results = append(r.Results, turn(t, engine, c, e, o, round))
						keep()
					}
				}
			}
		}
		for _, c := range clusters {
			if c, ok := c.(kafka); ok {
				c.Stop(t)
			}
		}
	}
	if wanted("scale") {
		for round := range o.Rounds {
			r.Results = append(r.Results, scale(t, o, round)...)
			keep()
		}
	}
	if wanted("many") {
		r.Many = append(r.Many, measureMany(t, o, *hosts))
		keep()
	}
}

func write(t *testing.T, path string, r *report) {
	t.Helper()
	raw, err := json.MarshalIndent(r, "", "\t")
	if err == nil {
		err = os.WriteFile(path, raw, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
