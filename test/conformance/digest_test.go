package conformance

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
)

// digests sums up what a group read: by topic and key, the count and a hash over all values in the order they came.
type digests struct {
	Topics map[string]map[string]*digest `json:"topics"`
}

// digest is of one key in one topic.
type digest struct {
	Count int    `json:"count"`
	Hash  string `json:"hash"`

	sum hash.Hash
}

// add takes one record in; it keeps none of the bytes.
func (d *digests) add(topic string, key, value []byte) {
	if d.Topics == nil {
		d.Topics = make(map[string]map[string]*digest)
	}
	keys := d.Topics[topic]
	if keys == nil {
		keys = make(map[string]*digest)
		d.Topics[topic] = keys
	}
	one := keys[string(key)]
	if one == nil {
		one = &digest{sum: sha256.New()}
		keys[string(key)] = one
	}
	one.Count++
	one.sum.Write(value)
	one.sum.Write([]byte{'\n'})
}

// finish computes the hashes.
func (d *digests) finish() *digests {
	for _, keys := range d.Topics {
		for _, one := range keys {
			one.Hash = hex.EncodeToString(one.sum.Sum(nil))
		}
	}
	return d
}

// transfer copies a result into the type that the caller asked for, by way of JSON, as if a program had sent it.
func transfer(result, out any) error {
	if out == nil || result == nil {
		return nil
	}
	text, err := json.Marshal(result)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, out)
}
