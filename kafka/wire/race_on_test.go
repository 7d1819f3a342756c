//go:build race

package wire

// appendCost is how much more an append of a made slice allocates: with the race detector it is made, then copied.
const appendCost = 2
