package controller

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"millrace/express/catalog"
	"millrace/kafka/topic"
)

// take writes takes as catalog.Take does.
func (c *cluster) take(takes []catalog.Take) {
	for _, t := range takes {
		p := &c.find(t.ID.Topic).Partitions[t.ID.Index]
		if p.Tail == "" && p.Log == "" {
			p.Log = catalog.LogID(p.Owner, p.Incarnation)
		}
		p.Owner, p.To = t.To, 0
		p.Epoch++
	}
}

// P7: exactly what is gone is taken, by those that take partitions, all at once; and then nothing is left to take.
func TestTakesHoldForAnyState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCluster(t)
		c.gone = map[Owner]bool{}
		for id := range int32(9) {
			c.gone[Owner{ID: id + 1}] = rapid.Bool().Draw(t, "gone") // also of some that are live: they win
		}
		takes := Takes(c.state())
		seen := make(map[topic.Partition]bool)
		for _, take := range takes {
			p := c.find(take.ID.Topic).Partitions[take.ID.Index]
			switch {
			case seen[take.ID]:
				t.Fatalf("%v twice", take.ID)
			case c.live(p.Owner) || !c.gone[Owner{p.Owner, p.Incarnation}] || take.From != p.Owner || take.Incarnation != p.Incarnation:
				t.Fatalf("%+v for %+v, which is not gone", take, p)
			case !c.takes(take.To):
				t.Fatalf("%+v goes to a broker that takes none", take)
			}
			seen[take.ID] = true
		}
		c.take(takes)
		if len(c.totals()) > 0 {
			if again := Takes(c.state()); len(again) > 0 {
				t.Fatalf("taken again: %+v", again)
			}
		}
		checkPlan(t, c, Plan(c.state()))
	})
}

// P7: topics that were even stay so.
func TestWhatIsTakenIsSharedOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &cluster{gone: map[Owner]bool{{ID: 1}: true}}
		brokers := rapid.Int32Range(2, 7).Draw(t, "brokers")
		for id := int32(2); id <= brokers; id++ {
			c.broker(id, string(rune('a'+id%3)), false)
		}
		next := int32(0)
		for range rapid.IntRange(1, 30).Draw(t, "topics") {
			owners := make([]int32, rapid.IntRange(1, 40).Draw(t, "partitions"))
			for i := range owners {
				owners[i] = next%brokers + 1
				next++
			}
			c.topic(owners...)
		}
		c.take(Takes(c.state()))
		for _, tp := range c.topics {
			if all := slices.Sorted(maps.Values(c.totals(tp))); all[len(all)-1]-all[0] > 2 {
				t.Fatalf("%s: %v", tp.Name, all)
			}
		}
	})
}

// A process that was seen is gone when it is not there any more; one that never was may be about to register, for a while.
func TestAbsence(t *testing.T) {
	var a absence
	now := time.Unix(1000, 0)
	partitions := []catalog.Partition{{Owner: 1, Incarnation: 10}, {Owner: 2, Incarnation: 20}, {Owner: -1}}
	one, two := catalog.Broker{ID: 1, Incarnation: 10}, catalog.Broker{ID: 2, Incarnation: 20}
	for i, step := range []struct {
		after time.Duration
		live  []catalog.Broker
		owns  uint64 // the incarnation of broker 1 that owns what it has
		gone  []int32
	}{
		{0, []catalog.Broker{one}, 10, nil},
		{4 * time.Second, nil, 10, []int32{1}},
		{time.Second, nil, 10, []int32{1, 2}},                           // 2 was missed for five seconds
		{0, []catalog.Broker{two}, 11, nil},                             // a new incarnation of 1 has claimed what was its
		{3 * time.Second, []catalog.Broker{two}, 12, nil},               // that one died, too, and another claimed
		{time.Second, []catalog.Broker{two}, 12, []int32{1}},            // five seconds since broker 1 was there
		{0, []catalog.Broker{{ID: 1, Incarnation: 13}}, 12, []int32{2}}, // it is there, though not the one that owns: it will claim
		{0, []catalog.Broker{one, two}, 10, nil},
	} {
		now = now.Add(step.after)
		partitions[0].Incarnation = step.owns
		var got []int32
		for o := range a.look(now, step.live, []*catalog.Topic{{Partitions: partitions}}, 5*time.Second) {
			got = append(got, o.ID)
		}
		if slices.Sort(got); !slices.Equal(got, step.gone) {
			t.Errorf("step %d: gone %v, want %v", i, got, step.gone)
		}
	}
}

// What a broker owns that dies is taken over by the others within its lease and a moment.
func TestDeadBrokersArePlundered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		a, b := startWith(t, store, 1, true, catalog.LogObject), startWith(t, store, 2, true, catalog.LogObject)
		startWith(t, store, 3, true, catalog.LogObject)
		if _, err := a.catalog.CreateTopic(t.Context(), catalog.NewTopic{Name: "t", Partitions: 30, ReplicationFactor: 1}); err != nil {
			t.Fatal(err)
		}
		owned := counts(a.catalog)[1]
		began := time.Now()
		a.stop()
		for {
			changed := b.catalog.Changed()
			if counted(b.catalog)[1] == 0 {
				break
			}
			<-changed
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("taken after %v", took)
		}
		if n := counted(b.catalog); n[2] != 15 || n[3] != 15 {
			t.Errorf("%v", n)
		}
		for _, tp := range b.catalog.Topics() {
			for i, p := range tp.Partitions {
				if p.Log == catalog.LogID(1, a.catalog.Self().Incarnation) {
					owned--
				} else if p.Log != "" {
					t.Errorf("partition %d: %+v", i, p)
				}
			}
		}
		if owned != 0 {
			t.Errorf("%d partitions do not name the log of their owner before", owned)
		}
	})
}
