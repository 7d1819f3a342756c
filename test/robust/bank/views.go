package bank

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/robust/ledger"
)

// poll calls check until it is nil, and returns its last error when ctx ends first.
func poll(ctx context.Context, check func() error) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, ctx.Err())
		case <-ticker.C:
		}
	}
}

// settle waits until no transaction is open in any lane.
func (b *Bank) settle(ctx context.Context) error {
	admin, closeAdmin, err := b.admin()
	if err != nil {
		return err
	}
	defer closeAdmin()
	return poll(ctx, func() error {
		_, err := b.marks(ctx, admin)
		return err
	})
}

// Views returns what a reader at read_committed and one at read_uncommitted are given of all lanes, markers included. The
// returned function tells, after the walks, what went wrong in them. The load has to be drained.
func (b *Bank) Views(ctx context.Context) (committed, uncommitted iter.Seq[ledger.Record], failed func() error) {
	var err error
	walk := func(level kgo.IsolationLevel, markers bool) iter.Seq[ledger.Record] {
		return func(yield func(ledger.Record) bool) {
			if failed := b.walk(ctx, level, func(r ledger.Record) bool {
				return r.Marker != ledger.NoMarker && !markers || yield(r)
			}); failed != nil {
				err = failed
			}
		}
	}
	return walk(kgo.ReadCommitted(), false), walk(kgo.ReadUncommitted(), true), func() error { return err }
}

// walk hands over all that stands in the lanes. The last record of each is a marker, so that a reader at read_committed is
// given it too, and knows when it has reached the end.
func (b *Bank) walk(ctx context.Context, level kgo.IsolationLevel, visit func(ledger.Record) bool) error {
	admin, closeAdmin, err := b.admin()
	if err != nil {
		return err
	}
	defer closeAdmin()
	ends, err := b.marks(ctx, admin)
	if ends == nil {
		return err
	}
	left := 0
	for _, end := range ends {
		if end > 0 {
			left++
		}
	}
	client, err := kgo.NewClient(b.options(b.from(make([]int64, len(ends))), kgo.FetchIsolationLevel(level), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.KeepRetryableFetchErrors())...)
	if err != nil {
		return err
	}
	defer client.Close()
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%d lanes have not reached their ends %v: %w", left, ends, err)
		}
		if err := readError(fetches); err != nil {
			return err
		}
		for records := fetches.RecordIter(); !records.Done(); {
			r := records.Next()
			lane := b.lane(r)
			if !visit(ledger.Record{Lane: lane, Offset: r.Offset, Value: r.Value, Producer: r.ProducerID, Marker: marker(r)}) {
				return nil
			}
			if r.Offset+1 == ends[lane] {
				left--
			}
		}
	}
	return nil
}

// marker says what a record of the log means.
func marker(r *kgo.Record) ledger.Marker {
	const kindAt, kindCommit = 3, 1 // the key of a control record is a version and a kind of two bytes each
	switch {
	case !r.Attrs.IsControl():
		return ledger.NoMarker
	case len(r.Key) > kindAt && r.Key[kindAt] == kindCommit:
		return ledger.CommitMarker
	default:
		return ledger.AbortMarker
	}
}
