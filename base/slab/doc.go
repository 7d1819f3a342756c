// Package slab lends byte buffers out of pools by size class, so that frames and reads of any size cost no allocation
// and no zeroing in the steady state, and the memory kept for that is bounded.
//
// Flow: Pool.Get -> Slab.Bytes -> Slab.Release. A Chain carries slices together with the Slabs they lie in, from a file to a
// socket, and releases them all at once.
//
// SL1: a Slab has one owner at a time; a second Release panics.
// SL2: the bytes kept for reuse never exceed Config.RetainBytes in all, nor Config.RetainPerClass in one class.
// SL3: a Slab larger than the largest class is allocated exactly and left to the garbage collector on Release.
//
// A Pool is safe for concurrent use. A Slab is not: its owner passes it on, never shares it.
// The bytes of a fresh Slab are not zeroed.
//
// Files: slab.go, chain.go.
package slab
