// Package controller decides which partitions shall move to another broker, and orders it.
//
// Flow: a change of brokers or topics, or a while -> Plan looks at all of them -> catalog.Move writes the
// orders into the partitions' records -> the owners, which watch them, release what they are told to.
// Nobody but a partition's owner changes its owner, so a controller that is gone, is late or is not alone
// costs order and never safety. One live broker holds the office, under the lease of its registration.
//
// Plan is pure. P1 to P5 hold for every state, whatever wrote it.
//
// P1: Nothing is ordered to a broker that is not live or is draining, and an order that points to one is
// changed or withdrawn, as long as the owner lives.
// P2: What a live, draining broker has moves to live brokers that are not, as long as there is one.
// P3: What a broker that is not live owns is left alone: its log is its own.
// P4: At most movesMost partitions at once are on their way from a broker, and as many to one.
// P5: The plan for what a plan makes of a state is empty, and while orders are followed the plans end: nothing
// moves to and fro.
// P6: Leaders are evened out when the broker with the most has more than max(2, 10 % of the mean) more than
// the one with the least, and a topic's own are when that holds for them. So a partition that somebody moved
// by hand is not moved back at once. Evening out the brokers never makes a topic less even. Zones decide
// between what is equal otherwise.
//
// Files: plan.go (State, Plan, the passes), load.go (who has how many), controller.go (the runner).
package controller
