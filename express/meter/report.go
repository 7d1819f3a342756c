package meter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"millrace/base/object"
	"millrace/kafka/topic"
)

// ErrRange: a report was asked for that ends before it begins, or is longer than RangeMost.
var ErrRange = errors.New("meter: range of time")

// RangeMost bounds the time of one report.
const RangeMost = 32 * 24 * time.Hour

// Query says which hours to report on.
type Query struct {
	From, To time.Time // whole hours of UTC that have begun from From on and before To
	Topic    string    // only this one; "": all
}

// Usage is what clients of a cluster used.
type Usage struct {
	Cluster     string  `json:"cluster,omitempty"` // its id; "" where nothing was recorded
	BrokerHours float64 `json:"broker_hours"`      // of all topics together, whatever Query.Topic says
	Rows        []Row   `json:"rows,omitempty"`    // by hour, name, id
}

// Row is one topic in one hour.
type Row struct {
	Hour           time.Time `json:"hour"`
	Topic          string    `json:"topic"`
	ID             topic.ID  `json:"id"`
	In             int64     `json:"in"`  // bytes produced
	Out            int64     `json:"out"` // bytes fetched
	StoredGBHours  float64   `json:"stored_gb_hours"`
	PartitionHours float64   `json:"partition_hours"`
}

// gigabyte is 2^30 bytes, as AWS bills storage.
const gigabyte = 1 << 30

// Total sums the rows, over hours and topics.
func (u Usage) Total() Row {
	var sum Row
	for _, r := range u.Rows {
		sum.In, sum.Out = sum.In+r.In, sum.Out+r.Out
		sum.StoredGBHours, sum.PartitionHours = sum.StoredGBHours+r.StoredGBHours, sum.PartitionHours+r.PartitionHours
	}
	return sum
}

// Report sums the records of a cluster, whose store objects is. It returns ErrRange, ErrCorrupt, ErrNewer, or what the store says.
func Report(ctx context.Context, objects object.Store, q Query) (Usage, error) {
	type place struct {
		hour time.Time
		id   topic.ID
	}
	var u Usage
	rows := make(map[place]*Row)
	err := Read(ctx, objects, q.From, q.To, func(r *Record) error {
		if u.Cluster != "" && u.Cluster != r.Cluster {
			return fmt.Errorf("%w: %s: it is of cluster %s, others of %s", ErrCorrupt, r.Key(), r.Cluster, u.Cluster)
		}
		u.Cluster = r.Cluster
		u.BrokerHours += float64(r.Seconds) / 3600
		for _, e := range r.Topics {
			if q.Topic != "" && q.Topic != e.Name {
				continue
			}
			at := place{r.Hour(), e.ID}
			row := rows[at]
			if row == nil {
				row = &Row{Hour: at.hour, Topic: e.Name, ID: e.ID}
				rows[at] = row
			}
			row.In, row.Out = row.In+e.In, row.Out+e.Out
			row.StoredGBHours += float64(e.StoredByteSeconds) / gigabyte / 3600
			row.PartitionHours += float64(e.PartitionSeconds) / 3600
		}
		return nil
	})
	if err != nil {
		return Usage{}, err
	}
	for _, row := range rows {
		u.Rows = append(u.Rows, *row)
	}
	slices.SortFunc(u.Rows, func(a, b Row) int {
		return cmp.Or(a.Hour.Compare(b.Hour), cmp.Compare(a.Topic, b.Topic), slices.Compare(a.ID[:], b.ID[:]))
	})
	return u, nil
}

// page is how many records are listed at a time.
const page = 1000

// Read gives each record of the hours from from on and before to to f, each once, day by day, until f fails. What was rolled up comes as one
// record for each hour of each sum, with Broker, Incarnation and Sequence 0. It fails with object.ErrNotFound where it takes so long that
// records were rolled up and deleted meanwhile (U6): it may be called again.
func Read(ctx context.Context, objects object.Store, from, to time.Time, f func(*Record) error) error {
	from = from.UTC().Truncate(time.Hour)
	if to.Before(from) || to.Sub(from) > RangeMost {
		return fmt.Errorf("%w: from %s to %s; at most %s", ErrRange, from.Format(time.RFC3339), to.Format(time.RFC3339), RangeMost)
	}
	for day := from.Truncate(24 * time.Hour); day.Before(to); day = day.Add(24 * time.Hour) {
		within := func(hour time.Time) bool { return !hour.Before(from) && hour.Before(to) }
		if err := readDay(ctx, objects, day, within, f); err != nil {
			return err
		}
	}
	return nil
}

// readDay is Read for the hours of a day that are within.
func readDay(ctx context.Context, objects object.Store, day time.Time, within func(time.Time) bool, f func(*Record) error) error {
	var found []object.Info
	for prefix, after := Root+day.Format(dayLayout), ""; ; {
		more, err := objects.List(ctx, prefix, after, page)
		if err != nil {
			return fmt.Errorf("list usage: %w", err)
		}
		found = append(found, more...)
		if len(more) < page {
			break
		}
		after = more[len(more)-1].Key
	}
	sums, err := readSums(ctx, objects, found)
	if err != nil {
		return err
	}
	for _, s := range sums {
		for _, h := range s.Hours {
			if !within(h.Hour) {
				continue
			}
			err := f(&Record{Format: format, Cluster: s.Cluster, From: h.Hour, To: h.Hour.Add(time.Hour), Seconds: h.Seconds, Topics: h.Topics})
			if err != nil {
				return err
			}
		}
	}
	summed := covers(sums)
	for _, o := range found {
		n, ok := nameOf(o.Key)
		if !ok || !within(n.hour) || summed(n) {
			continue
		}
		b, err := read(ctx, objects, o.Key)
		if err != nil {
			return fmt.Errorf("read %s: %w", o.Key, err)
		}
		r, err := Decode(o.Key, b)
		if err == nil {
			err = f(r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read reads one whole object.
func read(ctx context.Context, objects object.Store, key string) ([]byte, error) {
	info, err := objects.Stat(ctx, key)
	if err != nil {
		return nil, err
	}
	if info.Size > recordMost {
		return nil, fmt.Errorf("%w: %s: %d bytes", ErrCorrupt, key, info.Size)
	}
	b := make([]byte, info.Size)
	n, err := objects.ReadAt(ctx, key, b, 0)
	if err != nil && (!errors.Is(err, io.EOF) || n < len(b)) {
		return nil, err
	}
	return b, nil
}
