package objectlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"millrace/base/object"
	"millrace/kafka/topic"
)

// Surveyed is a log as its objects show it, for an etcd that was lost with all records of logs.
type Surveyed struct {
	ID       ID
	First    uint64 // the record's first, as far as it matters: where what somebody needs begins
	Holdings map[topic.Partition]Holding
	Damage   error // ErrCorrupt, ErrNewer: why nothing is known of what follows; a replay ends there, too
}

// Holding is what a log holds of a partition.
type Holding struct {
	First, End int64 // offsets: of the first batch, and behind the last
	Epoch      int32 // leader epoch of the newest batch
	Needed     bool  // it ends behind what the asker has
	Whole      bool  // nothing is missing between what the asker has and the end
}

// Survey finds the logs in a store. End says where what the asker has of a partition ends; false: he does not know the partition, and
// needs nothing of it.
//
// Without the record a gap between numbers may be one of two: of a trim that had not deleted everything below the record's first when
// it ended, or of groups that were in flight. Below the first lies nothing that is needed, so the piece between gaps that begins to
// matter is the first one that holds something needed; what lies behind the gap that follows it was never acknowledged (L1, L4),
// and so was nothing at or above a seal.
func Survey(ctx context.Context, objects object.Store, end func(topic.Partition) (int64, bool)) (all []Surveyed, err error) {
	s := &Store{objects: objects}
	for after := Root; ; {
		found, err := s.nextLog(ctx, after)
		if err != nil {
			return nil, fmt.Errorf("survey of logs: %w", err)
		}
		if found == nil {
			return all, nil
		}
		one, err := s.survey(ctx, found, end)
		if err != nil {
			return nil, fmt.Errorf("survey of log %s: %w", found.id, err)
		}
		all = append(all, one)
		after = found.id.objects() + "~" // behind all its numbers
	}
}

// found is a log's objects: pieces without a gap, up to the lowest seal.
type found struct {
	id     ID
	pieces []Sealed
	sealed bool
}

// nextLog lists the first log behind a key; nil: there is none. Keys that are no log's are passed over.
func (s *Store) nextLog(ctx context.Context, after string) (f *found, err error) {
	for {
		var page []object.Info
		err := retry(ctx, func(ctx context.Context) (err error) {
			page, err = s.objects.List(ctx, Root, after, listPage)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, o := range page {
			after = o.Key
			id, seq, ok := parseObject(o.Key)
			if !ok || f != nil && f.sealed && f.id == id {
				continue
			}
			if f != nil && f.id != id {
				return f, nil
			}
			if f == nil {
				f = &found{id: id}
			}
			f.add(seq, isSealSize(o.Size))
		}
		if len(page) < listPage {
			return f, nil
		}
	}
}

// parseObject takes the key of an object of a log apart.
func parseObject(key string) (id ID, seq uint64, ok bool) {
	_, name, _ := strings.Cut(strings.TrimPrefix(key, Root), "/")
	at := strings.LastIndexByte(name, '/')
	if at < 0 {
		return id, 0, false
	}
	id, err := ParseID(name[:at])
	if err != nil {
		return id, 0, false
	}
	seq, ok = id.parseKey(key)
	return id, seq, ok
}

// add takes the next object in.
func (f *found) add(seq uint64, isSeal bool) {
	n := len(f.pieces)
	if n == 0 || f.pieces[n-1].End != seq {
		f.pieces = append(f.pieces, Sealed{ID: f.id, First: seq, End: seq})
		n++
	}
	if isSeal {
		f.sealed = true
		return
	}
	f.pieces[n-1].End = seq + 1
}

// survey reads the pieces of a log until one matters.
func (s *Store) survey(ctx context.Context, f *found, end func(topic.Partition) (int64, bool)) (Surveyed, error) {
	out := Surveyed{ID: f.id}
	for _, piece := range f.pieces {
		out.First, out.Holdings = piece.First, map[topic.Partition]Holding{}
		isNeeded := false
		next := map[topic.Partition]int64{}
		err := s.Replay(ctx, piece, func(topic.Partition) (int64, bool) { return 0, true }, func(run Run) error {
			has, known := end(run.Partition)
			h, held := out.Holdings[run.Partition]
			if !held {
				h, next[run.Partition] = Holding{First: run.Base, Whole: true}, has
			}
			h.First, h.End, h.Epoch = min(h.First, run.Base), max(h.End, run.Last+1), run.Epoch
			if at := next[run.Partition]; known && run.Last >= at {
				h.Needed, isNeeded = true, true
				h.Whole = h.Whole && run.Base <= at
				next[run.Partition] = run.Last + 1
			}
			out.Holdings[run.Partition] = h
			return nil
		})
		if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrNewer) {
			out.Damage, err = err, nil
			isNeeded = true
		}
		if err != nil || isNeeded {
			return out, err
		}
	}
	return out, nil
}

// Revive gives the key below the prefix of records, and the value, of a record for a log of which there is none any more. It says that
// the log is being sealed, so that a writer that lives on acknowledges nothing and deletes nothing; whoever needs the log seals it.
func (f Surveyed) Revive(now time.Time) (key string, value []byte, err error) {
	r := &record{Format: recordFormat, Nonce: uuid.New().String(), CreatedMs: now.UnixMilli(), First: max(f.First, 1), Sealer: ID{}.String()}
	value, err = r.encode()
	return f.ID.String(), value, err
}
