package quota

// bucket holds what may still be changed at once. The zero value is full.
type bucket struct {
	begun  bool
	tokens float64
	last   int64 // ms
}

// full is what the bucket of a limit holds at most.
func full(limit float64) float64 { return limit * windows * windowMs / 1000 }

// left returns what is in the bucket; below 0 it is overdrawn. now is in ms and does not go back.
func (b *bucket) left(limit float64, now int64) float64 {
	if !b.begun {
		b.begun, b.tokens = true, full(limit)
	}
	b.tokens = min(full(limit), b.tokens+limit*float64(now-b.last)/1000)
	b.last = now
	return b.tokens
}

// take takes value out, whether it is there or not.
func (b *bucket) take(value, limit float64, now int64) {
	b.tokens = b.left(limit, now) - value
}

// overdrawn returns after how many ms the bucket is not overdrawn any more, 0 if it is not.
func (b *bucket) overdrawn(limit float64, now int64) int64 {
	left := b.left(limit, now)
	if left >= 0 {
		return 0
	}
	return rounded(-left / limit * 1000)
}
