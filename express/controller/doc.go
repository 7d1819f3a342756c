// Package controller decides which partitions shall move to another broker, and orders it.
//
// Flow: a change of brokers or topics, or a while -> Plan looks at all of them -> catalog.Move writes the
// orders into the partitions' records -> the owners, which watch them, release what they are told to.
// Nobody but a partition's owner changes its owner, but for what owners have that are gone: Takes shares that out,
// and catalog.Take writes it, where the logs are in the object store. It compares all that it goes by, and the
// heir seals the log before it serves; so a controller that is gone, is late or is not alone
// costs order and never safety. One live broker holds the office, under the lease of its registration.
//
// Plan is pure. P1 to P5 hold for every state, whatever wrote it.
//
// P1: Nothing is ordered to a broker that is not live or is draining, and an order that points to one is
// changed or withdrawn, as long as the owner lives.
// P2: What a live, draining broker has moves to live brokers that are not, as long as there is one.
// P3: What a broker that is not live owns is given no orders. It is left alone where its log is on its disk; else P7.
// P4: At most movesMost partitions at once are on their way from a broker, and as many to one.
// P5: The plan for what a plan makes of a state is empty, and while orders are followed the plans end: nothing
// moves to and fro.
// P6: Leaders are evened out when the broker with the most has more than max(2, 10 % of the mean) more than
// the one with the least, or a broker has none though there is more than one for each, and a topic's own are when the
// first holds for them. So a partition that somebody moved
// by hand is not moved back at once. Evening out the brokers never makes a topic less even. Zones decide
// between what is equal otherwise.
//
// P7: All that brokers own which are gone (State.Gone) is taken at once, however much it is, by brokers that are live and
// not draining, each topic about as even as before; P6 does the rest. Nothing else is taken.
//
// Files: plan.go (State, Plan, the passes), take.go (Takes), absence.go (who is gone), load.go (who has how many),
// controller.go (the runner).
package controller
