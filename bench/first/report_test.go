package first

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"millrace/test/harness"
)

// TestReport checks medians, spreads and ratios on figures chosen by hand.
func TestReport(t *testing.T) {
	c := &comparison{Engines: map[harness.Engine][]figures{
		harness.ApacheKafka: {{"start": 2}, {"produce": 100}, {"produce": 300}, {"produce": 200}},
		harness.Millrace:    {{"start": 0.5}, {"produce": 300}, {"produce": 600}},
	}}
	page := c.markdown()
	for _, want := range []string{
		"| produce, MB/s | 200 (100 to 300) | 450 (300 to 600) | 2.25 |\n",
		"| start to first ack, s | 2.00 | 0.50 | 0.25 |\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no row %q in\n%s", want, page)
		}
	}
	if strings.Contains(page, "consume, MB/s") {
		t.Errorf("a row without figures:\n%s", page)
	}
}

// TestPercentile takes percentiles of 1 to 100 ms.
func TestPercentile(t *testing.T) {
	var sorted []time.Duration
	for i := range 100 {
		sorted = append(sorted, time.Duration(i+1)*time.Millisecond)
	}
	for percent, want := range map[float64]time.Duration{0: 1, 50: 51, 99: 100, 100: 100} {
		if got := percentile(sorted, percent); got != want*time.Millisecond {
			t.Errorf("p%v: got %v, want %v ms", percent, got, int64(want))
		}
	}
	if got := percentile(nil, 50); got != 0 {
		t.Errorf("p50 of nothing: got %v", got)
	}
}

// TestUsage reads this process's own figures.
func TestUsage(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	u, err := usageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	now, err := sinceBoot()
	if err != nil {
		t.Fatal(err)
	}
	if u.rss <= 0 || u.rssPeak < u.rss || u.sinceBoot <= 0 || u.sinceBoot > now {
		t.Errorf("%+v at %v", u, now)
	}
}
