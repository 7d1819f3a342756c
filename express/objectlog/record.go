package objectlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"millrace/base/kv"
)

// recordFormat is the version of the records that this build writes; docs/formats/objectlog.md tells all fields.
const recordFormat = 1

// record is the JSON form of what kv holds of a log.
type record struct {
	Format    int    `json:"format"`
	Nonce     string `json:"nonce"`      // of the Create that made it: how it knows its own write again
	CreatedMs int64  `json:"created_ms"` // by the clock of the writer's host
	First     uint64 `json:"first"`      // no object below is needed, and none at or above is deleted
	Sealer    string `json:"sealing"`    // who began to seal the log, an ID; "": nobody
	End       uint64 `json:"end"`        // number of the seal; 0: not known yet
	SweptMs   int64  `json:"swept_ms"`   // when Sweep found that nobody needs the log; 0: not yet
}

// encode gives the value in kv.
func (r *record) encode() ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return b, nil
}

var errTrailing = errors.New("more behind the end")

// decodeRecord is the inverse. The format is looked at first, so that a newer one is called newer and not corrupt.
func decodeRecord(b []byte) (*record, error) {
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("%w: record: %w", ErrCorrupt, err)
	}
	if head.Format > recordFormat {
		return nil, fmt.Errorf("%w: record of format %d, this build reads up to %d", ErrNewer, head.Format, recordFormat)
	}
	r := &record{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("%w: record: %w", ErrCorrupt, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: record: %w", ErrCorrupt, errTrailing)
	}
	isSane := r.Format == recordFormat && r.First > 0 && (r.End == 0 || r.Sealer != "" && r.First <= r.End) && (r.SweptMs == 0 || r.End > 0)
	if !isSane {
		return nil, fmt.Errorf("%w: record %q", ErrCorrupt, b)
	}
	return r, nil
}

func (s *Store) recordKey(id ID) string { return s.prefix + id.String() }

// load returns a log's record and its revision, or ErrNoLog.
func (s *Store) load(ctx context.Context, id ID) (*record, int64, error) {
	item, err := s.kv.Get(ctx, s.recordKey(id))
	if errors.Is(err, kv.ErrNotFound) {
		return nil, 0, fmt.Errorf("%w: %s", ErrNoLog, id)
	}
	if err != nil {
		return nil, 0, err
	}
	r, err := decodeRecord(item.Value)
	if err != nil {
		return nil, 0, fmt.Errorf("log %s: %w", id, err)
	}
	return r, item.ModRev, nil
}

// update changes a record until nobody has been quicker. Change looks at what is there and changes it, or says that it need not;
// it may be called several times. The record as it stands in the end is returned.
func (s *Store) update(ctx context.Context, id ID, change func(*record) (changed bool, err error)) (*record, error) {
	for {
		r, rev, err := s.load(ctx, id)
		if err != nil {
			return nil, err
		}
		changed, err := change(r)
		if err != nil || !changed {
			return r, err
		}
		value, err := r.encode()
		if err != nil {
			return nil, err
		}
		key := s.recordKey(id)
		_, err = s.kv.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, rev)}, []kv.Op{kv.Put(key, value)})
		switch {
		case err == nil:
			return r, nil
		case ctx.Err() != nil, !errors.Is(err, kv.ErrConflict) && !errors.Is(err, kv.ErrUnknown):
			return nil, err
		}
	}
}

// create makes the record of a new log.
func (s *Store) create(ctx context.Context, id ID, r *record) error {
	value, err := r.encode()
	if err != nil {
		return err
	}
	key := s.recordKey(id)
	for {
		_, err := s.kv.Txn(ctx, []kv.Cond{kv.KeyMissing(key)}, []kv.Op{kv.Put(key, value)})
		if err == nil || ctx.Err() != nil {
			return err
		}
		if !errors.Is(err, kv.ErrConflict) && !errors.Is(err, kv.ErrUnknown) {
			return err
		}
		item, err := s.kv.Get(ctx, key)
		switch {
		case err == nil && bytes.Equal(item.Value, value):
			return nil // ours: an answer was lost
		case err == nil:
			return fmt.Errorf("%w: %s", ErrLogExists, id)
		case !errors.Is(err, kv.ErrNotFound):
			return err
		}
	}
}
