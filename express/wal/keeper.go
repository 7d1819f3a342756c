package wal

import (
	"errors"
	"fmt"
	"sync"

	"millrace/base/disk"
)

// position is where the log goes on.
type position struct {
	file     uint64 // highest file number in the directory
	dataFile uint64 // newest file that holds groups; 0: none
	group    uint64 // last durable group
}

// prepared is a file that is ready to become active, or why there is none.
type prepared struct {
	file *file
	err  error
}

// prepare is the goroutine that always has one file ready, so that rolling does not wait for the disk.
func (l *Log) prepare(last position) {
	for {
		var next prepared
		next.file, next.err = l.createFile(last.file+1, last.dataFile)
		select {
		case l.ready <- next:
		case <-l.stopping:
			if next.file != nil {
				l.discard(next.file)
			}
			return
		}
		if next.err == nil {
			last.file++
			last.dataFile = last.file
		}
	}
}

// discard removes a prepared file that never became active.
func (l *Log) discard(f *file) {
	if err := f.handle.Close(); err != nil {
		l.world.Log.Warn("wal file not closed", "file", f.path, "err", err)
	}
	l.remove(f)
}

// keeper is the goroutine that seals rolled files and removes those that nobody needs, off the way of appends.
type keeper struct {
	log  *Log
	kick chan struct{}

	mu       sync.Mutex
	unsealed []*file // rolled, oldest first
	dead     []*file // to be removed; nobody uses them
	stopped  bool
}

func (k *keeper) init(l *Log) {
	k.log = l
	k.kick = make(chan struct{}, 1)
}

func (k *keeper) wake() {
	select {
	case k.kick <- struct{}{}:
	default:
	}
}

// rolled takes a complete file for sealing.
func (k *keeper) rolled(f *file) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unsealed = append(k.unsealed, f)
	k.wake()
}

// bury takes a file for removal.
func (k *keeper) bury(f *file) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dead = append(k.dead, f)
	k.wake()
}

// stop lets run end when its work is done.
func (k *keeper) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	k.wake()
}

func (k *keeper) run() {
	for {
		k.mu.Lock()
		unsealed, dead, stopped := k.unsealed, k.dead, k.stopped
		k.unsealed, k.dead = nil, nil
		k.mu.Unlock()
		for _, f := range dead {
			k.log.remove(f)
		}
		for i, f := range unsealed {
			if err := k.log.seal(f); err != nil {
				k.sealFailed(unsealed[i:], err, stopped)
				break
			}
		}
		if stopped && len(unsealed)+len(dead) == 0 {
			return
		}
		if !stopped {
			<-k.kick
		}
	}
}

// sealFailed keeps files for a later attempt, which the next wake brings: another rolled or removed file. They stay
// readable by the index in memory, and the next Open replays them if they are still unsealed by then, so nothing is
// lost and the log goes on: whether the disk is broken or only full, the committer finds out by its own writes.
func (k *keeper) sealFailed(files []*file, err error, last bool) {
	k.log.world.Log.Warn("wal file not sealed", "file", files[0].path, "err", err)
	if last {
		for _, f := range files {
			k.log.release(f)
		}
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unsealed = append(files, k.unsealed...)
}

// seal gives a rolled file its footer and drops its index from memory. A file without live data is removed instead.
func (l *Log) seal(f *file) error {
	l.index.Lock()
	ft := &footer{dataEnd: f.end, firstGroup: f.firstGroup, lastGroup: f.lastGroup}
	for _, x := range f.extents {
		if !x.dropped {
			ft.extents = append(ft.extents, x)
		}
	}
	if len(ft.extents) == 0 {
		l.unlistLocked(f)
	}
	l.index.Unlock()
	if len(ft.extents) > 0 {
		if err := l.writeSeal(f, ft); err != nil {
			return err
		}
	} else {
		l.doom(f)
	}
	close(f.finished)
	l.release(f)
	return nil
}

func (l *Log) writeSeal(f *file, ft *footer) error {
	snapshots := make([][]byte, len(ft.extents))
	for i, x := range ft.extents {
		if x.producers != nil {
			snapshots[i] = x.producers.AppendTo(nil)
		}
	}
	blocks := encodeFooter(&f.fileHeader, ft, snapshots)
	if err := writeFooter(f.handle, ft); err != nil {
		err = fmt.Errorf("seal %s: %w", f.path, err)
		if !disk.IsNoSpace(err) {
			return err
		}
		// Give the space beyond the groups back: that may be what is missing.
		return errors.Join(err, f.handle.Truncate(f.end))
	}
	l.index.Lock()
	f.sealed = true
	for i, x := range ft.extents {
		x.Sealed = true
		x.runsAt, x.producersAt = blocks[i][0], blocks[i][1]
		x.runs, x.producers, x.epochs = nil, nil, nil
	}
	l.index.Unlock()
	l.reap(f)
	l.world.Log.Info("wal file sealed", "file", f.path, "bytes", f.end, "streams", len(ft.extents))
	select {
	case l.sealed <- struct{}{}:
	default:
	}
	return nil
}

// reap dooms a sealed file that has lost its last live extent.
func (l *Log) reap(f *file) {
	l.index.Lock()
	dead := f.sealed && f.liveExtents == 0 && l.unlistLocked(f)
	l.index.Unlock()
	if dead {
		l.doom(f)
	}
}

// unlistLocked takes a file out of the list; false when it is gone already.
func (l *Log) unlistLocked(f *file) bool {
	for i, other := range l.files {
		if other == f {
			l.files = append(l.files[:i:i], l.files[i+1:]...)
			return true
		}
	}
	return false
}
