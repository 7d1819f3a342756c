// Package madeup makes up requests of the Kafka protocol for tests that walk over all keys and versions: a request is of the right form,
// and what stands in it are the names that a test has, or anything.
//
// Concurrency: it holds nothing; every function may be called by anybody.
package madeup

import (
	"math/rand/v2"
	"reflect"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/record"
)

// Words are the names that requests are filled with.
type Words struct {
	Topic, Group, Txn string
	ID                [16]byte // of the topic
}

// Request makes up a request. The same seed makes the same one, but for the names.
func Request(key, version int16, seed uint64, w Words) kmsg.Request {
	q := kmsg.RequestForKey(key)
	q.SetVersion(version)
	f := filler{rand.New(rand.NewPCG(seed, uint64(key)<<16|uint64(version))), w}
	v := reflect.ValueOf(q).Elem()
	f.value("", v, 0)
	q.SetVersion(version)
	return q
}

type filler struct {
	*rand.Rand
	Words
}

func (f filler) value(name string, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() && field.Name != "UnknownTags" && field.Name != "Version" {
				f.value(field.Name, v.Field(i), depth+1)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes(f.bytes(name))
			return
		}
		n := f.IntN(3)
		if n == 0 && f.IntN(2) == 0 {
			return // null, where it may be
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			f.value(name, v.Index(i), depth+1)
		}
	case reflect.Pointer:
		if f.IntN(4) == 0 {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		f.value(name, v.Elem(), depth+1)
	case reflect.String:
		v.SetString(f.text(name))
	case reflect.Bool:
		v.SetBool(f.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt([]int64{-1, 0, 1, 1, 2, 3, 4, 5}[f.IntN(8)])
	case reflect.Array:
		if id, ok := v.Addr().Interface().(*[16]byte); ok && f.IntN(3) > 0 {
			*id = f.ID
		}
	default:
	}
}

// text is a name that fits a field, or any of the others.
func (f filler) text(name string) string {
	switch all := []string{f.Topic, f.Group, f.Txn, "1", "", "*", "x"}; {
	case meaning(name) != nil && f.IntN(4) > 0: // so that what is asked for can be done
		words := meaning(name)
		return words[f.IntN(len(words))]
	case strings.Contains(name, "Transactional") && f.IntN(4) > 0:
		return f.Txn
	case strings.Contains(name, "Group") && f.IntN(4) > 0:
		return f.Group
	case strings.Contains(name, "Topic") && f.IntN(4) > 0:
		return f.Topic
	default:
		return all[f.IntN(len(all))]
	}
}

// meaning are texts that mean something in a field.
func meaning(name string) []string {
	switch name {
	case "Type":
		return []string{"user", "client-id"}
	case "Key":
		return []string{"producer_byte_rate", "request_percentage"}
	case "Name", "Value":
		return []string{"retention.ms", "1000", "x", "producer_byte_rate", "classic"}
	case "Principal":
		return []string{"User:mallory"}
	case "Host":
		return []string{"*"}
	default:
		return nil
	}
}

// bytes are records, or anything.
func (f filler) bytes(name string) []byte {
	if name == "Records" {
		return Batch(f.IntN(3) == 0)
	}
	return make([]byte, f.IntN(5))
}

// Batch is a batch of one record, of a transaction or of none.
func Batch(transactional bool) []byte {
	o := record.Options{}
	if transactional {
		o.Producer, o.Transactional = &record.Producer{ID: 123456}, true
	}
	b := record.NewBuilder(o)
	if err := b.Add(1_700_000_000_000, nil, []byte("v")); err != nil {
		panic(err)
	}
	out, err := b.Build(nil)
	if err != nil {
		panic(err)
	}
	return out
}
