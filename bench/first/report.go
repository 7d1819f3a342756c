package first

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"millrace/test/harness"
)

// machine is where and with what a run was made.
type machine struct {
	CPU     string `json:"cpu"`
	Cores   int    `json:"cores"`
	Kernel  string `json:"kernel"`
	Go      string `json:"go"`
	Java    string `json:"java"`
	Kafka   string `json:"apache_kafka"`
	Version string `json:"millrace"`
	Fsync   string `json:"fsync"`
}

func thisMachine(t testing.TB) machine {
	t.Helper()
	return machine{
		CPU:     field("/proc/cpuinfo", "model name"),
		Cores:   runtime.NumCPU(),
		Kernel:  firstLine(t, "uname", "-sr"),
		Go:      runtime.Version(),
		Java:    firstLine(t, "java", "--version"),
		Kafka:   kafkaVersion(harness.Require(t, harness.Java)),
		Version: firstLine(t, harness.MillraceBinary(t), "version"),
		Fsync:   "Apache Kafka: none before an ack (its default); millrace: fdatasync before every ack",
	}
}

// field returns a value of a file of "name: value" lines.
func field(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func firstLine(t testing.TB, program string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).Output()
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// kafkaVersion reads the version off the names of the jars in a class path "FOLDER/*".
func kafkaVersion(classPath string) string {
	entries, err := os.ReadDir(strings.TrimSuffix(classPath, "/*"))
	if err != nil {
		return "unknown"
	}
	for _, entry := range entries {
		if version, ok := strings.CutPrefix(entry.Name(), "kafka-clients-"); ok {
			return strings.TrimSuffix(version, ".jar")
		}
	}
	return "unknown"
}

// row is one line of the table.
type row struct{ figure, title, format string }

// rows returns the figures in the order of the table. "All" counts serve with its embedded etcd to millrace.
func rows() []row {
	return []row{
		{"produce", "produce, MB/s", "%.0f"},
		{"consume", "consume, MB/s", "%.0f"},
		{"produce_cpu", "broker CPU per GB produced, s", "%.2f"},
		{"produce_cpu_all", "CPU per GB produced, all processes, s", "%.2f"},
		{"consume_cpu", "broker CPU per GB consumed, s", "%.2f"},
		{"consume_cpu_all", "CPU per GB consumed, all processes, s", "%.2f"},
		{"latency_p50", "end to end p50, ms", "%.2f"},
		{"latency_p99", "end to end p99, ms", "%.2f"},
		{"latency_p99.9", "end to end p99.9, ms", "%.2f"},
		{"start", "start to first ack, s", "%.2f"},
		{"rss_idle", "broker RSS idle, MB", "%.0f"},
		{"rss_idle_all", "RSS idle, all processes, MB", "%.0f"},
		{"rss_peak", "broker RSS peak, MB", "%.0f"},
		{"rss_peak_all", "RSS peak, all processes, MB", "%.0f"},
	}
}

// markdown gives the comparison as a page: medians, spreads, ratios, and what they were measured with.
func (c *comparison) markdown() string {
	var page strings.Builder
	m, o := c.Machine, c.Options
	fmt.Fprintf(&page, "# Millrace beside Apache Kafka, one node each\n\n")
	fmt.Fprintf(&page, "%d cores (%s), %s, %s, %s.\nApache Kafka %s (heap %d MB), one KRaft node, replication factor 1; %s, one express broker.\n%s.\n\n",
		m.Cores, m.CPU, m.Kernel, m.Java, m.Go, m.Kafka, o.KafkaHeapMB, m.Version, m.Fsync)
	fmt.Fprintf(&page, "Java client on the same cores: %d records of %d bytes, %d partitions, acks=all, %s, compression %s.\n"+
		"Latency: Go client, %d records/s for %d s, from the time a record was due. %d rounds in turn, after a warm-up of each.\n\n",
		o.Records, o.RecordSize, o.Partitions, o.clientSettings(), o.Compression, o.Rate, o.LatencySeconds, o.Rounds)
	page.WriteString("| median (lowest to highest) | Apache Kafka | millrace | millrace / Kafka |\n|---|---|---|---|\n")
	for _, r := range rows() {
		kafka, ours := c.spread(harness.ApacheKafka, r.figure), c.spread(harness.Millrace, r.figure)
		if len(kafka) == 0 || len(ours) == 0 {
			continue
		}
		fmt.Fprintf(&page, "| %s | %s | %s | %.2f |\n", r.title, r.cell(kafka), r.cell(ours), median(ours)/median(kafka))
	}
	return page.String()
}

func (o Options) clientSettings() string {
	linger, batch := "default", "default"
	if o.LingerMs >= 0 {
		linger = fmt.Sprint(o.LingerMs)
	}
	if o.BatchSize > 0 {
		batch = fmt.Sprint(o.BatchSize)
	}
	return fmt.Sprintf("linger.ms %s, batch.size %s", linger, batch)
}

// spread returns all values of a figure, sorted.
func (c *comparison) spread(engine harness.Engine, figure string) []float64 {
	var all []float64
	for _, f := range c.Engines[engine] {
		if value, ok := f[figure]; ok {
			all = append(all, value)
		}
	}
	slices.Sort(all)
	return all
}

func (r row) cell(sorted []float64) string {
	f := func(value float64) string { return fmt.Sprintf(r.format, value) }
	if len(sorted) == 1 {
		return f(sorted[0])
	}
	return fmt.Sprintf("%s (%s to %s)", f(median(sorted)), f(sorted[0]), f(sorted[len(sorted)-1]))
}

// median returns the middle of sorted values, of which there is at least one.
func median(sorted []float64) float64 {
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
