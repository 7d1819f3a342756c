package quota

import (
	"maps"
	"math"
)

// Op sets or removes one quota of an entity.
type Op struct {
	Key    string
	Value  float64
	Remove bool
}

// Apply returns the quotas that e has after ops, nil if none are left; it does not change now. Removing what is not there
// is no error. The error matches ErrInvalid; nothing is to be changed then.
func Apply(e Entity, now Values, ops []Op) (Values, error) {
	next := make(Values, len(now)+len(ops))
	maps.Copy(next, now)
	seen := make(map[string]bool, len(ops))
	for _, op := range ops {
		if seen[op.Key] {
			return nil, Duplicate(e)
		}
		seen[op.Key] = true
		if op.Remove {
			delete(next, op.Key)
			continue
		}
		if err := check(e, op); err != nil {
			return nil, err
		}
		next[op.Key] = op.Value
	}
	if len(next) == 0 {
		return nil, nil
	}
	return next, nil
}

// Duplicate is what Kafka says to an entity, or a key of it, that a request names twice; it matches ErrInvalid.
func Duplicate(e Entity) error { return refuse("Ignoring duplicate entity %s", clip(e.String())) }

// check says whether an entity can have a quota of this key and value.
func check(e Entity, op Op) error {
	kind, ok := kindOf(op.Key)
	if !ok || e.IP.named != (kind == Connections) {
		return refuse("Invalid configuration key %s", clip(op.Key))
	}
	most, whole := kind.most()
	switch {
	case op.Value <= 0:
		return refuse("Quota %s must be greater than 0", op.Key)
	case math.IsNaN(op.Value) || math.IsInf(op.Value, 0): // Kafka takes them
		return refuse("Quota %s must be a number", op.Key)
	case whole && math.Abs(math.Trunc(op.Value+nearly)-op.Value) > nearly:
		return refuse("%s cannot be a fractional value.", op.Key)
	case kind == Connections && op.Value > most:
		return refuse("Proposed value for %s is too large for an INT.", op.Key)
	case op.Value > most:
		return refuse("Proposed value for %s is too large for a LONG.", op.Key)
	}
	return nil
}

// nearly is how far from a whole number a value may be that passes for one.
const nearly = 1e-6

// most is the largest value of a kind, and whether it counts in whole numbers.
func (k Kind) most() (value float64, whole bool) {
	switch k {
	case Produce, Fetch:
		return math.MaxInt64, true
	case Connections:
		return math.MaxInt32, true
	default:
		return math.MaxFloat64, false
	}
}
