package settings

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Compression is a topic's compression.type.
type Compression int8

// Compression types; the codecs have the wire's numbers.
const (
	CompressionProducer Compression = -1
	CompressionNone     Compression = 0
	CompressionGzip     Compression = 1
	CompressionSnappy   Compression = 2
	CompressionLZ4      Compression = 3
	CompressionZstd     Compression = 4
)

// Topic is the effective configuration of one topic. Immutable once made; safe for concurrent use.
// Durations are milliseconds, as in Kafka's keys; -1 means without limit where Kafka says so.
type Topic struct {
	Delete, Compact      bool              // cleanup.policy; both false keeps everything
	Compression          Compression       // compression.type
	CompressionLevel     int               // of the chosen codec; 0 when it has none, -1 the codec's default
	MaxMessageBytes      int               // max.message.bytes, of one batch
	LogAppendTime        bool              // message.timestamp.type
	TimestampBeforeMaxMs int64             // message.timestamp.before.max.ms
	TimestampAfterMaxMs  int64             // message.timestamp.after.max.ms
	RetentionMs          int64             // retention.ms; -1 without limit
	RetentionBytes       int64             // retention.bytes; -1 without limit
	SegmentBytes         int64             // segment.bytes
	SegmentMs            int64             // segment.ms
	IndexIntervalBytes   int               // index.interval.bytes
	MinCleanableRatio    float64           // min.cleanable.dirty.ratio, 0 to 1
	MinCompactionLagMs   int64             // min.compaction.lag.ms
	MaxCompactionLagMs   int64             // max.compaction.lag.ms
	DeleteRetentionMs    int64             // delete.retention.ms
	MinInsyncReplicas    int               // min.insync.replicas
	Overrides            map[string]string // what was set on the topic itself; not to be changed
}

// ParseTopic validates overrides and returns the effective configuration over b's defaults; a nil b means
// a broker without overrides. overrides is copied. The error joins all faults and matches ErrInvalid.
func ParseTopic(overrides map[string]string, b *Broker) (*Topic, error) {
	err := checkAll(overrides, topicIndex, "topic", func(*key) error { return nil })
	if err != nil {
		return nil, err
	}
	v := values{keys: topicIndex, own: overrides, topic: true, layers: b.layersOrNone()}
	t := &Topic{
		Compression:          compression(v.text("compression.type").value),
		MaxMessageBytes:      int(v.number("max.message.bytes")),
		LogAppendTime:        strings.TrimSpace(v.text("message.timestamp.type").value) == "LogAppendTime",
		TimestampBeforeMaxMs: v.number("message.timestamp.before.max.ms"),
		TimestampAfterMaxMs:  v.number("message.timestamp.after.max.ms"),
		RetentionMs:          v.number("retention.ms"),
		RetentionBytes:       v.number("retention.bytes"),
		SegmentBytes:         v.number("segment.bytes"),
		SegmentMs:            v.number("segment.ms"),
		IndexIntervalBytes:   int(v.number("index.interval.bytes")),
		MinCleanableRatio:    v.ratio("min.cleanable.dirty.ratio"),
		MinCompactionLagMs:   v.number("min.compaction.lag.ms"),
		MaxCompactionLagMs:   v.number("max.compaction.lag.ms"),
		DeleteRetentionMs:    v.number("delete.retention.ms"),
		MinInsyncReplicas:    int(v.number("min.insync.replicas")),
		Overrides:            maps.Clone(overrides),
	}
	policy := SplitList(v.text("cleanup.policy").value)
	t.Delete, t.Compact = slices.Contains(policy, "delete"), slices.Contains(policy, "compact")
	t.CompressionLevel = v.level(t.Compression)
	if t.MaxCompactionLagMs < t.MinCompactionLagMs {
		return nil, fmt.Errorf("%w: invalid value %d for max.compaction.lag.ms: must be at least min.compaction.lag.ms (%d)",
			ErrInvalid, t.MaxCompactionLagMs, t.MinCompactionLagMs)
	}
	return t, nil
}

// compression turns a valid compression.type into its codec.
func compression(name string) Compression {
	return Compression(slices.Index(compressionNames, strings.TrimSpace(name))) // producer: -1
}

// level gives the level of the codec that c compresses with.
func (v *values) level(c Compression) int {
	switch c {
	case CompressionGzip:
		return int(v.number("compression.gzip.level"))
	case CompressionLZ4:
		return int(v.number("compression.lz4.level"))
	case CompressionZstd:
		return int(v.number("compression.zstd.level"))
	default:
		return 0
	}
}
