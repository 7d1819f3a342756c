package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"millrace/base/object"
	"millrace/express/manifest"
	"millrace/express/segment"
	"millrace/express/tail"
	"millrace/kafka/topic"
)

const (
	listPage     = 1000
	suspectsMost = 100_000 // objects remembered as unreferenced; further ones wait until some are gone
)

// Record is what the catalog says of one partition.
type Record struct {
	Topic string // its name
	Owner int32  // broker id; -1 none
	Tail  string // key of the tail that its owner must import; "" none
}

// suspects remembers since when objects have been without a reference. For one goroutine.
type suspects struct {
	since map[string]time.Time
	seen  map[string]bool // in the pass under way
}

func newSuspects() *suspects {
	return &suspects{since: map[string]time.Time{}, seen: map[string]bool{}}
}

// note says for how long an object has been known to be without a reference; false where there is no room to remember.
func (s *suspects) note(key string, now time.Time) (time.Duration, bool) {
	since, ok := s.since[key]
	if !ok {
		if len(s.since) >= suspectsMost {
			return 0, false
		}
		since = now
		s.since[key] = now
	}
	s.seen[key] = true
	return now.Sub(since), true
}

// end forgets what a whole pass did not see: it is gone, or has a reference.
func (s *suspects) end() {
	for key := range s.since {
		if !s.seen[key] {
			delete(s.since, key)
		}
	}
	s.seen = map[string]bool{}
}

// storeCheck looks at what belongs to the cluster as a whole.
type storeCheck struct {
	*checker
	records  func(ctx context.Context) (map[topic.Partition]Record, error)
	current  func(ctx context.Context) (map[topic.Partition]Record, error) // not behind etcd
	suspects *suspects
	age      time.Duration // for which an object must have been without a reference
	waiting  int64         // objects without a reference that are not old enough
}

// run looks for objects that nobody refers to, and reads the tails that somebody needs. What could not be looked at is
// in the error.
func (s *storeCheck) run(ctx context.Context) error {
	var faults error
	records, err := s.records(ctx)
	if err != nil {
		return err
	}
	for id, r := range records {
		if r.Tail != "" {
			faults = errors.Join(faults, s.tail(ctx, id, r))
		}
	}
	for _, root := range []string{manifest.Root, segment.Root, tail.Root} {
		faults = errors.Join(faults, s.root(ctx, root))
	}
	if faults == nil {
		s.suspects.end()
	}
	return faults
}

// tail reads a tail as its importer would.
func (s *storeCheck) tail(ctx context.Context, id topic.Partition, r Record) error {
	err := s.readTail(ctx, id, r.Tail)
	lost := errors.Is(err, object.ErrNotFound)
	if err == nil || !lost && !errors.Is(err, tail.ErrCorrupt) {
		return err
	}
	now, e := s.current(ctx) // it may have been imported meanwhile
	if e != nil || now[id].Tail != r.Tail {
		return e
	}
	s.subject(id, r.Topic).report(BadTail, r.Tail, -1, err.Error())
	return nil
}

func (s *storeCheck) readTail(ctx context.Context, id topic.Partition, key string) error {
	k, ok := tail.ParseKey(key)
	if !ok || k.Partition != id {
		return fmt.Errorf("%w: %q is no key of a tail of %s", tail.ErrCorrupt, key, id)
	}
	r, err := tail.Open(ctx, s.objects, k)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // what was read is read
	for {
		if _, err := r.Next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// root looks through all objects of one kind. Objects are listed before the references are read: one that is committed
// in between is then seen with its reference.
func (s *storeCheck) root(ctx context.Context, root string) (faults error) {
	for after := ""; ; {
		page, err := s.objects.List(ctx, root, after, listPage)
		if err != nil {
			return errors.Join(faults, fmt.Errorf("list %s: %w", root, err))
		}
		if len(page) > 0 {
			after = page[len(page)-1].Key
			faults = errors.Join(faults, s.page(ctx, root, page))
		}
		if len(page) < listPage || ctx.Err() != nil {
			return faults
		}
	}
}

func (s *storeCheck) page(ctx context.Context, root string, page []object.Info) (faults error) {
	records, err := s.records(ctx)
	if err != nil {
		return err
	}
	var (
		current    topic.Partition
		references map[string]bool // of current; nil: not known
		loaded     bool
	)
	for _, o := range page {
		id, ok := segment.ParseKey(root, o.Key)
		if ok && (!loaded || id != current) {
			current, loaded = id, true
			if references, err = s.references(ctx, id, records[id].Tail); err != nil {
				faults = errors.Join(faults, err)
			}
		}
		if ok && (references == nil || references[o.Key]) {
			continue
		}
		s.orphan(o, id, records[id].Topic)
	}
	return faults
}

// references are the keys of all objects that a partition needs. The partition of a manifest that cannot be read has
// none that are known; that it cannot be read is for the check of the partition to tell.
func (s *storeCheck) references(ctx context.Context, id topic.Partition, tail string) (map[string]bool, error) {
	if err := s.pace.take(ctx, requestCost); err != nil {
		return nil, err
	}
	m, err := s.manifests.Load(ctx, id)
	if err != nil {
		if damaged(err) {
			return nil, nil
		}
		return nil, err
	}
	keys := make(map[string]bool, len(m.Segments)+2)
	keys[tail], keys[m.Body()] = true, true
	for _, g := range m.Segments {
		keys[g.Key] = true
	}
	return keys, nil
}

// orphan notes an object without a reference, and reports it when it has been one for long. Its own age counts as
// well: what is being written has no reference yet.
func (s *storeCheck) orphan(o object.Info, id topic.Partition, name string) {
	now := s.now()
	since, ok := s.suspects.note(o.Key, now)
	if !ok || since < s.age || now.Sub(o.ModTime) < s.age {
		s.waiting++
		return
	}
	s.subject(id, name).report(Orphan, o.Key, -1, fmt.Sprintf("nothing has referred to the object of %d bytes for %s", o.Size, since.Round(time.Minute)))
}
