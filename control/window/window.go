// Package window reads maintenance windows and tells when they open. A window is a part of each week, in UTC.
//
// Flow: Parse reads "Sun:02:00-Sun:04:00", Opens says how long it is until it opens. Nothing here has a state.
//
// Invariants:
//
//	1  A window is open from the minute that it begins to the one that it ends, that one not included, and may reach over the week's end.
//	2  Opens is 0 while it is open, and less than a week else; at now+Opens it is open, and not before.
package window

import (
	"errors"
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

// ErrInvalid: a text is no window; the message shows one.
var ErrInvalid = errors.New("invalid maintenance window")

// Window is when a cluster may be disturbed. The zero value is never open; Parse makes one.
type Window struct{ from, to int } // minutes of the week; to may lie beyond the week's end

// Parse reads a window, such as "Sun:02:00-Sun:04:00". "" is the whole week. It returns ErrInvalid for what is none.
func Parse(text string) (Window, error) {
	if text == "" {
		return Window{0, weekMinutes}, nil
	}
	begin, end, _ := strings.Cut(text, "-")
	from, ok := minute(begin)
	to, also := minute(end)
	if !ok || !also || from == to {
		return Window{}, fmt.Errorf("%w %q: use for example Sun:02:00-Sun:04:00, in UTC", ErrInvalid, text)
	}
	if to < from {
		to += weekMinutes
	}
	return Window{from, to}, nil
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

// Opens is how long it is until the window opens; 0: it is open.
func (w Window) Opens(now time.Time) time.Duration {
	now = now.UTC()
	sunday := now.Truncate(24*time.Hour).AddDate(0, 0, -int(now.Weekday()))
	at := now.Sub(sunday)
	begin, end := time.Duration(w.from)*time.Minute, time.Duration(w.to)*time.Minute
	const week = weekMinutes * time.Minute
	switch {
	case at >= begin && at < end || at+week < end:
		return 0
	case at < begin:
		return begin - at
	}
	return begin + week - at
}
