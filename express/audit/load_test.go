package audit

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"millrace/base/slab"
	"millrace/express/partition"
	"millrace/kafka/record"
)

// retire deletes at once what partitions drop, without the grace that the cleaner gives: the auditor gets along without.
func (e *env) retire(keys []string) {
	for _, k := range keys {
		e.segments.Forget(k)
		if err := e.objects.Delete(e.ctx, k); err != nil {
			e.t.Error(err)
		}
	}
}

// write appends idempotent batches of a producer until told to stop.
func (e *env) produce(p *partition.Partition, stop <-chan struct{}) {
	for n := int32(0); ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		b := record.NewBuilder(record.Options{Producer: &record.Producer{ID: int64(n%3) + 10*int64(e.epoch), Epoch: int16(n / 300), Sequence: n % 300 / 3}})
		if err := b.Add(e.clock.Now().UnixMilli(), fmt.Appendf(nil, "key %d", n%20), make([]byte, 500)); err != nil {
			e.t.Error(err)
			return
		}
		out, err := b.Build(nil)
		if err != nil {
			e.t.Error(err)
			return
		}
		done := make(chan error, 1)
		p.Append(e.ctx, out, func(a partition.Appended) { done <- a.Err })
		if err := <-done; err != nil {
			e.t.Error(err)
			return
		}
	}
}

// maintain does what a cleaner does, without a pause.
func (e *env) maintain(stop <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		e.clock.Advance(time.Second)
		if err := e.log.Roll(e.ctx); err != nil {
			e.t.Error(err)
			return
		}
		for i, p := range e.parts {
			_, err := p.Cut(e.ctx, all3)
			if err == nil {
				_, err = p.Compact(e.ctx, partition.CompactLimits{MaxMapBytes: 1 << 20})
			}
			if err == nil {
				_, err = p.ApplyRetention(e.ctx)
			}
			if o := p.Offsets(); err == nil && n%7 == 0 && i == 2 {
				_, err = p.DeleteRecords(e.ctx, (o.LogStart+o.HW)/2)
			}
			if err != nil {
				e.t.Error(err)
				return
			}
		}
	}
}

// TestNoFindingsUnderLoad audits without a pause while records are written, cut, compacted and deleted (A2).
func TestNoFindingsUnderLoad(t *testing.T) {
	e := newEnv(t, 0, nil)
	configs := []map[string]string{
		{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "0"},
		{"retention.bytes": "100000"},
		{},
		{"cleanup.policy": "compact,delete", "min.cleanable.dirty.ratio": "0.01", "retention.ms": "20000"},
	}
	passes, changed := 0, int64(0)
	for range 3 { // restarts between
		e.openEach(configs)
		stop := make(chan struct{})
		var work sync.WaitGroup
		for _, p := range e.parts {
			work.Go(func() { e.produce(p, stop) })
		}
		work.Go(func() { e.maintain(stop) })
		for range 40 {
			p := e.audit()
			if p.Total() > 0 || p.Skipped > 0 || p.Checked != len(e.parts) {
				t.Errorf("%+v", p)
				break
			}
			passes++
		}
		close(stop)
		work.Wait()
		for _, p := range e.parts {
			changed += p.View().Manifest.Version
		}
		if t.Failed() {
			t.FailNow()
		}
		e.clean()
	}
	e.openEach(configs)
	e.clean()
	t.Logf("%d passes, %d commits", passes, changed)
}

// TestScanCountsAsNobodysTraffic: the controller goes by traffic.
func TestScanCountsAsNobodysTraffic(t *testing.T) {
	e := newEnv(t, 1, nil)
	e.fill(1, 1)
	e.clean()
	if n := e.parts[0].Traffic().BytesOut; n != 0 {
		t.Errorf("%d bytes read by clients", n)
	}
	var chain slab.Chain
	defer chain.Release()
	_, err := e.parts[0].Read(context.Background(), &chain, 0, 1<<20, true, false)
	must(t, err)
	if n := e.parts[0].Traffic().BytesOut; n != int64(chain.Len()) {
		t.Errorf("%d bytes read by clients, want %d", n, chain.Len())
	}
}
