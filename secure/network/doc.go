// Package network says from where somebody may connect to a cluster's listeners, how fast, and which private ways in there are.
//
// Flow: `millrace network …` or the API -> Store, which writes security groups (allow-lists of networks, for the whole installation) and
// a cluster's Network (which groups guard which listener, limits, private connections) to etcd -> View, in each broker, follows both ->
// kafka/server asks View.Admit about each connection, and View.Allowed about those that are open whenever Config.Changed says so.
//
// Invariants, each with a test:
//
//	W1  A listener that groups guard takes connections from the networks of these groups only, whatever the order in which groups,
//	    attachments and connections come in; one that none guards takes all.
//	W2  What cannot be read lets nobody in: a group that is damaged, of a newer format or gone, and all listeners of a Network that is.
//	W3  The internal listener is never guarded: it asks for the certificate of a node. Where a cluster has none, brokers and agents
//	    come by CLIENT, and Config.Inside says which addresses are theirs.
//	W4  A View never begins without having read both. One that cannot read etcd any more goes by what it read last.
//	W5  A private connection has a listener while it is ACTIVE, and at no other time. No two have a port in common, and its name is never
//	    that of another listener.
//	W6  A group is not deleted while a listener or a connection names it; both are written by compare-and-swap over both records.
//	W7  Memory is bounded: Most addresses are counted apart, those that come when there are more share one count.
//
// In etcd: security/groups/NAME and clusters/CLUSTER/network, versioned JSON. Store and View are safe for concurrent use; View.mu is
// held for moments, and never over a call. Files: group.go (allow-lists), record.go (a cluster's Network), store.go, view.go, rate.go.
package network
