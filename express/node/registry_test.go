package node

import (
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/clock"
	"millrace/express/catalog"
	"millrace/express/partition"
	"millrace/kafka/topic"
)

// TestRequestsWaitForWhatComes: until it is there, until it is known to be elsewhere, and in all for patience (N5).
func TestRequestsWaitForWhatComes(t *testing.T) {
	id, p := topic.Partition{Topic: topic.NewID()}, &partition.Partition{}
	for name, c := range map[string]struct {
		then  func(r *registry, s *slot) // after half of patience
		waits time.Duration
		found bool
	}{
		"it comes":            {func(r *registry, _ *slot) { r.partitions[id] = p }, patience / 2, true},
		"it goes elsewhere":   {func(_ *registry, s *slot) { s.part.Owner = 2 }, patience / 2, false},
		"its topic goes":      {func(_ *registry, s *slot) { s.topic = nil }, patience / 2, false},
		"it cannot be opened": {func(_ *registry, s *slot) { s.failures++ }, patience / 2, false},
		"the broker ends":     {func(r *registry, _ *slot) { r.ended = true }, patience / 2, false},
		"nothing happens":     {func(*registry, *slot) {}, patience, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := &registry{
				self: catalog.Broker{ID: 1}, clock: clock.System{}, news: make(chan struct{}),
				partitions: map[topic.Partition]*partition.Partition{}, slots: map[topic.Partition]*slot{},
			}
			began := time.Now()
			s := &slot{id: id, topic: &catalog.Topic{}, part: catalog.Partition{Owner: 1}, since: began}
			r.slots[id] = s
			timer := time.AfterFunc(patience/2, func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				c.then(r, s)
				r.tellLocked()
			})
			defer timer.Stop()
			_, ok := r.Partition(id)
			if waited := time.Since(began); ok != c.found || waited != c.waits {
				t.Errorf("%s: found %v after %v, want %v after %v", name, ok, waited, c.found, c.waits)
			}
			began = time.Now()
			if _, ok := r.Partition(id); ok != c.found || time.Since(began) > 0 && c.waits == patience {
				t.Errorf("%s: asked again, found %v after %v", name, ok, time.Since(began))
			}
		})
	}
}
