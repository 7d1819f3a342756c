package moves

import (
	"cmp"
	"errors"
	"maps"
	"slices"
)

// What a Drain may fail of.
var (
	// ErrNever: there are too few brokers, or they are too small; that does not pass by itself.
	ErrNever = errors.New("replicas cannot be moved")
	// ErrNow: it could be done if all brokers were running.
	ErrNow = errors.New("replicas cannot be moved now")
)

// Broker is one that could have replicas.
type Broker struct {
	ID    int32
	Rack  string // "": none, which counts as a rack, too
	Alive bool   // it runs
	Fresh bool   // it takes new replicas: it is not cordoned
	Room  int64  // bytes that it can take; negative: nobody knows, which is as if it were unbounded
}

// Partition is one partition.
type Partition struct {
	Topic    string
	Number   int32
	Replicas []int32 // once what is under way is done; the preferred leader first
	Arriving []int32 // those of Replicas that are under way
	Moving   bool    // something is under way, arriving or not
	Size     int64   // bytes of one replica; 0: not known
}

// Board is a cluster as a plan sees it. Planning does not change it.
type Board struct {
	Brokers    []Broker
	Partitions []Partition
}

// Step is one change of one partition: a replica goes from a broker to another, or the replicas change their order.
type Step struct {
	Partition int     // in Board.Partitions, which are in the order of topic and number
	Replicas  []int32 // all of them after the step
	From, To  int32   // brokers, of a replica that moves; To is 0 where only the order changes
}

// Plan is all that is to be done, in order.
type Plan struct {
	board Board
	Steps []Step
}

// state is a board during planning.
type state struct {
	board   Board
	brokers map[int32]*seat
	ids     []int32 // of brokers, ascending
	steps   []Step
}

// seat is what one broker has.
type seat struct {
	Broker
	replicas int            // count
	leaders  int            // of which it is the preferred leader
	topics   map[string]int // replicas by topic
	has      map[int]bool   // partitions, by their place in the board
}

// begin sets a board up: sorted, so that the same cluster gives the same plan, whatever order it was read in.
func begin(b Board) *state {
	b.Brokers, b.Partitions = slices.Clone(b.Brokers), slices.Clone(b.Partitions)
	slices.SortFunc(b.Partitions, func(a, b Partition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Number, b.Number))
	})
	s := &state{board: b, brokers: map[int32]*seat{}}
	for _, broker := range b.Brokers {
		s.brokers[broker.ID] = &seat{Broker: broker, topics: map[string]int{}, has: map[int]bool{}}
	}
	for i, p := range b.Partitions {
		s.board.Partitions[i].Replicas = slices.Clone(p.Replicas)
		for at, id := range p.Replicas {
			if s.brokers[id] == nil { // nobody knows it but the partition: a broker that is gone
				s.brokers[id] = &seat{Broker: Broker{ID: id}, topics: map[string]int{}, has: map[int]bool{}}
			}
			seat := s.brokers[id]
			seat.replicas, seat.has[i] = seat.replicas+1, true
			seat.topics[p.Topic]++
			if at == 0 {
				seat.leaders++
			}
			if slices.Contains(p.Arriving, id) && seat.Room >= 0 {
				seat.Room = max(seat.Room-p.Size, 0)
			}
		}
	}
	s.ids = slices.Sorted(maps.Keys(s.brokers))
	return s
}

// plan ends planning.
func (s *state) plan(b Board) Plan {
	whole := begin(b).board
	return Plan{board: whole, Steps: s.steps}
}

// apply makes a partition's replicas what they are after a step, and writes the step down.
func (s *state) apply(i int, replicas []int32, from, to int32) {
	p := &s.board.Partitions[i]
	s.brokers[p.Replicas[0]].leaders--
	s.brokers[replicas[0]].leaders++
	p.Replicas = replicas
	if to != 0 {
		out, in := s.brokers[from], s.brokers[to]
		out.replicas, in.replicas = out.replicas-1, in.replicas+1
		out.topics[p.Topic]--
		in.topics[p.Topic]++
		delete(out.has, i)
		in.has[i] = true
		if in.Room >= 0 {
			in.Room -= p.Size
		}
	}
	s.steps = append(s.steps, Step{Partition: i, Replicas: slices.Clone(replicas), From: from, To: to})
}

// replaced are the replicas of a partition with one broker in the place of another.
func (s *state) replaced(i int, from, to int32) []int32 {
	replicas := slices.Clone(s.board.Partitions[i].Replicas)
	replicas[slices.Index(replicas, from)] = to
	return replicas
}

// inRack counts the replicas of a partition in a rack, but for one broker's.
func (s *state) inRack(i int, rack string, but int32) int {
	n := 0
	for _, id := range s.board.Partitions[i].Replicas {
		if id != but && s.brokers[id].Rack == rack {
			n++
		}
	}
	return n
}

// holds tells whether a broker has room for one more replica of a partition.
func (b *seat) holds(p Partition) bool { return b.Room < 0 || b.Room >= p.Size }
