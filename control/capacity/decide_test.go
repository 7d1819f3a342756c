package capacity_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/control/capacity"
	"millrace/control/sizes"
	"millrace/engine"
)

func policy(t interface{ Fatal(...any) }) capacity.Policy {
	var q sizes.Quotas
	if err := q.Validate(); err != nil {
		t.Fatal(err)
	}
	p, err := capacity.PolicyOf(q)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var start = time.Unix(1_700_000_000, 0)

// spread is a load that so many brokers report.
func spread(brokers int, w capacity.Worth) []engine.Load {
	loads := make([]engine.Load, brokers)
	n := float64(brokers)
	for i := range loads {
		loads[i] = engine.Load{Format: 1, Broker: int32(i + 1), Number: 1, In: w.In / n, Out: w.Out / n, Requests: w.Requests / n}
	}
	if brokers > 0 {
		loads[0].Connections, loads[0].Partitions = int(w.Connections), int(w.Partitions)
	}
	return loads
}

func TestOutAtOnceAndAsFarAsNeeded(t *testing.T) {
	p := policy(t)
	for name, c := range map[string]struct {
		load capacity.Worth
		have int
		want int
	}{
		"idle":                   {capacity.Worth{}, 1, 1},
		"just below":             {capacity.Worth{In: 0.6 * p.Unit.In}, 1, 1},
		"just above":             {capacity.Worth{In: 0.601 * p.Unit.In}, 1, 2},
		"twentyfold":             {capacity.Worth{Out: 6.1 * p.Unit.Out}, 1, 11},
		"beyond all":             {capacity.Worth{In: 1e12}, 1, p.Most},
		"requests":               {capacity.Worth{Requests: 1.3 * p.Unit.Requests}, 1, 3},
		"connections":            {capacity.Worth{Connections: 2 * p.Unit.Connections}, 3, 4},
		"partitions":             {capacity.Worth{Partitions: 1300}, 1, 3},
		"below with many":        {capacity.Worth{In: 0.6 * p.Unit.In}, 5, 5},
		"more than there can be": {capacity.Worth{}, p.Most + 3, p.Most},
	} {
		if got, _, why := p.Decide(capacity.State{}, start, c.have, spread(c.have, c.load)); got != c.want || (why != "") != (got != c.have) {
			t.Errorf("%s: %d brokers (%s), want %d", name, got, why, c.want)
		}
	}
}

func TestInSlowlyToOne(t *testing.T) {
	p := policy(t)
	brokers, s := p.Most, capacity.State{}
	var steps []int
	now := start
	for range 1000 {
		var want int
		want, s, _ = p.Decide(s, now, brokers, spread(brokers, capacity.Worth{In: 1000}))
		if want > brokers || want < brokers-max(brokers/4, 1) {
			t.Fatalf("from %d to %d", brokers, want)
		}
		if want != brokers {
			steps = append(steps, int(now.Sub(start)/time.Minute))
			brokers = want
		}
		now = now.Add(15 * time.Second)
	}
	if brokers != 1 || steps[0] != 10 {
		t.Fatalf("%d brokers after steps at minutes %v", brokers, steps)
	}
	for i := range steps[1:] {
		if steps[i+1]-steps[i] < 10 {
			t.Errorf("steps at minutes %v", steps)
		}
	}
}

func TestStepsInStopAtThePeakOfTheCalm(t *testing.T) {
	p := policy(t)
	s := capacity.State{}
	for minute := range 11 {
		load := capacity.Worth{}
		if minute == 5 {
			load.In = 9.5 * p.In * p.Unit.In
		}
		want, next, _ := p.Decide(s, start.Add(time.Duration(minute)*time.Minute), 12, spread(12, load))
		if minute < 10 && want != 12 || minute == 10 && want != 10 {
			t.Fatalf("%d brokers at minute %d", want, minute)
		}
		s = next
	}
}

// P4.
func TestSilentBrokersAreNotIdle(t *testing.T) {
	p := policy(t)
	s := capacity.State{}
	for i := range 200 {
		want, next, _ := p.Decide(s, start.Add(time.Duration(i)*time.Minute), 4, spread(3, capacity.Worth{}))
		if want != 4 {
			t.Fatalf("%d brokers at minute %d, and one is silent", want, i)
		}
		s = next
	}
	if want, _, _ := p.Decide(s, start, 4, spread(3, capacity.Worth{In: 4 * p.Unit.In})); want != 7 {
		t.Errorf("%d brokers, want 7: what is known is too much already", want)
	}
}

// P1, P2, P3: any course of loads.
func TestNeverFlaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policy(t)
		p.Least = rapid.IntRange(1, 3).Draw(t, "least")
		p.Most = p.Least + rapid.IntRange(0, 15).Draw(t, "more")
		brokers, s, now := p.Least, capacity.State{}, start
		load := capacity.Worth{}
		var window []capacity.Worth // of the looks since the calm before the last step in began
		var afterIn bool
		for range rapid.IntRange(1, 300).Draw(t, "looks") {
			if rapid.IntRange(0, 5).Draw(t, "changes") == 0 {
				load = capacity.Worth{
					In:  rapid.Float64Range(0, 20).Draw(t, "in") * p.Unit.In,
					Out: rapid.Float64Range(0, 20).Draw(t, "out") * p.Unit.Out,
				}
			}
			now = now.Add(time.Duration(rapid.IntRange(1, 300).Draw(t, "seconds")) * time.Second)
			want, next, _ := p.Decide(s, now, brokers, spread(brokers, load))
			window = append(window, load)
			switch {
			case want < p.Least || want > p.Most:
				t.Fatalf("%d brokers, of %d to %d", want, p.Least, p.Most)
			case want < p.Most && (load.In > p.Out*p.Unit.In*float64(want)*1.0001 || load.Out > p.Out*p.Unit.Out*float64(want)*1.0001):
				t.Fatalf("%d brokers for %+v", want, load)
			case want < brokers:
				for _, w := range window[len(window)-1:] {
					if w.In > p.In*p.Unit.In*float64(want)*1.0001 || w.Out > p.In*p.Unit.Out*float64(want)*1.0001 {
						t.Fatalf("in to %d brokers, and %+v was to do", want, w)
					}
				}
				afterIn, window = true, []capacity.Worth{load}
			case want > brokers && afterIn:
				before := window[0]
				if load.In < before.In*1.9999 && load.Out < before.Out*1.9999 {
					t.Fatalf("out to %d brokers at %+v, after in to %d at %+v", want, load, brokers, before)
				}
				afterIn = false
			}
			brokers, s = want, next
		}
		// From here on nothing changes: one direction, and then rest.
		direction := 0
		for range 400 {
			now = now.Add(time.Minute)
			want, next, _ := p.Decide(s, now, brokers, spread(brokers, load))
			if d := want - brokers; d != 0 {
				if d*direction < 0 {
					t.Fatalf("from %d to %d, after the other way", brokers, want)
				}
				direction = d
			}
			brokers, s = want, next
		}
		if want, _, _ := p.Decide(s, now.Add(time.Hour), brokers, spread(brokers, load)); want != brokers {
			t.Fatalf("no rest: from %d to %d brokers", brokers, want)
		}
	})
}
