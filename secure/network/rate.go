package network

import (
	"net/netip"
	"time"
)

// Most is how many addresses are counted apart.
const Most = 16384

// bucket holds the connections that may come at once: up to rate, refilled by rate a second.
type bucket struct {
	left float64
	at   time.Time
}

func (b *bucket) take(rate int, now time.Time) bool {
	full := float64(rate)
	b.left = min(full, b.left+now.Sub(b.at).Seconds()*full)
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// full says that the bucket is as one that was never used.
func (b *bucket) full(rate int, now time.Time) bool {
	return b.left+now.Sub(b.at).Seconds()*float64(rate) >= float64(rate)
}

// buckets counts by a key. Its owner holds a lock.
type buckets[K comparable] struct {
	most   int
	of     map[K]*bucket
	others bucket    // of all keys for which there is no room
	swept  time.Time // when those that are full were last forgotten
}

// sweepEvery bounds what a flood of addresses costs: the sweep looks at all of them.
const sweepEvery = time.Second

func newBuckets[K comparable](most int) buckets[K] {
	return buckets[K]{most: most, of: map[K]*bucket{}}
}

func (bs *buckets[K]) take(key K, rate int, now time.Time) bool {
	b := bs.of[key]
	if b == nil && len(bs.of) >= bs.most && now.Sub(bs.swept) >= sweepEvery {
		bs.swept = now
		for k, b := range bs.of {
			if b.full(rate, now) {
				delete(bs.of, k)
			}
		}
	}
	switch {
	case b != nil:
	case len(bs.of) < bs.most:
		b = &bucket{left: float64(rate), at: now}
		bs.of[key] = b
	default:
		b = &bs.others
	}
	return b.take(rate, now)
}

// place is what counts as one address: an IPv6 host has a /64 of its own.
func place(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits) // cannot fail: bits fit
	return p
}
