package disk

// WritevAt writes buffer by buffer: Darwin has no pwritev in the packages that we use.
func (f *osFile) WritevAt(bufs [][]byte, off int64) (int, error) { return writevLoop(f, bufs, off) }

// WritevSync is WritevAt and Datasync.
func (f *osFile) WritevSync(bufs [][]byte, off int64) error { return writevSync(f, bufs, off) }

// Datasync is F_FULLFSYNC, which is what Sync does on Darwin: there fsync alone leaves bytes in the
// drive's cache.
func (f *osFile) Datasync() error { return f.Sync() }

// Allocate only extends the file.
func (f *osFile) Allocate(off, length int64) error { return f.extend(off + length) }
