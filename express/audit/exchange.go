package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/base/kv"
)

// formatVersion is the version of the records in etcd.
const formatVersion = 1

// Below a cluster's prefix; what brokers answer lies apart from what they follow.
const (
	followed   = "audit/"
	askKey     = followed + "ask"
	paceKey    = followed + "pace"
	resultRoot = "audited/"
)

// ErrNewer: the record was written by a newer version of Millrace.
var ErrNewer = errors.New("audit: record written by a newer version of millrace")

// Request asks all brokers of a cluster for a pass. It is a record in etcd, of which there is one.
type Request struct {
	Version        int       `json:"version"`
	Number         int64     `json:"number"`           // from 1; a higher one replaces those before
	BytesPerSecond int64     `json:"bytes_per_second"` // that each broker reads; 0: DefaultAsked
	Asked          time.Time `json:"asked"`
}

// Pace says how the brokers of a cluster audit by themselves. It is a record in etcd.
type Pace struct {
	Version        int   `json:"version"`
	BytesPerSecond int64 `json:"bytes_per_second"` // that each broker reads; 0: DefaultPace; negative: none audits unasked
}

// Pass is one look at everything that a broker has. It is plain data.
type Pass struct {
	Request    int64         `json:"request"` // number of the request that it answers; 0: none
	Began      time.Time     `json:"began"`
	Ended      time.Time     `json:"ended,omitzero"` // zero: it is under way
	Partitions int           `json:"partitions"`     // that there are to check, as known so far
	Checked    int           `json:"checked"`        // of these
	Bytes      int64         `json:"bytes"`          // read so far
	Store      bool          `json:"store"`          // the store as a whole was looked at, which one broker does for all
	Waiting    int64         `json:"waiting"`        // objects that nothing refers to, and that may still be deleted in due time
	Counts     map[Kind]int  `json:"counts,omitempty"`
	Findings   []Finding     `json:"findings,omitempty"` // the first of them, at most findingsMost
	Skips      []Skip        `json:"skips,omitempty"`    // the first of them, at most skipsMost
	Skipped    int           `json:"skipped"`            // all of them
	Moved      int           `json:"moved"`              // of these because they went to another broker
	Took       time.Duration `json:"took_ns,omitempty"`
}

// Clean says whether everything was looked at and nothing is wrong.
func (p *Pass) Clean() bool { return len(p.Counts) == 0 && p.Skipped == p.Moved }

// Total counts the findings.
func (p *Pass) Total() (n int) {
	for _, k := range p.Counts {
		n += k
	}
	return n
}

// Result is what one broker has to say. It is a record in etcd.
type Result struct {
	Version  int   `json:"version"`
	Broker   int32 `json:"broker"`
	Answered int64 `json:"answered"` // the highest request that a pass answered to its end
	Now      *Pass `json:"now,omitempty"`
	Last     *Pass `json:"last,omitempty"` // that came to its end
}

func read[T Request | Pace | Result](b []byte) (v T, err error) {
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return v, fmt.Errorf("audit: read record: %w", err)
	}
	if head.Version > formatVersion {
		return v, fmt.Errorf("%w: version %d, this program reads up to %d", ErrNewer, head.Version, formatVersion)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("audit: read record: %w", err)
	}
	return v, nil
}

func write[T Request | Pace | Result](ctx context.Context, store kv.KV, cond []kv.Cond, key string, v T) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("audit: write record: %w", err)
	}
	if _, err := store.Txn(ctx, cond, []kv.Op{kv.Put(key, b)}); err != nil {
		return fmt.Errorf("audit: write record: %w", err)
	}
	return nil
}

// Ask has all brokers of the cluster whose keys begin with prefix make a pass, and returns its number.
func Ask(ctx context.Context, store kv.KV, prefix string, bytesPerSecond int64, now time.Time) (int64, error) {
	for {
		var before Request
		item, err := store.Get(ctx, prefix+askKey)
		if err == nil {
			before, err = read[Request](item.Value)
		}
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			return 0, fmt.Errorf("ask for an audit: %w", err)
		}
		r := Request{Version: formatVersion, Number: before.Number + 1, BytesPerSecond: bytesPerSecond, Asked: now}
		err = write(ctx, store, []kv.Cond{kv.ModRevEquals(prefix+askKey, item.ModRev)}, prefix+askKey, r)
		if !errors.Is(err, kv.ErrConflict) {
			return r.Number, err
		}
	}
}

// SetPace tells the brokers how fast to audit by themselves, as Pace.BytesPerSecond.
func SetPace(ctx context.Context, store kv.KV, prefix string, bytesPerSecond int64) error {
	return write(ctx, store, nil, prefix+paceKey, Pace{Version: formatVersion, BytesPerSecond: bytesPerSecond})
}

// Results gives what the brokers of a cluster said last, by id. A record that cannot be read is an error.
func Results(ctx context.Context, store kv.KV, prefix string) ([]Result, error) {
	items, _, err := store.List(ctx, prefix+resultRoot)
	if err != nil {
		return nil, fmt.Errorf("results of audits: %w", err)
	}
	results := make([]Result, 0, len(items))
	for _, item := range items {
		r, err := read[Result](item.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", item.Key, err)
		}
		results = append(results, r)
	}
	slices.SortFunc(results, func(a, b Result) int { return int(a.Broker) - int(b.Broker) })
	return results, nil
}

func resultKey(prefix string, broker int32) string {
	return prefix + resultRoot + strconv.Itoa(int(broker))
}

// follow calls told with what the cluster's records say, at first and whenever they change, until ctx ends.
func follow(ctx context.Context, store kv.KV, prefix string, log *slog.Logger, told func(Request, Pace)) {
	var r Request
	var p Pace
	take := func(item kv.Item) {
		var err error
		switch strings.TrimPrefix(item.Key, prefix) {
		case askKey:
			r, err = read[Request](item.Value)
		case paceKey:
			p, err = read[Pace](item.Value)
		}
		if err != nil {
			log.Error("unreadable audit record ignored", "key", item.Key, "err", err)
		}
	}
	for ctx.Err() == nil {
		err := kv.Follow(ctx, store, prefix+followed, func(items []kv.Item, _ int64) error {
			for _, item := range items {
				take(item)
			}
			told(r, p)
			return nil
		}, func(e kv.Event) error {
			if e.Type == kv.EventPut {
				take(e.Item)
				told(r, p)
			}
			return nil
		})
		if ctx.Err() == nil { // it ends only with an error
			log.Debug("audit records cannot be followed", "err", err)
			_ = pause(ctx, time.Second) // it ends early with ctx, which the loop sees
		}
	}
}
