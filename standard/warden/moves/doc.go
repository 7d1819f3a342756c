// Package moves plans which replicas of a cluster go where: off brokers that are to leave (Drain), and evenly onto all (Spread).
//
// Flow: a Board, in which what is already on its way counts as done -> Drain or Spread -> Plan, the whole way as single steps in order ->
// Plan.Batch, as many steps from its front as may be under way at once. Who calls again with what then is gets the rest.
//
// Nothing is kept between calls. That works because each step follows from the board alone, and a batch is a front part of the plan: after
// it the same rules find the same rest (M5). So a crash costs nothing, and two planners that take turns do not undo each other's work.
//
// Invariants, each with a test:
//
//	M1  A partition keeps its replication factor, and never has two replicas on one broker.
//	M2  After a Drain no replica is left on the drained brokers; where that cannot be it says so (ErrNever, ErrNow) and plans nothing.
//	    Only replicas on drained brokers move, each once.
//	M3  Racks are as wide as can be: a replica comes where it leaves no rack with two fewer replicas of its partition than another that
//	    has a broker free for it. Spread widens partitions that are not, and no step of it makes any narrower.
//	M4  After Spread no replica could go to a broker with two fewer, but for racks and room. Each step lessens the sum of the squares of
//	    replicas per broker (or widens racks), so it ends, and an even board gets no steps. Preferred leaders are then as even as
//	    the replicas let them be, without a replica moving for it.
//	M5  The plan of a board after the first n steps of its plan is the rest of that plan.
//	M6  A batch moves no more partitions at once than Limits say, nor more replicas onto one broker, those under way included.
//	M7  No broker is given more bytes than it has room for, those under way included.
//
// All functions are pure. Files: board.go (data), drain.go, spread.go, leaders.go, batch.go.
package moves
