package modern

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"

	"millrace/express/machine"
	"millrace/kafka/topic"
)

// ErrCorrupt is returned for a record that cannot be read.
var ErrCorrupt = errors.New("corrupt record")

// Key makes a key of __consumer_offsets: its kind and the strings that name what it is about.
func Key(kind int16, names ...string) []byte {
	key := kbin.AppendInt16(nil, kind)
	for _, name := range names {
		key = kbin.AppendString(key, name)
	}
	return key
}

// Tombstone deletes what a key is about.
func Tombstone(kind int16, names ...string) machine.Record {
	return machine.Record{Key: Key(kind, names...)}
}

// SplitKey reads a key of so many names.
func SplitKey(key []byte, names int) (kind int16, out []string, err error) {
	r := kbin.Reader{Src: key}
	kind = r.Int16()
	for range names {
		out = append(out, r.String())
	}
	if err := r.Complete(); err != nil {
		return 0, nil, fmt.Errorf("key: %w", ErrCorrupt)
	}
	return kind, out, nil
}

// Value begins a value of version 0, the only one that values of the newer groups have.
func Value() []byte { return kbin.AppendInt16(nil, 0) }

// Tag is one tagged field.
type Tag struct {
	ID   uint32
	Data []byte
}

// AppendTags ends a structure. Tags must ascend.
func AppendTags(dst []byte, tags ...Tag) []byte {
	dst = kbin.AppendUvarint(dst, uint32(len(tags)))
	for _, t := range tags {
		dst = kbin.AppendUvarint(dst, t.ID)
		dst = kbin.AppendUvarint(dst, uint32(len(t.Data)))
		dst = append(dst, t.Data...)
	}
	return dst
}

// AppendPartitions encodes a list of topics with their partitions.
func AppendPartitions(dst []byte, p Partitions) []byte {
	dst = kbin.AppendCompactArrayLen(dst, len(p))
	for id, indexes := range p.Sorted() {
		dst = kbin.AppendUuid(dst, id)
		dst = AppendInt32s(dst, indexes)
		dst = AppendTags(dst)
	}
	return dst
}

// AppendInt32s encodes a list of numbers.
func AppendInt32s(dst []byte, list []int32) []byte {
	dst = kbin.AppendCompactArrayLen(dst, len(list))
	for _, n := range list {
		dst = kbin.AppendInt32(dst, n)
	}
	return dst
}

// AppendStrings encodes a list of strings.
func AppendStrings(dst []byte, list []string) []byte {
	dst = kbin.AppendCompactArrayLen(dst, len(list))
	for _, s := range list {
		dst = kbin.AppendCompactString(dst, s)
	}
	return dst
}

// Reader reads a value of version 0. After a fault everything reads as zero; Done tells.
type Reader struct {
	kbin.Reader
	version int16
}

// NewReader begins with a value.
func NewReader(value []byte) *Reader {
	r := &Reader{Reader: kbin.Reader{Src: value}}
	r.version = r.Int16()
	return r
}

// Done says whether all was well. What follows the known fields is a newer version's, and skipped.
func (r *Reader) Done() error {
	if r.version != 0 || !r.Ok() {
		return fmt.Errorf("value of version %d: %w", r.version, ErrCorrupt)
	}
	return nil
}

// Tags reads the end of a structure and gives each tagged field to f, which may be nil.
func (r *Reader) Tags(f func(id uint32, field *Reader)) {
	for n := r.Uvarint(); n > 0 && r.Ok(); n-- {
		id := r.Uvarint()
		size := int(r.Uvarint())
		data := r.Span(size)
		if f != nil && r.Ok() {
			f(id, &Reader{Reader: kbin.Reader{Src: data}})
		}
	}
}

// List calls f for each element of a list; a list that is null is empty.
func (r *Reader) List(f func()) {
	for n := r.CompactArrayLen(); n > 0 && r.Ok(); n-- {
		f()
	}
}

// Int32s reads a list of numbers.
func (r *Reader) Int32s() []int32 {
	var out []int32
	r.List(func() { out = append(out, r.Int32()) })
	return out
}

// Strings reads a list of strings.
func (r *Reader) Strings() []string {
	var out []string
	r.List(func() { out = append(out, r.CompactString()) })
	return out
}

// Partitions reads a list of topics with their partitions.
func (r *Reader) Partitions() Partitions {
	all := Owned{}
	r.List(func() {
		id := topic.ID(r.Uuid())
		for _, index := range r.Int32s() {
			all.add(id, index, 0)
		}
		r.Tags(nil)
	})
	return all.Partitions()
}

// epochsTag is the tagged field of a topic's partitions that says at which epoch each was assigned.
const epochsTag = 0

// Owned reads a list of topics with their partitions and the epochs at which they were assigned; without those, epoch.
func (r *Reader) Owned(epoch int32) Owned {
	all := Owned{}
	r.List(func() {
		id := topic.ID(r.Uuid())
		indexes := r.Int32s()
		var epochs []int32
		r.Tags(func(tag uint32, field *Reader) {
			if tag == epochsTag {
				epochs = field.Int32s()
			}
		})
		for i, index := range indexes {
			at := epoch
			if len(epochs) == len(indexes) {
				at = epochs[i]
			}
			all.add(id, index, at)
		}
	})
	return all
}

// AppendOwned encodes a list of topics with their partitions and the epochs at which they were assigned.
func AppendOwned(dst []byte, o Owned) []byte {
	dst = kbin.AppendCompactArrayLen(dst, len(o))
	for id, partitions := range o.Sorted() {
		indexes := Owned{id: partitions}.Partitions()[id]
		epochs := make([]int32, len(indexes))
		for i, index := range indexes {
			epochs[i] = partitions[index]
		}
		dst = kbin.AppendUuid(dst, id)
		dst = AppendInt32s(dst, indexes)
		dst = AppendTags(dst, Tag{ID: epochsTag, Data: AppendInt32s(nil, epochs)})
	}
	return dst
}

func (o Owned) add(id topic.ID, index, epoch int32) {
	if o[id] == nil {
		o[id] = map[int32]int32{}
	}
	o[id][index] = epoch
}
