package trail

import "time"

// alike is what two events have in common that one line may stand for.
type alike struct {
	kind      Kind
	action    string
	principal string
	from      string
	listener  string
	resource  string
	reason    string
}

// repeats counts refusals that are alike, so that a flood of them does not fill the disk: the first is told at once, the
// others as one with a count when the window is over. It is pure: time comes in with what is added. The zero value is not usable.
type repeats struct {
	window time.Duration
	most   int // kinds that are told apart; what comes beyond shares one

	open map[alike]*repeat
}

type repeat struct {
	ends  time.Time
	last  Event
	count int64 // that were not told yet
}

func newRepeats(window time.Duration, most int) *repeats {
	return &repeats{window: window, most: most, open: map[alike]*repeat{}}
}

// add says whether the event is to be told now; otherwise it is counted, and due tells of it.
func (r *repeats) add(e Event, now time.Time) bool {
	if e.Outcome != Refused || e.Kind == Admin {
		return true
	}
	key := alike{e.Kind, e.Action, e.Principal, e.From, e.Listener, e.Resource, e.Reason}
	if r.open[key] == nil && len(r.open) >= r.most {
		key = alike{kind: e.Kind, reason: "others"}
		e = Event{
			Time: e.Time, Kind: e.Kind, Action: e.Action, Outcome: e.Outcome, Cluster: e.Cluster,
			Reason: "refusals of many kinds, not told apart; the last one: " + e.Reason,
		}
	}
	if open := r.open[key]; open != nil {
		open.last = e
		open.count++
		return false
	}
	r.open[key] = &repeat{ends: now.Add(r.window)}
	return true
}

// due returns what was counted in windows that are over, and closes those in which nothing came. With all it takes every window for over.
func (r *repeats) due(now time.Time, all bool) []Event {
	var told []Event
	for key, open := range r.open {
		if !all && now.Before(open.ends) {
			continue
		}
		if open.count == 0 {
			delete(r.open, key)
			continue
		}
		e := open.last
		e.Count = open.count
		told = append(told, e)
		open.count, open.ends, open.last = 0, now.Add(r.window), Event{}
	}
	return told
}
