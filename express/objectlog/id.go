package objectlog

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// Root is what the keys of all objects of logs begin with in the object store.
const Root = "wal/"

// ID names a log: the incarnation of a broker that writes it. A log has one writer in its life, and an incarnation one log.
type ID struct {
	Broker      int32
	Incarnation uint64
}

// String returns "<broker>/<incarnation>", the incarnation as 16 hexadecimal digits.
func (id ID) String() string { return fmt.Sprintf("%d/%016x", id.Broker, id.Incarnation) }

// ParseID is the inverse of String; nothing else is taken. It returns ErrInvalid.
func ParseID(s string) (ID, error) {
	broker, incarnation, _ := strings.Cut(s, "/")
	b, errBroker := strconv.ParseInt(broker, 10, 32)
	i, errIncarnation := strconv.ParseUint(incarnation, 16, 64)
	id := ID{Broker: int32(b), Incarnation: i}
	if errBroker != nil || errIncarnation != nil || id.Broker < 0 || id.String() != s {
		return ID{}, fmt.Errorf("%w: %q is not the id of a log", ErrInvalid, s)
	}
	return id, nil
}

// objects is what the keys of the log's objects begin with. The shard spreads logs over prefixes, by which object stores share
// out their throughput.
func (id ID) objects() string {
	name := id.String()
	return fmt.Sprintf("%s%02x/%s/", Root, crc32.ChecksumIEEE([]byte(name))&0xff, name)
}

// key is that of object seq: keys sort as numbers do.
func (id ID) key(seq uint64) string { return fmt.Sprintf("%s%016x", id.objects(), seq) }

// parseKey is the inverse of key.
func (id ID) parseKey(key string) (seq uint64, ok bool) {
	seq, err := strconv.ParseUint(strings.TrimPrefix(key, id.objects()), 16, 64)
	return seq, err == nil && id.key(seq) == key
}
