package segment

import "crypto/sha256"

// keyMapEntryBytes is what one key costs in a Go map of keyHash to int64, measured, with the room that the map keeps free.
const keyMapEntryBytes = 64

// keyHash stands for a record key. Two keys with one hash would cost a record, so the hash must be one that nobody can find
// collisions for: 128 bits of SHA-256, where Kafka uses MD5.
type keyHash [16]byte

func hashKey(key []byte) keyHash {
	sum := sha256.Sum256(key)
	return keyHash(sum[:16])
}

// keyMap remembers the last offset of each key, up to a number of keys.
type keyMap struct {
	last map[keyHash]int64
	max  int
}

func newKeyMap(maxBytes int64) *keyMap {
	return &keyMap{last: make(map[keyHash]int64), max: int(max(1, maxBytes/keyMapEntryBytes))}
}

// full says that no further batch should be taken in.
func (m *keyMap) full() bool { return len(m.last) >= m.max }

// put notes a record; offsets come ascending.
func (m *keyMap) put(key []byte, offset int64) { m.last[hashKey(key)] = offset }

// superseded says whether a later record with the same key was noted.
func (m *keyMap) superseded(key []byte, offset int64) bool {
	last, ok := m.last[hashKey(key)]
	return ok && last > offset
}
