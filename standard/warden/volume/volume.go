package volume

import (
	"errors"
	"fmt"
	"time"
)

// GiB is the unit in which volumes are made.
const GiB = int64(1) << 30

// Sizes of volumes, as MSK has them.
const (
	Largest = 16384 * GiB
	stepMin = 10 * GiB
)

// Bounds of Policy, as Application Auto Scaling has them for MSK.
const (
	targetLeast = 10
	targetMost  = 80
	cooldown    = 6 * time.Hour
)

// Thresholds, percent used of a volume. Each ends when the volume is below it by ease.
const (
	Alarming = 85 // it is announced
	Slowing  = 90 // who writes is slowed down
	Stopping = 95 // hardly anything is written any more
	ease     = 3
)

// Rates are what each client may produce at each broker, in bytes per second.
const (
	slowRate = 1 << 20
	stopRate = 1 << 10
)

// ErrPolicy: a policy that cannot be; the message says why.
var ErrPolicy = errors.New("storage policy")

// Policy says when volumes grow by themselves. The zero Policy: never.
type Policy struct {
	Target   int           `json:"target,omitempty"`   // percent used, 10 to 80, beyond which a volume grows; 0: it does not
	Most     int64         `json:"most,omitempty"`     // bytes of a volume that it does not grow beyond; 0: Largest
	Cooldown time.Duration `json:"cooldown,omitempty"` // between two growths; 0: 6 hours, as MSK
}

// Validate returns ErrPolicy for what cannot be.
func (p Policy) Validate() error {
	switch {
	case p.Target != 0 && (p.Target < targetLeast || p.Target > targetMost):
		return fmt.Errorf("%w: a target of %d %%, must be %d to %d", ErrPolicy, p.Target, targetLeast, targetMost)
	case p.Most < 0 || p.Most > Largest:
		return fmt.Errorf("%w: at most %d bytes, must be up to %d", ErrPolicy, p.Most, Largest)
	case p.Cooldown < 0:
		return fmt.Errorf("%w: a cool-down of %v", ErrPolicy, p.Cooldown)
	}
	return nil
}

// Level is how full the fullest volume is.
type Level int

// The levels, in order.
const (
	Ample Level = iota
	Alarm       // at least Alarming
	Slow        // at least Slowing
	Stop        // at least Stopping
)

// State is what Decide has to know of before; it is plain data to be kept. The zero State is that of a new cluster.
type State struct {
	Level Level     `json:"level,omitempty"`
	Grown time.Time `json:"grown,omitzero"` // when volumes grew last, by whosoever's will; zero: never
}

// Decision is what is to be done. It is the same for all brokers of a cluster.
type Decision struct {
	Size   int64  // bytes that each volume is to have; 0: as it is
	Level  Level  // from Alarm on it is to be announced
	Rate   int64  // bytes per second that each client may produce at each broker; 0: unbounded
	Advice string // in words, for who can do something about it; "": there is nothing to say
}

// Decide looks at volumes of one size, in bytes, and what each broker has used of its own. A size of 0 is not watched.
func Decide(now time.Time, size int64, used map[int32]int64, p Policy, s State) (Decision, State) {
	if size <= 0 {
		return Decision{}, State{Grown: s.Grown}
	}
	broker, most := fullest(used)
	percent := int(min(most/max(size/100, 1), 1000))
	s.Level = next(s.Level, percent)
	d := Decision{Level: s.Level, Rate: rate(s.Level)}
	if p.Target > 0 && percent > p.Target && (s.Grown.IsZero() || now.Sub(s.Grown) >= p.cooldown()) {
		if grown := grow(size, p); grown > size {
			d.Size, s.Grown = grown, now
		}
	}
	if d.Level >= Alarm {
		d.Advice = advice(broker, percent, d, p)
	}
	return d, s
}

func (p Policy) cooldown() time.Duration {
	if p.Cooldown == 0 {
		return cooldown
	}
	return p.Cooldown
}

// fullest is the broker that has used most; the first of several.
func fullest(used map[int32]int64) (broker int32, most int64) {
	for id, n := range used {
		if n > most || n == most && (broker == 0 || id < broker) {
			broker, most = id, n
		}
	}
	return broker, most
}

// next is the level after one, by how full the fullest volume is now.
func next(was Level, percent int) Level {
	at := func(percent int) Level {
		switch {
		case percent >= Stopping:
			return Stop
		case percent >= Slowing:
			return Slow
		case percent >= Alarming:
			return Alarm
		}
		return Ample
	}
	return max(at(percent), min(was, at(percent+ease)))
}

func rate(l Level) int64 {
	switch l {
	case Stop:
		return stopRate
	case Slow:
		return slowRate
	default:
		return 0
	}
}

// grow is the next size of a volume: 10 % or 10 GiB more, in whole GiB.
func grow(size int64, p Policy) int64 {
	most := p.Most
	if most == 0 {
		most = Largest
	}
	step := (max(stepMin, size/10) + GiB - 1) / GiB * GiB
	return max(size, min(size+step, most))
}

// advice says what can be done about a full volume.
func advice(broker int32, percent int, d Decision, p Policy) string {
	text := fmt.Sprintf("Broker %d has used %d %% of its volume.", broker, percent)
	switch d.Level {
	case Stop:
		text += " Producers are all but stopped."
	case Slow:
		text += " Producers are slowed down."
	}
	switch {
	case d.Size > 0:
		text += fmt.Sprintf(" The volumes grow to %d GiB.", d.Size/GiB)
	case p.Target > 0:
		text += " They do not grow now: they are as large as the policy lets them be, or have grown just before."
	default:
		text += " Make the volumes larger, or have a policy do so."
	}
	return text + " Lower retention.ms or retention.bytes of large topics, or delete what is not needed, to have less in them."
}
