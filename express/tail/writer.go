package tail

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"millrace/base/object"
	"millrace/kafka/record"
)

// Writer uploads one tail. After an error only Abort makes sense.
type Writer struct {
	out   object.Writer
	info  Info
	order order
	total footer
	run   []byte // a frame under way: its head's place, then batches of one epoch
}

// Create begins the tail that Info describes at key. Ctx bounds only the begin.
func Create(ctx context.Context, objects object.Store, key Key, base, end int64) (*Writer, error) {
	w := &Writer{info: Info{Partition: key.Partition, Epoch: key.Epoch, Base: base, End: end}, run: make([]byte, frameBytes)}
	w.order = order{next: base, epoch: -1, limit: key.Epoch}
	out, err := objects.Create(ctx, key.String())
	if err != nil {
		return nil, fmt.Errorf("create tail: %w", err)
	}
	w.out = out
	if _, err := out.Write(w.info.encode()); err != nil {
		w.Abort()
		return nil, fmt.Errorf("write tail: %w", err)
	}
	return w, nil
}

// Append takes whole batches, which it copies. Errors: ErrOrder, those of the store.
func (w *Writer) Append(batches []byte) error {
	for len(batches) > 0 {
		b, rest, err := record.Next(batches)
		if err != nil {
			return fmt.Errorf("%w: at offset %d: %w", ErrOrder, w.order.next, err)
		}
		if w.order.epoch != b.PartitionLeaderEpoch() || len(w.run)+len(b) > runBytes {
			if err := w.flush(); err != nil {
				return err
			}
		}
		if err := w.order.take(b); err != nil {
			return err
		}
		w.run, batches = append(w.run, b...), rest
	}
	return nil
}

// flush writes the run under way, if there is one.
func (w *Writer) flush() error {
	n := len(w.run) - frameBytes
	if n == 0 {
		return nil
	}
	binary.BigEndian.PutUint32(w.run, uint32(n))
	binary.BigEndian.PutUint32(w.run[4:], crc32.Checksum(w.run[frameBytes:], castagnoli))
	if _, err := w.out.Write(w.run); err != nil {
		return fmt.Errorf("write tail: %w", err)
	}
	w.total.runs++
	w.total.bytes += int64(n)
	w.run = w.run[:frameBytes]
	return nil
}

// Finish makes the tail durable and visible. ErrOrder: it does not reach the end that it was made for.
func (w *Writer) Finish(ctx context.Context) error {
	defer w.Abort()
	if w.order.next != w.info.End {
		return fmt.Errorf("%w: it ends at %d, not at %d", ErrOrder, w.order.next, w.info.End)
	}
	if err := w.flush(); err != nil {
		return err
	}
	w.total.end = w.order.next
	if _, err := w.out.Write(append(make([]byte, frameBytes), w.total.encode()...)); err != nil {
		return fmt.Errorf("write tail: %w", err)
	}
	if err := w.out.Commit(ctx); err != nil {
		return fmt.Errorf("commit tail: %w", err)
	}
	return nil
}

// Abort drops the upload, unless Finish has ended it.
func (w *Writer) Abort() {
	_ = w.out.Abort() // what is left is a temporary file, which the store sweeps
}
