package slab

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
)

const (
	minShift = 9       // the smallest class holds 512 B
	slack    = 8 << 10 // see classBytes
	poison   = 0xdb
)

// Config bounds a Pool. A zero field takes its default.
type Config struct {
	MaxClassBytes  int // largest pooled size; rounded up to a power of two; default 8 MiB, at most 1 GiB
	RetainPerClass int // most bytes kept for reuse in one class; default 16 MiB; negative keeps none
	RetainBytes    int // most bytes kept for reuse in all classes; default 32 MiB; negative keeps none

	// Poison overwrites the bytes of a released Slab, so that a test sees who reads them too late. Off by default.
	Poison bool
}

// Validate fills defaults and returns every fault.
func (c *Config) Validate() error {
	setDefault(&c.MaxClassBytes, 8<<20)
	setDefault(&c.RetainPerClass, 16<<20)
	setDefault(&c.RetainBytes, 32<<20)
	if c.MaxClassBytes < 1<<minShift || c.MaxClassBytes > 1<<30 {
		return fmt.Errorf("slab: max class bytes %d: %w", c.MaxClassBytes, errRange)
	}
	return nil
}

var errRange = errors.New("must be between 512 B and 1 GiB")

func setDefault(v *int, def int) {
	if *v == 0 {
		*v = def
	}
}

// Pool lends Slabs. Make one with New. Safe for concurrent use.
type Pool struct {
	cfg      Config
	classes  []class
	retained atomic.Int64 // bytes on all free lists
	lent     atomic.Int64 // bytes out with owners
}

// class is the free list of one size; the newest is reused first, because it is warm in the caches.
type class struct {
	mu    sync.Mutex
	free  []*Slab
	bytes int // capacity of each Slab
	limit int // most Slabs on the free list
}

// New returns an empty Pool, or every fault of cfg.
func New(cfg Config) (*Pool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p := &Pool{cfg: cfg, classes: make([]class, classOf(cfg.MaxClassBytes)+1)}
	for i := range p.classes {
		c := &p.classes[i]
		c.bytes = classBytes(i)
		c.limit = max(0, cfg.RetainPerClass/c.bytes)
	}
	return p, nil
}

// classOf returns the index of the smallest class that holds n bytes.
func classOf(n int) int {
	if n <= 1<<minShift {
		return 0
	}
	return bits.Len(uint(n-1)) - minShift
}

// classBytes returns the capacity of class i: a power of two, and for the large ones one page more, because clients fill
// batches to a power of two and then put a header before them: without the slack each such frame would waste half its Slab.
func classBytes(i int) int {
	n := 1 << (i + minShift)
	if n >= 8*slack {
		n += slack
	}
	return n
}

// Get lends a Slab of n bytes, not zeroed. n must not be negative. It does not block.
func (p *Pool) Get(n int) *Slab {
	i := classOf(n)
	if i > 0 && n <= classBytes(i-1) {
		i-- // fits the slack of the class below
	}
	if i >= len(p.classes) {
		p.lent.Add(int64(n))
		return &Slab{pool: p, class: -1, buf: make([]byte, n), n: n}
	}
	c := &p.classes[i]
	p.lent.Add(int64(c.bytes))
	if s := c.pop(); s != nil {
		p.retained.Add(-int64(c.bytes))
		s.n = n
		s.free.Store(false)
		return s
	}
	return &Slab{pool: p, class: i, buf: make([]byte, c.bytes), n: n}
}

func (c *class) pop() *Slab {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.free) - 1
	if last < 0 {
		return nil
	}
	s := c.free[last]
	c.free[last] = nil
	c.free = c.free[:last]
	return s
}

// Stats is a reading of a Pool's memory.
type Stats struct {
	LentBytes     int64 // capacity of the Slabs that have an owner
	RetainedBytes int64 // capacity of the Slabs kept for reuse
}

// Stats returns the present memory use; the two figures are read one after the other.
func (p *Pool) Stats() Stats {
	return Stats{LentBytes: p.lent.Load(), RetainedBytes: p.retained.Load()}
}

// Slab is one lent buffer. Its owner calls Release once.
type Slab struct {
	pool  *Pool
	buf   []byte
	n     int
	class int // -1: not pooled
	free  atomic.Bool
}

// Bytes returns the buffer, as long as asked for in Get. It must not be used after Release.
func (s *Slab) Bytes() []byte { return s.buf[:s.n:s.n] }

// Release ends the ownership. It panics when called twice.
func (s *Slab) Release() {
	if s.free.Swap(true) {
		panic("slab: released twice")
	}
	p := s.pool
	p.lent.Add(-int64(len(s.buf)))
	if p.cfg.Poison {
		for i := range s.buf {
			s.buf[i] = poison
		}
	}
	if s.class >= 0 {
		p.keep(s)
	}
}

// keep puts s on its free list unless that would pass a bound.
func (p *Pool) keep(s *Slab) {
	c := &p.classes[s.class]
	if p.retained.Add(int64(c.bytes)) > int64(p.cfg.RetainBytes) {
		p.retained.Add(-int64(c.bytes))
		return
	}
	c.mu.Lock()
	kept := len(c.free) < c.limit
	if kept {
		c.free = append(c.free, s)
	}
	c.mu.Unlock()
	if !kept {
		p.retained.Add(-int64(c.bytes))
	}
}
