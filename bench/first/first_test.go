package first

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"millrace/test/harness"
)

var (
	full    = flag.Bool("full", false, "measure at full size; without it a tiny run shows that the bench works")
	summary = flag.String("summary", "", "also write the table into this file")

	records     = flag.Int("records", 1_000_000, "records per round")
	recordSize  = flag.Int("size", 1024, "bytes per record")
	roundCount  = flag.Int("rounds", 5, "rounds")
	starts      = flag.Int("starts", 3, "starts of each engine")
	partitions  = flag.Int("partitions", 3, "partitions")
	linger      = flag.Int("linger", -1, "linger.ms of the Java producer; -1 is its default")
	batch       = flag.Int("batch", 0, "batch.size of the Java producer; 0 is its default")
	compression = flag.String("compression", "none", "compression.type of the Java producer")
	rate        = flag.Int("rate", 1000, "records per second of the latency part")
	seconds     = flag.Int("seconds", 10, "seconds of the latency part")
	heap        = flag.Int("heap", 1024, "heap of Apache Kafka in MB")
)

// TestCompare runs Apache Kafka and millrace side by side and prints the table. It asserts no figure.
func TestCompare(t *testing.T) {
	harness.Long(t, "make bench")
	o := Options{Records: 2000, RecordSize: 1024, Rounds: 1, Starts: 0, Partitions: 1, LingerMs: -1, Compression: "none",
		Rate: 200, LatencySeconds: 1, KafkaHeapMB: 512, PatienceSeconds: 1}
	if *full {
		o = Options{Records: *records, RecordSize: *recordSize, Rounds: *roundCount, Starts: *starts, Partitions: *partitions, LingerMs: *linger,
			BatchSize: *batch, Compression: *compression, Rate: *rate, LatencySeconds: *seconds, KafkaHeapMB: *heap,
			PatienceSeconds: 10}
	}
	result, err := compare(t, o)
	if err != nil {
		t.Fatal(err)
	}
	page := result.markdown()
	t.Logf("\n%s", page)
	if !*full {
		return
	}
	raw, err := json.MarshalIndent(result, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	keep := map[string]string{filepath.Join("..", "results", "first-"+time.Now().Format("20060102-150405")+".json"): string(raw)}
	if *summary != "" {
		keep[*summary] = page
	}
	for path, text := range keep {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
