package objectlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"millrace/base/object"
)

// keepPutting stores a group, however often it takes, and returns nil, or why the Writer has ended.
func (w *Writer) keepPutting(p *pending) error {
	pause := w.cfg.RetryMin
	for attempt := 1; ; attempt++ {
		err := w.attempt(p)
		switch {
		case err == nil && attempt > 1:
			w.store.log.Info("object stored after all", "log", w.id.String(), "seq", p.seq, "attempts", attempt)
			return nil
		case err == nil:
			return nil
		case errors.Is(err, ErrSealed):
			w.die(err)
		case attempt == 1 && w.ctx.Err() == nil:
			w.store.log.Warn("object not stored, trying on", "log", w.id.String(), "seq", p.seq, "err", err)
		}
		if !w.pause(&pause) {
			return w.err()
		}
	}
}

// pause waits before the next attempt, longer each time; false when the Writer has ended.
func (w *Writer) pause(d *time.Duration) bool {
	timer := time.NewTimer(*d - rand.N(*d/2+1))
	defer timer.Stop()
	*d = min(2**d, w.cfg.RetryMax)
	select {
	case <-timer.C:
		return w.ctx.Err() == nil
	case <-w.ctx.Done():
		return false
	}
}

// attempt puts a group, a second time if the first takes long: of a store with a long tail the slowest put would hold up all
// behind it. It returns when both have ended.
func (w *Writer) attempt(p *pending) error {
	ctx, cancel := context.WithTimeout(w.ctx, w.cfg.PutTimeout)
	defer cancel()
	if w.cfg.HedgeAfter == 0 {
		return w.put(ctx, p)
	}
	ended := make(chan error, 2)
	go func() { ended <- w.put(ctx, p) }()
	timer := time.NewTimer(w.cfg.HedgeAfter)
	defer timer.Stop()
	select {
	case err := <-ended:
		return err
	case <-timer.C:
	}
	select {
	case err := <-ended:
		return err
	case <-w.hedge:
		defer func() { w.hedge <- struct{}{} }()
	}
	go func() { ended <- w.put(ctx, p) }()
	err := <-ended
	if err != nil && !errors.Is(err, ErrSealed) {
		return <-ended
	}
	cancel()
	if late := <-ended; errors.Is(late, ErrSealed) {
		return late
	}
	return err
}

// put stores a group, or finds out that it is stored.
func (w *Writer) put(ctx context.Context, p *pending) error {
	err := w.store.objects.Put(ctx, w.id.key(p.seq), p.body, object.PutOptions{IfAbsent: true})
	if errors.Is(err, object.ErrExists) {
		return w.compare(ctx, p)
	}
	return err
}

// compare looks at what stands at our number: our own bytes, if an earlier attempt has succeeded and its answer was lost, or a seal.
func (w *Writer) compare(ctx context.Context, p *pending) error {
	info, err := w.store.objects.Stat(ctx, w.id.key(p.seq))
	if err != nil {
		return err
	}
	if isSealSize(info.Size) {
		b, err := w.store.readHeader(ctx, w.id, p.seq)
		if err != nil {
			return err
		}
		if isSeal, err := decodeHeader(b, w.id, p.seq); err == nil && isSeal {
			return fmt.Errorf("%w: at %d by %s", ErrSealed, p.seq, sealedBy(b))
		}
		return w.stranger(p, "what is no seal")
	}
	size := int64(0)
	for _, b := range p.body {
		size += int64(len(b))
	}
	if info.Size != size {
		return w.stranger(p, "another group")
	}
	b, err := w.store.readObject(ctx, w.id, p.seq, size)
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return err
	}
	for _, part := range p.body {
		if !bytes.HasPrefix(b, part) {
			return w.stranger(p, "another group")
		}
		b = b[len(part):]
	}
	return nil
}

// stranger says that somebody else writes under our name. Nothing good can follow, so it counts as a seal.
func (w *Writer) stranger(p *pending, what string) error {
	w.store.log.Error("another writer has the identity of this log", "log", w.id.String(), "seq", p.seq, "found", what)
	return fmt.Errorf("%w: %s stands at %d", ErrSealed, what, p.seq)
}
