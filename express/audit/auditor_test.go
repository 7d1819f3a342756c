package audit

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/kv"
	"millrace/base/object"
)

// running is an auditor at work.
func (e *env) running(cfg Config, w World) (stop func()) {
	e.t.Helper()
	e.auditor = New(cfg, w)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.auditor.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			e.t.Error(err)
		}
	})
}

// answered waits until the broker's result says so.
func (e *env) answered(ok func(Result) bool) Result {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for changes := e.kv.Watch(ctx, "c/audited/", 0); ; {
		all, err := Results(ctx, e.kv, "c/")
		must(e.t, err)
		if len(all) == 1 && ok(all[0]) {
			return all[0]
		}
		if _, more := <-changes; !more {
			e.t.Fatalf("no answer; what is there: %+v", all)
		}
	}
}

func TestAskedForAPass(t *testing.T) {
	e := newEnv(t, 3, nil)
	e.fill(2, 2)
	must(t, e.objects.Delete(e.ctx, e.segment(0).Key))
	stop := e.running(Config{Broker: 1, Prefix: "c/"}, e.world())
	defer stop()
	n, err := Ask(e.ctx, e.kv, "c/", 0, e.clock.Now())
	must(t, err)
	r := e.answered(func(r Result) bool { return r.Answered == n })
	if r.Now != nil || r.Last == nil || r.Last.Request != n || r.Last.Total() != 1 || r.Last.Findings[0].Kind != LostObject || r.Last.Checked != 3 || r.Last.Ended.IsZero() {
		t.Fatalf("%+v", r)
	}
	again, err := Ask(e.ctx, e.kv, "c/", 0, e.clock.Now())
	must(t, err)
	e.answered(func(r Result) bool { return r.Answered == again && r.Last.Request == again })
	stop()

	// The next incarnation knows what was answered, and answers what was not.
	third, err := Ask(e.ctx, e.kv, "c/", 0, e.clock.Now())
	must(t, err)
	stop = e.running(Config{Broker: 1, Prefix: "c/"}, e.world())
	defer stop()
	e.answered(func(r Result) bool { return r.Answered == third })
	if n := e.auditor.Stats().Passes; n != 1 {
		t.Errorf("%d passes, want one", n)
	}
}

// A request that comes during a pass begins another one; the one under way, which may be slow, ends.
func TestRequestEndsThePassUnderWay(t *testing.T) {
	e := newEnv(t, 1, nil)
	e.fill(1, 1)
	held, entered := true, make(chan struct{})
	w := e.world()
	w.Objects = object.Faulty(e.objects, func(ctx context.Context, op object.Op) error {
		if held && op.Kind == object.OpStat {
			held = false
			close(entered)
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	})
	defer e.running(Config{Broker: 1, Prefix: "c/", First: time.Nanosecond}, w)()
	<-entered
	n, err := Ask(e.ctx, e.kv, "c/", 1<<40, e.clock.Now())
	must(t, err)
	if r := e.answered(func(r Result) bool { return r.Answered == n }); !r.Last.Clean() || r.Last.Checked != 1 {
		t.Fatalf("%+v", r)
	}
}

func TestSwitchIsKept(t *testing.T) {
	e := newEnv(t, 2, nil)
	e.fill(2, 2)
	must(t, SetPace(e.ctx, e.kv, "c/", -1))
	defer e.running(Config{Broker: 1, Prefix: "c/", First: time.Nanosecond}, e.world())()
	n, err := Ask(e.ctx, e.kv, "c/", 0, e.clock.Now()) // asked for, it makes one all the same
	must(t, err)
	e.answered(func(r Result) bool { return r.Answered == n })
	if p := e.auditor.Stats().Passes; p != 1 {
		t.Errorf("%d passes with the switch off, want the one that was asked for", p)
	}
}

func TestPaceIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pacer{}
		p.setRate(1 << 20)
		began := time.Now()
		for range 5 {
			must(t, p.take(t.Context(), 256<<10))
		}
		if took := time.Since(began); took != time.Second { // the last is paid for afterwards
			t.Errorf("1.25 MiB at 1 MiB/s took %v", took)
		}
		time.Sleep(time.Hour) // what was not used is not saved up
		began = time.Now()
		for range 5 {
			must(t, p.take(t.Context(), 256<<10))
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("after a pause: %v", took)
		}
	})
}

// An old request is none for a broker that has just come.
func TestOldRequestIsNoneForANewBroker(t *testing.T) {
	e := newEnv(t, 1, nil)
	_, err := Ask(e.ctx, e.kv, "c/", 0, e.clock.Now())
	must(t, err)
	e.clock.Advance(2 * time.Hour)
	e.auditor.tell(Request{Number: 1, Asked: e.clock.Now().Add(-2 * time.Hour)}, Pace{})
	if _, _, ok := e.auditor.next(false); ok {
		t.Error("a pass is made")
	}
	e.auditor.tell(Request{Number: 2, Asked: e.clock.Now().Add(-2 * time.Hour)}, Pace{})
	if n, _, ok := e.auditor.next(false); !ok || n != 2 {
		t.Error("no pass for a request of another clock that comes now")
	}
}

func TestRecordsOfANewerVersionAreRefused(t *testing.T) {
	e := newEnv(t, 1, nil)
	_, err := e.kv.Txn(e.ctx, nil, []kv.Op{kv.Put("c/audited/1", []byte(`{"version":2}`)), kv.Put("c/audit/ask", []byte(`{"version":2}`))})
	must(t, err)
	if _, err := Results(e.ctx, e.kv, "c/"); !errors.Is(err, ErrNewer) {
		t.Errorf("results: %v", err)
	}
	if _, err := Ask(e.ctx, e.kv, "c/", 0, e.clock.Now()); !errors.Is(err, ErrNewer) {
		t.Errorf("ask: %v", err)
	}
}

// However many faults there are, a result stays small.
func TestResultIsBounded(t *testing.T) {
	p := &Pass{}
	for i := range 10_000 {
		p.add(Finding{Kind: Gap, Offset: int64(i), Detail: string(make([]byte, 10_000))})
		p.skip(Skip{Reason: string(make([]byte, 10_000))})
	}
	if p.Total() != 10_000 || p.Skipped != 10_000 || len(p.Findings) != findingsMost || len(p.Skips) != skipsMost || len(p.Findings[0].Detail) > detailMost+10 {
		t.Errorf("%d of %d findings, %d of %d skips are kept", len(p.Findings), p.Total(), len(p.Skips), p.Skipped)
	}
}
