package wal

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"millrace/base/disk"
	"millrace/express/producer"
)

// maxFileRuns bounds the index of the active file, which is in memory, to a few MiB: many tiny groups roll it early.
const maxFileRuns = 1 << 17

// committer is the one goroutine that writes groups. Nothing of it is shared but what the active file's publish shows.
// The slices are reused from group to group.
type committer struct {
	log      *Log
	active   *file
	groupSeq uint64 // of the last durable group
	timeMs   int64  // of the group under way
	full     bool   // the device was full at the last attempt; said in the log once
	dead     bool   // the log failed: nothing is written any more

	work  []*Entry // taken from the queue, not yet done, nor in flight
	slots []slot
	rows  []streamRow
	head  []byte
	bufs  [][]byte

	sealed []byte // encrypted runs of the group under way
	stored int64  // bytes of the group's runs in the file

	gather uint64 // number of the group under way, see slot

	air air // only with a Replica
}

// slot strings together the entries of one stream in the group under way. Stream.slot and Stream.gather, which only the
// committer touches, find it without a map.
type slot struct{ first, last *Entry }

// streamRow is a row of the group under way.
type streamRow struct {
	row
	stream *Stream
}

// run commits groups until the queue is closed and empty. There is no delay to gather more: while one group is being
// synced the next one gathers by itself. Waiting a moment for those just answered to come back was tried: groups grew by
// a third, and neither throughput nor CPU changed.
func (c *committer) run() {
	q := &c.log.queue
	for {
		work, rolls, open := q.take(c.work)
		c.work = work
		for _, answer := range rolls {
			answer <- c.roll()
		}
		switch {
		case len(c.work) > 0:
			c.commit()
			// Those who write the answers just given wait behind this goroutine. Letting them go first costs microseconds;
			// if it went straight into the next sync the scheduler would take the processor away from under it, which
			// costs more than the answers do (a tenth of the CPU for a GB in small groups, measured).
			runtime.Gosched()
		case len(rolls) > 0:
		case !open:
			return
		default:
			<-q.kick
		}
	}
}

// commit makes one group of the front of work durable and tells its entries, or refuses all that is queued.
func (c *committer) commit() {
	n, payload := c.groupLen()
	group := c.work[:n]
	err := c.write(group, payload)
	clear(c.bufs)
	if err != nil {
		c.refuse(err)
		return
	}
	c.publish(&written{
		entries: group, rows: c.rows, file: c.active, pos: c.active.end - c.stored, payload: payload, timeMs: c.timeMs,
	})
	for _, e := range group {
		e.Done(nil)
	}
	c.taken(n)
	c.log.queue.release(payload)
}

// taken drops the front of work, which was written.
func (c *committer) taken(n int) {
	left := copy(c.work, c.work[n:])
	clear(c.work[left:])
	c.work = c.work[:left]
	if c.full {
		c.full = false
		c.log.world.Log.Info("wal has room again")
	}
}

// groupLen is how many entries of work fit a group, and their bytes.
func (c *committer) groupLen() (n int, payload int64) {
	for n < len(c.work) {
		size := int64(len(c.work[n].Data))
		if n > 0 && payload+size > int64(c.log.cfg.GroupBytes) {
			break
		}
		n++
		payload += size
	}
	return n, payload
}

// refuse fails everything that is queued; with ErrFailed that is the end of the log.
func (c *committer) refuse(err error) {
	var fatal error
	if errors.Is(err, ErrFailed) {
		fatal = err
		c.dead = true
		c.log.world.Log.Error("wal failed", "err", err)
	} else if !c.full {
		c.full = true
		c.log.world.Log.Error("wal has no room", "err", err)
	}
	c.work = c.log.queue.pause(c.work, fatal)
	if fatal != nil {
		close(c.log.failed)
	}
	bytes := int64(0)
	for _, e := range c.work {
		bytes += int64(len(e.Data))
		e.Done(err)
	}
	clear(c.work)
	c.work = c.work[:0]
	c.log.queue.release(bytes)
}

// write puts a group down and syncs it: then it is durable. On an error nothing of the group is in the file, unless the
// error matches ErrFailed.
func (c *committer) write(group []*Entry, payload int64) error {
	c.arrange(group)
	c.timeMs = c.log.world.Clock.Now().UnixMilli()
	head := groupHeader{rows: len(c.rows), payloadBytes: payload, time: c.timeMs}
	c.stored = payload
	if c.log.world.Keys != nil {
		c.stored += int64(len(c.rows)) * tagBytes
	}
	if c.log.world.Replica == nil {
		head.payloadBytes = c.stored // the header that a Replica gets speaks of what it gets
	}
	size := head.headerBytes() + c.stored
	if err := c.reserve(size); err != nil {
		return err
	}
	f := c.active
	head.seq, head.chain = c.groupSeq+1, f.chain
	c.encode(&head, f)
	if err := f.handle.WritevSync(c.encrypt(f, f.end+head.headerBytes()), f.end); err != nil {
		return c.cutBack(fmt.Errorf("write group: %w", err))
	}
	c.groupSeq = head.seq
	if f.firstGroup == 0 {
		f.firstGroup = head.seq
	}
	f.lastGroup, f.chain = head.seq, head.crc
	f.end += size
	f.runs += head.rows
	return nil
}

// sealedMost is up to how many bytes the buffer of encrypted runs is kept for the next group.
const sealedMost = 8 << 20

// encrypt gives what is written of the group: bufs as they are, or the header and the encrypted runs, which begin at pos.
func (c *committer) encrypt(f *file, pos int64) [][]byte {
	if f.aead == nil {
		return c.bufs
	}
	if cap(c.sealed) > sealedMost {
		c.sealed = nil
	}
	b := slices.Grow(c.sealed[:0], int(c.stored))
	data, at := c.bufs[1:], 0 // at is how much of the first buffer is taken
	var pieces [][]byte
	for i := range c.rows {
		r := &c.rows[i]
		pieces = pieces[:0]
		for lack := r.bytes; lack > 0; {
			piece := data[0][at:min(at+lack, len(data[0]))]
			pieces = append(pieces, piece)
			lack -= len(piece)
			if at += len(piece); at == len(data[0]) {
				data, at = data[1:], 0
			}
		}
		b = f.seal(b, pos+int64(len(b)), &r.row, pieces)
	}
	c.sealed = b
	return [][]byte{c.bufs[0], b}
}

// arrange fills rows and bufs: the entries by stream, so that what belongs together lies together.
func (c *committer) arrange(group []*Entry) {
	c.gather++
	c.slots, c.rows = c.slots[:0], c.rows[:0]
	for _, e := range group {
		s := e.stream
		e.next = nil
		if s.gather != c.gather {
			s.gather, s.slot = c.gather, len(c.slots)
			c.slots = append(c.slots, slot{first: e, last: e})
			continue
		}
		at := &c.slots[s.slot]
		at.last.next = e
		at.last = e
	}
	c.bufs = append(c.bufs[:0], nil) // the header's place
	for _, at := range c.slots {
		for e := at.first; e != nil; e = e.next {
			c.bufs = append(c.bufs, e.Data)
			e.eachRun(func(r row) { c.addRow(e.stream, r) })
		}
	}
	clear(c.slots)
}

// addRow adds a piece to the row before if the two are one run.
func (c *committer) addRow(s *Stream, r row) {
	if n := len(c.rows); n > 0 && c.rows[n-1].stream == s && c.rows[n-1].joins(&r) {
		return
	}
	c.rows = append(c.rows, streamRow{row: r, stream: s})
}

// joins appends next if it continues r and both are small enough to share a row.
func (r *row) joins(next *row) bool {
	if r.last+1 != next.base || r.epoch != next.epoch || r.bytes+next.bytes > runBytes {
		return false
	}
	r.last = next.last
	r.maxTimestamp = max(r.maxTimestamp, next.maxTimestamp)
	r.bytes += next.bytes
	r.batches += next.batches
	return true
}

// encode builds the group's header in the reused buffer.
func (c *committer) encode(head *groupHeader, f *file) {
	if cap(c.head) < groupHeaderBytes {
		c.head = make([]byte, groupHeaderBytes, 4096)
	}
	b := c.head[:groupHeaderBytes]
	for i := range c.rows {
		b = c.rows[i].appendTo(b)
	}
	head.seal(&f.fileHeader, b)
	c.head, c.bufs[0] = b, b
}

// reserve makes sure that the active file has room for a group, rolling to the next file when it is full.
func (c *committer) reserve(bytes int64) error {
	if f := c.active; f != nil && f.runs > 0 && (f.end+bytes > c.log.cfg.FileSize || f.runs+len(c.rows) > maxFileRuns) {
		c.roll()
	}
	if c.active == nil {
		if err := c.activate(); err != nil {
			return err
		}
	}
	f := c.active
	lack := f.end + bytes - f.allocated
	if lack <= 0 {
		return nil
	}
	err := f.handle.Allocate(f.allocated, max(lack, allocateBytes))
	switch {
	case err == nil:
		f.allocated += max(lack, allocateBytes)
		return nil
	case disk.IsNoSpace(err):
		return nil // the write itself will tell whether what is left is enough
	}
	return fmt.Errorf("%w: allocate: %w", ErrFailed, err)
}

// cutBack takes a failed group out of the file again. Only a full device can be helped: after any other failed write or
// sync nothing is known about the bytes, and asking again may get a wrong yes.
func (c *committer) cutBack(cause error) error {
	if !disk.IsNoSpace(cause) {
		return fmt.Errorf("%w: %w", ErrFailed, cause)
	}
	f := c.active
	if err := f.handle.Truncate(f.end); err != nil {
		return fmt.Errorf("%w: cut back: %w", ErrFailed, errors.Join(err, cause))
	}
	if err := f.handle.Sync(); err != nil {
		return fmt.Errorf("%w: cut back: %w", ErrFailed, errors.Join(err, cause))
	}
	f.allocated = f.end
	c.leave(f)
	return fmt.Errorf("%w: %w", ErrNoSpace, cause)
}

// leave ends a file whose last write failed, if it is encrypted: another group at the same place would be encrypted with the same nonce.
func (c *committer) leave(f *file) {
	if f.aead == nil || c.roll() != nil {
		return
	}
	l := c.log
	c.active = nil
	l.index.Lock()
	l.unlistLocked(f)
	l.index.Unlock()
	l.doom(f)
	l.release(f)
}

// activate takes the file that the preparer has ready.
func (c *committer) activate() error {
	next := <-c.log.ready
	if next.err != nil {
		next = <-c.log.ready // the failure may be an old one
	}
	switch {
	case next.err == nil:
	case disk.IsNoSpace(next.err):
		return fmt.Errorf("%w: %w", ErrNoSpace, next.err)
	default:
		return fmt.Errorf("%w: %w", ErrFailed, next.err)
	}
	c.active = next.file
	c.active.base = c.groupSeq + 1
	l := c.log
	l.openFiles.Add(1)
	l.index.Lock()
	l.files = append(l.files, c.active)
	l.index.Unlock()
	return nil
}

// roll ends the active file, if it holds data, so that the keeper seals it, and returns it, or nil.
func (c *committer) roll() *file {
	f := c.active
	if f == nil || f.runs == 0 || c.dead {
		return nil
	}
	c.active = nil
	f.rolled = true
	c.sealIfComplete(f)
	return f
}

// sealIfComplete hands a rolled file to the keeper when readers see all of it.
func (c *committer) sealIfComplete(f *file) {
	switch {
	case !f.rolled || f.inFlight > 0:
	case c.dead:
		c.log.release(f)
	default:
		c.log.keeper.rolled(f)
	}
}

// retire ends the active file at the end of the log. An empty one is removed by the next Open; that of a failed log is
// left as it is.
func (c *committer) retire() {
	if c.active != nil && c.roll() == nil {
		c.log.release(c.active)
	}
}

// written is a group that is in its file.
type written struct {
	entries []*Entry
	rows    []streamRow
	file    *file
	pos     int64 // of the payload in file
	payload int64 // bytes
	timeMs  int64
}

// publish lets readers see the group, whole.
func (c *committer) publish(w *written) {
	l, f, pos := c.log, w.file, w.pos
	l.index.Lock()
	f.payload += w.payload
	f.groups++
	for i := range w.rows {
		r := &w.rows[i]
		if !r.stream.isForgotten {
			r.stream.extend(f, r.run(pos), r.epoch, w.timeMs)
		}
		pos += int64(r.bytes + f.overhead())
	}
	l.index.Unlock()

	l.producers.Lock()
	for _, e := range w.entries {
		if x := e.stream.tail; e.idempotent && x != nil && x.file == f {
			if x.producers == nil {
				x.producers = &producer.State{}
			}
			applyBatches(x.producers, e.Data)
		}
	}
	l.producers.Unlock()
}

func (r *row) run(pos int64) run {
	return run{
		base: r.base, last: r.last, pos: pos,
		maxTimestamp: r.maxTimestamp, bytes: int32(r.bytes), batches: int32(r.batches),
	}
}
