package disk

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mem is a file system in memory that knows what has been synced. Make one with NewMem. All names are
// below its one root, which always exists; "/a", "a" and "./a" are the same file.
type Mem struct {
	mu       sync.Mutex // guards all below, and every node
	root     *node
	pending  []dirChange // changes of directories that no SyncDir has made durable yet, in order
	locks    map[*node]bool
	capacity int64 // bytes of file content; 0 is unlimited
	used     int64
}

// node is a file or a directory. Exactly one of entries and content is in use.
type node struct {
	perm    fs.FileMode // with fs.ModeDir for directories
	entries map[string]*node
	synced  map[string]*node // of a directory: the entries that a crash keeps for certain
	content content
	links   int // names plus open handles; at zero the content's bytes are free again
}

// dirChange is one step that a crash keeps whole or not at all: a create, remove, link or rename.
type dirChange []entryChange

type entryChange struct {
	dir  *node
	name string
	node *node // nil: the name is gone
}

// NewMem returns an empty file system without a capacity limit.
func NewMem() *Mem {
	return &Mem{root: newDir(dirPerm), locks: make(map[*node]bool)}
}

func newDir(perm fs.FileMode) *node {
	return &node{perm: perm.Perm() | fs.ModeDir, entries: make(map[string]*node), synced: make(map[string]*node)}
}

// SetCapacity limits the bytes of all files together; writes beyond it fail as on a full disk, after
// writing what fits. Zero removes the limit. What is already stored stays.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

// Used returns the bytes of all files that have a name or are open.
func (m *Mem) Used() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// OpenFile implements FS.
func (m *Mem) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if err := checkFlag(name, flag); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, n, err := m.walkLocked(name)
	writes := flag&(os.O_WRONLY|os.O_RDWR) != 0
	switch {
	case err != nil:
	case n == nil && flag&os.O_CREATE == 0:
		err = fs.ErrNotExist
	case n == nil:
		n = &node{perm: perm.Perm()}
		m.changeLocked(entryChange{dir, base, n})
	case flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		err = fs.ErrExist
	case n.isDir():
		err = syscall.EISDIR
	case writes && flag&os.O_TRUNC != 0:
		err = m.resizeLocked(n, 0)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	n.links++
	return &memFile{fs: m, node: n, name: name, reads: flag&os.O_WRONLY == 0, writes: writes}, nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, n, err := m.walkLocked(name)
	switch {
	case err != nil:
	case n == nil:
		err = fs.ErrNotExist
	case n == m.root:
		err = syscall.EBUSY
	case len(n.entries) > 0:
		err = syscall.ENOTEMPTY
	}
	if err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	m.changeLocked(entryChange{dir, base, nil})
	return nil
}

// Rename implements FS.
func (m *Mem) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	oldDir, oldBase, n, err := m.walkLocked(oldName)
	var newDir, target *node
	var newBase string
	if err == nil {
		newDir, newBase, target, err = m.walkLocked(newName)
	}
	switch {
	case err != nil:
	case n == nil:
		err = fs.ErrNotExist
	case n == m.root || target == m.root:
		err = syscall.EBUSY
	case n == target:
		return nil
	case target != nil && target.isDir() && !n.isDir():
		err = syscall.EISDIR
	case target != nil && !target.isDir() && n.isDir():
		err = syscall.ENOTDIR
	case target != nil && len(target.entries) > 0:
		err = syscall.ENOTEMPTY
	case n.contains(newDir):
		err = syscall.EINVAL
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: oldName, New: newName, Err: err}
	}
	m.changeLocked(entryChange{newDir, newBase, n}, entryChange{oldDir, oldBase, nil})
	return nil
}

// Link implements FS.
func (m *Mem) Link(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, _, n, err := m.walkLocked(oldName)
	var dir, target *node
	var base string
	if err == nil {
		dir, base, target, err = m.walkLocked(newName)
	}
	switch {
	case err != nil:
	case n == nil:
		err = fs.ErrNotExist
	case n.isDir():
		err = syscall.EPERM
	case target != nil:
		err = fs.ErrExist
	}
	if err != nil {
		return &os.LinkError{Op: "link", Old: oldName, New: newName, Err: err}
	}
	m.changeLocked(entryChange{dir, base, n})
	return nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(name string, perm fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.root
	for _, part := range splitName(name) {
		next := at.entries[part]
		if next == nil {
			next = newDir(perm)
			m.changeLocked(entryChange{at, part, next})
			m.syncDirLocked(at)
		}
		if !next.isDir() {
			return &fs.PathError{Op: "mkdir", Path: name, Err: syscall.ENOTDIR}
		}
		at = next
	}
	return nil
}

// ReadDir implements FS.
func (m *Mem) ReadDir(name string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.dirLocked("readdir", name)
	if err != nil {
		return nil, err
	}
	entries := make([]fs.DirEntry, 0, len(n.entries))
	for _, base := range slices.Sorted(maps.Keys(n.entries)) {
		entries = append(entries, fs.FileInfoToDirEntry(n.entries[base].info(base)))
	}
	return entries, nil
}

// Stat implements FS. The time of change is always zero.
func (m *Mem) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, base, n, err := m.walkLocked(name)
	if err == nil && n == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return n.info(base), nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.dirLocked("syncdir", name)
	if err != nil {
		return err
	}
	m.syncDirLocked(n)
	return nil
}

// Lock implements FS. Locks belong to files, not to names, as the kernel's do, so a lock file that was replaced can be locked again.
func (m *Mem) Lock(name string) (io.Closer, error) {
	f, err := m.OpenFile(name, os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	mf := f.(*memFile)
	if m.locks[mf.node] {
		m.closeLocked(mf)
		return nil, fmt.Errorf("%s: %w by process %d", name, ErrLocked, os.Getpid())
	}
	m.locks[mf.node] = true
	return memLock{mf}, nil
}

// Free implements FS. Without a capacity it is 1 TiB.
func (m *Mem) Free(name string) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, _, n, err := m.walkLocked(name); err != nil || n == nil {
		return 0, &fs.PathError{Op: "statfs", Path: name, Err: cmp.Or(err, error(fs.ErrNotExist))}
	}
	if m.capacity == 0 {
		return 1 << 40, nil
	}
	return uint64(max(0, m.capacity-m.used)), nil
}

// ReadFile implements FS.
func (m *Mem) ReadFile(name string) ([]byte, error) { return readFile(m, name) }

// WriteFileAtomic implements FS.
func (m *Mem) WriteFileAtomic(name string, data []byte) error { return writeFileAtomic(m, name, data) }

// walkLocked finds the directory and last name of a path, and what stands there, nil when nothing does.
// For the root it returns a nil dir.
func (m *Mem) walkLocked(name string) (dir *node, base string, n *node, err error) {
	n = m.root
	for _, part := range splitName(name) {
		switch {
		case n == nil:
			return nil, "", nil, fs.ErrNotExist
		case !n.isDir():
			return nil, "", nil, syscall.ENOTDIR
		}
		dir, base, n = n, part, n.entries[part]
	}
	return dir, base, n, nil
}

func (m *Mem) dirLocked(op, name string) (*node, error) {
	_, _, n, err := m.walkLocked(name)
	switch {
	case err != nil:
	case n == nil:
		err = fs.ErrNotExist
	case !n.isDir():
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return n, nil
}

// changeLocked makes changes of directory entries that a crash keeps or loses together.
func (m *Mem) changeLocked(changes ...entryChange) {
	for _, c := range changes {
		if old := c.dir.entries[c.name]; old != nil {
			m.unlinkLocked(old)
		}
		if c.node == nil {
			delete(c.dir.entries, c.name)
			continue
		}
		c.dir.entries[c.name] = c.node
		c.node.links++
	}
	m.pending = append(m.pending, changes)
}

// syncDirLocked makes the pending changes of one directory durable, and with them every change that
// came before in a directory that they share.
func (m *Mem) syncDirLocked(dir *node) {
	durable := make([]bool, len(m.pending))
	dirs := map[*node]bool{dir: true}
	for i, change := range slices.Backward(m.pending) {
		if durable[i] = change.touches(dirs); durable[i] {
			change.addDirs(dirs)
		}
	}
	var left []dirChange
	for i, change := range m.pending {
		if !durable[i] {
			left = append(left, change)
			continue
		}
		for _, c := range change {
			if c.node == nil {
				delete(c.dir.synced, c.name)
			} else {
				c.dir.synced[c.name] = c.node
			}
		}
	}
	m.pending = left
}

// unlinkLocked drops one name or handle of a node.
func (m *Mem) unlinkLocked(n *node) {
	if n.links--; n.links == 0 {
		m.used -= int64(len(n.content.data))
	}
}

func (c dirChange) touches(dirs map[*node]bool) bool {
	return slices.ContainsFunc(c, func(e entryChange) bool { return dirs[e.dir] })
}

func (c dirChange) addDirs(dirs map[*node]bool) {
	for _, e := range c {
		dirs[e.dir] = true
	}
}

func (n *node) isDir() bool { return n.perm.IsDir() }

// contains says whether n is dir or one of the directories above it.
func (n *node) contains(dir *node) bool {
	if n == dir {
		return true
	}
	for _, e := range n.entries {
		if e.isDir() && e.contains(dir) {
			return true
		}
	}
	return false
}

func (n *node) info(base string) fs.FileInfo {
	if base == "" {
		base = "."
	}
	return memInfo{name: base, mode: n.perm, size: int64(len(n.content.data))}
}

// splitName returns the parts of a name below the root; ".." at the root stays there.
func splitName(name string) []string {
	clean := path.Clean("/" + name)
	if clean == "/" {
		return nil
	}
	return strings.Split(clean[1:], "/")
}

// memInfo describes a node as it was. Mem keeps no times.
type memInfo struct {
	name string
	mode fs.FileMode
	size int64
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return i.mode }
func (i memInfo) ModTime() time.Time { return time.Time{} }
func (i memInfo) IsDir() bool        { return i.mode.IsDir() }
func (i memInfo) Sys() any           { return nil }
