package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"millrace/base/kv"
	"millrace/control/spec"
)

// Errors of operations, to be tested with errors.Is.
var (
	// ErrBusy: another operation on the cluster is under way; the message names it.
	ErrBusy = errors.New("another operation is under way")
	// ErrLost: what is asked for needs a host that has no agent; the message names it.
	ErrLost = errors.New("a host is away")
	// ErrNoOperation: the cluster has no operation of this number, or forgot it.
	ErrNoOperation = errors.New("no such operation")
)

// operationsKept is how many finished operations a cluster remembers.
const operationsKept = 20

// Operation returns one operation, or ErrNoOperation.
func (p *Plane) Operation(ctx context.Context, cluster string, number int64) (Operation, error) {
	op, _, err := p.readOperation(ctx, cluster, number)
	return op, err
}

func (p *Plane) readOperation(ctx context.Context, cluster string, number int64) (Operation, int64, error) {
	item, err := p.store.Get(ctx, operationKey(cluster, number))
	if errors.Is(err, kv.ErrNotFound) {
		return Operation{}, 0, fmt.Errorf("%w: number %d of cluster %s", ErrNoOperation, number, cluster)
	}
	if err != nil {
		return Operation{}, 0, fmt.Errorf("read operation %d of %s: %w", number, cluster, err)
	}
	op, err := decodeOperation(item)
	return op, item.ModRev, err
}

// OperationsOf returns the operations of a cluster that it remembers, the latest last.
func (p *Plane) OperationsOf(ctx context.Context, cluster string) ([]Operation, error) {
	items, _, err := p.store.List(ctx, operationPrefix(cluster))
	if err != nil {
		return nil, fmt.Errorf("list operations of %s: %w", cluster, err)
	}
	all := make([]Operation, 0, len(items))
	for _, item := range items {
		op, err := decodeOperation(item)
		if err != nil {
			return nil, err
		}
		all = append(all, op)
	}
	slices.SortFunc(all, func(a, b Operation) int { return int(a.Number - b.Number) })
	return all, nil
}

func decodeOperation(item kv.Item) (Operation, error) {
	var op Operation
	if err := json.Unmarshal(item.Value, &op); err != nil {
		return Operation{}, fmt.Errorf("%s: %w", item.Key, err)
	}
	if op.Format > spec.FormatEngine {
		return Operation{}, fmt.Errorf("%w: %s has format %d, this binary knows up to %d", ErrNewer, item.Key, op.Format, spec.FormatEngine)
	}
	return op, nil
}

func operationPrefix(cluster string) string { return "control/operations/" + cluster + "/" }

func operationKey(cluster string, number int64) string {
	return fmt.Sprintf("%s%019d", operationPrefix(cluster), number)
}
