package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/objectlog"
	"millrace/express/wal"
	"millrace/kafka/topic"
)

// Stream is what one broker's log holds of a partition.
type Stream struct {
	Broker     int32
	Log        string // in the object store; "": it is the broker's own
	First, End int64  // offsets in [First, End)
	Epoch      int32  // leader epoch of the newest record
	Whole      bool   // nothing between is missing
	Damage     error  // of the log, behind the end
}

// Logs is what the brokers' logs hold, as far as they can be reached; nil: they cannot.
type Logs map[topic.Partition][]Stream

// readObjectLogs reads what the logs in an object store hold of partitions, of whose segments end tells the ends, and gives the records
// that the logs are to have.
func readObjectLogs(ctx context.Context, objects object.Store, end func(topic.Partition) (int64, bool)) (Logs, []kv.Item, error) {
	all, err := objectlog.Survey(ctx, objects, end)
	if err != nil {
		return nil, nil, err
	}
	logs, records := Logs{}, make([]kv.Item, 0, len(all))
	for _, found := range all {
		key, value, err := found.Revive(clock.System{}.Now())
		if err != nil {
			return nil, nil, err
		}
		records = append(records, kv.Item{Key: key, Value: value})
		for id, h := range found.Holdings {
			logs[id] = append(logs[id], Stream{
				Broker: found.ID.Broker, Log: found.ID.String(), First: h.First, End: h.End, Epoch: h.Epoch, Whole: h.Whole, Damage: found.Damage,
			})
		}
	}
	return logs, records, nil
}

// ReadLogs reads what the brokers below the data directory of millrace serve hold, by cluster. Errors as of ReadLog.
func ReadLogs(ctx context.Context, data string, w wal.World) (map[string]Logs, error) {
	all := map[string]Logs{}
	root := filepath.Join(data, "brokers")
	entries, err := w.FS.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, fmt.Errorf("logs of brokers: %w", err)
	}
	for _, e := range entries {
		at, dir := strings.LastIndexByte(e.Name(), '-'), filepath.Join(root, e.Name())
		if at < 0 {
			continue
		}
		name := e.Name()[:at]
		id, err := strconv.ParseInt(e.Name()[at+1:], 10, 32)
		if _, noLog := w.FS.Stat(filepath.Join(dir, "wal")); err != nil || noLog != nil {
			continue
		}
		if all[name] == nil {
			all[name] = Logs{}
		}
		if err := all[name].ReadLog(ctx, int32(id), dir, uint64(w.Clock.Now().UnixNano()), w); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// ReadLog adds what the log of a broker holds, whose directory (of the broker, not of the log) is dir. The log is recovered
// as by a start of the broker. It returns ErrServing where the broker runs.
func (l Logs) ReadLog(ctx context.Context, broker int32, dir string, incarnation uint64, w wal.World) (err error) {
	lock, err := w.FS.Lock(filepath.Join(dir, "lock"))
	if errors.Is(err, disk.ErrLocked) {
		return fmt.Errorf("%w: broker %d: %w", ErrServing, broker, err)
	}
	if err != nil {
		return fmt.Errorf("log of broker %d: %w", broker, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if w.Slabs == nil {
		if w.Slabs, err = slab.New(slab.Config{}); err != nil {
			return err
		}
	}
	log, err := wal.Open(ctx, wal.Config{Dir: filepath.Join(dir, "wal"), Broker: broker, Incarnation: incarnation}, w)
	if err != nil {
		return fmt.Errorf("log of broker %d: %w", broker, err)
	}
	for _, id := range log.Partitions() {
		l[id] = append(l[id], streamOf(broker, log.Stream(id)))
	}
	if err := log.Close(ctx); err != nil {
		return fmt.Errorf("log of broker %d: %w", broker, err)
	}
	return nil
}

func streamOf(broker int32, s *wal.Stream) Stream {
	out := Stream{Broker: broker, Epoch: -1, Whole: true}
	out.First, out.End = s.Bounds()
	if epochs := s.Epochs(); len(epochs) > 0 {
		out.Epoch = epochs[len(epochs)-1].Epoch
	}
	extents := s.Extents()
	for i := 1; i < len(extents); i++ {
		out.Whole = out.Whole && extents[i].Base == extents[i-1].End
	}
	return out
}

// newest is the stream that holds the newest records of a partition whose segments end at end. A log may also hold what
// is left of a partition that has moved: it ends earlier or, where nothing was written since, is perhaps not whole.
func (l Logs) newest(id topic.Partition, end int64, owner int32) (best Stream, ok bool) {
	for _, s := range l[id] {
		if s.First == s.End || ok && !s.better(best, end, owner) {
			continue
		}
		best, ok = s, true
	}
	return best, ok
}

func (s Stream) better(than Stream, end int64, owner int32) bool {
	switch {
	case s.Epoch != than.Epoch:
		return s.Epoch > than.Epoch
	case s.End != than.End:
		return s.End > than.End
	case s.joins(end) != than.joins(end):
		return s.joins(end)
	}
	return s.Broker == owner
}

// joins says whether segments that end at end and the stream leave nothing out.
func (s Stream) joins(end int64) bool { return s.End <= end || s.First <= end && s.Whole }
