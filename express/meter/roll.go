package meter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"millrace/base/clock"
	"millrace/base/object"
	"millrace/kafka/topic"
)

const (
	// rest is how long after its end a day's records are summed: by then those that waited for the store are there.
	rest = 2 * time.Hour
	// grace is how long records stay after they were summed: a report that began before has listed them.
	grace = time.Hour
	// sumMost bounds the topics in one sum, each counted in each hour.
	sumMost = 100_000

	rollFirst = time.Minute
	rollEvery = time.Hour
)

// RollUp calls Roll soon and then every hour, while mine says so, until ctx ends. What fails is logged and tried again.
func RollUp(ctx context.Context, objects object.Store, clk clock.Clock, log *slog.Logger, mine func() bool) error {
	timer := time.NewTimer(rollFirst)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		timer.Reset(rollEvery)
		if !mine() {
			continue
		}
		if err := Roll(ctx, objects, clk.Now()); err != nil && ctx.Err() == nil {
			log.Warn("old records of usage could not all be summed, trying again in an hour", "err", err)
		}
	}
}

// Roll sums the records of days that have been over for a while (U6), and deletes those that were summed a while ago. It may be broken off
// anywhere, and several may do it at a time. What of a day cannot be summed is named by the error, and stays as it is.
func Roll(ctx context.Context, objects object.Store, now time.Time) error {
	return rolling{objects, now.UTC(), sumMost}.all(ctx)
}

// rolling is one round of Roll.
type rolling struct {
	objects object.Store
	now     time.Time
	most    int // topics of a sum, each counted in each hour
}

// all rolls up every day that is over.
func (r rolling) all(ctx context.Context) error {
	var errs []error
	var day string
	var found []object.Info
	end := func() {
		if len(found) > 0 {
			if err := r.day(ctx, day, found); err != nil {
				errs = append(errs, fmt.Errorf("usage of %s: %w", day, err))
			}
		}
		found = nil
	}
	open := Root + r.now.Add(-rest).Format(dayLayout) // the first day that is not over for long enough
	for after := Root; ; {
		page, err := r.objects.List(ctx, Root, after, page)
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("list usage: %w", err))...)
		}
		for _, o := range page {
			if after = o.Key; o.Key >= open || ctx.Err() != nil {
				end()
				return errors.Join(append(errs, ctx.Err())...)
			}
			of := o.Key[len(Root):min(len(o.Key), len(Root)+len(dayLayout))]
			if of != day {
				end()
				day = of
			}
			found = append(found, o)
		}
		if len(page) == 0 {
			end()
			return errors.Join(errs...)
		}
	}
}

// day sums what of a day is in no sum yet.
func (r rolling) day(ctx context.Context, text string, found []object.Info) error {
	day, err := time.Parse(dayLayout, text)
	if err != nil {
		return nil //nolint:nilerr // not ours
	}
	sums, err := readSums(ctx, r.objects, found)
	if err != nil {
		return err
	}
	number := int64(0)
	var old []*Sum
	for _, s := range sums {
		number = max(number, s.Number)
		if r.now.Sub(s.Made) >= grace {
			old = append(old, s)
		}
	}
	summed, spent := covers(sums), covers(old)
	var fresh []string
	for _, o := range found {
		n, ok := nameOf(o.Key)
		switch {
		case !ok:
		case spent(n):
			if err := r.objects.Delete(ctx, o.Key); err != nil {
				return fmt.Errorf("delete %s: %w", o.Key, err)
			}
		case !summed(n):
			fresh = append(fresh, o.Key)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	_, err = r.sum(ctx, day, number+1, fresh)
	if !errors.Is(err, errMany) {
		return err
	}
	hours := map[time.Time][]string{}
	for _, key := range fresh {
		hour, _ := hourOf(key)
		hours[hour] = append(hours[hour], key)
	}
	var left error
	for _, hour := range slices.SortedFunc(maps.Keys(hours), time.Time.Compare) {
		written, err := r.sum(ctx, day, number+1, hours[hour])
		switch {
		case errors.Is(err, errMany):
			left = errors.Join(left, fmt.Errorf("hour %s: %w", hour.Format(hourLayout), err))
		case err != nil || !written:
			return errors.Join(left, err) // what is in the sum that stands there, if one does, the next round reads
		default:
			number++
		}
	}
	return left
}

// sum writes the sum of these records, unless somebody else has written one of the number: then these may be in it.
func (r rolling) sum(ctx context.Context, day time.Time, number int64, keys []string) (written bool, err error) {
	s := summing{most: r.most, seconds: map[time.Time]int64{}, sources: map[writer][]int64{}, topics: map[time.Time]map[topic.ID]*Entry{}}
	for _, key := range keys {
		b, err := read(ctx, r.objects, key)
		if err != nil {
			return false, fmt.Errorf("read %s: %w", key, err)
		}
		one, err := Decode(key, b)
		if err != nil {
			return false, err
		}
		n, _ := nameOf(key)
		if err := s.add(n, one); err != nil {
			return false, err
		}
	}
	sum := s.sum(day, number, r.now)
	b, err := json.Marshal(sum)
	if err != nil {
		return false, err
	}
	if len(b) > recordMost {
		return false, errMany
	}
	err = r.objects.Put(ctx, sum.Key(), [][]byte{b}, object.PutOptions{IfAbsent: true})
	if errors.Is(err, object.ErrExists) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("write %s: %w", sum.Key(), err)
	}
	return true, nil
}

// readSums reads those sums that are among the objects.
func readSums(ctx context.Context, objects object.Store, found []object.Info) (sums []*Sum, err error) {
	for _, o := range found {
		if !isSum(o.Key) {
			continue
		}
		b, err := read(ctx, objects, o.Key)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", o.Key, err)
		}
		s, err := decodeSum(o.Key, b)
		if err != nil {
			return nil, err
		}
		sums = append(sums, s)
	}
	return sums, nil
}
