package node

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/base/object"
	"millrace/base/object/cache"
	"millrace/base/slab"
	"millrace/express/audit"
	"millrace/kafka/topic"
)

// auditor looks through what this broker serves and, where it is the controller, through the store.
func (b *broker) auditor(cfg Config, w World, slabs *slab.Pool) *audit.Auditor {
	return audit.New(audit.Config{Broker: cfg.ID, Prefix: cfg.Prefix}, audit.World{
		Partitions: func() (list []audit.Partition) {
			for _, p := range b.registry.All() {
				list = append(list, p)
			}
			return list
		},
		Records: b.records,
		Current: func(ctx context.Context) (map[topic.Partition]audit.Record, error) {
			return audit.StoredRecords(ctx, w.KV, cfg.Prefix)
		},
		Whole: b.catalog.IsController,
		Expiry: func() time.Duration {
			return time.Duration(b.catalog.BrokerSettings().ProducerIDExpirationMs) * time.Millisecond
		},
		KV: w.KV, Manifests: b.manifests, Objects: uncached(w.Objects), Slabs: slabs, Clock: w.Clock, Log: w.Log,
	})
}

// records is what the catalog says of all partitions.
func (b *broker) records() map[topic.Partition]audit.Record {
	records := map[topic.Partition]audit.Record{}
	for _, t := range b.catalog.Topics() {
		for i, p := range t.Partitions {
			records[topic.Partition{Topic: t.ID, Index: int32(i)}] = audit.Record{Topic: t.Name, Owner: p.Owner, Tail: p.Tail}
		}
	}
	return records
}

// uncached is the store itself: an audit wants to see what is there, and not to push out what clients read.
func uncached(objects object.Store) object.Store {
	if c, ok := objects.(*cache.Store); ok {
		return c.Store
	}
	return objects
}

// audits shows what audits found.
func (f *figures) audits(out chan<- prometheus.Metric) {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	s := f.audit()
	for _, kind := range audit.Kinds() {
		figure(out, counter, "millrace_audit_findings_total", "Faults that audits found, each once, by kind.", float64(s.Findings[kind]), "kind", string(kind))
		figure(out, gauge, "millrace_audit_findings", "Faults that stood at the last audit, by kind.", float64(s.Standing[kind]), "kind", string(kind))
	}
	figure(out, counter, "millrace_audit_read_bytes_total", "Bytes that audits read.", float64(s.Bytes))
	figure(out, counter, "millrace_audit_passes_total", "Audits that came to their end.", float64(s.Passes))
	figure(out, counter, "millrace_audit_skipped_total", "Partitions that an audit could not check.", float64(s.Skipped))
	figure(out, gauge, "millrace_audit_checked_partitions", "Partitions that the audit under way has checked, or the last one had.", float64(s.Checked))
	figure(out, gauge, "millrace_audit_partitions", "Partitions that it has to check.", float64(s.Of))
	if !s.Last.IsZero() {
		figure(out, gauge, "millrace_audit_last_end_seconds", "When the last audit ended, in seconds since 1970.", float64(s.Last.UnixMilli())/1000)
	}
}
