package volume

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A year of a cluster that is filled and emptied anyhow, looked at every so often.
func TestDecide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{Target: rapid.IntRange(0, 8).Draw(t, "target") * 10, Most: rapid.Int64Range(0, 400).Draw(t, "most") * GiB}
		if rapid.Bool().Draw(t, "own cool-down") {
			p.Cooldown = rapid.SampledFrom([]time.Duration{time.Minute, time.Hour}).Draw(t, "cool-down")
		}
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		size := rapid.Int64Range(1, 500).Draw(t, "size") * GiB
		now, last := time.Unix(1e9, 0), time.Time{}
		state := State{}
		for range rapid.IntRange(1, 40).Draw(t, "looks") {
			now = now.Add(time.Duration(rapid.IntRange(0, 500).Draw(t, "minutes")) * time.Minute)
			used := map[int32]int64{1: rapid.Int64Range(0, size).Draw(t, "one"), 2: rapid.Int64Range(0, size).Draw(t, "two")}
			percent := int(max(used[1], used[2]) * 100 / size)
			was := state.Level
			d, next := Decide(now, size, used, p, state)
			state = next
			if d.Size != 0 {
				step := d.Size - size
				limit := p.Most
				if limit == 0 {
					limit = Largest
				}
				cool := p.Cooldown
				if cool == 0 {
					cool = 6 * time.Hour
				}
				switch {
				case p.Target == 0 || percent < p.Target:
					t.Fatalf("grows at %d %% by %+v", percent, p)
				case step <= 0 || d.Size > limit:
					t.Fatalf("%d becomes %d, at most %d", size, d.Size, limit)
				case d.Size < limit && (step < 10*GiB || step < size/10):
					t.Fatalf("%d grows by %d", size, step)
				case !last.IsZero() && now.Sub(last) < cool:
					t.Fatalf("grows %v after the last time", now.Sub(last))
				}
				size, last = d.Size, now
			}
			for _, l := range []struct {
				Level
				percent int
			}{{Alarm, 85}, {Slow, 90}, {Stop, 95}} {
				if percent > l.percent && d.Level < l.Level {
					t.Fatalf("%d %% is %v", percent, d.Level)
				}
				if percent < l.percent-4 && d.Level >= l.Level {
					t.Fatalf("%d %% is still %v", percent, d.Level)
				}
				if percent < l.percent-1 && was < l.Level && d.Level >= l.Level {
					t.Fatalf("%d %% is %v, after %v", percent, d.Level, was)
				}
			}
			if (d.Rate > 0) != (d.Level >= Slow) || (d.Advice != "") != (d.Level >= Alarm) {
				t.Fatalf("%+v", d)
			}
		}
	})
}

func TestThresholdsDoNotFlap(t *testing.T) {
	size, state := 100*GiB, State{}
	var levels []Level
	for _, percent := range []int64{50, 85, 84, 83, 82, 81, 90, 89, 95, 93, 92, 91, 86, 10} {
		var d Decision
		d, state = Decide(time.Unix(0, 0), size, map[int32]int64{1: percent * GiB}, Policy{}, state)
		levels = append(levels, d.Level)
	}
	want := []Level{Ample, Alarm, Alarm, Alarm, Alarm, Ample, Slow, Slow, Stop, Stop, Stop, Slow, Alarm, Ample}
	for i := range want {
		if levels[i] != want[i] {
			t.Fatalf("%v, want %v", levels, want)
		}
	}
}

func TestAdvice(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, c := range []struct {
		used   int64
		policy Policy
		grown  time.Time
		says   string
	}{
		{96, Policy{}, time.Time{}, "all but stopped. Make the volumes larger"},
		{91, Policy{Target: 80}, time.Time{}, "slowed down. The volumes grow to 110 GiB"},
		{86, Policy{Target: 80}, now.Add(-time.Hour), "86 % of its volume. They do not grow now"},
	} {
		d, _ := Decide(now, 100*GiB, map[int32]int64{1: 1, 7: c.used * GiB}, c.policy, State{Grown: c.grown})
		if !strings.Contains(d.Advice, c.says) || !strings.Contains(d.Advice, "Broker 7") {
			t.Errorf("%q does not say %q", d.Advice, c.says)
		}
	}
	if d, _ := Decide(now, 0, map[int32]int64{1: 1}, Policy{Target: 10}, State{Level: Stop}); d != (Decision{}) {
		t.Errorf("not watched: %+v", d)
	}
}

func TestPolicy(t *testing.T) {
	for _, p := range []Policy{{Target: 9}, {Target: 81}, {Target: -1}, {Most: -1}, {Most: Largest + 1}, {Cooldown: -1}} {
		if err := p.Validate(); !errors.Is(err, ErrPolicy) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	if err := (Policy{Target: 10, Most: Largest, Cooldown: 1}).Validate(); err != nil {
		t.Error(err)
	}
}
