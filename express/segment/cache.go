package segment

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"

	"millrace/base/object"
)

// Cache keeps Readers open between uses, at most a fixed number at once: that bounds file handles and the memory of
// indexes. Several callers share one Reader, and one opening. Safe for concurrent use.
type Cache struct {
	store object.Store
	max   int

	mu      sync.Mutex // guards the rest; never held while opening, closing or reading
	entries map[string]*cached
	idle    *list.List    // of *cached without users, the longest idle in front
	changed chan struct{} // closed and replaced when an entry became idle or went away
}

// cached is one Reader, or the opening of it.
type cached struct {
	key    string
	opened chan struct{} // closed when reader or err is set
	reader *Reader
	err    error
	users  int
	gone   bool          // not in entries any more: the last user closes it
	place  *list.Element // in idle; nil while it has users
}

// NewCache keeps at most that many Readers open, at least one. When all of them are in use, With waits for one.
func NewCache(store object.Store, readers int) *Cache {
	return &Cache{store: store, max: max(1, readers), entries: make(map[string]*cached), idle: list.New(), changed: make(chan struct{})}
}

// With runs f with an open Reader of the segment, which f must not keep or close. It returns what Open or f returns. f
// must not call With: it could wait for itself.
func (c *Cache) With(ctx context.Context, info Info, f func(*Reader) error) error {
	e, err := c.acquire(ctx, info)
	if err != nil {
		return err
	}
	defer c.release(e)
	return f(e.reader)
}

// acquire returns an open entry that the caller must release.
func (c *Cache) acquire(ctx context.Context, info Info) (*cached, error) {
	for {
		c.mu.Lock()
		if e, ok := c.entries[info.Key]; ok {
			c.useLocked(e)
			c.mu.Unlock()
			again, err := c.await(ctx, e)
			if again {
				continue
			}
			return e, err
		}
		if len(c.entries) < c.max || c.idle.Len() > 0 {
			return c.openUnlock(ctx, info)
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a free segment reader: %w", ctx.Err())
		}
	}
}

// await waits until somebody else has opened e; again tells to start over, because that one gave up for reasons of its own.
func (c *Cache) await(ctx context.Context, e *cached) (again bool, err error) {
	select {
	case <-e.opened:
	case <-ctx.Done():
		c.release(e)
		return false, fmt.Errorf("wait for segment %s: %w", e.key, ctx.Err())
	}
	if e.err == nil {
		return false, nil
	}
	c.release(e)
	abandoned := errors.Is(e.err, context.Canceled) || errors.Is(e.err, context.DeadlineExceeded)
	if abandoned && ctx.Err() == nil {
		return true, nil
	}
	return false, e.err
}

// openUnlock makes the entry, at the cost of the longest idle one where there is no room, and opens it. It is entered with
// c.mu held and gives it back.
func (c *Cache) openUnlock(ctx context.Context, info Info) (*cached, error) {
	var victim *cached
	if len(c.entries) >= c.max {
		victim = c.idle.Front().Value.(*cached)
		c.dropLocked(victim)
	}
	e := &cached{key: info.Key, opened: make(chan struct{}), users: 1}
	c.entries[e.key] = e
	c.mu.Unlock()

	if victim != nil {
		victim.close()
	}
	e.reader, e.err = Open(ctx, c.store, info)
	if e.err != nil {
		c.mu.Lock()
		c.dropLocked(e)
		c.mu.Unlock()
		close(e.opened)
		return nil, e.err
	}
	close(e.opened)
	return e, nil
}

func (c *Cache) useLocked(e *cached) {
	e.users++
	if e.place != nil {
		c.idle.Remove(e.place)
		e.place = nil
	}
}

// dropLocked takes e out of the cache. The caller closes it when it has no users.
func (c *Cache) dropLocked(e *cached) {
	if e.gone {
		return
	}
	e.gone = true
	delete(c.entries, e.key)
	if e.place != nil {
		c.idle.Remove(e.place)
		e.place = nil
	}
	c.wakeLocked()
}

func (c *Cache) wakeLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// release gives back what acquire gave.
func (c *Cache) release(e *cached) {
	c.mu.Lock()
	e.users--
	last := e.users == 0
	if last && !e.gone {
		e.place = c.idle.PushBack(e)
		c.wakeLocked()
	}
	closing := last && e.gone && e.reader != nil
	c.mu.Unlock()
	if closing {
		e.close()
	}
}

// close ends an entry that is gone and has no users. What was read is read, so a failure changes nothing for anybody.
func (e *cached) close() { _ = e.reader.Close() }

// Forget closes the Reader of an object that is deleted, as soon as it has no user.
func (c *Cache) Forget(key string) {
	c.mu.Lock()
	e, ok := c.entries[key]
	if ok {
		c.dropLocked(e)
	}
	closing := ok && e.users == 0
	c.mu.Unlock()
	if closing {
		e.close()
	}
}

// Close closes all Readers, those in use as soon as they have no user. A With that follows opens again.
func (c *Cache) Close() {
	c.mu.Lock()
	var keys []string
	for key := range c.entries {
		keys = append(keys, key)
	}
	c.mu.Unlock()
	for _, key := range keys {
		c.Forget(key)
	}
}
