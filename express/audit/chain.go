package audit

import (
	"fmt"
	"sort"

	"millrace/express/manifest"
	"millrace/kafka/record"
)

// producersMost bounds the producers whose sequences are followed in one partition; further ones are not.
const producersMost = 10_000

// fault is what a chain finds wrong with a batch.
type fault struct {
	kind   Kind
	offset int64
	detail string
}

// Error names the kind and the place.
func (f *fault) Error() string { return fmt.Sprintf("%s at offset %d: %s", f.kind, f.offset, f.detail) }

// chain judges the batches of one partition in offset order: whether offsets follow each other, leader epochs ascend and
// are those that the partition knows, and each producer's sequences go on. It is pure: batches in, faults out.
type chain struct {
	next     int64                 // offset at which the next batch must begin; -1: at any
	started  bool                  // next is from a batch and not from where the walk began
	epoch    int32                 // of the batch before; -1: none yet
	most     int32                 // no epoch is higher
	epochs   []manifest.EpochStart // that the partition knows; none: they are not compared
	expiryMs int64                 // a producer that was silent for so long may begin anew; by the batches' own timestamps

	producers map[int64]*progress
}

// progress is where a producer stands.
type progress struct {
	epoch     int16
	last      int32 // sequence; -1: none is known in this epoch
	timestamp int64 // ms, the latest
	loose     bool  // batches may be missing since: they were compacted away, or could not be read
}

func newChain(from int64, epochs []manifest.EpochStart, most int32, expiryMs int64) *chain {
	return &chain{next: from, epoch: -1, most: most, epochs: epochs, expiryMs: expiryMs, producers: map[int64]*progress{}}
}

// jump goes on at offset next: what lies between could not be read, or is not there any more, or was judged before.
func (c *chain) jump(next int64) {
	if next < c.next {
		c.epoch = -1
	}
	c.next, c.started = next, false
	for _, p := range c.producers {
		p.loose = true
	}
}

// take judges b, which comes after those before. dense says that no offset may be left out, and no batch of a producer:
// the batches were never compacted. A batch that lies wholly below what was judged is passed over. After a fault the
// chain goes on behind b.
func (c *chain) take(b record.Batch, dense bool) *fault {
	base, last := b.BaseOffset(), b.LastOffset()
	if last < base {
		return &fault{DamagedObject, base, fmt.Sprintf("batch ends at offset %d, before it begins", last)}
	}
	if last < c.next {
		if c.started {
			return &fault{Overlap, base, fmt.Sprintf("batch holds offsets %d to %d, which were there before offset %d", base, last, c.next)}
		}
		return nil
	}
	f := c.place(base, last, dense)
	if f == nil {
		f = c.leader(b.PartitionLeaderEpoch(), base)
	}
	if s := c.sequence(b, dense); f == nil {
		f = s
	}
	c.next, c.started = last+1, true
	return f
}

// place judges the offsets.
func (c *chain) place(base, last int64, dense bool) *fault {
	switch {
	case c.next < 0:
	case base > c.next && dense:
		return &fault{Gap, c.next, fmt.Sprintf("offsets %d to %d are in no batch", c.next, base-1)}
	case base < c.next && c.started: // where the walk begins, the log start may lie within a batch
		return &fault{Overlap, base, fmt.Sprintf("batch holds offsets %d to %d, the one before ends at %d", base, last, c.next-1)}
	}
	return nil
}

// leader judges the leader epoch of a batch that begins at base.
func (c *chain) leader(epoch int32, base int64) *fault {
	switch {
	case epoch < c.epoch:
		return &fault{Epoch, base, fmt.Sprintf("leader epoch %d after %d", epoch, c.epoch)}
	case epoch > c.most:
		return &fault{Epoch, base, fmt.Sprintf("leader epoch %d, the partition is at %d", epoch, c.most)}
	}
	if n := len(c.epochs); n > 0 {
		i := sort.Search(n, func(i int) bool { return c.epochs[i].Start > base }) - 1
		if i >= 0 && c.epochs[i].Epoch != epoch {
			return &fault{Epoch, base, fmt.Sprintf("leader epoch %d, by the manifest it is %d from offset %d on", epoch, c.epochs[i].Epoch, c.epochs[i].Start)}
		}
	}
	c.epoch = epoch
	return nil
}

// sequence judges a producer's batch against the one before it.
func (c *chain) sequence(b record.Batch, dense bool) *fault {
	if !b.HasProducerID() {
		return nil
	}
	p := c.producers[b.ProducerID()]
	if p == nil {
		if len(c.producers) >= producersMost {
			return nil
		}
		p = &progress{epoch: b.ProducerEpoch(), last: -1, timestamp: b.MaxTimestamp()}
		c.producers[b.ProducerID()] = p
	}
	first, silent := b.BaseSequence(), b.MaxTimestamp()-p.timestamp
	expired := silent >= c.expiryMs || silent <= -c.expiryMs
	before := *p
	p.timestamp = max(p.timestamp, b.MaxTimestamp())
	if e := b.ProducerEpoch(); e != p.epoch {
		p.epoch, p.last, p.loose = e, -1, false
	}
	if first >= 0 && !b.IsControl() { // others say nothing about sequences
		p.last, p.loose = b.LastSequence(), !dense
	}
	switch {
	case expired, before.loose:
		return nil
	case b.ProducerEpoch() < before.epoch:
		return &fault{Sequence, b.BaseOffset(), fmt.Sprintf("producer %d writes with epoch %d after %d", b.ProducerID(), b.ProducerEpoch(), before.epoch)}
	case b.ProducerEpoch() > before.epoch, before.last < 0, first < 0, b.IsControl(), !dense:
		return nil
	case first != after(before.last):
		return &fault{Sequence, b.BaseOffset(), fmt.Sprintf("producer %d, epoch %d: sequence %d after %d", b.ProducerID(), before.epoch, first, before.last)}
	}
	return nil
}

// after is the sequence that follows; they go around.
func after(sequence int32) int32 {
	const most = 1<<31 - 1
	if sequence == most {
		return 0
	}
	return sequence + 1
}
