package disk

import (
	"io"
	"io/fs"
	"syscall"
)

// sectorSize is the unit that a disk writes whole or not at all.
const sectorSize = 512

// content is the bytes of a file in memory with what is needed to take the unsynced part back.
type content struct {
	data       []byte
	syncedSize int64
	// undo holds what each sector that changed since the last sync held at that sync: up to
	// sectorSize bytes, none for a sector beyond syncedSize.
	undo map[int64][]byte
}

// touch remembers the sectors of [from, to) as they are, once between two syncs.
func (c *content) touch(from, to int64) {
	if from >= to {
		return
	}
	if c.undo == nil {
		c.undo = make(map[int64][]byte)
	}
	for s := from / sectorSize; s <= (to-1)/sectorSize; s++ {
		if _, ok := c.undo[s]; ok {
			continue
		}
		start := min(s*sectorSize, c.syncedSize, int64(len(c.data)))
		end := min((s+1)*sectorSize, c.syncedSize, int64(len(c.data)))
		c.undo[s] = append([]byte(nil), c.data[start:end]...)
	}
}

// resize cuts the content or extends it with zeros.
func (c *content) resize(size int64) {
	old := int64(len(c.data))
	if size <= old {
		c.touch(size, old) // growing needs none: what is read there is zero before and after
		clear(c.data[size:])
		c.data = c.data[:size]
		return
	}
	c.data = append(c.data, make([]byte, size-old)...)
}

func (c *content) sync() {
	c.syncedSize = int64(len(c.data))
	c.undo = nil
}

// memFile is an open file of a Mem.
type memFile struct {
	fs            *Mem
	node          *node
	name          string
	reads, writes bool
	closed        bool // guarded by fs.mu
}

func (f *memFile) Name() string { return f.name }

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.checkLocked("read", f.reads, off); err != nil {
		return 0, err
	}
	data := f.node.content.data
	if off >= int64(len(data)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.checkLocked("write", f.writes, off); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	c := &f.node.content
	end := off + int64(len(p))
	var full error
	if size := int64(len(c.data)); end > size {
		if full = f.fs.resizeLocked(f.node, end); full != nil {
			end = size + f.fs.roomLocked()
			p = p[:max(0, end-off)]
			if err := f.fs.resizeLocked(f.node, max(size, off+int64(len(p)))); err != nil || len(p) == 0 {
				return 0, f.fail("write", full)
			}
		}
	}
	c.touch(off, off+int64(len(p)))
	n := copy(c.data[off:], p)
	if full != nil {
		return n, f.fail("write", full)
	}
	return n, nil
}

func (f *memFile) WritevSync(bufs [][]byte, off int64) error { return writevSync(f, bufs, off) }

func (f *memFile) WritevAt(bufs [][]byte, off int64) (int, error) { return writevLoop(f, bufs, off) }

func (f *memFile) Datasync() error { return f.Sync() }

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.checkLocked("sync", true, 0); err != nil {
		return err
	}
	f.node.content.sync()
	return nil
}

func (f *memFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.checkLocked("truncate", f.writes, size); err != nil {
		return err
	}
	return f.fail("truncate", f.fs.resizeLocked(f.node, size))
}

func (f *memFile) Allocate(off, length int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.checkLocked("fallocate", f.writes && length > 0, off); err != nil {
		return err
	}
	size := max(int64(len(f.node.content.data)), off+length)
	return f.fail("fallocate", f.fs.resizeLocked(f.node, size))
}

func (f *memFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.checkLocked("stat", true, 0); err != nil {
		return 0, err
	}
	return int64(len(f.node.content.data)), nil
}

func (f *memFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.checkLocked("close", true, 0); err != nil {
		return err
	}
	f.fs.closeLocked(f)
	return nil
}

// checkLocked refuses what the handle cannot do.
func (f *memFile) checkLocked(op string, allowed bool, off int64) error {
	switch {
	case f.closed:
		return f.fail(op, fs.ErrClosed)
	case !allowed && (op == "read" || op == "write"):
		return f.fail(op, syscall.EBADF)
	case !allowed || off < 0:
		return f.fail(op, syscall.EINVAL)
	}
	return nil
}

// fail adds operation and name to an error; nil stays nil.
func (f *memFile) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

func (m *Mem) closeLocked(f *memFile) {
	f.closed = true
	m.unlinkLocked(f.node)
}

// resizeLocked changes a file's size within the capacity.
func (m *Mem) resizeLocked(n *node, size int64) error {
	grow := size - int64(len(n.content.data))
	if grow > 0 && grow > m.roomLocked() {
		return syscall.ENOSPC
	}
	n.content.resize(size)
	m.used += grow
	return nil
}

func (m *Mem) roomLocked() int64 {
	if m.capacity == 0 {
		return 1 << 40
	}
	return max(0, m.capacity-m.used)
}

// memLock releases the lock of a file when it is closed.
type memLock struct{ f *memFile }

func (l memLock) Close() error {
	l.f.fs.mu.Lock()
	defer l.f.fs.mu.Unlock()
	if l.f.closed {
		return l.f.fail("close", fs.ErrClosed)
	}
	delete(l.f.fs.locks, l.f.node)
	l.f.fs.closeLocked(l.f)
	return nil
}
