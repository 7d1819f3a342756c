package secure

import (
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
)

// result is a whole run.
type result struct {
	options
	encrypted bool // the cluster that was asked to be
	load      string
	ways      []*way
	methods   []*method
}

// column is one figure of the table.
type column struct{ figure, title, format string }

func columns() []column {
	return []column{
		{"produce", "produce, MB/s", "%.0f"},
		{"consume", "consume, MB/s", "%.0f"},
		{"produce_cpu", "CPU-s per GB produced", "%.2f"},
		{"consume_cpu", "CPU-s per GB consumed", "%.2f"},
		{"both_cpu", "CPU-s per GB in and out", "%.2f"},
		{"p50", "p50, ms", "%.2f"},
		{"p99", "p99, ms", "%.2f"},
	}
}

// Names of the ways that others are compared with, or that have a goal.
const (
	namePlain = "express"
	nameTLS   = "express, TLS"
	nameRest  = "express, at rest"
	nameKafka = "Apache Kafka"
)

// goals are the most that a way's CPU per GB in and out may cost beside its base; 0: there is none.
func goals() map[string]float64 {
	return map[string]float64{nameTLS: 1.35, nameRest: 1.25}
}

// markdown gives the run as a page.
func (r *result) markdown() string {
	var page strings.Builder
	version, _, _ := strings.Cut(output("java", "--version"), "\n")
	fmt.Fprintf(&page, "# What security costs\n\n%d cores, %s, %s, %s; load average at the start %s.\n", runtime.NumCPU(), strings.TrimSpace(output("uname", "-sr")),
		runtime.Version(), version, r.load)
	fmt.Fprintf(&page, "One broker each, %d partitions; millrace syncs before each ack, Apache Kafka does not. Client: franz-go on the same cores, acks=all, records of %d bytes,\n"+
		"batches of at most %d bytes, no compression; %d MB a turn, %d rounds in turn after a warm-up. Latency at %d records/s for %v, from when a record was due.\n"+
		"CPU is the broker's; in front of Apache Kafka, the gateway's and the broker's. `make secure` makes this page.\n",
		r.Partitions, r.RecordSize, r.Batch, r.MB, r.Rounds, r.Rate, r.Latency)
	if !r.encrypted {
		page.WriteString("\n**Records were found in the clear in the files of the cluster that was to be encrypted: its rows are not of encryption.**\n")
	}
	r.table(&page)
	r.ratios(&page)
	r.logins(&page)
	return page.String()
}

func (r *result) table(page *strings.Builder) {
	page.WriteString("\n| median (lowest to highest) |")
	for _, c := range columns() {
		page.WriteString(" " + c.title + " |")
	}
	page.WriteString("\n|---|" + strings.Repeat("---|", len(columns())) + "\n")
	for _, w := range r.ways {
		fmt.Fprintf(page, "| %s |", w.name)
		for _, c := range columns() {
			fmt.Fprintf(page, " %s |", spread(w.all(c.figure), c.format))
		}
		page.WriteString("\n")
		if len(w.pids) > 1 {
			fmt.Fprintf(page, "| of that, the gateway | | | %s | %s | | | |\n", spread(w.all("produce_cpu_front"), "%.2f"), spread(w.all("consume_cpu_front"), "%.2f"))
		}
	}
}

// ratios compares ways with their base, round by round (BS3).
func (r *result) ratios(page *strings.Builder) {
	page.WriteString("\n| beside its base, median of the rounds (lowest to highest) | base |")
	for _, c := range columns() {
		page.WriteString(" " + c.title + " |")
	}
	page.WriteString(" goal |\n|---|---|" + strings.Repeat("---|", len(columns())) + "---|\n")
	for _, w := range r.ways {
		base := slices.IndexFunc(r.ways, func(b *way) bool { return b.name == w.base })
		if base < 0 {
			continue
		}
		fmt.Fprintf(page, "| %s | %s |", w.name, w.base)
		for _, c := range columns() {
			fmt.Fprintf(page, " %s |", spread(w.against(r.ways[base], c.figure), "%.2f"))
		}
		if goal := goals()[w.name]; goal > 0 {
			fmt.Fprintf(page, " in and out at most %.2f |\n", goal)
		} else {
			page.WriteString(" |\n")
		}
	}
}

func (r *result) logins(page *strings.Builder) {
	fmt.Fprintf(page, "\nOne login: a new connection up to the answer of its first request, %d of each, no resumed sessions.\n\n| | median, ms | broker CPU, ms |\n|---|---|---|\n", r.Logins)
	for _, m := range r.methods {
		fmt.Fprintf(page, "| %s | %.2f | %.2f |\n", m.name, m.Took.Seconds()*1e3, m.CPU.Seconds()*1e3)
	}
}

// all are the values of a figure by round.
func (w *way) all(figure string) []float64 {
	var values []float64
	for _, f := range w.rounds {
		if v, ok := f[figure]; ok {
			values = append(values, v)
		}
	}
	return values
}

// against is a figure of each round as a multiple of base's in the same round.
func (w *way) against(base *way, figure string) []float64 {
	ours, theirs := w.all(figure), base.all(figure)
	for i := range min(len(ours), len(theirs)) {
		ours[i] /= theirs[i]
	}
	return ours
}

// spread is the median with lowest and highest; of one value, the value.
func spread(values []float64, format string) string {
	if len(values) == 0 {
		return ""
	}
	slices.Sort(values)
	f := func(v float64) string { return fmt.Sprintf(format, v) }
	middle := len(values) / 2
	median := values[middle]
	if len(values)%2 == 0 {
		median = (values[middle-1] + values[middle]) / 2
	}
	if len(values) == 1 {
		return f(median)
	}
	return fmt.Sprintf("%s (%s to %s)", f(median), f(values[0]), f(values[len(values)-1]))
}

func output(program string, args ...string) string {
	out, err := exec.Command(program, args...).Output()
	if err != nil {
		return "unknown"
	}
	return string(out)
}
