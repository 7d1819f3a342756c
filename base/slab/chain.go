package slab

// Chain is a sequence of byte slices together with the slabs that they lie in:
// how read data travels from a file to a socket without being joined or copied.
// The zero Chain is empty and ready. A Chain has one owner at a time and is not
// safe for concurrent use.
type Chain struct {
	parts [][]byte
	slabs []*Slab
	bytes int
}

// Append adds part, which must lie in memory that the chain already holds (see
// Hold) or that nobody reuses. Empty parts are dropped.
func (c *Chain) Append(part []byte) {
	if len(part) == 0 {
		return
	}
	c.parts = append(c.parts, part)
	c.bytes += len(part)
}

// Hold passes s to the chain, which releases it in Release.
func (c *Chain) Hold(s *Slab) { c.slabs = append(c.slabs, s) }

// Parts gives the slices in order. They are valid until Release.
func (c *Chain) Parts() [][]byte { return c.parts }

// Len is the number of bytes over all parts.
func (c *Chain) Len() int { return c.bytes }

// Join moves everything that other holds to the end of c and leaves other empty.
func (c *Chain) Join(other *Chain) {
	c.parts = append(c.parts, other.parts...)
	c.slabs = append(c.slabs, other.slabs...)
	c.bytes += other.bytes
	*other = Chain{}
}

// Release gives all slabs back and empties the chain. It may be called again.
func (c *Chain) Release() {
	for _, s := range c.slabs {
		s.Release()
	}
	*c = Chain{}
}
