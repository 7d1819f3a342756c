// Package nemesis decides, from a seed, which faults befall a cluster and when.
//
// Flow: New(seed, kinds, brokers) -> Next, as often as there is time -> the test begins the faults of the round one after the other, each
// Lead before the next, holds them for the round's Hold, heals them in reverse order, those of the world
// Around first, and waits until all loads go on.
//
//   - N1: the same seed, kinds and number of brokers give the same rounds. What processes make of them differs from run to run.
//   - N2: of so many rounds as there are kinds each kind leads one, in an order of their own in each such pass.
//   - N3: a round has one to three faults; those that follow the first are of the kinds that companions names, where they are
//     among the given ones. No kind stands twice in a round but Kill and Pause, which may strike several brokers, and there is one fault
//     of the object store, one of the network and one that takes serve away at most.
//
// The package is pure: it touches nothing and knows no time. A Nemesis is used by one goroutine.
package nemesis
