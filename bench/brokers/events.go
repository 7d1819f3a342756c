package brokers

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// options of a run.
type options struct {
	Partitions int           `json:"partitions"` // of the topic that is written to
	Every      time.Duration `json:"every"`      // between the records of a partition
	Warm       time.Duration `json:"warm"`       // load before an event
	Kill       time.Duration `json:"kill"`       // how long a round of it lasts from the event on
	Hang       time.Duration `json:"hang"`
	After      time.Duration `json:"after"` // load after a roll or a scaling
	Rounds     int           `json:"rounds"`
	Most       int           `json:"most"`            // brokers to scale to
	Many       int           `json:"many"`            // partitions of the one broker that is restarted
	Heap       int           `json:"heap"`            // of each JVM, in MB
	Serve      []string      `json:"serve,omitempty"` // options of `millrace serve`
	Only       []string      `json:"only"`            // events; none: all
}

// result is one turn of one engine at one event.
type result struct {
	Engine string        `json:"engine"`
	Event  string        `json:"event"`
	Round  int           `json:"round"`
	Took   time.Duration `json:"took"` // the event itself, where it has an end
	Note   string        `json:"note,omitempty"`
	Load   string        `json:"load_average"` // of the machine, before
	figures
}

// loadAverage is the machine's, of the last minute.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// event is done to a cluster under load; it returns when the load may end.
type event struct {
	name string
	do   func(t testing.TB, c cluster, o options)
}

func events() []event {
	return []event{
		{"nothing", func(t testing.TB, _ cluster, o options) { rest(t.Context(), o.After) }},
		{"kill", func(t testing.TB, c cluster, o options) {
			c.kill(t, 2)
			rest(t.Context(), o.Kill)
		}},
		{"hang", func(t testing.TB, c cluster, o options) {
			wake := c.hang(t, 3)
			rest(t.Context(), o.Hang)
			wake()
		}},
		{"roll", func(t testing.TB, c cluster, o options) {
			c.roll(t)
			rest(t.Context(), o.After)
		}},
	}
}

// turn has one engine take its turn at an event.
func turn(t testing.TB, engine string, c cluster, e event, o options, round int) result {
	t.Helper()
	r := result{Engine: engine, Event: e.name, Round: round, Load: loadAverage()}
	topic := fmt.Sprintf("%s-%d", e.name, round)
	d, err := drive(t.Context(), c.bootstrap(), topic, o.Partitions, o.Every)
	if err != nil {
		t.Fatalf("%s, %s: %v", engine, e.name, err)
	}
	rest(t.Context(), o.Warm)
	d.fresh()
	began := time.Now()
	e.do(t, c, o)
	r.Took = time.Since(began)
	r.figures = d.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := c.well(ctx, ""); err != nil {
		t.Fatalf("%s after %s: %v", engine, e.name, err)
	}
	if err := elect(ctx, c.bootstrap()); err != nil {
		t.Logf("%s: no election: %v", engine, err)
	}
	t.Logf("%s, %s, round %d: %v without acks, p99.9 %v, most %v, %d acks, %d failed %s (load %s)", engine, e.name, round,
		r.WithoutAcks.Round(time.Millisecond), r.P999.Round(time.Millisecond), r.Max.Round(time.Millisecond), r.Acked, r.Failed, r.Fault, r.Load)
	return r
}

// scale grows an express cluster from one broker to o.Most and back, under load.
func scale(t testing.TB, o options, round int) []result {
	t.Helper()
	c := startExpress(t, o, 1, o.Most)
	var all []result
	d, err := drive(t.Context(), c.bootstrap(), "scale", o.Partitions*o.Most, o.Every*time.Duration(o.Most))
	if err != nil {
		t.Fatal(err)
	}
	rest(t.Context(), o.Warm)
	for _, to := range []int{o.Most, 1} {
		r := result{Engine: millrace, Event: fmt.Sprintf("scale to %d", to), Round: round, Load: loadAverage()}
		d.fresh()
		r.Took = c.operate(t, "scale", "--brokers", fmt.Sprint(to))
		rest(t.Context(), o.After)
		r.figures = d.pause()
		if r.Note, err = leaders(t.Context(), c.bootstrap(), "scale"); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s, round %d: %v, leaders %s, %v without acks, p99.9 %v, %d failed %s (load %s)", r.Event, round, r.Took, r.Note, r.WithoutAcks, r.P999, r.Failed, r.Fault, r.Load)
		all = append(all, r)
	}
	d.stop()
	c.Stop(t)
	return all
}
