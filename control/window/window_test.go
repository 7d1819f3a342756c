package window

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestWindows(t *testing.T) {
	sunday := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		window string
		at     time.Duration // from Sunday 00:00
		opens  time.Duration
	}{
		{"", 5 * time.Hour, 0},
		{"Sun:02:00-Sun:04:00", 0, 2 * time.Hour},
		{"Sun:02:00-Sun:04:00", 2 * time.Hour, 0},
		{"Sun:02:00-Sun:04:00", 4*time.Hour - 1, 0},
		{"Sun:02:00-Sun:04:00", 4 * time.Hour, 7*24*time.Hour - 2*time.Hour},
		{"Sat:23:00-Sun:01:00", 30 * time.Minute, 0},
		{"Sat:23:00-Sun:01:00", time.Hour, 6*24*time.Hour + 22*time.Hour},
		{"Wed:10:00-Tue:09:59", 3*24*time.Hour + 9*time.Hour, time.Hour},
	} {
		w, err := Parse(c.window)
		if got := w.Opens(sunday.Add(c.at)); got != c.opens || err != nil {
			t.Errorf("%s at %s: opens in %s, want %s", c.window, c.at, got, c.opens)
		}
	}
	for _, bad := range []string{"Sun", "Sun:02:00", "Sun:02:00-", "sun:02:00-sun:04:00", "Sun:24:00-Mon:00:00", "Sun:2:00-Sun:04:00", "Sun:02:00-Sun:02:00", "Sun:+2:00-Sun:04:00"} {
		if _, err := Parse(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A window opens when it says, is open until it says, and then is closed.
func TestWindowsOpenAndClose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := func(name string) int { return rapid.IntRange(0, weekMinutes-1).Draw(t, name) }
		from, to := at("from"), at("to")
		if from == to {
			return
		}
		text := func(m int) string {
			return fmt.Sprintf("%s:%02d:%02d", weekdays()[m/dayMinutes], m%dayMinutes/hourMinutes, m%hourMinutes)
		}
		w, err := Parse(text(from) + "-" + text(to))
		if err != nil {
			t.Fatal(err)
		}
		open := func(at time.Time) bool { return w.Opens(at) == 0 }
		now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).Add(time.Duration(at("now")) * time.Minute)
		wait := w.Opens(now)
		opened := now.Add(wait)
		if wait < 0 || wait >= weekMinutes*time.Minute || !open(opened) || wait > 0 && open(opened.Add(-1)) {
			t.Fatalf("%v at %s: opens in %s", w, now, wait)
		}
		begin := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC).Add(time.Duration(from) * time.Minute)
		length := time.Duration((to-from+weekMinutes)%weekMinutes) * time.Minute
		if open(begin.Add(-1)) || !open(begin) || !open(begin.Add(length-1)) || open(begin.Add(length)) {
			t.Fatalf("%v: from %s for %s", w, begin, length)
		}
	})
}
