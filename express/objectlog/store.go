package objectlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/express/wal"
)

// Sentinels, for errors.Is.
var (
	// ErrSealed ends a Writer: a successor has sealed the log, so nothing is acknowledged any more.
	ErrSealed = errors.New("objectlog: sealed")
	// ErrNoLog says that there is no record of the log: it was never created, or swept away long ago.
	ErrNoLog = errors.New("objectlog: no such log")
	// ErrLogExists refuses to create a log a second time: an incarnation has one log.
	ErrLogExists = errors.New("objectlog: log exists")
	// ErrCorrupt says that an object that must be there is missing or damaged, or that a record makes no sense.
	ErrCorrupt = errors.New("objectlog: corrupt")
	// ErrNewer says that an object or record was written by a newer version.
	ErrNewer = errors.New("objectlog: written by a newer version")
	// ErrInvalid refuses an argument that breaks the rules of its type.
	ErrInvalid = errors.New("objectlog: invalid")
	// ErrClosed is given to groups that were not stored when their Writer was closed.
	ErrClosed = errors.New("objectlog: closed")
)

// Store knows all logs of a cluster. Make one with NewStore. Safe for concurrent use.
type Store struct {
	kv      kv.KV
	objects object.Store
	prefix  string // of the records; ends in a slash
	clock   clock.Clock
	log     *slog.Logger
}

// NewStore keeps the records of logs in kv below prefix ("…/logs/") and their objects in objects below Root. It reads nothing yet.
func NewStore(kv kv.KV, objects object.Store, prefix string, clk clock.Clock, log *slog.Logger) *Store {
	return &Store{kv: kv, objects: objects, prefix: strings.TrimSuffix(prefix, "/") + "/", clock: clk, log: log}
}

// Logs lists all logs that have a record, in no order.
func (s *Store) Logs(ctx context.Context) ([]ID, error) {
	items, _, err := s.kv.List(ctx, s.prefix)
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	ids := make([]ID, 0, len(items))
	for _, item := range items {
		id, err := ParseID(strings.TrimPrefix(item.Key, s.prefix))
		if err != nil {
			return nil, fmt.Errorf("list logs: %w: key %q", ErrCorrupt, item.Key)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// Exists says whether the log has a record.
func (s *Store) Exists(ctx context.Context, id ID) (bool, error) {
	_, err := s.kv.Get(ctx, s.recordKey(id))
	if errors.Is(err, kv.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for log %s: %w", id, err)
	}
	return true, nil
}

// readHeader returns the first bytes of object seq, and no more than there are.
func (s *Store) readHeader(ctx context.Context, id ID, seq uint64) ([]byte, error) {
	b := make([]byte, headerBytes)
	n, err := s.objects.ReadAt(ctx, id.key(seq), b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}

// readObject returns the whole object of seq, which has size bytes.
func (s *Store) readObject(ctx context.Context, id ID, seq uint64, size int64) ([]byte, error) {
	if size > headerBytes+maxGroupBytes {
		return nil, fmt.Errorf("%w: object of %d bytes", ErrCorrupt, size)
	}
	b := make([]byte, size)
	n, err := s.objects.ReadAt(ctx, id.key(seq), b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
		if n < len(b) {
			err = fmt.Errorf("%w: object ends at %d of %d bytes", ErrCorrupt, n, size)
		}
	}
	return b[:n], err
}

// kindOf turns wal's word on what is wrong with bytes into ours.
func kindOf(err error) error {
	if errors.Is(err, wal.ErrNewer) {
		return fmt.Errorf("%w: %w", ErrNewer, err)
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}
