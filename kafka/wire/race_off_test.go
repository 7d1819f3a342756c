//go:build !race

package wire

// appendCost is how much more an append of a made slice allocates: nothing, the compiler does not make it.
const appendCost = 1
