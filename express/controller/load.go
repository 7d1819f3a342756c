package controller

import (
	"cmp"
	"slices"

	"millrace/express/catalog"
)

// nobody stands for a broker that is not live, where there is an index into load.brokers.
const nobody = -1

// load is a State as the passes look at it and change it. Brokers and topics are named by their index.
type load struct {
	brokers []catalog.Broker
	index   map[int32]int // of a broker by its id
	takers  []int         // brokers that are live and not draining
	zones   map[string][]int

	topics []*catalog.Topic
	goal   [][]int32 // broker that shall own a partition, or nobody
	free   [][]bool  // the partition can be given an order
	counts [][]int32 // of a topic: partitions by broker; nil: count them
	total  []int     // partitions by broker
	out    []int     // partitions on their way from a broker
	in     []int     // and to it
	orders int       // that live owners have got and not followed
	drains bool      // some broker is draining
	moves  map[place]catalog.Move
}

// place is a partition.
type place struct{ topic, partition int }

func newLoad(s State) *load {
	l := &load{
		brokers: s.Brokers, index: make(map[int32]int, len(s.Brokers)), zones: make(map[string][]int), topics: s.Topics,
		total: make([]int, len(s.Brokers)), out: make([]int, len(s.Brokers)), in: make([]int, len(s.Brokers)),
		goal: make([][]int32, len(s.Topics)), free: make([][]bool, len(s.Topics)), counts: make([][]int32, len(s.Topics)),
		moves: make(map[place]catalog.Move),
	}
	for b, broker := range s.Brokers {
		l.index[broker.ID] = b
		l.drains = l.drains || broker.Draining
		if !broker.Draining {
			l.takers = append(l.takers, b)
			l.zones[broker.Rack] = append(l.zones[broker.Rack], b)
		}
	}
	n := 0
	for _, t := range s.Topics {
		n += len(t.Partitions)
	}
	goals, frees := make([]int32, n), make([]bool, n)
	for t, tp := range s.Topics {
		n := len(tp.Partitions)
		l.goal[t], l.free[t] = goals[:n:n], frees[:n:n]
		goals, frees = goals[n:], frees[n:]
		l.take(t)
	}
	return l
}

// take counts the partitions of one topic.
func (l *load) take(t int) {
	for p, part := range l.topics[t].Partitions {
		owner, goal := l.find(part.Owner), l.find(part.Destination())
		if owner == nobody {
			goal = nobody
		}
		l.goal[t][p] = int32(goal)
		l.free[t][p] = owner != nobody && part.To == 0 && settled(part)
		if goal != nobody {
			l.total[goal]++
		}
		if owner != nobody && part.To != 0 {
			l.orders++
			l.out[owner]++
			if goal != nobody {
				l.in[goal]++
			}
		}
		if owner != nobody && !settled(part) {
			l.in[owner]++
		}
	}
}

// settled tells whether the owner has all that it had to import.
func settled(part catalog.Partition) bool { return part.Tail == "" && part.Log == "" }

// find gives the index of a broker, nobody if it is not live.
func (l *load) find(id int32) int {
	if b, ok := l.index[id]; ok {
		return b
	}
	return nobody
}

// count is how many partitions of a topic a broker has, or shall have.
func (l *load) count(t, b int) int {
	if l.counts[t] != nil {
		return int(l.counts[t][b])
	}
	goals := l.goal[t]
	if len(goals) < len(l.brokers) {
		n := 0
		for _, g := range goals {
			if int(g) == b {
				n++
			}
		}
		return n
	}
	l.counts[t] = make([]int32, len(l.brokers))
	for _, g := range goals {
		if g != nobody {
			l.counts[t][g]++
		}
	}
	return int(l.counts[t][b])
}

// inZone is how many partitions of a topic the brokers of a broker's zone have.
func (l *load) inZone(t, b int) int {
	n := 0
	for _, other := range l.zones[l.brokers[b].Rack] {
		n += l.count(t, other)
	}
	return n
}

// to is the order that a partition has, or shall have; 0 none.
func (l *load) to(at place) int32 {
	if m, ok := l.moves[at]; ok {
		return m.To
	}
	return l.topics[at.topic].Partitions[at.partition].To
}

// send orders a partition to a broker, instead of where it was to go before.
func (l *load) send(at place, to int) {
	ordered := l.to(at) != 0
	l.set(at, to, ordered)
	l.order(at, l.brokers[to].ID)
	l.free[at.topic][at.partition] = false
	l.in[to]++
	if !ordered {
		l.out[l.index[l.topics[at.topic].Partitions[at.partition].Owner]]++
	}
}

// stay withdraws the order of a partition.
func (l *load) stay(at place) {
	part := l.topics[at.topic].Partitions[at.partition]
	owner := l.index[part.Owner]
	l.set(at, owner, true)
	l.order(at, 0)
	l.free[at.topic][at.partition] = settled(part)
	l.out[owner]--
}

// set gives a partition to another broker; ordered tells whether it was on its way to the one that it had.
func (l *load) set(at place, b int, ordered bool) {
	goal := &l.goal[at.topic][at.partition]
	if old := *goal; old != nobody {
		l.total[old]--
		if ordered {
			l.in[old]--
		}
		if c := l.counts[at.topic]; c != nil {
			c[old]--
		}
	}
	*goal = int32(b)
	l.total[b]++
	if c := l.counts[at.topic]; c != nil {
		c[b]++
	}
}

func (l *load) order(at place, to int32) {
	t := l.topics[at.topic]
	l.moves[at] = catalog.Move{ID: partitionID(t, at.partition), From: t.Partitions[at.partition].Owner, To: to}
}

// room tells whether one more partition may be sent to a broker.
func (l *load) room(b int) bool { return l.in[b] < movesMost }

// fair gives the share of a broker when the takers have sum partitions: between low and high. Nobody gives
// away what it has up to low, or gets more than high, only because those who should are busy.
func (l *load) fair(sum int) (low, high int) {
	n := len(l.takers)
	return sum / n, (sum + n - 1) / n
}

// sum adds up what the takers have.
func (l *load) sum(count func(b int) int) int {
	sum := 0
	for _, b := range l.takers {
		sum += count(b)
	}
	return sum
}

// uneven tells whether the takers have so different numbers that something is to be done (P6).
func (l *load) uneven(count func(b int) int) bool {
	if len(l.takers) < 2 {
		return false
	}
	low, high, sum := count(l.takers[0]), 0, 0
	for _, b := range l.takers {
		n := count(b)
		low, high, sum = min(low, n), max(high, n), sum+n
	}
	return high-low > max(2, sum/len(l.takers)/10)
}

// sorted gives the orders by topic and partition.
func (l *load) sorted() []catalog.Move {
	at := make([]place, 0, len(l.moves))
	for p := range l.moves {
		at = append(at, p)
	}
	slices.SortFunc(at, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	moves := make([]catalog.Move, 0, len(at))
	for _, p := range at {
		moves = append(moves, l.moves[p])
	}
	return moves
}

// starved tells whether a taker has nothing though there is more than one for each (P6).
func (l *load) starved() bool {
	least, sum := -1, 0
	for _, b := range l.takers {
		if sum += l.total[b]; least < 0 || l.total[b] < least {
			least = l.total[b]
		}
	}
	return least == 0 && sum > len(l.takers)
}
