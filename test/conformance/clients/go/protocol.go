package main

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"slices"
)

// localError is the code of errors that no broker sent.
const localError = -1000

// readCommitted is the isolation under which only what was committed is shown; the other is read_uncommitted.
const readCommitted = "read_committed"

type request struct {
	Op          string            `json:"op"`
	Seconds     int               `json:"seconds"`
	Topic       string            `json:"topic"`
	Topics      []string          `json:"topics"`
	Partition   int32             `json:"partition"`
	Partitions  int32             `json:"partitions"`
	Configs     map[string]string `json:"configs"`
	Names       []string          `json:"names"`
	Compression string            `json:"compression"`
	Idempotent  bool              `json:"idempotent"`
	Records     []record          `json:"records"`
	Count       int               `json:"count"`
	Timestamp   int64             `json:"timestamp"`
	Before      int64             `json:"before"`
	Group       string            `json:"group"`
	Member      string            `json:"member"`
	Protocol    string            `json:"protocol"`
	File        string            `json:"file"`
	Isolation   string            `json:"isolation"`
	Producer    string            `json:"producer"`
	ID          string            `json:"id"`
	TimeoutMS   int               `json:"timeout_ms"`
	Commit      bool              `json:"commit"`
	Release     []int64           `json:"release"`
	Reject      []int64           `json:"reject"`
	Hold        bool              `json:"hold"`
}

// transformed is what txn_transform makes of a value.
func transformed(value []byte) []byte { return append([]byte("seen "), value...) }

// record is a Kafka record; a nil Key or Value is null. encoding/json writes []byte as base64 and nil as null.
type record struct {
	Topic     string   `json:"topic,omitempty"`
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Timestamp int64    `json:"timestamp"`
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []header `json:"headers"`
}

// delivery is one record as a member of a share group got it.
type delivery struct {
	Offset int64 `json:"offset"`
	Count  int32 `json:"count"` // how often it was delivered by now
}

type header struct {
	Name  string `json:"name"`
	Value []byte `json:"value"`
}

type hello struct {
	Client     string   `json:"client"`
	Version    string   `json:"version"`
	Operations []string `json:"operations"`
	Codecs     []string `json:"codecs"`
	Features   []string `json:"features"`
}

type answer struct {
	Result any      `json:"result,omitempty"`
	Error  *failure `json:"error,omitempty"`
}

type failure struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Kind    string `json:"kind"` // what the library calls an error without a code
}

func failed(code int, err error) answer {
	return answer{Error: &failure{Code: code, Message: err.Error(), Kind: err.Error()}}
}

type (
	names struct {
		Names []string `json:"names"`
	}
	description struct {
		Partitions int `json:"partitions"`
		Led        int `json:"led"`
	}
	configs struct {
		Configs map[string]string `json:"configs"`
	}
	offsets struct {
		Offsets []int64 `json:"offsets"`
	}
	offset struct {
		Offset int64 `json:"offset"`
	}
	bounds struct {
		Earliest int64 `json:"earliest"`
		Latest   int64 `json:"latest"`
	}
	records struct {
		Records []record `json:"records"`
	}
	deliveries struct {
		Deliveries []delivery `json:"deliveries"`
	}
	byPartition struct {
		Offsets map[int32]int64 `json:"offsets"`
	}
	transaction struct {
		State     string `json:"state"`
		Epoch     int16  `json:"epoch"`
		TimeoutMS int32  `json:"timeout_ms"`
	}
	groupState struct {
		State   string `json:"state"`
		Members int    `json:"members"`
	}
	assignments struct {
		Assignments map[string][]int32 `json:"assignments"`
	}
	count struct {
		Count int `json:"count"`
	}
)

// digests sums up what a group read: per topic and key, the count and a hash of all values in the order they came.
type digests struct {
	Topics map[string]map[string]*digest `json:"topics"`
}

type digest struct {
	Count int    `json:"count"`
	Hash  string `json:"hash"`

	sum hash.Hash
}

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

func (d *digests) finish() *digests {
	for _, keys := range d.Topics {
		for _, one := range keys {
			one.Hash = hex.EncodeToString(one.sum.Sum(nil))
		}
	}
	return d
}

func sorted(list []string) names {
	slices.Sort(list)
	return names{Names: list}
}
