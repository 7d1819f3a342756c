package node

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/clock"
	"millrace/express/catalog"
	"millrace/express/partition"
	"millrace/express/settings"
	"millrace/kafka/topic"
)

func newRegistryOf(self catalog.Broker) *registry {
	return &registry{
		self: self, clock: clock.System{}, news: make(chan struct{}), partitions: map[topic.Partition]*partition.Partition{},
		slots: map[topic.Partition]*slot{}, expected: map[topic.Partition]time.Time{}, topics: map[topic.ID]*catalog.Topic{},
	}
}

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
			r := newRegistryOf(catalog.Broker{ID: 1})
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

// TestRequestsWaitForWhatIsOrderedHere: the client was told by the owner of before, and is here before the news (N5).
func TestRequestsWaitForWhatIsOrderedHere(t *testing.T) {
	tp := &catalog.Topic{ID: topic.NewID()}
	id, p := topic.Partition{Topic: tp.ID}, &partition.Partition{}
	ordered := catalog.Partition{Owner: 2, Epoch: 3, To: 1}
	for name, c := range map[string]struct {
		first, then catalog.Partition // what the catalog says, at first and after half of patience
		opens       bool              // then
		waits       time.Duration
	}{
		"it comes":                 {ordered, catalog.Partition{Owner: 1, Epoch: 4}, true, patience / 2},
		"the order is withdrawn":   {ordered, catalog.Partition{Owner: 2, Epoch: 3}, false, patience / 2},
		"it is ordered elsewhere":  {ordered, catalog.Partition{Owner: 2, Epoch: 3, To: 4}, false, patience / 2},
		"nothing happens":          {ordered, ordered, false, patience},
		"it is not ordered here":   {catalog.Partition{Owner: 2, Epoch: 3, To: 4}, ordered, false, 0},
		"there is no order for it": {catalog.Partition{Owner: 2, Epoch: 3}, ordered, false, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRegistryOf(catalog.Broker{ID: 1})
			r.opening.most = 0 // nothing is done about what comes, but by the test
			began := time.Now()
			r.tell(t.Context(), id, tp, c.first)
			timer := time.AfterFunc(patience/2, func() {
				r.tell(t.Context(), id, tp, c.then)
				if c.opens {
					r.mu.Lock()
					defer r.mu.Unlock()
					r.partitions[id] = p
					r.tellLocked()
				}
			})
			defer timer.Stop()
			_, ok := r.Partition(id)
			if waited := time.Since(began); ok != c.opens || waited != c.waits {
				t.Errorf("%s: found %v after %v, want %v after %v", name, ok, waited, c.opens, c.waits)
			}
		})
	}
}

// A topic of many partitions changes often while they move: only slots of what changed hear of it, and none keeps the
// topic's partitions as they were.
func TestAChangeOfOnePartitionConcernsItAlone(t *testing.T) {
	r := newRegistryOf(catalog.Broker{ID: 1})
	r.opening.most = 0 // nothing is done
	parts := make([]catalog.Partition, 100)
	for i := range parts {
		parts[i] = catalog.Partition{Owner: 1}
	}
	before := &catalog.Topic{ID: topic.NewID(), Settings: &settings.Topic{}, Partitions: parts}
	r.change(t.Context(), nil, before)
	after := *before
	after.Partitions = slices.Clone(parts)
	after.Partitions[7].To = 2
	r.change(t.Context(), before, &after)
	for id, s := range r.slots {
		if heard := s.again; heard != (id.Index == 7) {
			t.Errorf("partition %d heard of the change: %v", id.Index, heard)
		}
		if s.topic.Partitions != nil || s.known.Partitions != nil {
			t.Fatalf("partition %d keeps its topic's partitions", id.Index)
		}
	}
	if n := len(r.slots); n != len(parts) || r.slots[topic.Partition{Topic: before.ID, Index: 7}].part.To != 2 {
		t.Errorf("%d slots, %+v", n, r.slots[topic.Partition{Topic: before.ID, Index: 7}].part)
	}
	last := after
	last.Settings = &settings.Topic{}
	r.change(t.Context(), &after, &last)
	for id, s := range r.slots {
		if s.topic.Settings != last.Settings {
			t.Errorf("partition %d has the settings of before", id.Index)
		}
	}
	r.deleted = func(*catalog.Topic) {}
	r.change(t.Context(), &last, nil)
	if len(r.topics) != 0 {
		t.Error("the deleted topic is kept")
	}
}
