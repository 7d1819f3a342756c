package trail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
)

// Config is read once by Open. A zero field takes its default.
type Config struct {
	Writer string // of the chain: "serve-local", "default-1"; letters, digits, dots and dashes, no default
	Root   string // directory of all trails of this host; the chain is in a directory of its own below it; no default

	FileBytes int64         // after how many bytes a new file is begun; default 16 MiB
	KeepBytes int64         // of all files together, before the oldest goes; default 1 GiB, at least two files
	Queue     int           // events that wait to be written; default 8,192, of which an eighth is kept for administrative calls
	Repeats   int           // kinds of refusals that are counted apart; default 1,024
	Window    time.Duration // in which refusals that are alike take one line; default 10 s
	Anchor    time.Duration // between two anchors; default 5 s
}

// ErrConfig: the configuration cannot be used; the message says why.
var ErrConfig = errors.New("trail: config")

func (c *Config) validate() error {
	if c.FileBytes == 0 {
		c.FileBytes = 16 << 20
	}
	if c.KeepBytes == 0 {
		c.KeepBytes = 1 << 30
	}
	if c.Queue == 0 {
		c.Queue = 8192
	}
	if c.Repeats == 0 {
		c.Repeats = 1024
	}
	if c.Window == 0 {
		c.Window = 10 * time.Second
	}
	if c.Anchor == 0 {
		c.Anchor = 5 * time.Second
	}
	switch {
	case !validWriter(c.Writer):
		return fmt.Errorf("%w: writer %q: use letters, digits, dots and dashes", ErrConfig, c.Writer)
	case c.Root == "":
		return fmt.Errorf("%w: no root", ErrConfig)
	case c.FileBytes < 1 || c.KeepBytes < 2*c.FileBytes || c.Queue < 8 || c.Repeats < 1 || c.Window < 0 || c.Anchor < 0:
		return fmt.Errorf("%w: file_bytes %d, keep_bytes %d, queue %d, repeats %d, window %v, anchor %v",
			ErrConfig, c.FileBytes, c.KeepBytes, c.Queue, c.Repeats, c.Window, c.Anchor)
	}
	return nil
}

func validWriter(name string) bool {
	for _, r := range name {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_'
		if !ok {
			return false
		}
	}
	return name != "" && name[0] != '.' && len(name) <= 200
}

// World is all that a Log touches outside itself.
type World struct {
	FS      disk.FS
	Anchors *Anchors // nil: the chain has no anchor, and its end can be rewritten
	Clock   clock.Clock
	Log     *slog.Logger
}

// Log is the chain of one process. It implements Recorder.
type Log struct {
	cfg   Config
	world World
	lock  io.Closer
	wake  chan struct{} // capacity 1: there is something to do

	mu      sync.Mutex
	queue   []Event
	waiters []chan struct{} // closed when all that was recorded before is durable
	repeats *repeats
	lost    int64 // events that found no room, since it was last told

	// Of Run's goroutine, and of Open before it.
	chain    chain
	anchor   Anchor
	revision int64 // of the anchor in etcd
	anchored time.Time
}

// Open takes the writer's directory, disk.ErrLocked where another process has it, and finds the end of its chain. What it finds amiss
// becomes the first lines that Run writes. ctx bounds the look at the anchor.
func Open(ctx context.Context, cfg Config, w World) (*Log, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	l := &Log{
		cfg: cfg, world: w, wake: make(chan struct{}, 1), repeats: newRepeats(cfg.Window, cfg.Repeats),
		chain: chain{fs: w.FS, dir: directory(cfg.Root, cfg.Writer), fileBytes: cfg.FileBytes},
	}
	if err := w.FS.MkdirAll(l.chain.dir, 0o700); err != nil {
		return nil, fmt.Errorf("trail directory: %w", err)
	}
	var err error
	if l.lock, err = w.FS.Lock(l.chain.dir + "/lock"); err != nil {
		return nil, fmt.Errorf("trail directory: %w", err)
	}
	if err := l.find(ctx); err != nil {
		return nil, errors.Join(err, l.lock.Close())
	}
	return l, nil
}

// find joins what the files and the anchor say of the end of the chain (T1).
func (l *Log) find(ctx context.Context) error {
	if l.world.Anchors != nil {
		var err error
		l.anchor, l.revision, err = l.world.Anchors.get(ctx, l.cfg.Writer)
		switch {
		case errors.Is(err, ErrAnchor):
			l.tell("trail:Anchor", "the anchor in etcd cannot be read, so it was replaced: "+err.Error())
			l.anchor = Anchor{}
		case err != nil:
			return err
		}
	}
	head := l.anchor.Head
	torn, err := l.chain.open(head)
	if err != nil {
		return err
	}
	if torn > 0 {
		l.world.Log.Info("unfinished end of the audit trail cut off", "bytes", torn)
	}
	if l.chain.head.N < head.N {
		l.tell("trail:Gap", fmt.Sprintf("lines %d to %d are missing or damaged, which the anchor knew", l.chain.head.N+1, head.N))
		l.gap(l.chain.head, head)
		l.chain.jump(head)
		return nil
	}
	same, err := l.chain.has(head)
	if err == nil && !same {
		l.tell("trail:Gap", fmt.Sprintf("line %d is another than the one that the anchor knew", head.N))
		l.gap(Point{N: head.N - 1}, head)
	}
	return err
}

// gap has the anchor keep that lines are missing.
func (l *Log) gap(after, until Point) {
	if len(l.anchor.Gaps) == maxGaps {
		l.anchor.Gaps = l.anchor.Gaps[1:]
	}
	l.anchor.Gaps = append(l.anchor.Gaps, Gap{After: after, Until: until, Found: l.world.Clock.Now()})
}

// tell records something about the trail itself.
func (l *Log) tell(action, reason string) {
	l.world.Log.Error("audit trail is not whole", "action", action, "reason", reason)
	l.Record(Event{Kind: System, Action: action, Outcome: Failed, Reason: reason})
}

// Record takes an event; an unset Time is now. See Recorder.
func (l *Log) Record(e Event) {
	now := l.world.Clock.Now()
	if e.Time.IsZero() {
		e.Time = now
	}
	l.mu.Lock()
	if l.repeats.add(e, now) {
		l.queueLocked(e)
	}
	l.mu.Unlock()
	l.stir()
}

func (l *Log) queueLocked(e Event) {
	room := l.cfg.Queue
	if e.Kind != Admin {
		room -= l.cfg.Queue / 8 // T6
	}
	if len(l.queue) >= room {
		l.lost += max(e.Count, 1)
		return
	}
	l.queue = append(l.queue, e)
}

func (l *Log) stir() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Flush waits until what was recorded before is durable, or ctx ends. Refusals that are being counted are not waited for. It needs Run.
func (l *Log) Flush(ctx context.Context) error {
	done := make(chan struct{})
	l.mu.Lock()
	l.waiters = append(l.waiters, done)
	l.mu.Unlock()
	l.stir()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retryPause is before a write is tried again that the disk refused.
const retryPause = time.Second

// Run writes what is recorded until ctx ends, then what is left, and gives the directory back.
func (l *Log) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-timer.C:
		}
		timer.Reset(l.step(ctx, false))
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), retryPause)
	defer cancel()
	l.step(ending, true)
	return errors.Join(l.chain.close(), l.lock.Close())
}

// idle is how long Run rests when nothing is due.
const idle = time.Hour

// step writes what has gathered and moves the anchor where that is due, or all of it at the end. It returns after how long there will be more to do.
func (l *Log) step(ctx context.Context, end bool) time.Duration {
	now := l.world.Clock.Now()
	next := idle
	if err := l.write(now, end); err != nil {
		l.world.Log.Error("audit trail cannot be written, trying again", "err", err)
		next = retryPause
	}
	l.mu.Lock()
	counting := len(l.repeats.open) > 0
	l.mu.Unlock()
	if counting {
		next = min(next, l.cfg.Window)
	}
	if l.world.Anchors == nil || l.anchor.Head == l.chain.head && l.revision != 0 {
		return next
	}
	if wait := l.anchored.Add(l.cfg.Anchor).Sub(now); wait > 0 && !end {
		return min(next, wait)
	}
	if err := l.fix(ctx); err != nil {
		l.world.Log.Warn("audit trail cannot be anchored, trying again", "err", err)
	}
	l.anchored = now // also after a failure, which so rests as long
	return min(next, l.cfg.Anchor)
}

// write makes durable what waits. What could not be written waits again.
func (l *Log) write(now time.Time, all bool) error {
	l.mu.Lock()
	for _, e := range l.repeats.due(now, all) {
		l.queueLocked(e)
	}
	batch, waiters, lost := l.queue, l.waiters, l.lost
	l.queue, l.waiters, l.lost = nil, nil, 0
	l.mu.Unlock()
	if lost > 0 {
		batch = append(batch, Event{ // T5
			Time: now, Kind: System, Action: "trail:Lost", Outcome: Failed, Count: lost, Reason: "more events than there was room for",
		})
	}
	err := l.chain.append(batch)
	if err != nil {
		l.mu.Lock()
		l.waiters = append(waiters, l.waiters...)
		if lost > 0 {
			batch = batch[:len(batch)-1]
			l.lost += lost
		}
		room := max(0, l.cfg.Queue-len(l.queue))
		l.lost += int64(max(0, len(batch)-room))
		l.queue = append(batch[:min(len(batch), room)], l.queue...)
		l.mu.Unlock()
		return err
	}
	for _, done := range waiters {
		close(done)
	}
	return nil
}

// fix moves the anchor to the head of the chain, which is durable (T2), and removes what is kept no longer (T7).
func (l *Log) fix(ctx context.Context) error {
	anchor := l.anchor
	anchor.Head, anchor.Time = l.chain.head, l.world.Clock.Now()
	old, base, err := l.chain.surplus(l.cfg.KeepBytes)
	if err != nil {
		return err
	}
	if len(old) > 0 {
		anchor.Base = base
	}
	rev, err := l.world.Anchors.put(ctx, l.cfg.Writer, anchor, l.revision)
	if errors.Is(err, kv.ErrConflict) || errors.Is(err, kv.ErrUnknown) {
		// Nobody else writes it while we hold the directory: an answer was lost, or somebody tampers. The next time puts ours.
		stands, at, again := l.world.Anchors.get(ctx, l.cfg.Writer)
		if again != nil && !errors.Is(again, ErrAnchor) {
			return errors.Join(err, again)
		}
		l.revision = at
		if stands.Head == anchor.Head {
			l.anchor = stands
		}
		return err
	}
	if err != nil {
		return err
	}
	l.anchor, l.revision = anchor, rev
	return l.chain.remove(old)
}
