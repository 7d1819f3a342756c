// Package cache keeps blocks of objects in memory, for stores whose every read is a request over a network.
//
// Flow: Store.Open gives a reader whose reads are cut into blocks -> blocks that are here are copied; a run of neighbours that are not is
// fetched with one request, and a reader that goes through an object in order gets the blocks behind it before it asks for them.
//
// B1: What is read is what the store holds: a block is of one object of one length, and objects do not change once they are made. An
// object that is replaced or deleted through this Store is forgotten first.
// B2: A block is asked for once at a time, whoever wants it (single flight). A failed request is the error of all who waited for it, and
// is not remembered.
// B3: Memory is bounded by Config.Bytes, and what is on its way counts. When all is in use readers fetch for themselves.
// B4: Reading ahead never makes a reader wait, and is given up when there is no room.
// B5: Room is shared fairly among folders (the partitions, to its users): who needs room when there is none takes it from the folder that has the
// most, where the block that was not used for longest goes. So one that is read from end to end displaces itself and not the others. What nobody has
// used while the cache could have been filled staleTurns times goes before.
package cache
