package coord

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"millrace/kafka/topic"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// start runs f in a goroutine and returns where its result will be.
func start[T any](f func() T) <-chan T {
	out := make(chan T, 1)
	go func() { out <- f() }()
	return out
}

// stable makes a group of two members, of which c-1 leads.
func stable(r *rig) {
	a := start(func() *kmsg.JoinGroupResponse { return r.join(r.t.Context(), "") })
	synctest.Wait()
	<-a
	b := start(func() *kmsg.JoinGroupResponse { return r.join(r.t.Context(), "") })
	synctest.Wait()
	if got := r.join(r.t.Context(), "c-1"); got.ErrorCode != 0 || len(got.Members) != 2 {
		r.t.Fatalf("join: %+v", got)
	}
	if got := <-b; got.ErrorCode != 0 || got.LeaderID != "c-1" || got.Generation != 2 {
		r.t.Fatalf("join: %+v", got)
	}
	s := start(func() *kmsg.SyncGroupResponse { return r.sync("c-2", 2) })
	synctest.Wait()
	if got := r.sync("c-1", 2, "c-1", "A", "c-2", "B"); string(got.MemberAssignment) != "A" {
		r.t.Fatalf("sync: %+v", got)
	}
	if got := <-s; string(got.MemberAssignment) != "B" {
		r.t.Fatalf("sync: %+v", got)
	}
}

func TestReloadIsEqual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := load(t, &memLog{}, nil)
		stable(r)
		if code := r.commit("other", "t", 3, 33); code != kerr.None {
			t.Fatal(code)
		}
		before, offset := r.describe(), r.fetch("other", "t", 3)

		again := load(t, r.log.crash(), nil)
		if after := again.describe(); !reflect.DeepEqual(before, after) || after.State != "Stable" {
			t.Errorf("before %+v\nafter  %+v", before, after)
		}
		if after := again.fetch("other", "t", 3); after != offset || after != 33 {
			t.Errorf("offset %d, after reload %d", offset, after)
		}
		// The sessions begin anew, and end when nobody sends heartbeats.
		if code := again.heartbeat("c-2", 2); code != kerr.None {
			t.Error(code)
		}
		time.Sleep(9 * time.Second)
		if code := again.heartbeat("c-2", 2); code != kerr.None {
			t.Error(code)
		}
		time.Sleep(2 * time.Second)
		if code := again.heartbeat("c-2", 2); code != kerr.RebalanceInProgress {
			t.Error("c-1 should have failed:", code)
		}
	})
}

func TestReplyWaitsForTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := load(t, &memLog{hold: true}, nil)
		code := start(func() kerr.Code { return r.commit("g", "t", 0, 5) })
		synctest.Wait()
		select {
		case c := <-code:
			t.Fatal("answered before it was durable:", c)
		default:
		}
		if got := r.fetch("g", "t", 0); got != -1 {
			t.Fatal("seen before it was durable:", got)
		}
		r.log.release(nil)
		if c := <-code; c != kerr.None {
			t.Error(c)
		}
		if got := r.fetch("g", "t", 0); got != 5 {
			t.Error("offset", got)
		}
	})
}

func TestCommitsShareABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := load(t, &memLog{hold: true}, nil)
		var wg sync.WaitGroup
		for i := range int64(20) {
			wg.Go(func() {
				if code := r.commit("g", "t", int32(i), i); code != kerr.None {
					t.Error(code)
				}
			})
			synctest.Wait()
		}
		r.log.release(nil)
		synctest.Wait()
		r.log.release(nil)
		wg.Wait()
		if r.log.appends != 2 || r.log.batches[1].NumRecords() != 19 {
			t.Errorf("%d batches, the second with %d records", r.log.appends, r.log.batches[1].NumRecords())
		}
	})
}

func TestLogRefuses(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want kerr.Code
	}{
		{kerr.NotLeaderOrFollower, kerr.NotCoordinator},
		{kerr.KafkaStorageError, kerr.NotCoordinator},
		{errors.New("disk on fire"), kerr.NotCoordinator},
		{fmt.Errorf("append: %w", kerr.MessageTooLarge), kerr.InvalidCommitOffsetSize},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := load(t, &memLog{}, nil)
			stable(r)
			r.commit("s", "t", 0, 1)
			before := r.describe()
			r.log.fail = func() error { return tc.err }
			if code := r.commit("s", "t", 0, 2); code != tc.want {
				t.Errorf("%v: %v", tc.err, code)
			}
			r.log.fail = nil
			if got := r.fetch("s", "t", 0); got != 1 {
				t.Errorf("offset %d", got)
			}
			if !reflect.DeepEqual(before, r.describe()) {
				t.Error("the group has changed")
			}
			if code := r.commit("s", "t", 0, 3); code != kerr.None || r.fetch("s", "t", 0) != 3 {
				t.Error("no recovery:", code)
			}
		})
	}
}

func TestUnloadAnswersWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := load(t, &memLog{}, nil)
		stable(r)
		join := start(func() *kmsg.JoinGroupResponse { return r.join(t.Context(), "") })
		synctest.Wait()
		r.log.hold = true
		commit := start(func() kerr.Code { return r.commit("s", "t", 0, 1) })
		synctest.Wait()

		r.Unload(0)
		if got := <-join; kerr.Code(got.ErrorCode) != kerr.NotCoordinator {
			t.Error("join:", kerr.Code(got.ErrorCode))
		}
		if got := <-commit; got != kerr.NotCoordinator {
			t.Error("commit:", got)
		}
		r.log.release(nil) // comes too late, and must find nobody
		if got := r.commit("s", "t", 0, 1); got != kerr.NotCoordinator {
			t.Error("after unload:", got)
		}
		r.Unload(0)

		r.log.hold = false
		if err := r.Load(t.Context(), 0, r.log); err != nil {
			t.Fatal(err)
		}
		if got := r.describe(); got.State != "Stable" {
			t.Error("after load:", got.State)
		}
		r.Close()
		r.Close()
		if got := r.heartbeat("c-1", 2); got != kerr.CoordinatorNotAvailable {
			t.Error("after close:", got)
		}
		if err := r.Load(t.Context(), 0, r.log); !errors.Is(err, ErrClosed) {
			t.Error("load after close:", err)
		}
	})
}

func TestLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := load(t, &memLog{}, nil)
		stable(first)
		first.commit("s", "t", 0, 1)
		log := first.log.crash()
		log.gate, log.started = make(chan struct{}), make(chan struct{})
		r := newRig(t, log, nil)
		loaded := start(func() error { return r.Load(t.Context(), 0, log) })
		<-log.started

		if got := r.commit("s", "t", 0, 1); got != kerr.CoordinatorLoadInProgress {
			t.Error("commit:", got)
		}
		if got := r.heartbeat("c-1", 2); got != kerr.None {
			t.Error("heartbeat:", got)
		}
		if got := r.ListGroups(t.Context(), kmsg.NewPtrListGroupsRequest()); kerr.Code(got.ErrorCode) != kerr.CoordinatorLoadInProgress {
			t.Error("list:", got)
		}
		if err := r.Load(t.Context(), 0, log); !errors.Is(err, ErrLoaded) {
			t.Error("second load:", err)
		}
		r.TopicDeleted("t", topic.ID{1}) // is not forgotten
		close(log.gate)
		if err := <-loaded; err != nil {
			t.Fatal(err)
		}
		if got := r.describe(); got.State != "Stable" {
			t.Error(got.State)
		}
		synctest.Wait()
		if got := r.fetch("s", "t", 0); got != -1 {
			t.Error("the topic's deletion was forgotten:", got)
		}
	})
}

func TestLoadEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tc := range map[string]struct {
			end  func(r *rig, cancel func())
			want error
		}{
			"unload":  {func(r *rig, _ func()) { r.Unload(0) }, ErrUnloaded},
			"close":   {func(r *rig, _ func()) { r.Close() }, ErrUnloaded},
			"context": {func(_ *rig, cancel func()) { cancel() }, context.Canceled},
		} {
			log := &memLog{gate: make(chan struct{}), started: make(chan struct{})}
			log.add(t, [2][]byte{{0, 9}, nil})
			r := newRig(t, log, nil)
			ctx, cancel := context.WithCancel(t.Context())
			loaded := start(func() error { return r.Load(ctx, 0, log) })
			<-log.started
			tc.end(r, cancel)
			if err := <-loaded; !errors.Is(err, tc.want) {
				t.Errorf("%s: %v", name, err)
			}
			cancel()
			if err := r.Load(t.Context(), 7, log); err == nil {
				t.Error("a partition that does not exist was loaded")
			}
		}
	})
}

func TestCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := load(t, &memLog{}, nil)
		stable(r)
		ctx, cancel := context.WithCancel(t.Context())
		join := start(func() *kmsg.JoinGroupResponse { return r.join(ctx, "") })
		synctest.Wait()
		cancel()
		if got := <-join; got.ErrorCode == 0 {
			t.Errorf("join: %+v", got)
		}
		if got := r.join(ctx, ""); got.ErrorCode == 0 {
			t.Errorf("join: %+v", got)
		}
	})
}

func TestTopicDeletedAndExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := load(t, &memLog{}, nil)
		r.commit("a", "t", 0, 1)
		r.commit("a", "u", 0, 1)
		r.TopicDeleted("t", topic.ID{1})
		synctest.Wait()
		if r.fetch("a", "t", 0) != -1 || r.fetch("a", "u", 0) != 1 {
			t.Error("wrong offsets deleted")
		}
		if again := load(t, r.log.crash(), nil); again.fetch("a", "t", 0) != -1 {
			t.Error("deleted offset is back")
		}
		time.Sleep(8 * 24 * time.Hour)
		synctest.Wait()
		if got := r.ListGroups(t.Context(), kmsg.NewPtrListGroupsRequest()); len(got.Groups) != 0 {
			t.Errorf("not expired: %+v", got)
		}
		if again := load(t, r.log.crash(), nil); again.fetch("a", "u", 0) != -1 {
			t.Error("expired offset is back")
		}
	})
}

// TestCrashKeepsWhatWasAcknowledged commits from several sides to a slow log with faults, and looks at many moments what a
// crash would leave.
func TestCrashKeepsWhatWasAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		log := &memLog{}
		log.settle = func(f func()) { time.AfterFunc(time.Duration(random.IntN(2000))*time.Microsecond, f) }
		log.fail = func() error {
			if random.IntN(5) == 0 {
				return kerr.KafkaStorageError
			}
			return nil
		}
		r := load(t, log, nil)
		const clients, commits = 4, 100
		var acked [clients]atomic.Int64
		var wg sync.WaitGroup
		var left atomic.Int32
		left.Store(clients)
		for i := range clients {
			wg.Go(func() {
				defer left.Add(-1)
				for offset := int64(1); offset <= commits; offset++ {
					if r.commit(fmt.Sprint("g", i%2), "t", int32(i), offset) == kerr.None {
						acked[i].Store(offset)
					}
				}
			})
		}
		crashes := 0
		for ; left.Load() > 0; crashes++ {
			time.Sleep(5 * time.Millisecond)
			var want [clients]int64
			for i := range acked {
				want[i] = acked[i].Load()
			}
			again := load(t, log.crash(), nil)
			for i := range clients {
				if got := max(0, again.fetch(fmt.Sprint("g", i%2), "t", int32(i))); got < want[i] {
					t.Errorf("client %d: %d was acknowledged, a crash leaves %d", i, want[i], got)
				}
			}
			again.Close()
		}
		wg.Wait()
		if crashes < 5 || acked[0].Load() < commits/2 {
			t.Errorf("%d crashes, %d acknowledged: the test tests nothing", crashes, acked[0].Load())
		}
	})
}

func TestSkipsWhatItDoesNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := load(t, &memLog{}, nil)
		r.commit("g", "t", 0, 7)
		log := r.log.crash()
		log.add(t,
			[2][]byte{nil, nil},
			[2][]byte{{0, 3, 'x'}, {0, 0}},              // a group of the new protocol
			[2][]byte{{0, 1, 0, 9}, {0, 0}},             // a key that ends too early
			[2][]byte{{0, 2, 0, 1, 'g'}, {0, 99, 1, 1}}, // a version of the future
		)
		again := load(t, log, nil)
		if got := again.fetch("g", "t", 0); got != 7 {
			t.Error("offset", got)
		}
		if n := strings.Count(again.text.String(), "records skipped"); n != 1 || !strings.Contains(again.text.String(), "records=4") {
			t.Errorf("%d lines: %s", n, again.text)
		}
	})
}
