package first

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"millrace/test/harness"
)

// errTool is returned when a performance tool's words are not the expected ones.
var errTool = errors.New("unexpected output of the tool")

// javaHeap is the heap of the performance tools, enough for the largest buffers.
const javaHeap = "-Xmx512m"

// producedLine is one line of figures of ProducerPerformance; the last one is for the whole run, or for its steady
// part where a warm-up was asked for.
var producedLine = regexp.MustCompile(`records sent, ([0-9.]+) records/sec`)

// java runs a class of Apache Kafka's tools and returns what it printed.
func java(t testing.TB, class string, args ...string) (string, error) {
	t.Helper()
	jars := harness.Require(t, harness.Java)
	command := exec.CommandContext(t.Context(), "java", append([]string{javaHeap, "-XX:+UseG1GC", "-cp", jars, class}, args...)...)
	out, err := command.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", class, err, out)
	}
	return string(out), err
}

// produce sends the records with acks=all as fast as it goes and returns records per second, the first fifth left out.
func produce(t testing.TB, bootstrap, topic string, o Options) (float64, error) {
	t.Helper()
	args := []string{
		"--bootstrap-server", bootstrap, "--topic", topic,
		"--num-records", strconv.Itoa(o.Records), "--warmup-records", strconv.Itoa(o.Records / 5),
		"--record-size", strconv.Itoa(o.RecordSize), "--throughput", "-1",
		"--command-property", "acks=all", "compression.type=" + o.Compression,
	}
	if o.LingerMs >= 0 {
		args = append(args, "linger.ms="+strconv.Itoa(o.LingerMs))
	}
	if o.BatchSize > 0 {
		args = append(args, "batch.size="+strconv.Itoa(o.BatchSize))
	}
	out, err := java(t, "org.apache.kafka.tools.ProducerPerformance", args...)
	if err != nil {
		return 0, err
	}
	lines := producedLine.FindAllStringSubmatch(out, -1)
	if len(lines) == 0 {
		return 0, fmt.Errorf("%w: %s", errTool, out)
	}
	return strconv.ParseFloat(lines[len(lines)-1][1], 64)
}

// consume reads the records from the beginning and returns records per second, the time to join the group left out.
func consume(t testing.TB, bootstrap, topic string, o Options) (float64, error) {
	t.Helper()
	out, err := java(t, "org.apache.kafka.tools.ConsumerPerformance",
		"--bootstrap-server", bootstrap, "--topic", topic, "--num-records", strconv.Itoa(o.Records), "--timeout", "60000")
	if err != nil {
		return 0, err
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	names, values := strings.Split(lines[0], ", "), strings.Split(lines[len(lines)-1], ", ")
	for i, name := range names {
		if strings.HasPrefix(name, "fetch.nMsg") && strings.HasSuffix(name, "sec") && i < len(values) {
			return strconv.ParseFloat(values[i], 64)
		}
	}
	return 0, fmt.Errorf("%w: %s", errTool, out)
}
