package disk

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// CrashClone returns a file system with what a crash of the machine at this moment may leave: all that
// D1 to D3 promise, and of the rest what rng chooses. The same state and the same seed give the same
// clone. In the clone nothing is open or locked, everything is durable, and the capacity is m's; m itself
// goes on unchanged.
func (m *Mem) CrashClone(rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	survivor := crash{
		rng:     rng,
		kept:    m.keptLocked(rng),
		cloned:  make(map[*node]*node),
		content: make(map[*node]bool),
	}
	clone := NewMem()
	clone.capacity = m.capacity
	clone.root = survivor.clone(m.root)
	for n := range survivor.content {
		clone.used += int64(len(n.content.data))
	}
	return clone
}

// keptLocked decides which pending directory changes survive, and returns for each directory that has
// some its entries after the crash. Within a directory changes survive in order: once one is lost, so
// are all later ones of every directory that it touches.
func (m *Mem) keptLocked(rng *rand.Rand) map[*node]map[string]*node {
	kept := make(map[*node]map[string]*node)
	lost := make(map[*node]bool)
	for _, change := range m.pending {
		if change.touches(lost) || rng.IntN(3) == 0 {
			change.addDirs(lost)
			continue
		}
		for _, c := range change {
			if kept[c.dir] == nil {
				kept[c.dir] = maps.Clone(c.dir.synced)
			}
			if c.node == nil {
				delete(kept[c.dir], c.name)
			} else {
				kept[c.dir][c.name] = c.node
			}
		}
	}
	return kept
}

// crash builds the surviving tree.
type crash struct {
	rng     *rand.Rand
	kept    map[*node]map[string]*node
	cloned  map[*node]*node // so that links to one file stay links
	content map[*node]bool  // the cloned files
}

func (c *crash) clone(n *node) *node {
	if done := c.cloned[n]; done != nil {
		done.links++
		return done
	}
	if !n.isDir() {
		file := &node{perm: n.perm, links: 1}
		file.content.data = n.content.crash(c.rng)
		file.content.sync()
		c.cloned[n] = file
		c.content[file] = true
		return file
	}
	dir := newDir(n.perm)
	dir.links = 1
	c.cloned[n] = dir
	entries, changed := c.kept[n]
	if !changed {
		entries = n.synced
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		dir.entries[name] = c.clone(entries[name])
	}
	dir.synced = maps.Clone(dir.entries)
	return dir
}

// crash returns the bytes that survive: every synced sector, and of each sector that changed since either
// the old or the new state; likewise the old or the new size, or while growing any size between.
func (c *content) crash(rng *rand.Rand) []byte {
	size := c.syncedSize
	if now := int64(len(c.data)); now != size {
		switch rng.IntN(3) {
		case 0:
			size = now
		case 1:
			size = min(size, now) + rng.Int64N(max(1, now-size))
		}
	}
	data := make([]byte, size)
	copy(data, c.data)
	for _, s := range slices.Sorted(maps.Keys(c.undo)) {
		start := s * sectorSize
		if start >= size {
			break
		}
		isCut := start >= int64(len(c.data)) // the new state of this sector is to be gone, yet it is kept
		if rng.IntN(2) == 0 || isCut {
			sector := data[start:min(start+sectorSize, size)]
			clear(sector)
			copy(sector, c.undo[s])
		}
	}
	return data
}

// KillClone returns a file system with what a kill of all its processes leaves: everything as it is, what was not synced
// too, and that not yet durable. In the clone nothing is open or locked, and the capacity is m's; m itself goes on
// unchanged.
func (m *Mem) KillClone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := killed{clone: NewMem(), nodes: map[*node]*node{}}
	k.clone.capacity = m.capacity
	k.clone.root = k.node(m.root)
	for _, change := range m.pending {
		var copied dirChange
		for _, c := range change {
			copied = append(copied, entryChange{k.node(c.dir), c.name, k.node(c.node)})
		}
		k.clone.pending = append(k.clone.pending, copied)
	}
	for _, n := range k.nodes {
		if n.links > 0 {
			k.clone.used += int64(len(n.content.data))
		}
	}
	return k.clone
}

// killed copies a tree, each node once.
type killed struct {
	clone *Mem
	nodes map[*node]*node
}

// node copies what has a name, or would have one again after a crash. Only names count as links.
func (k *killed) node(n *node) *node {
	if n == nil {
		return nil
	}
	if done := k.nodes[n]; done != nil {
		return done
	}
	c := &node{perm: n.perm}
	k.nodes[n] = c
	if !n.isDir() {
		c.content = content{data: slices.Clone(n.content.data), syncedSize: n.content.syncedSize, undo: maps.Clone(n.content.undo)}
		return c
	}
	c.entries, c.synced = make(map[string]*node, len(n.entries)), make(map[string]*node, len(n.synced))
	for name, e := range n.entries {
		c.entries[name] = k.node(e)
		c.entries[name].links++
	}
	for name, e := range n.synced {
		c.synced[name] = k.node(e)
	}
	return c
}
