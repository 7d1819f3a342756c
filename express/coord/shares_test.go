package coord

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/clock"
	"millrace/express/machine"
	"millrace/express/share"
	"millrace/express/share/state"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// sharedTopics is one topic with four partitions.
type sharedTopics struct{}

func (sharedTopics) TopicByName(name string) (Topic, bool) {
	return Topic{Name: "t", ID: idOf("t"), Partitions: 4}, name == "t"
}

func (s sharedTopics) TopicByID(id topic.ID) (Topic, bool) {
	t, _ := s.TopicByName("t")
	return t, id == t.ID
}

func (sharedTopics) TopicNames() iter.Seq[string] {
	return func(yield func(string) bool) { yield("t") }
}
func (sharedTopics) TopicsVersion() int64 { return 1 }

// trimmedLog is a memLog whose beginning can be deleted.
type trimmedLog struct {
	*memLog
	mu    sync.Mutex
	from  int64
	early int // trims that took what is not in the log a second time
}

func (l *trimmedLog) Trim(_ context.Context, before int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.from = max(l.from, before)
	m := state.New(state.DefaultLimits())
	l.memLog.mu.Lock()
	defer l.memLog.mu.Unlock()
	for _, b := range l.batches {
		for r, err := range b.Records(1 << 20) {
			if err == nil && r.Offset >= before && r.Key[1] == 0 { // snapshots
				_ = m.Replay(machine.Record{Key: r.Key, Value: r.Value}, nil)
			}
		}
	}
	if m.Keys() < 3 {
		l.early++
	}
	return nil
}

func (l *trimmedLog) start() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.from
}

// Offsets implements Log.
func (l *trimmedLog) Offsets() (start, high int64) {
	_, high = l.memLog.Offsets()
	return l.start(), high
}

func newShares(t *testing.T, log Log) *Shares {
	t.Helper()
	limits := state.DefaultLimits()
	limits.UpdatesPerSnapshot = 3
	s, err := NewShares(t.Context(), SharesConfig{Partitions: 1, Settings: func() ShareStateSettings {
		return ShareStateSettings{Limits: limits, PruneInterval: time.Minute}
	}}, SharesWorld{Clock: clock.System{}, Log: slog.New(slog.DiscardHandler), Topics: sharedTopics{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Load(t.Context(), 0, log); err != nil {
		t.Fatal(err)
	}
	return s
}

func shareKey(partition int32) state.Key {
	return state.Key{Group: "g", Topic: idOf("t"), Partition: partition}
}

func TestShareStateSurvivesACrash(t *testing.T) {
	log := &memLog{}
	s := newShares(t, log)
	ctx := t.Context()
	k := shareKey(1)
	if err := s.InitializeState(ctx, k, 1, -1); err != nil {
		t.Fatal(err)
	}
	if got, err := s.ReadState(ctx, k, 5); err != nil || got.Start != -1 || got.StateEpoch != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range int64(10) {
		u := state.Update{StateEpoch: 1, LeaderEpoch: 5, Start: i, Complete: 1, Batches: []share.Batch{{First: i + 1, Last: i + 1, State: share.Acknowledged, Count: 1}}}
		if err := s.WriteState(ctx, k, u); err != nil {
			t.Fatal(err)
		}
	}
	want, err := s.ReadState(ctx, k, 5)
	if err != nil || want.Start != 9 || !reflect.DeepEqual(want.Batches, []share.Batch{{First: 9, Last: 10, State: share.Acknowledged, Count: 1}}) {
		t.Fatalf("%+v, %v", want, err)
	}
	again := newShares(t, log.crash())
	if got, err := again.ReadState(ctx, k, 6); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("after the crash %+v, want %+v: %v", got, want, err)
	}
	if err := again.WriteState(ctx, k, state.Update{StateEpoch: 1, LeaderEpoch: 5}); kerr.Of(err) != kerr.FencedLeaderEpoch {
		t.Errorf("the owner before: %v", err)
	}
	if got, err := again.StateSummary(ctx, k); err != nil || got != (state.Summary{StateEpoch: 1, LeaderEpoch: 6, Start: 9, Complete: 1}) {
		t.Errorf("summary %+v, %v", got, err)
	}
}

func TestShareStateRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memLog{}
		s := newShares(t, log)
		ctx := t.Context()
		for _, tc := range []struct {
			what string
			err  error
			want kerr.Code
		}{
			{"read before initialize", second(s.ReadState(ctx, shareKey(0), 0)), kerr.InvalidRequest},
			{"write before initialize", s.WriteState(ctx, shareKey(0), state.Update{}), kerr.InvalidRequest},
			{"partition that is not there", s.InitializeState(ctx, shareKey(4), 0, 0), kerr.UnknownTopicOrPartition},
			{"topic that is not there", s.InitializeState(ctx, state.Key{Group: "g"}, 0, 0), kerr.UnknownTopicOrPartition},
			{"delete what is not there", s.DeleteState(ctx, shareKey(0)), kerr.None},
		} {
			if kerr.Of(tc.err) != tc.want {
				t.Errorf("%s: %v, want %v", tc.what, tc.err, tc.want)
			}
		}
		if err := s.InitializeState(ctx, shareKey(0), 0, 7); err != nil {
			t.Fatal(err)
		}
		log.mu.Lock()
		log.fail = func() error { return errors.New("disk on fire") }
		log.mu.Unlock()
		if err := s.WriteState(ctx, shareKey(0), state.Update{Start: 8}); err == nil {
			t.Error("a write that failed was acknowledged")
		}
		log.mu.Lock()
		log.fail = nil
		log.mu.Unlock()
		synctest.Wait() // it is replayed anew
		if got, err := s.ReadState(ctx, shareKey(0), 0); err != nil || got.Start != 7 {
			t.Errorf("after a failed write: %+v, %v", got, err)
		}
		s.Unload(0)
		if err := s.WriteState(ctx, shareKey(0), state.Update{}); kerr.Of(err) != kerr.NotCoordinator {
			t.Errorf("unloaded: %v", err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// The log does not grow for ever: what is before the oldest of all last snapshots is deleted, and what is left tells all.
func TestShareStateIsTrimmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &trimmedLog{memLog: &memLog{}}
		s := newShares(t, log)
		defer s.Close()
		ctx := t.Context()
		for p := range int32(3) {
			if err := s.InitializeState(ctx, shareKey(p), 0, 0); err != nil {
				t.Fatal(err)
			}
		}
		last := int64(0)
		for round := range 5 {
			for i := range int64(20) {
				u := state.Update{Start: int64(round)*20 + i, Complete: 0}
				if err := s.WriteState(ctx, shareKey(0), u); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if start := log.start(); round > 0 && start <= last {
				t.Fatalf("round %d: the log starts at %d as before", round, start)
			}
			last = log.start()
		}
		// A generation of snapshots begins; as long as they are not durable nothing before them may go.
		log.memLog.mu.Lock()
		log.hold = true
		log.memLog.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if start := log.start(); start != last {
			t.Errorf("trimmed to %d before the snapshots were durable", start)
		}
		log.memLog.mu.Lock()
		log.hold = false
		held := len(log.held)
		log.memLog.mu.Unlock()
		for range held {
			log.release(nil)
		}
		synctest.Wait()
		if start := log.start(); start <= last {
			t.Errorf("the log starts at %d as before", start)
		}
		last = log.start()
		if log.early > 0 {
			t.Errorf("%d trims took what was needed", log.early)
		}
		var want []string
		for p := range int32(3) {
			got, err := s.ReadState(ctx, shareKey(p), -1)
			want = append(want, fmt.Sprint(got, err))
		}
		left := log.crash()
		left.batches = nil
		for _, b := range log.batches {
			if b.BaseOffset() >= last {
				left.batches = append(left.batches, b)
			}
		}
		again := newShares(t, &trimmedLog{memLog: left, from: last})
		defer again.Close()
		for p := range int32(3) {
			got, err := again.ReadState(ctx, shareKey(p), -1)
			if fmt.Sprint(got, err) != want[p] {
				t.Errorf("partition %d of what is left: %v %v, want %v", p, got, err, want[p])
			}
		}
	})
}
