package ledger

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/rand/v2"
)

// Leg is one of the three records of a transfer; it is also the number of the topic that the record goes to.
type Leg int

// The legs of a transfer, in the order of its records.
const (
	Debit  Leg = iota // takes the amount from an account
	Credit            // gives it to another
	Entry             // tells of both
	legs
)

// Topics is the number of topics that a transfer writes to.
const Topics = int(legs)

// Transfer is one movement of money.
type Transfer struct {
	Order     int64 // number of the order that it fulfils; NoOrder for none
	From, To  int32 // accounts, from 0
	Amount    int64 // at least 1
	Partition [Topics]int32
}

// NoOrder is the order of a transfer that fulfils none.
const NoOrder = -1

// name tells which record of which transaction a value is.
type name struct {
	transaction int64
	transfer    int32
	leg         Leg
}

// valueHead is the length of the part of a value that has a meaning; the rest is filling.
const valueHead = 8 + 4 + 4 + 4 + 4 + 8

// maxFilling bounds the filling, in bytes.
const maxFilling = 120

// value returns the bytes of a record: its name, what it moves, and filling that follows from the name.
func (n name) value(t Transfer) []byte {
	filling := rand.New(rand.NewPCG(uint64(n.transaction), uint64(n.transfer)<<8|uint64(n.leg)))
	size := valueHead + filling.IntN(maxFilling)
	value := make([]byte, 0, size+8)
	value = binary.BigEndian.AppendUint64(value, uint64(n.transaction))
	value = binary.BigEndian.AppendUint32(value, uint32(n.transfer))
	value = binary.BigEndian.AppendUint32(value, uint32(n.leg))
	value = binary.BigEndian.AppendUint32(value, uint32(t.From))
	value = binary.BigEndian.AppendUint32(value, uint32(t.To))
	value = binary.BigEndian.AppendUint64(value, uint64(t.Amount))
	for len(value) < size {
		value = binary.BigEndian.AppendUint64(value, filling.Uint64())
	}
	return value[:size]
}

// parseName returns the name in a record's bytes; it is one that nobody has where they are too short for one.
func parseName(value []byte) name {
	if len(value) < valueHead {
		return name{transaction: -1}
	}
	return name{
		transaction: int64(binary.BigEndian.Uint64(value)),
		transfer:    int32(binary.BigEndian.Uint32(value[8:])),
		leg:         Leg(binary.BigEndian.Uint32(value[12:])),
	}
}

// moved returns what a record's bytes say was moved.
func moved(value []byte) (from, to int32, amount int64) {
	return int32(binary.BigEndian.Uint32(value[16:])), int32(binary.BigEndian.Uint32(value[20:])), int64(binary.BigEndian.Uint64(value[24:]))
}

// intact reports whether the bytes are exactly those that were sent under their name.
func intact(value []byte, n name, t Transfer) bool { return bytes.Equal(value, n.value(t)) }

// digest is what is kept of a value that a reader saw; 0 stands for nothing seen.
func (b *Book) digest(value []byte) uint64 {
	return max(1, maphash.Bytes(b.seed, value))
}
