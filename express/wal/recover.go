package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"

	"millrace/express/producer"
)

// recovery reads a directory. It changes nothing before every file was looked at and found good.
type recovery struct {
	log   *Log
	files map[uint64]*file
	last  position
	empty []*file // hold no group: prepared but never used, or torn at their first group
}

// recover fills an empty Log and returns where it goes on.
func (l *Log) recover(ctx context.Context) (position, error) {
	r := recovery{log: l, files: make(map[uint64]*file)}
	entries, err := l.world.FS.ReadDir(l.cfg.Dir)
	if err != nil {
		return r.last, err
	}
	for _, entry := range entries { // ascending
		seq, ok := parseFileName(entry.Name())
		if !ok {
			continue
		}
		if err := ctx.Err(); err != nil {
			return r.last, err
		}
		if err := r.load(ctx, seq); err != nil {
			return r.last, err
		}
	}
	if err := r.checkLinks(); err != nil {
		return r.last, err
	}
	return r.last, r.settle()
}

// load adds one file.
func (r *recovery) load(ctx context.Context, seq uint64) error {
	l := r.log
	f := &file{path: path.Join(l.cfg.Dir, fileName(seq)), finished: make(chan struct{}), refs: 1}
	f.seq = seq
	r.files[seq] = f
	r.last.file = seq
	handle, err := l.world.FS.OpenFile(f.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	f.handle = handle
	l.openFiles.Add(1)
	l.files = append(l.files, f) // so that it gets closed
	size, err := handle.Size()
	if err != nil {
		return err
	}
	isUsed, err := r.loadHeader(f, size)
	if err == nil {
		err = r.unlock(ctx, f)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	if isUsed {
		err = r.loadFooter(f, size)
		if errors.Is(err, errDamaged) {
			err = r.replay(ctx, f, size)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	if f.firstGroup == 0 {
		r.empty = append(r.empty, f)
		return nil
	}
	r.last.dataFile = seq
	r.last.group = max(r.last.group, f.lastGroup)
	return nil
}

// loadHeader returns false when the file was never used: its header is durable before its first group is written, so a
// file without a header must not have anything else.
func (r *recovery) loadHeader(f *file, size int64) (isUsed bool, err error) {
	b := make([]byte, min(size, fileHeaderBytes))
	if err := readFull(f.handle, b, 0); err != nil {
		return false, err
	}
	h, err := decodeFileHeader(b)
	switch {
	case err == nil && h.isScratch():
		return false, fmt.Errorf("%w: the file is of a log with a replica, and was never synced", ErrInvalid)
	case err == nil && h.seq == f.seq:
		f.fileHeader = h
		return true, nil
	case err == nil:
		return false, &CorruptionError{File: f.path, Err: damaged("header of file number %d", h.seq)}
	case !errors.Is(err, errDamaged):
		return false, err
	}
	if ok, zerr := allZero(f.handle, fileHeaderBytes, size); !ok || zerr != nil {
		return false, errors.Join(zerr, &CorruptionError{File: f.path, Err: err})
	}
	return false, nil
}

// unlock makes an encrypted file readable.
func (r *recovery) unlock(ctx context.Context, f *file) error {
	if err := f.unlock(ctx, r.log.world.Keys); err != nil {
		return err
	}
	if f.aead != nil && f.proof() != f.check {
		return fmt.Errorf("%w: data key %d is another than the one that they were written with", ErrKey, f.key)
	}
	return nil
}

// loadFooter takes a sealed file.
func (r *recovery) loadFooter(f *file, size int64) error {
	ft, parts, err := readFooter(f.handle, &f.fileHeader, size)
	if err != nil {
		return err
	}
	f.end, f.firstGroup, f.lastGroup, f.sealed = ft.dataEnd, ft.firstGroup, ft.lastGroup, true
	for _, part := range parts {
		x := part.extent
		x.File, x.Sealed = f.seq, true
		epochs := x.epochs
		x.epochs = nil
		r.attach(part, f)
		for _, e := range epochs {
			x.stream.epochs = addEpoch(x.stream.epochs, e)
		}
		x.stream.moveEnd(x.End)
	}
	return nil
}

// attach makes an extent the newest of its stream. One that does not begin at the stream's end can only come after Forget:
// what was before is superseded. That holds for a gap, too: the partition was elsewhere meanwhile, and what its producers
// did there is not in this log, so the two parts must not be taken for one.
func (r *recovery) attach(part extentOf, f *file) {
	s, x := r.log.streamLocked(part.partition), part.extent
	if x.Base != s.end {
		r.supersede(s)
	}
	x.stream, x.file = s, f
	s.attach(x)
	f.live += x.Bytes
	f.payload += x.Bytes
}

func (r *recovery) supersede(s *Stream) {
	for _, x := range s.extents {
		x.dropped = true
		x.file.live -= x.Bytes
		x.file.liveExtents--
	}
	s.extents, s.epochs, s.tail = nil, nil, nil
	s.end, s.next = 0, 0
}

func (s *Stream) moveEnd(end int64) { s.end, s.next = end, end }

// replay reads an unsealed file group by group.
func (r *recovery) replay(ctx context.Context, f *file, size int64) error {
	rp := replayer{file: f.handle, header: &f.fileHeader, cipher: f, size: size, pos: fileHeaderBytes}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		g, rows, payload, err := rp.next()
		if err != nil {
			f.end, f.allocated = rp.pos, size
			return r.ending(f, &rp, err)
		}
		if f.firstGroup == 0 {
			f.firstGroup = g.seq
		}
		f.lastGroup, f.chain = g.seq, g.crc
		f.runs += len(rows)
		pos := rp.pos - g.payloadBytes
		for i := range rows {
			r.replayRow(f, &rows[i], pos, payload[:rows[i].bytes], g.time)
			pos += int64(rows[i].bytes + f.overhead())
			payload = payload[rows[i].bytes:]
		}
	}
}

// replayRow does what the committer did for the row.
func (r *recovery) replayRow(f *file, row *row, pos int64, data []byte, timeMs int64) {
	s := r.log.streamLocked(row.partition)
	if row.base != s.end {
		r.supersede(s)
	}
	s.extend(f, row.run(pos), row.epoch, timeMs)
	s.moveEnd(row.last + 1)
	f.payload += int64(row.bytes)
	if s.tail.producers == nil {
		s.tail.producers = &producer.State{}
	}
	applyBatches(s.tail.producers, data)
}

// ending decides what stands where the last whole group of an unsealed file ends. A group is written only after the one
// before it was synced, so at most one group was unsynced in a crash, and nothing can follow that one. Hence:
//   - A valid group further on proves that the bytes here were acknowledged once: corruption.
//   - A header that is valid in itself but does not continue the chain was not torn either: corruption.
//   - Else the bytes here are those of the group that the crash cut off, and go. If it was not torn but acknowledged and
//     damaged later, nothing in this file can tell; the link of the next file may (checkLinks).
func (r *recovery) ending(f *file, rp *replayer, err error) error {
	if !errors.Is(err, errDamaged) {
		return err
	}
	if rp.outOfChain {
		return &CorruptionError{File: f.path, Offset: rp.pos, Err: err}
	}
	later, serr := rp.findGroup()
	switch {
	case serr != nil:
		return serr
	case later > 0:
		err = fmt.Errorf("%w, but a whole group follows at byte %d", err, later)
		return &CorruptionError{File: f.path, Offset: rp.pos, Err: err}
	case rp.isTorn():
		r.log.world.Log.Warn("wal end was torn and is cut off", "file", f.path, "offset", rp.pos, "err", err)
	}
	return nil
}

// checkLinks finds groups that are missing at the end of a file that another one continues. A file that was removed
// since cannot be checked.
func (r *recovery) checkLinks() error {
	for _, f := range r.log.files {
		before := r.files[f.previous]
		if f.firstGroup == 0 || f.previous == 0 || before == nil || before.lastGroup+1 == f.firstGroup {
			continue
		}
		return &CorruptionError{
			File: before.path, Offset: before.end,
			Err: damaged("ends with group %d, but file %d begins with group %d", before.lastGroup, f.seq, f.firstGroup),
		}
	}
	return nil
}

// settle brings the directory into the state that Open promises.
func (r *recovery) settle() error {
	l := r.log
	for _, f := range r.empty {
		l.unlistLocked(f)
		l.doom(f)
		l.release(f)
	}
	for _, f := range slices.Clone(l.files) {
		if f.sealed {
			close(f.finished)
			l.reap(f)
			l.release(f)
			continue
		}
		// If only the process died, the last group may have been read from the page cache without being on the disk.
		// From here on it counts as durable, so it has to be.
		if err := f.handle.Datasync(); err != nil {
			return fmt.Errorf("sync %s: %w", f.path, err)
		}
		if err := l.seal(f); err != nil {
			l.world.Log.Warn("wal file not sealed", "file", f.path, "err", err)
			l.keeper.rolled(f)
		}
	}
	return nil
}

// replayer reads groups in order.
type replayer struct {
	file   io.ReaderAt
	header *fileHeader
	cipher *file // knows how to decrypt
	size   int64
	pos    int64 // of the next group

	seq        uint64 // of the last group; 0: none yet
	chain      uint32
	buf        []byte
	outOfChain bool // the group at pos is whole but not the next one
}

// next returns the next group with its payload, which is valid until the call after. An error that wraps errDamaged says
// why there is none at pos.
func (rp *replayer) next() (g groupHeader, rows []row, payload []byte, err error) {
	fixed, err := rp.read(groupHeaderBytes)
	if err != nil {
		return g, nil, nil, err
	}
	if g, err = decodeGroupHeader(rp.header, fixed); err != nil {
		return g, nil, nil, err
	}
	if g.chain != rp.chain || g.seq == 0 || rp.seq != 0 && g.seq != rp.seq+1 {
		rp.outOfChain = true
		return g, nil, nil, damaged("group %d does not continue group %d", g.seq, rp.seq)
	}
	if g.bytes() > rp.size-rp.pos {
		return g, nil, nil, damaged("group of %d bytes is cut short", g.bytes())
	}
	b, err := rp.read(int(g.bytes()))
	if err != nil {
		return g, nil, nil, err
	}
	if rows, err = decodeRows(rp.header, &g, b[:g.headerBytes()], rp.cipher.overhead()); err != nil {
		return g, nil, nil, err
	}
	if payload, err = rp.decrypt(rows, b[g.headerBytes():], rp.pos+g.headerBytes()); err != nil {
		return g, nil, nil, err
	}
	for i, rest := 0, payload; i < len(rows); i++ {
		if err := rows[i].verify(rest[:rows[i].bytes]); err != nil {
			return g, nil, nil, err
		}
		rest = rest[rows[i].bytes:]
	}
	rp.pos += g.bytes()
	rp.seq, rp.chain = g.seq, g.crc
	return g, rows, payload, nil
}

// decrypt gives the bytes of the rows, one after the other, where what stands at pos in the file may be encrypted. It works in place.
func (rp *replayer) decrypt(rows []row, stored []byte, pos int64) ([]byte, error) {
	if rp.cipher.aead == nil {
		return stored, nil
	}
	n := 0
	for i, rest := 0, stored; i < len(rows); i++ {
		r := &rows[i]
		sealed := rest[:r.bytes+tagBytes]
		if err := rp.cipher.open(sealed, pos, r.partition, r.base, r.last, r.batches); err != nil {
			return nil, err
		}
		n += copy(stored[n:], sealed[:r.bytes])
		rest, pos = rest[len(sealed):], pos+int64(len(sealed))
	}
	return stored[:n], nil
}

// read returns n bytes at pos.
func (rp *replayer) read(n int) ([]byte, error) {
	if int64(n) > rp.size-rp.pos {
		return nil, damaged("file ends")
	}
	if cap(rp.buf) < n {
		rp.buf = make([]byte, n)
	}
	b := rp.buf[:n]
	return b, readFull(rp.file, b, rp.pos)
}

// findGroup looks for a whole group header beyond pos and returns its place, or 0.
func (rp *replayer) findGroup() (int64, error) {
	const window = 1 << 20
	buf := make([]byte, min(window, max(0, rp.size-rp.pos)))
	for at := rp.pos + 1; at <= rp.size-groupHeaderBytes; {
		b := buf[:min(int64(len(buf)), rp.size-at)]
		if err := readFull(rp.file, b, at); err != nil {
			return 0, err
		}
		for i := 0; ; {
			j := bytes.Index(b[i:], []byte(groupMagic))
			if j < 0 || len(b)-i-j < groupHeaderBytes {
				break
			}
			i += j
			if _, err := decodeGroupHeader(rp.header, b[i:]); !errors.Is(err, errDamaged) {
				return at + int64(i), nil // valid, or of a newer version
			}
			i++
		}
		at += int64(max(1, len(b)-groupHeaderBytes+1))
	}
	return 0, nil
}

// isTorn says whether anything but zeroes stands at pos, so that there is something to tell.
func (rp *replayer) isTorn() bool {
	ok, err := allZero(rp.file, rp.pos, min(rp.size, rp.pos+1<<20))
	return err == nil && !ok
}

// allZero says whether the bytes in [from, to) are all zero.
func allZero(f io.ReaderAt, from, to int64) (bool, error) {
	buf := make([]byte, 256<<10)
	for from < to {
		b := buf[:min(int64(len(buf)), to-from)]
		if err := readFull(f, b, from); err != nil {
			return false, err
		}
		if !zeroes(b) {
			return false, nil
		}
		from += int64(len(b))
	}
	return true, nil
}
