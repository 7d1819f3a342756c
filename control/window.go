package control

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A week in minutes from Sunday 00:00 UTC, by which windows are counted.
const (
	hourMinutes = 60
	dayMinutes  = 24 * hourMinutes
	weekMinutes = 7 * dayMinutes
)

// weekdays are those of a window, as time.Weekday counts them.
func weekdays() []string { return []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"} }

// parseWindow reads a maintenance window, "Sun:02:00-Sun:04:00", as the minutes of the week from its begin to its end, which may lie
// beyond the week's. "" is the whole week. It returns ErrSpec for what is none.
func parseWindow(text string) (from, to int, err error) {
	if text == "" {
		return 0, weekMinutes, nil
	}
	begin, end, _ := strings.Cut(text, "-")
	from, ok := minute(begin)
	to, also := minute(end)
	if !ok || !also || from == to {
		return 0, 0, fmt.Errorf("%w: maintenance window %q; use for example Sun:02:00-Sun:04:00, in UTC", ErrSpec, text)
	}
	if to < from {
		to += weekMinutes
	}
	return from, to, nil
}

// minute reads "Sun:02:00".
func minute(text string) (int, bool) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 || len(parts[1]) != 2 || len(parts[2]) != 2 {
		return 0, false
	}
	day := slices.Index(weekdays(), parts[0])
	hour, err1 := strconv.ParseUint(parts[1], 10, 8)
	m, err2 := strconv.ParseUint(parts[2], 10, 8)
	if day < 0 || err1 != nil || err2 != nil || hour > 23 || m > 59 {
		return 0, false
	}
	return day*dayMinutes + int(hour)*hourMinutes + int(m), true
}

// open says that the maintenance window is open.
func (s Settings) open(now time.Time) bool { return s.opens(now) == 0 }

// opens is how long it is until the maintenance window opens; 0: it is open. A window that cannot be read is always open.
func (s Settings) opens(now time.Time) time.Duration {
	from, to, err := parseWindow(s.Window)
	if err != nil {
		return 0
	}
	now = now.UTC()
	sunday := now.Truncate(24*time.Hour).AddDate(0, 0, -int(now.Weekday()))
	at := now.Sub(sunday)
	begin, end := time.Duration(from)*time.Minute, time.Duration(to)*time.Minute
	const week = weekMinutes * time.Minute
	switch {
	case at >= begin && at < end || at+week < end:
		return 0
	case at < begin:
		return begin - at
	}
	return begin + week - at
}
