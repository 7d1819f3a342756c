package audit

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"millrace/base/clock"
	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/manifest"
	"millrace/kafka/topic"
)

// Stored is what there is to check where no broker serves. All fields but Progress are needed.
type Stored struct {
	Records   func(ctx context.Context) (map[topic.Partition]Record, error)
	Manifests *manifest.Store
	Objects   object.Store
	Clock     clock.Clock
	Log       *slog.Logger
	// Rate is how many bytes to read per second; 0: as fast as it goes.
	Rate int64
	// Progress is told what the pass has so far, after each partition. It must not keep or change it.
	Progress func(*Pass)
}

// Offline checks manifests, segments and tails of a cluster by what etcd and the store hold, without its brokers. The brokers' logs
// are not looked at. Objects without a reference are counted in Waiting and are no finding: how long they have been
// that cannot be told from one look. An error means that the check could not be made.
func Offline(ctx context.Context, s Stored) (*Pass, error) {
	slabs, err := slab.New(slab.Config{RetainBytes: 8 << 20, RetainPerClass: 4 << 20})
	if err != nil {
		return nil, err
	}
	pass := &Pass{Began: s.Clock.Now()}
	pace := &pacer{rate: s.Rate}
	c := &checker{
		manifests: s.Manifests, objects: paced{s.Objects, pace}, slabs: slabs, pace: pace, now: s.Clock.Now,
		expiry: func() time.Duration { return time.Hour }, found: pass.add,
	}
	ids, records, err := all(ctx, s)
	if err != nil {
		return nil, err
	}
	pass.Partitions = len(ids)
	for _, id := range ids {
		err := c.stored(ctx, id, records[id].Topic)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			pass.skip(Skip{Topic: records[id].Topic, TopicID: id.Topic, Partition: id.Index, Reason: err.Error()})
		default:
			pass.Checked++
		}
		pass.Bytes = pace.total.Load()
		if s.Progress != nil {
			s.Progress(pass)
		}
	}
	whole := &storeCheck{checker: c, records: s.Records, current: s.Records, suspects: newSuspects(), age: 1<<63 - 1}
	if err := whole.run(ctx); err != nil {
		pass.skip(Skip{Partition: -1, Reason: "the store as a whole: " + err.Error()})
	}
	pass.Store, pass.Waiting, pass.Bytes, pass.Ended = true, whole.waiting, pace.total.Load(), s.Clock.Now()
	pass.Took = pass.Ended.Sub(pass.Began)
	return pass, ctx.Err()
}

// all lists the partitions that exist or have a manifest, by topic and index.
func all(ctx context.Context, s Stored) ([]topic.Partition, map[topic.Partition]Record, error) {
	ids, err := s.Manifests.Partitions(ctx)
	if err != nil {
		return nil, nil, err
	}
	records, err := s.Records(ctx)
	if err != nil {
		return nil, nil, err
	}
	known := map[topic.Partition]bool{}
	for _, id := range ids {
		known[id] = true
	}
	for id := range records {
		if !known[id] {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b topic.Partition) int {
		return cmp.Or(cmp.Compare(records[a].Topic, records[b].Topic), cmp.Compare(a.Topic.String(), b.Topic.String()), cmp.Compare(a.Index, b.Index))
	})
	return ids, records, nil
}
