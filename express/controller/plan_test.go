package controller

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"millrace/express/catalog"
	"millrace/kafka/topic"
)

// cluster is a State that can be changed.
type cluster struct {
	brokers []catalog.Broker
	topics  []*catalog.Topic
	gone    map[Owner]bool
}

func (c *cluster) state() State { return State{Brokers: c.brokers, Topics: c.topics, Gone: c.gone} }

// broker adds a live broker.
func (c *cluster) broker(id int32, zone string, draining bool) {
	c.brokers = append(c.brokers, catalog.Broker{ID: id, Incarnation: 1, Rack: zone, Draining: draining})
}

// topic adds a topic with these owners.
func (c *cluster) topic(owners ...int32) *catalog.Topic {
	n := len(c.topics)
	t := &catalog.Topic{Name: fmt.Sprintf("t%d", n), ID: topic.ID{byte(n >> 8), byte(n), 1}}
	for _, o := range owners {
		t.Partitions = append(t.Partitions, catalog.Partition{Owner: o})
	}
	c.topics = append(c.topics, t)
	return t
}

func (c *cluster) find(id topic.ID) *catalog.Topic {
	return c.topics[slices.IndexFunc(c.topics, func(t *catalog.Topic) bool { return t.ID == id })]
}

// apply writes orders as catalog.Move does.
func (c *cluster) apply(moves []catalog.Move) {
	for _, m := range moves {
		c.find(m.ID.Topic).Partitions[m.ID.Index].To = m.To
	}
}

// follow has the live owners follow some of their orders, those that which picks.
func (c *cluster) follow(which func() bool) {
	for _, t := range c.topics {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if !settled(*p) && c.live(p.Owner) && which() {
				p.Tail, p.Log = "", ""
			}
			if p.To != 0 && settled(*p) && c.live(p.Owner) && c.takes(p.To) && which() {
				*p = catalog.Partition{Owner: p.To, Epoch: p.Epoch + 1}
			}
		}
	}
}

func (c *cluster) live(id int32) bool {
	return slices.ContainsFunc(c.brokers, func(b catalog.Broker) bool { return b.ID == id })
}

func (c *cluster) takes(id int32) bool {
	return slices.ContainsFunc(c.brokers, func(b catalog.Broker) bool { return b.ID == id && !b.Draining })
}

// totals counts the partitions that the brokers that take some have.
func (c *cluster) totals(topics ...*catalog.Topic) map[int32]int {
	totals := make(map[int32]int)
	for _, b := range c.brokers {
		if !b.Draining {
			totals[b.ID] = 0
		}
	}
	for _, t := range topics {
		for _, p := range t.Partitions {
			if _, ok := totals[p.Owner]; ok {
				totals[p.Owner]++
			}
		}
	}
	return totals
}

func uneven(totals map[int32]int) bool {
	if len(totals) < 2 {
		return false
	}
	all := slices.Sorted(maps.Values(totals))
	sum := 0
	for _, n := range all {
		sum += n
	}
	return all[len(all)-1]-all[0] > max(2, sum/len(all)/10)
}

// starved: one has nothing, though there is more than one for each.
func starved(totals map[int32]int) bool {
	least, sum := 1, 0
	for _, n := range totals {
		least, sum = min(least, n), sum+n
	}
	return least == 0 && sum > len(totals)
}

// drawCluster makes any state, also such as no planner would leave.
func drawCluster(t *rapid.T) *cluster {
	c := &cluster{}
	zones := rapid.IntRange(1, 3).Draw(t, "zones")
	for id := range int32(rapid.IntRange(0, 7).Draw(t, "brokers")) {
		if rapid.IntRange(0, 5).Draw(t, "alive") > 0 {
			c.broker(id+1, string(rune('a'+rapid.IntRange(0, zones-1).Draw(t, "zone"))), rapid.IntRange(0, 4).Draw(t, "draining") == 0)
		}
	}
	skew := rapid.Int32Range(1, 9).Draw(t, "skew")
	orders := rapid.IntRange(0, 3).Draw(t, "orders")
	for range rapid.IntRange(0, 12).Draw(t, "topics") {
		tp := c.topic(make([]int32, rapid.IntRange(1, 60).Draw(t, "partitions"))...)
		for i := range tp.Partitions {
			p := &tp.Partitions[i]
			if p.Owner = rapid.Int32Range(-1, skew).Draw(t, "owner"); p.Owner == 0 {
				p.Owner = 1
			}
			if rapid.IntRange(0, 9).Draw(t, "ordered") < orders {
				p.To = rapid.Int32Range(1, 9).Draw(t, "to")
			}
			switch rapid.IntRange(0, 19).Draw(t, "tail") {
			case 0:
				p.Tail = "tails/x"
			case 1:
				p.Log = catalog.LogID(7, 1)
			}
		}
	}
	return c
}

// checkPlan holds a plan to P1 to P4 for the state that it was made for.
func checkPlan(t *rapid.T, c *cluster, moves []catalog.Move) {
	seen := make(map[topic.Partition]bool)
	for _, m := range moves {
		p := c.find(m.ID.Topic).Partitions[m.ID.Index]
		switch {
		case seen[m.ID]:
			t.Fatalf("%v twice", m.ID)
		case m.From != p.Owner || !c.live(p.Owner):
			t.Fatalf("%+v for %+v, whose owner is away or another", m, p)
		case m.To == p.To || m.To == p.Owner:
			t.Fatalf("%+v changes nothing in %+v", m, p)
		case m.To != 0 && !c.takes(m.To):
			t.Fatalf("%+v goes to a broker that does not take it", m)
		}
		seen[m.ID] = true
	}
	before := c.underWay()
	c.apply(moves)
	for way, n := range c.underWay() {
		if n > movesMost && n > before[way] {
			t.Fatalf("%d under way %s", n, way)
		}
	}
	for _, tp := range c.topics {
		for i, p := range tp.Partitions {
			if p.To != 0 && c.live(p.Owner) && (!c.takes(p.To) || p.To == p.Owner) {
				t.Fatalf("%s-%d is misled: %+v", tp.Name, i, p)
			}
		}
	}
}

// underWay counts the partitions that are on their way, by direction and broker.
func (c *cluster) underWay() map[string]int {
	n := make(map[string]int)
	for _, tp := range c.topics {
		for _, p := range tp.Partitions {
			if !c.live(p.Owner) {
				continue
			}
			if p.To != 0 {
				n[fmt.Sprint("from ", p.Owner)]++
				n[fmt.Sprint("to ", p.To)]++
			}
			if !settled(p) {
				n[fmt.Sprint("to ", p.Owner)]++
			}
		}
	}
	return n
}

func TestPlansHoldForAnyState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCluster(t)
		checkPlan(t, c, Plan(c.state()))
		if again := Plan(c.state()); len(again) > 0 { // P5
			t.Fatalf("planned again: %+v", again)
		}
	})
}

// P2, P5, P6: followed in any order, plans end in a cluster that is drained and even.
func TestPlansConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCluster(t)
		most := 0
		for _, tp := range c.topics {
			most += 2 * len(tp.Partitions)
		}
		moved := 0
		for round := 0; ; round++ {
			moves := Plan(c.state())
			checkPlan(t, c, moves)
			for _, m := range moves {
				if m.To != 0 {
					moved++
				}
			}
			if moved > most {
				t.Fatalf("%d moves for %d partitions", moved, most/2)
			}
			before := c.underWay()
			if len(moves) == 0 && len(before) == 0 {
				break
			}
			slow := round < 200
			c.follow(func() bool { return !slow || rapid.Bool().Draw(t, "followed") })
			if round > 2000 {
				t.Fatalf("does not end: %v, %+v", before, moves)
			}
		}
		checkSettled(t, c)
	})
}

func checkSettled(t *rapid.T, c *cluster) {
	if totals := c.totals(c.topics...); uneven(totals) || starved(totals) {
		t.Fatalf("uneven: %v", totals)
	}
	for _, tp := range c.topics {
		if totals := c.totals(tp); uneven(totals) {
			t.Fatalf("topic %s is uneven: %v", tp.Name, totals)
		}
		for i, p := range tp.Partitions {
			if c.live(p.Owner) && !c.takes(p.Owner) && len(c.totals()) > 0 {
				t.Fatalf("%s-%d is left at a draining broker: %+v", tp.Name, i, p)
			}
		}
	}
}

// P6: what is nearly even stays as it is, so that a move by hand is not undone.
func TestMovesByHandStay(t *testing.T) {
	c := &cluster{}
	for id := range int32(3) {
		c.broker(id+1, string(rune('a'+id)), false)
	}
	tp := c.topic(1, 2, 3, 1, 2, 3)
	tp.Partitions[0].Owner = 2
	if moves := Plan(c.state()); len(moves) > 0 {
		t.Errorf("%+v", moves)
	}
	tp.Partitions[1].To = 3
	if moves := Plan(c.state()); len(moves) > 0 {
		t.Errorf("with an order: %+v", moves)
	}
}

// P6: one that joins gets something also where there is little, unless that is one for each.
func TestFewPartitionsReachEveryBroker(t *testing.T) {
	for _, f := range []struct {
		owners []int32
		want   []int // partitions by broker, sorted
	}{
		{[]int32{1, 1, 2, 2, 3, 3}, []int{1, 1, 2, 2}},
		{[]int32{1, 1, 2, 2, 3}, []int{1, 1, 1, 2}},
		{[]int32{1, 1, 2, 2}, []int{0, 0, 2, 2}},
	} {
		c := &cluster{}
		for id := range int32(4) {
			c.broker(id+1, "a", false)
		}
		c.topic(f.owners...)
		for moves := Plan(c.state()); len(moves) > 0; moves = Plan(c.state()) {
			c.apply(moves)
			c.follow(func() bool { return true })
		}
		if got := slices.Sorted(maps.Values(c.totals(c.topics...))); !slices.Equal(got, f.want) {
			t.Errorf("owners %v become %v, want %v", f.owners, got, f.want)
		}
	}
}

// A broker that joins gets its share of every topic, a bounded number at a time.
func TestJoiningBrokerGetsItsShare(t *testing.T) {
	c := &cluster{}
	c.broker(1, "a", false)
	c.broker(2, "b", false)
	for range 160 {
		c.topic(1, 2, 1, 2, 1, 2, 1, 2, 1)
	}
	c.broker(3, "c", false)
	moves := Plan(c.state())
	if len(moves) != movesMost {
		t.Errorf("%d moves at once", len(moves))
	}
	for len(moves) > 0 {
		c.apply(moves)
		c.follow(func() bool { return true })
		moves = Plan(c.state())
	}
	for _, tp := range c.topics {
		totals := slices.Sorted(maps.Values(c.totals(tp)))
		if totals[0] < 2 || totals[2] > 4 {
			t.Errorf("%s: %v", tp.Name, totals)
		}
	}
	if totals := slices.Sorted(maps.Values(c.totals(c.topics...))); totals[2]-totals[0] > 1 {
		t.Errorf("%v", totals)
	}
}

// Zones decide where brokers are equal otherwise.
func TestZonesArePreferred(t *testing.T) {
	c := &cluster{}
	for id, zone := range []string{"a", "a", "b", "b", "c", "c"} {
		c.broker(int32(id+1), zone, id == 0)
	}
	c.topic(1, 1, 1)
	moves := Plan(c.state())
	zones := make(map[string]bool)
	for _, m := range moves {
		zones[c.brokers[m.To-1].Rack] = true
	}
	if len(moves) != 3 || len(zones) != 3 {
		t.Errorf("%+v", moves)
	}
}

func benchPlan(b *testing.B, topics, partitions int, spoil func(c *cluster)) {
	c := &cluster{}
	for id := range int32(9) {
		c.broker(id+1, string(rune('a'+id%3)), false)
	}
	n := 0
	for range topics {
		tp := c.topic(make([]int32, partitions)...)
		for i := range tp.Partitions {
			tp.Partitions[i].Owner = int32(n%9 + 1)
			n++
		}
	}
	spoil(c)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		Plan(c.state())
	}
}

func BenchmarkPlan(b *testing.B) {
	for _, shape := range []struct{ topics, partitions int }{{10_000, 1}, {100, 100}, {1, 10_000}, {1000, 100}, {100_000, 1}} {
		name := fmt.Sprintf("%dx%d", shape.topics, shape.partitions)
		b.Run(name+"/settled", func(b *testing.B) { benchPlan(b, shape.topics, shape.partitions, func(*cluster) {}) })
		b.Run(name+"/joined", func(b *testing.B) {
			benchPlan(b, shape.topics, shape.partitions, func(c *cluster) { c.broker(10, "a", false) })
		})
		b.Run(name+"/drained", func(b *testing.B) {
			benchPlan(b, shape.topics, shape.partitions, func(c *cluster) { c.brokers[0].Draining = true })
		})
	}
}

// P6: evening out the brokers makes no topic less even.
func TestNoTopicBecomesLessEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &cluster{}
		brokers := rapid.Int32Range(2, 5).Draw(t, "brokers")
		for id := range brokers {
			c.broker(id+1, string(rune('a'+id%2)), false)
		}
		for range rapid.IntRange(1, 12).Draw(t, "topics") {
			c.topic(rapid.SliceOfN(rapid.Int32Range(1, brokers), 1, 8).Draw(t, "owners")...)
		}
		apart := func(tp *catalog.Topic) int {
			all := slices.Sorted(maps.Values(c.totals(tp)))
			return all[len(all)-1] - all[0]
		}
		var before []int
		for _, tp := range c.topics {
			before = append(before, apart(tp))
		}
		c.apply(Plan(c.state()))
		c.follow(func() bool { return true })
		for i, tp := range c.topics {
			if now := apart(tp); now > before[i] {
				t.Fatalf("%s was %d apart and is %d: %v", tp.Name, before[i], now, c.totals(tp))
			}
		}
	})
}
