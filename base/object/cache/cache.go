package cache

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"

	"millrace/base/object"
)

const (
	// BlockBytes is the unit of what is kept.
	BlockBytes = 1 << 20
	// runBlocks is how many neighbours one request fetches at most.
	runBlocks = 4
	// staleTurns is after how many times its capacity in fetched blocks the cache lets an unused block go, whosever it is.
	staleTurns = 4
)

// Config says how much to keep.
type Config struct {
	Bytes int64 // of memory for blocks; below 2*BlockBytes nothing is kept
}

// Store is an object.Store that keeps what is read through it. Make one with New. Safe for concurrent use.
type Store struct {
	object.Store
	most int64 // bytes

	mu     sync.Mutex // guards the rest, and the fields of blocks
	used   int64
	blocks map[blockID]*block
	recent *list.List       // of blocks that are whole, the last used first
	shares map[string]int64 // bytes by folder
	turn   int64            // blocks that were ever promised
	stats  Stats
}

// Stats counts since New.
type Stats struct {
	Hits   int64 // blocks that were here, or on their way
	Misses int64 // blocks that a reader had to ask for
	Ahead  int64 // blocks that were asked for before a reader wanted them
	Bytes  int64 // in memory now
}

type blockID struct {
	key   string
	size  int64 // of the object
	index int64 // of the block in it
}

// block is a piece of an object, or the promise of one.
type block struct {
	id    blockID
	bytes int64
	turn  int64         // when it was last used
	ready chan struct{} // closed when data or err is there
	data  []byte
	err   error
	place *list.Element // nil while it is on its way
}

// New keeps blocks of what is read from store.
func New(store object.Store, cfg Config) *Store {
	return &Store{Store: store, most: cfg.Bytes, blocks: make(map[blockID]*block), recent: list.New(), shares: make(map[string]int64)}
}

// Stats says how well the cache does.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.Bytes = s.used
	return out
}

// Put implements object.Store.
func (s *Store) Put(ctx context.Context, key string, body [][]byte, opts object.PutOptions) error {
	s.forget(key)
	defer s.forget(key) // a read meanwhile may have brought the old object back
	return s.Store.Put(ctx, key, body, opts)
}

// Delete implements object.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	defer s.forget(key)
	return s.Store.Delete(ctx, key)
}

// forget drops what is kept of an object. What is on its way is not found any more, but comes to those who wait for it.
func (s *Store) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, b := range s.blocks {
		if id.key == key {
			s.dropLocked(b)
		}
	}
}

func (s *Store) dropLocked(b *block) {
	if s.blocks[b.id] != b {
		return
	}
	delete(s.blocks, b.id)
	s.addLocked(b, -b.bytes)
	if b.place != nil {
		s.recent.Remove(b.place)
	}
}

// Open implements object.Store.
func (s *Store) Open(ctx context.Context, key string) (object.Reader, error) {
	r, err := s.Store.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	return &reader{store: s, object: r, key: key}, nil
}

// addLocked counts bytes, of a block's folder too.
func (s *Store) addLocked(b *block, bytes int64) {
	s.used += bytes
	folder := path.Dir(b.id.key)
	if s.shares[folder] += bytes; s.shares[folder] == 0 {
		delete(s.shares, folder)
	}
}

// victimLocked is the block that goes when there is no room: the longest unused of the folder that has the most, unless there is
// one that is stale (B5). It is nil when all are on their way.
func (s *Store) victimLocked() *block {
	back := s.recent.Back()
	if back == nil {
		return nil
	}
	oldest := back.Value.(*block)
	if (s.turn-oldest.turn)*BlockBytes > staleTurns*s.most {
		return oldest
	}
	var most int64
	for _, bytes := range s.shares {
		most = max(most, bytes)
	}
	for el := back; el != nil; el = el.Prev() {
		if b := el.Value.(*block); s.shares[path.Dir(b.id.key)] == most {
			return b
		}
	}
	return oldest
}

// reserveLocked makes room for a block and promises it; nil when there is no room.
func (s *Store) reserveLocked(id blockID) *block {
	b := &block{id: id, bytes: min(BlockBytes, id.size-id.index*BlockBytes), ready: make(chan struct{})}
	for s.used+b.bytes > s.most {
		victim := s.victimLocked()
		if victim == nil {
			return nil
		}
		s.dropLocked(victim)
	}
	s.turn++
	b.turn = s.turn
	s.addLocked(b, b.bytes)
	s.blocks[id] = b
	return b
}

// keep fulfils promises: data holds the blocks one after the other, or err says why not.
func (s *Store) keep(run []*block, data []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range run {
		if err != nil {
			b.err = err
			s.dropLocked(b)
		} else {
			b.data, data = data[:b.bytes:b.bytes], data[b.bytes:]
			if s.blocks[b.id] == b {
				b.place = s.recent.PushFront(b)
			}
		}
		close(b.ready)
	}
}

// reader reads an object by blocks.
type reader struct {
	store  *Store
	object object.Reader
	key    string

	mu      sync.Mutex // guards the rest, and Close
	next    int64      // the block that comes next if the reader goes on in order
	streak  int        // blocks that were read in order
	closed  bool
	fetches sync.WaitGroup // that read ahead
}

// Size implements object.Reader.
func (r *reader) Size() int64 { return r.object.Size() }

// Close implements object.Reader.
func (r *reader) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.fetches.Wait()
	return r.object.Close()
}

var errOffset = errors.New("negative offset")

// ReadAt implements io.ReaderAt.
func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read %q: %w", r.key, errOffset)
	}
	size := r.Size()
	n := 0
	for n < len(p) && off < size {
		data, from, err := r.at(off, int64(len(p)-n))
		if err != nil {
			return n, err
		}
		k := copy(p[n:], data[off-from:])
		n, off = n+k, off+int64(k)
	}
	r.ahead(off)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// at returns bytes of the object that begin at from and hold the one at off; want bytes from off on will be needed.
func (r *reader) at(off, want int64) (data []byte, from int64, err error) {
	first := off / BlockBytes
	last := min((off+want-1)/BlockBytes, (r.Size()-1)/BlockBytes)
	found, mine := r.promise(first, last, false)
	if len(mine) > 0 {
		r.fetch(mine)
	}
	if found == nil { // no room: for this read only
		from = first * BlockBytes
		data = make([]byte, min(BlockBytes, r.Size()-from))
		return data, from, r.readFull(data, from)
	}
	<-found.ready
	return found.data, first * BlockBytes, found.err
}

// promise returns the first block, and those of the run up to last that the caller has to fetch: the first and its neighbours, as far as nobody has
// them. Both are nil where there is no room.
func (r *reader) promise(first, last int64, ahead bool) (found *block, mine []*block) {
	s := r.store
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := first; i <= last && i < first+runBlocks; i++ {
		id := blockID{key: r.key, size: r.Size(), index: i}
		if b := s.blocks[id]; b != nil {
			if i > first {
				break
			}
			if b.place != nil {
				s.recent.MoveToFront(b.place)
				b.turn = s.turn
			}
			if !ahead {
				s.stats.Hits++
			}
			return b, nil
		}
		b := s.reserveLocked(id)
		if b == nil {
			break
		}
		mine = append(mine, b)
	}
	if ahead {
		s.stats.Ahead += int64(len(mine))
	} else {
		s.stats.Misses += int64(max(1, len(mine)))
	}
	if len(mine) == 0 {
		return nil, nil
	}
	return mine[0], mine
}

// fetch reads a run of promised blocks with one request.
func (r *reader) fetch(run []*block) {
	var bytes int64
	for _, b := range run {
		bytes += b.bytes
	}
	data := make([]byte, bytes)
	err := r.readFull(data, run[0].id.index*BlockBytes)
	r.store.keep(run, data, err)
}

func (r *reader) readFull(p []byte, off int64) error {
	n, err := r.object.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, io.EOF):
		return fmt.Errorf("read %q: %w: %d of %d bytes at %d", r.key, io.ErrUnexpectedEOF, n, len(p), off)
	}
	return err
}

// ahead fetches what comes after off in the background, once the reader goes through the object in order.
func (r *reader) ahead(off int64) {
	at := off / BlockBytes
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case at == r.next-1: // still in the same block
		return
	case at == r.next:
		r.streak++
	default:
		r.streak = 0
	}
	r.next = at + 1
	last := min(at+int64(min(r.streak, runBlocks)), (r.Size()-1)/BlockBytes)
	if r.streak == 0 || r.closed || last <= at {
		return
	}
	if _, mine := r.promise(at+1, last, true); len(mine) > 0 {
		r.fetches.Go(func() { r.fetch(mine) })
	}
}
