package catalog

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"millrace/base/kv"
	"millrace/kafka/topic"
)

// at is a roster of brokers 1.. in these zones.
func at(zones ...string) roster {
	var r roster
	for i, zone := range zones {
		r = append(r, Broker{ID: int32(i + 1), Incarnation: uint64(10 + i), Rack: zone})
	}
	return r
}

func ownersOf(partitions []Partition) []int32 {
	var ids []int32
	for _, p := range partitions {
		ids = append(ids, p.Owner)
	}
	return ids
}

func TestPlaceSpreadsATopicAndEvensOut(t *testing.T) {
	f := func(n int, before []int32, brokers roster, load map[int32]int, want ...int32) {
		t.Helper()
		var old []Partition
		for _, id := range before {
			old = append(old, Partition{Owner: id})
		}
		if got := ownersOf(place(n, old, brokers, load)); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	f(3, nil, at(""), map[int32]int{1: 7}, 1, 1, 1)
	f(4, nil, at("", "", ""), map[int32]int{}, 1, 2, 3, 1)
	f(4, nil, at("", "", ""), map[int32]int{1: 3, 2: 1}, 3, 2, 1, 3)
	f(2, nil, at("", ""), map[int32]int{1: 1, 9: 4}, 2, 1)
	f(2, []int32{1, 2}, at("", "", ""), map[int32]int{1: 1, 2: 1, 3: 50}, 3, 1) // the topic's spread comes first
	f(3, nil, at("a", "a", "b", "b", "c", "c"), map[int32]int{}, 1, 3, 5)
	f(3, nil, at("a", "a", "b", "b", "c", "c"), map[int32]int{3: 1, 4: 1, 5: 9, 6: 9}, 1, 3, 2)
	f(4, nil, at("a", "a", "a", "b"), map[int32]int{}, 1, 4, 2, 3)
}

func TestPlacedPartitionsAreEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zones := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 1, 9).Draw(t, "zones")
		brokers, load := at(zones...), make(map[int32]int)
		for range rapid.IntRange(1, 30).Draw(t, "topics") {
			n := rapid.IntRange(1, 20).Draw(t, "n")
			per := make(map[int32]int)
			for _, p := range place(n, nil, brokers, load) {
				per[p.Owner]++
			}
			for _, b := range brokers {
				if c := per[b.ID]; c < n/len(brokers) || c > (n+len(brokers)-1)/len(brokers) {
					t.Fatalf("%d partitions over %d brokers: %v", n, len(brokers), per)
				}
			}
		}
		low, high, sum := load[1], load[1], 0
		for _, b := range brokers {
			low, high, sum = min(low, load[b.ID]), max(high, load[b.ID]), sum+load[b.ID]
		}
		if slack := max(2, sum/len(brokers)/10); high-low > slack {
			t.Fatalf("leaders %v", load)
		}
	})
}

func TestManyBrokersAreTakenByLoad(t *testing.T) {
	brokers, load := at(make([]string, ownersMost+5)...), map[int32]int{}
	for i := range int32(5) {
		load[i+1] = 1
	}
	if takers := brokers.takers(load); len(takers) != ownersMost || slices.ContainsFunc(takers, func(b Broker) bool { return load[b.ID] > 0 }) {
		t.Errorf("%d takers", len(takers))
	}
}

// C8: what is being created when a broker begins to drain goes to another one.
func TestNothingIsCreatedAtADrainingBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		a, b := start(t, store, self(1, 1)), start(t, store, self(2, 1))
		synctest.Wait()
		create(t, a, "orders", 2)
		synctest.Wait()
		drainWhen := func(key string) {
			store.fail(func(ops []kv.Op) error {
				if !slices.ContainsFunc(ops, func(op kv.Op) bool { return op.Key == prefix+key }) {
					return nil
				}
				store.fail(nil)
				return b.SetDraining(t.Context(), true)
			})
		}
		drainWhen("topics/late")
		if tp := create(t, a, "late", 300); slices.Contains(ownersOf(tp.Partitions), 2) {
			t.Error("created at the draining broker")
		}
		if items, _, _ := store.List(t.Context(), prefix+"partitions/"); len(items) != 302 {
			t.Errorf("%d records of partitions", len(items))
		}
		if err := b.SetDraining(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		drainWhen("topics/orders")
		if err := a.AddPartitions(t.Context(), "orders", 10, nil, false); err != nil {
			t.Fatal(err)
		}
		tp, _ := a.Topic("orders")
		if slices.Contains(ownersOf(tp.Partitions[2:]), 2) {
			t.Errorf("added at the draining broker: %v", tp.Partitions)
		}
		for i, p := range tp.Partitions[2:] {
			if want := int32(1); p.Epoch != 0 && p.Epoch != want {
				t.Errorf("partition %d: %+v", i+2, p)
			}
		}
		tp, err := a.CreateTopic(t.Context(), NewTopic{Name: "assigned", Partitions: -1, ReplicationFactor: -1, Assignment: map[int32][]int32{0: {2, 1}}})
		if err != nil || tp.Partitions[0].Owner != 1 {
			t.Errorf("%+v, %v", tp, err)
		}
		// The last broker keeps what is created at it.
		if err := a.SetDraining(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if tp := create(t, a, "last", 2); tp.Partitions[0].Owner < 1 {
			t.Errorf("%+v", tp)
		}
	})
}

// A topic that lost a race is refused, also when a broker changed at the same time.
func TestLostRaceOfCreatorsWithAChangedBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		a, b := start(t, store, self(1, 1)), start(t, store, self(2, 1))
		synctest.Wait()
		store.fail(func([]kv.Op) error {
			store.fail(nil)
			create(t, b, "orders", 1)
			return b.SetDraining(t.Context(), true)
		})
		if _, err := a.CreateTopic(t.Context(), NewTopic{Name: "orders", Partitions: 4, ReplicationFactor: 1}); !errors.Is(err, ErrTopicExists) {
			t.Error(err)
		}
	})
}

func TestReplicas(t *testing.T) {
	f := func(brokers roster, owner int32, factor int, want, live []int32) {
		t.Helper()
		s := newSpread(brokers)
		for range 2 { // made, and found again
			if replicas, isr := s.replicas(owner, factor); !slices.Equal(replicas, want) || !slices.Equal(isr, live) || replicas == nil || isr == nil {
				t.Errorf("owner %d: %v, %v; want %v, %v", owner, replicas, isr, want, live)
			}
		}
	}
	f(at("a"), 1, 3, []int32{1}, []int32{1})
	f(at("a"), 1, 0, []int32{1}, []int32{1})
	f(at("", "", ""), 2, 2, []int32{2, 3}, []int32{2, 3})
	f(at("a", "a", "b", "b", "c", "c"), 1, 3, []int32{1, 3, 5}, []int32{1, 3, 5})
	f(at("a", "a", "b", "b", "c", "c"), 4, 6, []int32{4, 5, 1, 3, 6, 2}, []int32{4, 5, 1, 3, 6, 2})
	f(at("a", "b"), 7, 3, []int32{7, 1, 2}, []int32{1, 2})
	f(nil, 7, 3, []int32{7}, []int32{})
	f(at("a"), -1, 3, []int32{}, []int32{})
}

func TestReplicasAreLiveBrokersOfTheView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		a, b := start(t, store, self(1, 1)), start(t, store, self(2, 1))
		synctest.Wait()
		tp := create(t, a, "orders", 2)
		if r, isr := a.Replicas(tp, 1); !slices.Equal(r, []int32{2, 1}) || !slices.Equal(isr, r) {
			t.Errorf("%v, %v", r, isr)
		}
		if err := b.Deregister(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if r, isr := a.Replicas(tp, 1); !slices.Equal(r, []int32{2, 1}) || !slices.Equal(isr, []int32{1}) {
			t.Errorf("%v, %v", r, isr)
		}
	})
}

func BenchmarkReplicas(b *testing.B) {
	c := &Catalog{}
	c.view.spread = newSpread(at("a", "b", "c", "a", "b", "c", "a", "b", "c"))
	t := &Topic{ID: topic.NewID(), ReplicationFactor: 3}
	for i := range 100 {
		t.Partitions = append(t.Partitions, Partition{Owner: int32(i%9 + 1)})
	}
	b.ReportAllocs()
	for i := range b.N {
		c.Replicas(t, i%100)
	}
}
