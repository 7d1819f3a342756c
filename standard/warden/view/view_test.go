package view

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// three is a healthy cluster: brokers 1 to 3, controllers 11 to 13, one partition with a replica on each.
func three() Cluster {
	return Cluster{
		Brokers: map[int32]Broker{1: {Rack: "a", Alive: true}, 2: {Rack: "b", Alive: true}, 3: {Rack: "c", Alive: true}},
		Partitions: []Partition{
			{Topic: "t", Number: 0, Leader: 1, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}, MinISR: 2},
		},
		Quorum: Quorum{Leader: 12, Voters: []Voter{{ID: 11, Behind: time.Millisecond}, {ID: 12}, {ID: 13, Behind: time.Second}}},
	}
}

// drawCluster is any cluster, however broken.
func drawCluster(t *rapid.T) Cluster {
	c := Cluster{Brokers: map[int32]Broker{}, Quorum: Quorum{Leader: -1}}
	brokers := rapid.IntRange(1, 5).Draw(t, "brokers")
	var ids []int32
	for id := int32(1); id <= int32(brokers); id++ {
		ids = append(ids, id)
		c.Brokers[id] = Broker{Alive: rapid.IntRange(0, 5).Draw(t, "alive") > 0}
	}
	for id := int32(11); id <= 13; id++ {
		behind := rapid.SampledFrom([]time.Duration{0, time.Second, Patience, Patience + 1, time.Hour}).Draw(t, "behind")
		c.Quorum.Voters = append(c.Quorum.Voters, Voter{ID: id, Behind: behind})
	}
	if rapid.IntRange(0, 7).Draw(t, "leader") > 0 {
		c.Quorum.Leader = rapid.Int32Range(11, 13).Draw(t, "active")
		c.Quorum.Voters[c.Quorum.Leader-11].Behind = 0
	}
	for n := range rapid.IntRange(0, 6).Draw(t, "partitions") {
		order := rapid.Permutation(ids).Draw(t, "order")
		p := Partition{Topic: "t", Number: int32(n), Replicas: order[:rapid.IntRange(1, len(order)).Draw(t, "rf")], Leader: -1}
		p.MinISR = rapid.IntRange(1, 3).Draw(t, "min")
		for _, id := range p.Replicas {
			if rapid.IntRange(0, 3).Draw(t, "sync") > 0 {
				p.ISR = append(p.ISR, id)
			}
		}
		if len(p.Replicas) > 1 && rapid.IntRange(0, 3).Draw(t, "moving") == 0 {
			p.Adding, p.Removing = p.Replicas[:1], p.Replicas[1:2]
		}
		if len(p.ISR) > 0 {
			p.Leader = p.ISR[0]
		} else if rapid.Bool().Draw(t, "elr") {
			p.ELR = p.Replicas[:1]
		}
		c.Partitions = append(c.Partitions, p)
	}
	return c
}

func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCluster(t)
		nodes := rapid.Permutation([]int32{1, 2, 3, 4, 5, 11, 12, 13}).Draw(t, "nodes")
		got := Order(c, nodes)
		if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(nodes))) {
			t.Fatalf("of %v: %v", nodes, got)
		}
		at := func(id int32) int { return slices.Index(got, id) }
		for _, a := range nodes {
			for _, b := range nodes {
				av, ac := c.Quorum.voter(a)
				bv, bc := c.Quorum.voter(b)
				var first bool
				switch {
				case ac != bc:
					first = ac
				case ac && (a == c.Quorum.Leader) != (b == c.Quorum.Leader):
					first = b == c.Quorum.Leader
				case ac && av.Keeps() != bv.Keeps():
					first = !av.Keeps()
				case !ac && c.Brokers[a].Alive != c.Brokers[b].Alive:
					first = !c.Brokers[a].Alive
				default:
					first = a < b
				}
				if first && at(a) > at(b) {
					t.Fatalf("%d before %d in %v", b, a, got)
				}
			}
		}
	})
}

// V2, V3 and V4 in plain words, checked against each node of any cluster.
func TestMayStop(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCluster(t)
		for id := range c.Brokers {
			why := MayStop(c, id)
			if c.Quorum.Leader < 0 {
				if why == "" {
					t.Fatal("stops without an active controller")
				}
				continue
			}
			if !c.Brokers[id].Alive {
				if lost := holdsLast(c, id); (why != "") != lost {
					t.Fatalf("%d does not run, has the last of a partition: %v, may stop: %q", id, lost, why)
				}
				continue
			}
			for _, p := range c.Partitions {
				if !slices.Contains(p.Replicas, id) || why != "" {
					continue
				}
				left := 0
				for _, r := range p.ISR {
					if r != id && c.Brokers[r].Alive {
						left++
					}
				}
				if len(p.Replicas)-len(p.Removing) > p.MinISR && left < p.MinISR {
					t.Fatalf("%d stops, and %+v has %d in sync", id, p, left)
				}
				for _, r := range p.Replicas {
					if len(p.Replicas)-len(p.Removing) <= p.MinISR && r != id && !slices.Contains(p.Adding, r) &&
						(!slices.Contains(p.ISR, r) || !c.Brokers[r].Alive) {
						t.Fatalf("%d stops before %d is back in %+v", id, r, p)
					}
				}
			}
		}
		for _, v := range c.Quorum.Voters {
			votes := 0
			for _, o := range c.Quorum.Voters {
				if o.ID != v.ID && o.Behind <= Patience {
					votes++
				}
			}
			if why := MayStop(c, v.ID); c.Quorum.Leader >= 0 && (why == "") != (votes >= 2) {
				t.Fatalf("%+v with %d others: %q", v, votes, why)
			}
		}
	})
}

// holdsLast: for some partition nobody runs who is in sync, and the broker may be one of those who have all.
func holdsLast(c Cluster, id int32) bool {
	for _, p := range c.Partitions {
		runs := false
		for _, r := range p.ISR {
			runs = runs || c.Brokers[r].Alive
		}
		known := len(p.ISR)+len(p.ELR) > 0
		mine := slices.Contains(p.ISR, id) || slices.Contains(p.ELR, id)
		if slices.Contains(p.Replicas, id) && !runs && (mine || !known) {
			return true
		}
	}
	return false
}

// What may stop is not refused for nothing.
func TestMayStopLets(t *testing.T) {
	for name, change := range map[string]func(*Cluster){
		"all is well":              func(*Cluster) {},
		"one that is not a member": func(c *Cluster) { c.Partitions[0] = Partition{Topic: "t", Replicas: []int32{2}, MinISR: 1} },
		"one replica":              func(c *Cluster) { c.Partitions[0].Replicas, c.Partitions[0].ISR = []int32{1}, []int32{1} },
		"two replicas, both needed": func(c *Cluster) {
			c.Partitions[0].Replicas, c.Partitions[0].ISR = []int32{1, 2}, []int32{2, 1}
		},
		"the others suffice": func(c *Cluster) { c.Partitions[0].ISR = []int32{2, 3} },
		"a controller lags":  func(c *Cluster) { c.Quorum.Voters[0].Behind = time.Minute },
		"it is away, and the others have all": func(c *Cluster) {
			c.Brokers[1], c.Partitions[0].ISR, c.Partitions[0].Leader = Broker{}, []int32{3}, 3
		},
		"it is away, and another that is away has all": func(c *Cluster) {
			c.Brokers[1], c.Brokers[2], c.Partitions[0].ISR, c.Partitions[0].Leader = Broker{}, Broker{}, []int32{2}, -1
		},
	} {
		c := three()
		if change(&c); MayStop(c, 1) != "" {
			t.Errorf("%s: %s", name, MayStop(c, 1))
		}
	}
	for name, c := range map[string]struct {
		node   int32
		change func(*Cluster)
		says   string
	}{
		"another is out":       {1, func(c *Cluster) { c.Partitions[0].ISR = []int32{1, 2} }, "t-0"},
		"the last":             {1, func(c *Cluster) { c.Partitions[0].ISR, c.Partitions[0].MinISR = []int32{1}, 1 }, "t-0"},
		"it may be back first": {3, func(c *Cluster) { c.Partitions[0].ISR = []int32{1} }, "t-0"},
		"another is dead":      {1, func(c *Cluster) { c.Brokers[2] = Broker{} }, "t-0"},
		"it is away, and was the last": {1, func(c *Cluster) {
			c.Brokers[1], c.Partitions[0].ISR, c.Partitions[0].Leader = Broker{}, []int32{1}, -1
		}, "complete"},
		"it is away, and may have been eligible": {1, func(c *Cluster) {
			c.Brokers[1], c.Partitions[0].ISR, c.Partitions[0].ELR, c.Partitions[0].Leader = Broker{}, nil, []int32{1, 2}, -1
		}, "complete"},
		"it is away, and nobody knows": {1, func(c *Cluster) {
			c.Brokers[1], c.Partitions[0].ISR, c.Partitions[0].Leader = Broker{}, nil, -1
		}, "complete"},
		"no majority":   {11, func(c *Cluster) { c.Quorum.Voters[2].Behind = time.Minute }, "controller 11"},
		"no active one": {1, func(c *Cluster) { c.Quorum.Leader = -1 }, "active"},
	} {
		cluster := three()
		c.change(&cluster)
		if why := MayStop(cluster, c.node); !strings.Contains(why, c.says) {
			t.Errorf("%s: %q", name, why)
		}
	}
}

func TestSettled(t *testing.T) {
	if why := Settled(three()); why != "" {
		t.Error(why)
	}
	coming := three()
	coming.Partitions[0] = Partition{Topic: "t", Leader: 1, Replicas: []int32{3, 1, 2}, ISR: []int32{1, 2}, Adding: []int32{3}, Removing: []int32{1}}
	if why := Settled(coming); why != "" {
		t.Errorf("a replica is on its way: %s", why)
	}
	for says, change := range map[string]func(*Cluster){
		"active":         func(c *Cluster) { c.Quorum.Leader = -1 },
		"controllers 13": func(c *Cluster) { c.Quorum.Voters[2].Behind = Patience + 1 },
		"brokers 2":      func(c *Cluster) { c.Brokers[2] = Broker{Rack: "b"} },
		"t-0":            func(c *Cluster) { c.Partitions[0].ISR = []int32{1, 3} },
		"of t-0":         func(c *Cluster) { c.Partitions[0].Leader = -1 },
	} {
		c := three()
		if change(&c); !strings.Contains(Settled(c), says) {
			t.Errorf("%s: %q", says, Settled(c))
		}
	}
}

func TestExamine(t *testing.T) {
	c := three()
	if !Examine(c).Good() {
		t.Errorf("%+v", Examine(c))
	}
	c.Brokers[3] = Broker{Rack: "c"}
	c.Partitions = []Partition{
		{Topic: "u", Leader: 1, Replicas: []int32{1, 2, 3}, ISR: []int32{1}, MinISR: 2},
		{Topic: "t", Number: 1, Leader: -1, Replicas: []int32{3}, ISR: []int32{3}, MinISR: 1},
		{Topic: "t", Number: 0, Leader: 1, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2}, MinISR: 2},
		{Topic: "one", Leader: 1, Replicas: []int32{1}, ISR: []int32{1}, MinISR: 2},
		{Topic: "e", Leader: -1, Replicas: []int32{3, 2}, ELR: []int32{3}, MinISR: 1},
	}
	h := Examine(c)
	said := func(faults []Fault) (all []string) {
		for _, f := range faults {
			all = append(all, Partition{Topic: f.Topic, Number: f.Partition}.Name()+" "+f.Cause)
		}
		return all
	}
	for _, x := range []struct {
		got  []Fault
		want []string
	}{
		{h.Offline, []string{"e-0 broker 3 is not there, and 2 has not caught up; broker 3 has the last replica that is complete",
			"t-1 broker 3 is not there; broker 3 has the last replica that is complete"}},
		{h.UnderMinISR, []string{"u-0 broker 3 is not there, and 2 has not caught up"}},
		{h.UnderReplicated, []string{"t-0 broker 3 is not there"}},
	} {
		if !slices.Equal(said(x.got), x.want) {
			t.Errorf("got %q, want %q", said(x.got), x.want)
		}
	}
}
