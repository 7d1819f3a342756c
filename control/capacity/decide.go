package capacity

import (
	"fmt"
	"math"
	"time"

	"millrace/control"
	"millrace/control/sizes"
	"millrace/engine"
)

// Worth is what one broker bears in the long run, or what all of them have to do. Of a Worth that is borne 0 is unbounded.
type Worth struct {
	In          float64 `json:"in"`  // bytes per second
	Out         float64 `json:"out"` // bytes per second
	Requests    float64 `json:"requests"`
	Connections float64 `json:"connections"`
	Partitions  float64 `json:"partitions"`
}

// Policy says when a cluster needs more brokers, and when fewer.
type Policy struct {
	Unit        Worth         // that one broker bears
	Out, In     float64       // parts of Unit, 0 < In < Out <= 1
	Least, Most int           // brokers, 1 <= Least <= Most
	Calm        time.Duration // how long fewer must have been enough
}

// The parts of what brokers bear, and the calm, that PolicyOf takes.
const (
	outPart  = 0.6
	inPart   = 0.3
	calmTime = 10 * time.Minute
)

// PolicyOf is the policy for serverless clusters of these quotas, which were validated.
func PolicyOf(q sizes.Quotas) (Policy, error) {
	unit, err := q.Unit()
	if err != nil {
		return Policy{}, err
	}
	return Policy{
		Unit: Worth{
			In: float64(unit.Limits.In.Sustained), Out: float64(unit.Limits.Out.Sustained), Partitions: float64(unit.Recommended),
			Requests: float64(q.Requests) / float64(q.Brokers), Connections: float64(q.Connections) / float64(q.Brokers),
		},
		Out: outPart, In: inPart, Least: 1, Most: min(q.Brokers, control.MaxBrokers), Calm: calmTime,
	}, nil
}

// State is what Decide remembers of a cluster. The zero value remembers nothing.
type State struct {
	Since time.Time // from when on it was calm; zero: it is not
	Peak  int       // brokers that would have been needed at most since then
}

// Sum adds loads up.
func Sum(loads []engine.Load) Worth {
	var w Worth
	for _, l := range loads {
		w.In += max(l.In, 0)
		w.Out += max(l.Out, 0)
		w.Requests += max(l.Requests, 0)
		w.Connections += float64(max(l.Connections, 0))
		w.Partitions += float64(max(l.Partitions, 0))
	}
	return w
}

// needs is how many brokers bear the load when each has at most part of its worth, and what needs them.
func (p Policy) needs(load Worth, part float64) (brokers int, what string) {
	brokers, what = p.Least, "nothing"
	for _, d := range []struct {
		name       string
		load, unit float64
	}{
		{"bytes in", load.In, p.Unit.In}, {"bytes out", load.Out, p.Unit.Out}, {"requests", load.Requests, p.Unit.Requests},
		{"connections", load.Connections, p.Unit.Connections}, {"partitions", load.Partitions, p.Unit.Partitions},
	} {
		if d.unit <= 0 || !(d.load > 0) {
			continue
		}
		// No more than a cluster can have is worth telling apart, and the quotient may be infinite.
		n := int(math.Ceil(min(d.load/(d.unit*part), float64(p.Most))))
		if n > brokers {
			brokers, what = n, d.name
		}
	}
	return min(max(brokers, p.Least), p.Most), what
}

// Decide says how many brokers there shall be, given that there are so many and what those that report have to do. why is for people; ""
// where nothing is to be done.
func (p Policy) Decide(s State, now time.Time, brokers int, loads []engine.Load) (want int, next State, why string) {
	load := Sum(loads)
	if n, what := p.needs(load, p.Out); n > brokers {
		return n, State{}, fmt.Sprintf("%s need %d brokers, there are %d", what, n, brokers)
	}
	if brokers > p.Most {
		return p.Most, State{}, fmt.Sprintf("at most %d brokers, there are %d", p.Most, brokers)
	}
	n, _ := p.needs(load, p.In)
	if n >= brokers || len(loads) < brokers {
		return brokers, State{}, ""
	}
	if s.Since.IsZero() {
		s = State{Since: now}
	}
	s.Peak = max(s.Peak, n)
	if now.Sub(s.Since) < p.Calm {
		return brokers, s, ""
	}
	want = max(s.Peak, brokers-max(brokers/4, 1), p.Least)
	return want, State{}, fmt.Sprintf("%d brokers were enough for %s, there are %d", s.Peak, p.Calm, brokers)
}
