package partition

import (
	"context"
	"errors"

	"millrace/base/limit"
	"millrace/kafka/record"
)

// DefaultInflate is what a partition without World.Inflate decompresses at a time, in bytes.
const DefaultInflate = 64 << 20

// A batch is first taken to grow no more than usualGrowth times, and by usualExtra
// bytes beside.
const (
	usualGrowth = 8
	usualExtra  = 256 << 10
)

// inflate calls f with the number of bytes to which it may decompress a batch of
// size bytes, taken from World.Inflate until f returns. Where f finds that the batch
// grows further (record.ErrBomb) it is called once more, with all there is; so batches
// that grow a lot take turns. What f did to the batch before must not matter.
func (p *Partition) inflate(ctx context.Context, size int, f func(most int) error) error {
	budget := p.world.Inflate
	usual := min(int64(size)*usualGrowth+usualExtra, budget.Total())
	err := withBytes(ctx, budget, usual, f)
	if errors.Is(err, record.ErrBomb) && usual < budget.Total() {
		err = withBytes(ctx, budget, budget.Total(), f)
	}
	return err
}

func withBytes(ctx context.Context, budget *limit.Budget, n int64, f func(most int) error) error {
	if err := budget.Acquire(ctx, n); err != nil {
		return err
	}
	defer budget.Release(n)
	return f(int(n))
}
