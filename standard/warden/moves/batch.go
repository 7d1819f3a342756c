package moves

import "slices"

// Limits bound what is under way at once. A zero field takes its default.
type Limits struct {
	Partitions int // at most so many move at once; 200
	PerBroker  int // at most so many replicas are on their way to one broker; 20
}

func (l Limits) withDefaults() Limits {
	if l.Partitions <= 0 {
		l.Partitions = 200
	}
	if l.PerBroker <= 0 {
		l.PerBroker = 20
	}
	return l
}

// Move is what one partition's replicas are to be.
type Move struct {
	Topic    string
	Number   int32
	Replicas []int32
	Size     int64
	Arrive   []int32 // those of Replicas that have to be copied
}

// Batch is what to begin now: steps from the front of the plan, those of one partition in one (M6). A step of a partition that moves
// already ends it, unless over is set: then what is under way there is given up for it.
func (p Plan) Batch(l Limits, over bool) []Move {
	l = l.withDefaults()
	arriving, busy := map[int32]int{}, 0
	for _, part := range p.board.Partitions {
		if part.Moving {
			busy++
		}
		for _, id := range part.Arriving {
			arriving[id]++
		}
	}
	var moves []Move
	begun := map[int]int{} // partition to its move
	for _, step := range p.Steps {
		part := p.board.Partitions[step.Partition]
		at, ours := begun[step.Partition]
		if !ours && (part.Moving && !over || !part.Moving && busy >= l.Partitions) || step.To != 0 && arriving[step.To] >= l.PerBroker {
			break
		}
		if !ours {
			at = len(moves)
			begun[step.Partition] = at
			moves = append(moves, Move{Topic: part.Topic, Number: part.Number, Size: part.Size})
			if !part.Moving {
				busy++
			}
		}
		moves[at].Replicas = step.Replicas
		if step.To != 0 {
			arriving[step.To]++
			moves[at].Arrive = append(slices.DeleteFunc(moves[at].Arrive, func(id int32) bool { return id == step.From }), step.To)
		}
	}
	return moves
}

// Left is how many partitions are not as the plan wants them in the end, those under way not counted twice.
func (p Plan) Left() int {
	left := map[int]bool{}
	for i, part := range p.board.Partitions {
		if part.Moving {
			left[i] = true
		}
	}
	for _, step := range p.Steps {
		left[step.Partition] = true
	}
	return len(left)
}
