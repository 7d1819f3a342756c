package usage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/secure/authz"
	"millrace/secure/identity"
	"millrace/secure/trail"
)

// judge allows reading.
type judge struct{}

func (judge) Allowed(q authz.Access) bool          { return q.Operation == kmsg.ACLOperationRead }
func (judge) AllowedSomewhere(q authz.Access) bool { return q.Operation == kmsg.ACLOperationWrite }

type recorder struct {
	mu     sync.Mutex
	events []trail.Event
}

func (r *recorder) Record(e trail.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) take() []trail.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	slices.SortFunc(events, func(a, b trail.Event) int {
		return slices.Compare([]string{a.Principal, a.Action}, []string{b.Principal, b.Action})
	})
	return events
}

func access(name string, op kmsg.ACLOperation) authz.Access {
	return authz.Access{Who: &identity.Identity{Principal: name}, Operation: op, Resource: kmsg.ACLResourceTypeTopic, Name: "t"}
}

func TestObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		o, err := New(Config{Cluster: "default", Principals: 3}, World{Judge: judge{}, Recorder: r, Clock: clock.System{}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- o.Run(ctx) }()
		for range 1000 {
			if !o.Allowed(access("User:a", kmsg.ACLOperationRead)) || o.Allowed(access("User:a", kmsg.ACLOperationDelete)) || !o.AllowedSomewhere(access("User:b", kmsg.ACLOperationWrite)) {
				t.Fatal("another answer than the judge's")
			}
			o.Read("User:a", 10)
		}
		looks, inside := access("User:c", kmsg.ACLOperationRead), access("User:c", kmsg.ACLOperationRead)
		looks.Looks, inside.Who.Internal = true, true
		if !o.Allowed(looks) || !o.Allowed(inside) || !o.Allowed(authz.Access{Operation: kmsg.ACLOperationRead}) {
			t.Error("another answer than the judge's")
		}
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		got := r.take()
		if len(got) != 3 || got[0].Action != Read || got[0].Bytes != 10_000 || got[0].Cluster != "default" || got[1].Action != Rights || got[2].Principal != "User:b" {
			t.Fatalf("%+v", got)
		}
		rights, ok := RightsOf(got[1])
		if !ok || !slices.Equal(rights, []Right{{"READ", "TOPIC"}}) {
			t.Error(rights)
		}
		if _, ok := RightsOf(got[0]); ok {
			t.Error("bytes are no rights")
		}
		o.Allowed(access("User:a", kmsg.ACLOperationRead))
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if got := r.take(); len(got) != 0 {
			t.Errorf("told again: %+v", got)
		}
		time.Sleep(24 * time.Hour)
		o.Allowed(access("User:a", kmsg.ACLOperationRead))
		for i := range 100 {
			o.Read(fmt.Sprint("User:x", i), 1)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		var total int64
		for _, e := range r.take() {
			total += e.Bytes
		}
		if total != 100 || len(o.principals) > 4 {
			t.Errorf("%d bytes, %d principals", total, len(o.principals))
		}
	})
}

func TestObservingAllocatesNothing(t *testing.T) {
	o, err := New(Config{}, World{Judge: judge{}, Recorder: trail.Discard{}, Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	q := access("User:a", kmsg.ACLOperationRead)
	if n := testing.AllocsPerRun(100, func() { o.Allowed(q); o.Read("User:a", 1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if _, err := New(Config{}, World{}); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
}
