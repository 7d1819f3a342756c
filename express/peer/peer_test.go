package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"millrace/express/machine"
	"millrace/express/share"
	"millrace/express/share/state"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// bubble runs a test with fake brokers 1 and 2 and a pool, and makes sure that both leave nothing behind (PE7).
func bubble(t *testing.T, cfg Config, f func(t *testing.T, b *fakes, p *Pool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newFakes(t, 1, 2)
		b.answer = agree
		p := New(context.Background(), cfg, b.world())
		f(t, b, p)
		p.Close()
		p.Close()
		b.serving.Wait()
		if _, _, open := b.count(); open != 0 {
			t.Errorf("%d connections are open after the end", open)
		}
		if err := p.latestOf(1); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// latestOf asks a broker for the end of some partition.
func (p *Pool) latestOf(broker int32) error {
	_, err := p.Latest(context.Background(), broker, machine.TopicPartition{Topic: "t"})
	return err
}

func tp(index int32) machine.TopicPartition {
	return machine.TopicPartition{Topic: "t", Partition: index}
}

func marker(producer int64) machine.Marker {
	return machine.Marker{Producer: machine.Producer{ID: producer, Epoch: 1}, Commit: true, CoordinatorEpoch: 5}
}

func TestEveryKindOfCall(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *fakes, p *Pool) {
		ctx := context.Background()
		if end, err := p.Latest(ctx, 1, tp(7)); end != 107 || err != nil {
			t.Errorf("latest: %d, %v", end, err)
		}
		codes, err := p.AddPartitions(ctx, 1, Addition{TransactionalID: "x", Partitions: []machine.TopicPartition{tp(1), tp(2), {Topic: "u"}}})
		if !slices.Equal(codes, make([]kerr.Code, 3)) || err != nil {
			t.Errorf("add: %v, %v", codes, err)
		}
		done := make(chan error, 1)
		p.WriteMarker(2, tp(0), marker(9), func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Errorf("marker: %v", err)
		}
		k := state.Key{Group: "g", Topic: topic.ID{1}, Partition: 3}
		if err := p.InitializeState(ctx, 1, k, 1, -1); err != nil {
			t.Errorf("initialize: %v", err)
		}
		want := []share.Batch{{First: 51, Last: 52, State: 2, Count: 1}}
		if s, err := p.ReadState(ctx, 1, k, 4); err != nil || s.StateEpoch != 3 || s.Start != 50 || !slices.Equal(s.Batches, want) {
			t.Errorf("read: %+v, %v", s, err)
		}
		if err := p.WriteState(ctx, 1, k, state.Update{StateEpoch: 3, LeaderEpoch: 4, Start: 50, Complete: 2, Batches: want}); err != nil {
			t.Errorf("write: %v", err)
		}
		if s, err := p.StateSummary(ctx, 1, k); err != nil || s != (state.Summary{StateEpoch: 3, LeaderEpoch: 4, Start: 50, Complete: 2}) {
			t.Errorf("summary: %+v, %v", s, err)
		}
		if err := p.DeleteState(ctx, 1, k); err != nil {
			t.Errorf("delete: %v", err)
		}
		w := b.requests[5].(*kmsg.WriteShareGroupStateRequest)
		if in := w.Topics[0].Partitions[0]; w.GroupID != "g" || in.StateEpoch != 3 || in.LeaderEpoch != 4 || in.StartOffset != 50 ||
			in.DeliveryCompleteCount != 2 || len(in.StateBatches) != 1 || in.StateBatches[0].LastOffset != 52 {
			t.Errorf("written: %+v", w)
		}
		m := b.requests[2].(*kmsg.WriteTxnMarkersRequest).Markers[0]
		if m.ProducerID != 9 || m.ProducerEpoch != 1 || !m.Committed || m.CoordinatorEpoch != 5 {
			t.Errorf("marker: %+v", m)
		}
	})
}

// What comes while a request is on its way shares the next one.
func TestCallsThatGatherShareARequest(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *fakes, p *Pool) {
		gate := make(chan struct{})
		b.answer = func(id int32, q kmsg.Request) kmsg.Response {
			<-gate
			return agree(id, q)
		}
		var errs []error
		var mu sync.Mutex
		note := func(err error) {
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
		}
		p.WriteMarker(1, tp(0), marker(1), note)
		synctest.Wait()
		for i := range 50 {
			p.WriteMarker(1, tp(int32(i)), marker(int64(i/10)), note)
		}
		close(gate)
		synctest.Wait()
		if n, dials, _ := b.count(); n != 2 || dials != 1 {
			t.Errorf("%d requests over %d connections, want 2 over 1", n, dials)
		}
		if len(errs) != 51 || errors.Join(errs...) != nil {
			t.Errorf("%d answers, %v", len(errs), errors.Join(errs...))
		}
		if m := b.requests[1].(*kmsg.WriteTxnMarkersRequest).Markers; len(m) != 5 || len(m[0].Topics) != 1 || len(m[0].Topics[0].Partitions) != 10 {
			t.Errorf("%d markers", len(m))
		}
	})
}

// States of several groups, and several kinds of operations, go by themselves; no request reads too much at once.
func TestStatesShareARequestOnlyWithTheirLike(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *fakes, p *Pool) {
		gate := make(chan struct{})
		b.answer = func(id int32, q kmsg.Request) kmsg.Response {
			<-gate
			return agree(id, q)
		}
		var asking sync.WaitGroup
		failed := make(chan error, 100)
		for i := range int32(40) {
			asking.Go(func() {
				k := state.Key{Group: fmt.Sprint("g", i%2), Topic: topic.ID{byte(i % 3)}, Partition: i}
				if _, err := p.ReadState(context.Background(), 1, k, 1); err != nil {
					failed <- err
				}
			})
			asking.Go(func() {
				if err := p.DeleteState(context.Background(), 1, state.Key{Group: "g0", Partition: i}); err != nil {
					failed <- err
				}
			})
		}
		synctest.Wait()
		close(gate)
		asking.Wait()
		for range len(failed) {
			t.Error(<-failed)
		}
		for _, q := range b.requests {
			n := 0
			if r, ok := q.(*kmsg.ReadShareGroupStateRequest); ok {
				for _, t := range r.Topics {
					n += len(t.Partitions)
				}
			}
			if n > maxReads {
				t.Errorf("a request reads %d states", n)
			}
		}
		if n := len(b.requests); n > 12 {
			t.Errorf("%d requests", n)
		}
	})
}

// PE3: a broker that does not answer holds back nobody who asks another one, or for another kind of thing.
func TestASilentBrokerHoldsBackNobodyElse(t *testing.T) {
	bubble(t, Config{Timeout: time.Second}, func(t *testing.T, b *fakes, p *Pool) {
		b.answer = func(id int32, q kmsg.Request) kmsg.Response {
			if _, ok := q.(*kmsg.WriteTxnMarkersRequest); ok && id == 1 {
				return nil
			}
			return agree(id, q)
		}
		began := time.Now()
		silent := make(chan error, 2)
		p.WriteMarker(1, tp(0), marker(1), func(err error) { silent <- err })
		synctest.Wait()
		p.WriteMarker(1, tp(1), marker(1), func(err error) { silent <- err })
		done := make(chan error, 1)
		p.WriteMarker(2, tp(0), marker(1), func(err error) { done <- err })
		if err := errors.Join(<-done, p.latestOf(1)); err != nil || time.Since(began) != 0 {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if err := <-silent; !errors.Is(err, ErrAway) || time.Since(began) != markersPatience*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if err := <-silent; !errors.Is(err, ErrAway) || time.Since(began) > (2*markersPatience+1)*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if n, _, _ := b.count(); n != 4 {
			t.Errorf("%d requests, want 4: none is sent twice", n)
		}
	})
}

// A broker that is away is looked for again after pauses that grow, and found when it is back.
func TestPausesGrowWhileABrokerIsAway(t *testing.T) {
	cfg := Config{MinPause: 100 * time.Millisecond, MaxPause: time.Second}
	bubble(t, cfg, func(t *testing.T, b *fakes, p *Pool) {
		b.remove(1)
		if err := p.latestOf(1); !errors.Is(err, ErrAway) {
			t.Fatal(err)
		}
		for _, most := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
			began := time.Now()
			if err := p.latestOf(1); !errors.Is(err, ErrAway) {
				t.Fatal(err)
			}
			most *= time.Millisecond
			if took := time.Since(began); took < most/2 || took > most {
				t.Errorf("the pause is %v, want at most %v and at least its half", took, most)
			}
		}
		b.restart(1)
		b.mu.Lock()
		back := b.brokers[1]
		back.ID, back.Host, back.Port = 1, "host", 1
		b.brokers[1] = back
		b.mu.Unlock()
		for range 2 {
			if err := p.latestOf(1); err != nil {
				t.Error(err)
			}
		}
	})
}

// PE5: after a restart of the broker the old connection is not used.
func TestAConnectionIsForOneIncarnation(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *fakes, p *Pool) {
		for i := range 3 {
			for range 2 {
				if err := p.latestOf(1); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait() // the broker has seen the old one close
			if _, dials, open := b.count(); dials != i+1 || open != 1 {
				t.Errorf("%d connections were made, %d are open, want %d and 1", dials, open, i+1)
			}
			b.restart(1)
		}
	})
}

// PE2: beyond a number of calls callers are told at once.
func TestQueueIsBounded(t *testing.T) {
	bubble(t, Config{Queue: 3, Timeout: time.Second}, func(t *testing.T, b *fakes, p *Pool) {
		b.answer = func(int32, kmsg.Request) kmsg.Response { return nil }
		codes := make(chan error, 10)
		p.WriteMarker(1, tp(0), marker(1), func(err error) { codes <- err })
		synctest.Wait()
		for range 5 {
			p.WriteMarker(1, tp(0), marker(1), func(err error) { codes <- err })
		}
		for range 2 {
			if err := <-codes; !errors.Is(err, ErrBusy) {
				t.Error(err)
			}
		}
		for range 4 {
			if err := <-codes; !errors.Is(err, ErrAway) {
				t.Error(err)
			}
		}
	})
}

// A caller that leaves is not waited for, and what it asked is not sent if it was not yet.
func TestCallersMayLeave(t *testing.T) {
	bubble(t, Config{Timeout: time.Minute}, func(t *testing.T, b *fakes, p *Pool) {
		gate := make(chan struct{})
		b.answer = func(id int32, q kmsg.Request) kmsg.Response {
			<-gate
			return agree(id, q)
		}
		for range 3 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			began := time.Now()
			if _, err := p.Latest(ctx, 1, tp(0)); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
			cancel()
		}
		close(gate)
		synctest.Wait()
		if n, _, _ := b.count(); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

// An idle connection is closed, and its lane goes.
func TestIdleConnectionsGo(t *testing.T) {
	bubble(t, Config{Idle: time.Second}, func(t *testing.T, b *fakes, p *Pool) {
		for range 2 {
			if err := p.latestOf(1); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second + 1)
			synctest.Wait()
			if _, _, open := b.count(); open != 0 || len(p.latests) != 0 {
				t.Errorf("%d connections, %d lanes", open, len(p.latests))
			}
		}
	})
}

// Close fails what waits and what is on its way.
func TestCloseFailsAllCalls(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *fakes, p *Pool) {
		b.answer = func(int32, kmsg.Request) kmsg.Response { return nil }
		codes := make(chan error, 20)
		for i := range 10 {
			p.WriteMarker(int32(1+i%3), tp(0), marker(1), func(err error) { codes <- err })
			synctest.Wait()
		}
		p.Close()
		closed := 0
		for range 10 {
			if errors.Is(<-codes, ErrClosed) {
				closed++
			}
		}
		if closed < 7 { // broker 3 is not there
			t.Errorf("%d calls were told of the end", closed)
		}
	})
}

// PE6: an answer that does not fit its request fails the calls and ends the connection.
func TestAnswersThatDoNotFit(t *testing.T) {
	for name, mangle := range map[string]func([]byte) []byte{
		"another correlation id": func(b []byte) []byte { b[7]++; return b },
		"too long": func(b []byte) []byte {
			binary.BigEndian.PutUint32(b, maxAnswer+1)
			return b
		},
		"cut":       func(b []byte) []byte { binary.BigEndian.PutUint32(b, uint32(len(b)-4-3)); return b[:len(b)-3] },
		"no body":   func([]byte) []byte { return []byte{0, 0, 0, 0} },
		"a tag":     func(b []byte) []byte { b[8] = 1; return b },
		"no answer": func([]byte) []byte { return frameOf(&kmsg.ListOffsetsResponse{Version: latestVersion}, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, b *fakes, p *Pool) {
				b.mangle = mangle
				began := time.Now()
				if err := p.latestOf(1); !errors.Is(err, ErrAway) || time.Since(began) != 0 {
					t.Errorf("after %v: %v", time.Since(began), err)
				}
				synctest.Wait()
				if _, _, open := b.count(); open != 0 {
					t.Error("the connection is still open")
				}
				b.mu.Lock()
				b.mangle = nil
				b.mu.Unlock()
				if err := p.latestOf(1); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Codes go to the calls that they are for, whatever shares a request.
func TestEachCallGetsItsOwnCode(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(rt, "calls")
		calls := make([]*marking, n)
		got := make([]error, n)
		want := make([]kerr.Code, n)
		for i := range calls {
			m := marker(rapid.Int64Range(0, 3).Draw(rt, "producer"))
			m.Commit = rapid.Bool().Draw(rt, "commit")
			place := machine.TopicPartition{
				Topic: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "topic"), Partition: rapid.Int32Range(0, 3).Draw(rt, "partition"),
			}
			want[i] = rapid.SampledFrom([]kerr.Code{kerr.None, kerr.NotLeaderOrFollower, kerr.InvalidProducerEpoch}).Draw(rt, "code")
			got[i] = errors.New("not answered")
			calls[i] = &marking{tp: place, marker: m, done: func(err error) { got[i] = err }}
		}
		r := agree(1, askMarkers(calls)).(*kmsg.WriteTxnMarkersResponse)
		i := 0
		for _, m := range r.Markers {
			for _, t := range m.Topics {
				for k := range t.Partitions {
					t.Partitions[k].ErrorCode = int16(want[i])
					i++
				}
			}
		}
		if err := markersAnswered(calls, r); err != nil {
			rt.Fatal(err)
		}
		for i := range calls {
			if kerr.Of(got[i]) != want[i] {
				rt.Errorf("call %d: %v, want %v", i, got[i], want[i])
			}
		}
	})
}

// together keeps every call, and the order of those alike.
func TestTogetherKeepsOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := rapid.SliceOfN(rapid.IntRange(0, 3), 1, 30).Draw(rt, "calls")
		l := &lane[int]{kind: &kind[int]{most: rapid.IntRange(1, 5).Draw(rt, "most"), same: func(a, b int) bool { return a/1000 == b/1000 }}}
		calls := make([]int, len(all))
		for i, kind := range all {
			calls[i] = kind*1000 + i
		}
		last := map[int]int{}
		for rest := slices.Clone(calls); len(rest) > 0; {
			n := l.together(rest)
			for _, c := range rest[:n] {
				if c/1000 != rest[0]/1000 || n > l.kind.most {
					rt.Fatalf("%v share a request", rest[:n])
				}
				if before, ok := last[c/1000]; ok && before > c {
					rt.Fatalf("%d comes after %d", c, before)
				}
				last[c/1000] = c
				calls = slices.DeleteFunc(calls, func(have int) bool { return have == c })
			}
			rest = rest[n:]
		}
		if len(calls) > 0 {
			rt.Fatalf("%v are left", calls)
		}
	})
}

// Whatever bytes come as an answer, calls are answered once or not at all.
func FuzzAnswers(f *testing.F) {
	k := state.Key{Group: "g", Topic: topic.ID{1}, Partition: 3}
	for op := initializing; op <= summing; op++ {
		r := agree(1, askStates([]*stating{{op: op, key: k}}))
		f.Add(int8(op), frameOf(r, 1)[4:])
	}
	f.Add(int8(10), frameOf(agree(1, askMarkers([]*marking{{tp: tp(0), marker: marker(1)}})), 1)[4:])
	f.Add(int8(11), frameOf(agree(1, askLatest([]*latesting{{tp: tp(0)}})), 1)[4:])
	f.Add(int8(12), frameOf(agree(1, askAdditions([]*verifying{{Addition: Addition{Partitions: []machine.TopicPartition{tp(0)}}}})), 1)[4:])
	f.Fuzz(func(t *testing.T, which int8, body []byte) {
		ctx := context.Background()
		switch which {
		case 10:
			answered := 0
			calls := []*marking{{tp: tp(0), marker: marker(1), done: func(error) { answered++ }}}
			r, err := readAnswer(askMarkers(calls), 1, body)
			if err == nil {
				err = markersAnswered(calls, r)
			}
			wantAnswers(t, answered, err)
		case 11:
			c := &latesting{tp(0), newReply[int64](ctx)}
			r, err := readAnswer(askLatest([]*latesting{c}), 1, body)
			if err == nil {
				err = latestAnswered([]*latesting{c}, r)
			}
			wantAnswers(t, len(c.out), err)
		case 12:
			c := &verifying{Addition{Partitions: []machine.TopicPartition{tp(0)}}, newReply[[]kerr.Code](ctx)}
			r, err := readAnswer(askAdditions([]*verifying{c}), 1, body)
			if err == nil {
				err = additionsAnswered([]*verifying{c}, r)
			}
			wantAnswers(t, len(c.out), err)
		default:
			c := &stating{op: operation(which), key: k, reply: newReply[stated](ctx)}
			r, err := readAnswer(askStates([]*stating{c}), 1, body)
			if err == nil {
				err = statesAnswered([]*stating{c}, r)
			}
			wantAnswers(t, len(c.out), err)
		}
	})
}

func wantAnswers(t *testing.T, n int, err error) {
	t.Helper()
	if err == nil && n != 1 || err != nil && n != 0 {
		t.Errorf("%d answers, error %v", n, err)
	}
}
