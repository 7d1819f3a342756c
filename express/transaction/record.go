package transaction

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
)

// ErrUnknownRecord is returned by Replay for a record of a kind or version that this package does not know; skip it.
var ErrUnknownRecord = errors.New("unknown kind or version of record")

// ErrCorruptRecord is returned by Replay for a record that cannot be read; skip it.
var ErrCorruptRecord = errors.New("corrupt record")

// Versions of keys and values in __transaction_state.
const (
	keyVersion   = 0
	valueVersion = 1
)

func tombstone(id string) machine.Record {
	k := kmsg.TxnMetadataKey{Version: keyVersion, TransactionalID: id}
	return machine.Record{Key: k.AppendTo(nil)}
}

// encode is the record of an id. An Empty one has no partitions, which Kafka writes as null.
func encode(id string, d metadata) machine.Record {
	v := kmsg.NewTxnMetadataValue()
	v.Version = valueVersion
	v.ProducerID, v.ProducerEpoch = d.producer.ID, d.producer.Epoch
	v.PreviousProducerID, v.NextProducerID = d.previous, d.next
	v.TimeoutMillis = d.timeoutMs
	v.State = kmsg.TransactionState(d.state)
	v.LastUpdateTimestamp, v.StartTimestamp = d.updateMs, d.startMs
	v.ClientTransactionVersion = d.protocol
	if d.state != Empty {
		v.Topics = []kmsg.TxnMetadataValueTopic{}
	}
	for _, tp := range d.partitions {
		last := len(v.Topics) - 1
		if last < 0 || v.Topics[last].Topic != tp.Topic {
			v.Topics = append(v.Topics, kmsg.TxnMetadataValueTopic{Topic: tp.Topic})
			last++
		}
		v.Topics[last].Partitions = append(v.Topics[last].Partitions, tp.Partition)
	}
	r := tombstone(id)
	r.Value = v.AppendTo(nil)
	return r
}

// Replay takes in one record of the log, in the log's order, before Loaded. Nothing of the bytes is kept. Its errors are
// ErrUnknownRecord and ErrCorruptRecord, and leave the machine as it was.
func (m *Machine) Replay(r machine.Record, _ *machine.Producer) error {
	switch version := versionOf(r.Key); {
	case version < 0:
		return fmt.Errorf("key of %d bytes: %w", len(r.Key), ErrCorruptRecord)
	case version != keyVersion:
		return fmt.Errorf("key version %d: %w", version, ErrUnknownRecord)
	}
	var k kmsg.TxnMetadataKey
	if k.ReadFrom(r.Key) != nil || k.TransactionalID == "" {
		return fmt.Errorf("key: %w", ErrCorruptRecord)
	}
	e := m.entries[k.TransactionalID]
	if r.Value == nil {
		if e != nil {
			m.remove(e)
		}
		return nil
	}
	d, err := decode(r.Value)
	if err != nil {
		return err
	}
	if e == nil {
		e = &entry{id: k.TransactionalID}
		m.entries[e.id] = e
	}
	m.apply(e, d, len(r.Key)+len(r.Value))
	return nil
}

// ReplayMarker does nothing: there are no transactions in this log.
func (m *Machine) ReplayMarker(machine.Marker) {}

// decode is the inverse of encode, for value versions 0 and 1.
func decode(value []byte) (metadata, error) {
	v := kmsg.NewTxnMetadataValue()
	switch version := versionOf(value); {
	case version < 0 || version > valueVersion:
		return metadata{}, fmt.Errorf("value version %d: %w", version, ErrUnknownRecord)
	case v.ReadFrom(value) != nil:
		return metadata{}, fmt.Errorf("value version %d: %w", version, ErrCorruptRecord)
	case v.State < 0 || State(v.State) >= Dead, v.ProducerID < 0, v.ProducerEpoch < 0:
		return metadata{}, fmt.Errorf("value in state %d of producer %d: %w", v.State, v.ProducerID, ErrCorruptRecord)
	}
	d := metadata{
		producer:  machine.Producer{ID: v.ProducerID, Epoch: v.ProducerEpoch},
		lastEpoch: none, previous: v.PreviousProducerID, next: v.NextProducerID,
		timeoutMs: v.TimeoutMillis, state: State(v.State),
		startMs: v.StartTimestamp, updateMs: v.LastUpdateTimestamp, protocol: v.ClientTransactionVersion,
	}
	if d.state == Empty {
		return d, nil
	}
	for _, t := range v.Topics {
		for _, p := range t.Partitions {
			d.partitions = append(d.partitions, machine.TopicPartition{Topic: t.Topic, Partition: p})
		}
	}
	slices.SortFunc(d.partitions, compare)
	d.partitions = slices.Compact(d.partitions)
	return d, nil
}

// versionOf is -1 for bytes that are too short to have a version.
func versionOf(b []byte) int16 {
	if len(b) < 2 {
		return -1
	}
	return (&kbin.Reader{Src: b}).Int16()
}
