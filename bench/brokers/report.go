package brokers

import (
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// The engines, as the report names them.
const (
	millrace    = "millrace"
	apacheKafka = "Apache Kafka"
)

// report is a whole run.
type report struct {
	Cores   int       `json:"cores"`
	Kernel  string    `json:"kernel"`
	Began   time.Time `json:"began"`
	Options options   `json:"options"`
	Results []result  `json:"results"`
	Many    []many    `json:"many"`
}

func newReport(t testing.TB, o options) *report {
	t.Helper()
	kernel, err := exec.CommandContext(t.Context(), "uname", "-sr").Output()
	if err != nil {
		t.Fatal(err)
	}
	return &report{Cores: runtime.NumCPU(), Kernel: strings.TrimSpace(string(kernel)), Began: time.Now(), Options: o}
}

// markdown gives the tables.
func (r *report) markdown() string {
	var page strings.Builder
	fmt.Fprintf(&page, "%d cores, %s, %s. %d partitions, a record of 100 bytes to each every %v, %d rounds; replication factor 3, client defaults.\n\n",
		r.Cores, r.Kernel, r.Began.UTC().Format(time.DateTime), r.Options.Partitions, r.Options.Every, r.Options.Rounds)
	page.WriteString("| event | engine | without acks, ms | p99.9, ms | slowest, ms | failed | took, s | load |\n|---|---|---|---|---|---|---|---|\n")
	type key struct{ event, engine string }
	var order []key
	by := map[key][]result{}
	for _, one := range r.Results {
		k := key{one.Event, one.Engine}
		if by[k] == nil {
			order = append(order, k)
		}
		by[k] = append(by[k], one)
	}
	for _, k := range order {
		rounds := by[k]
		failed, loads := 0, []string{}
		for _, one := range rounds {
			failed += one.Failed
			loads = append(loads, one.Load)
		}
		fmt.Fprintf(&page, "| %s | %s | %s | %s | %s | %d | %s | %s |\n", k.event, k.engine,
			spread(rounds, time.Millisecond, func(r result) time.Duration { return r.WithoutAcks }),
			spread(rounds, time.Millisecond, func(r result) time.Duration { return r.P999 }),
			spread(rounds, time.Millisecond, func(r result) time.Duration { return r.Max }), failed,
			spread(rounds, time.Second, func(r result) time.Duration { return r.Took }), strings.Join(loads, " "))
	}
	for _, m := range r.Many {
		fmt.Fprintf(&page, "\n%s\n", m)
	}
	return page.String()
}

// spread gives median and, where they differ, lowest and highest.
func spread(rounds []result, unit time.Duration, of func(result) time.Duration) string {
	var all []time.Duration
	for _, r := range rounds {
		all = append(all, of(r))
	}
	slices.Sort(all)
	format := func(d time.Duration) string {
		if unit == time.Second {
			return fmt.Sprintf("%.1f", d.Seconds())
		}
		return fmt.Sprint(d.Round(unit).Milliseconds())
	}
	middle := format(all[(len(all)-1)/2])
	if len(all) == 1 {
		return middle
	}
	return fmt.Sprintf("%s (%s to %s)", middle, format(all[0]), format(all[len(all)-1]))
}
