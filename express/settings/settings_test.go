package settings

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
)

// topicDefaults is what Apache Kafka 4 answers for a topic without overrides, save min.insync.replicas (S3).
var topicDefaults = map[string]string{
	"cleanup.policy": "delete", "compression.gzip.level": "-1", "compression.lz4.level": "9", "compression.type": "producer",
	"compression.zstd.level": "3", "delete.retention.ms": "86400000", "file.delete.delay.ms": "60000",
	"flush.messages": "9223372036854775807", "flush.ms": "9223372036854775807", "follower.replication.throttled.replicas": "",
	"index.interval.bytes": "4096", "leader.replication.throttled.replicas": "", "local.retention.bytes": "-2",
	"local.retention.ms": "-2", "max.compaction.lag.ms": "9223372036854775807", "max.message.bytes": "1048588",
	"message.timestamp.after.max.ms": "3600000", "message.timestamp.before.max.ms": "9223372036854775807",
	"message.timestamp.type": "CreateTime", "min.cleanable.dirty.ratio": "0.5", "min.compaction.lag.ms": "0",
	"min.insync.replicas": "2", "preallocate": "false", "remote.log.copy.disable": "false", "remote.log.delete.on.disable": "false",
	"remote.storage.enable": "false", "retention.bytes": "-1", "retention.ms": "604800000", "segment.bytes": "1073741824",
	"segment.index.bytes": "10485760", "segment.jitter.ms": "0", "segment.ms": "604800000", "unclean.leader.election.enable": "false",
}

func broker(t *testing.T, l Layers) *Broker {
	t.Helper()
	b, err := ParseLayers(l)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTopicDefaultsAreKafkas(t *testing.T) {
	b := broker(t, Layers{})
	s, err := ParseTopic(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, e := range s.Describe(b) {
		got[e.Name] = e.Value
		if !e.HasValue || e.Source != SourceDefault {
			t.Errorf("%s: has value %v, source %d", e.Name, e.HasValue, e.Source)
		}
	}
	if !maps.Equal(got, topicDefaults) {
		for name, want := range topicDefaults {
			if got[name] != want {
				t.Errorf("%s: %q, want %q", name, got[name], want)
			}
		}
		t.Errorf("%d keys, want %d", len(got), len(topicDefaults))
	}
}

// The defaults of MSK that differ from Kafka's, and our own.
func TestStatedDifferencesFromKafka(t *testing.T) {
	b := broker(t, Layers{})
	s, err := ParseTopic(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	if b.AutoCreateTopics || b.DefaultReplicationFactor != 3 || s.MinInsyncReplicas != 2 || b.CleanerDedupeBytes != 32<<20 {
		t.Errorf("auto create %v, replication %d, insync %d, dedupe %d", b.AutoCreateTopics, b.DefaultReplicationFactor, s.MinInsyncReplicas, b.CleanerDedupeBytes)
	}
}

// Each row of the tables is whole: documented, its default valid, its synonym a broker key, its name there once.
func TestTablesAreSound(t *testing.T) {
	for kind, keys := range map[string][]key{"topic": topicKeys, "broker": brokerKeys, "group": groupKeys} {
		names := make([]string, 0, len(keys))
		for i := range keys {
			k := &keys[i]
			names = append(names, k.Name)
			if k.Doc == "" || !strings.HasSuffix(k.Doc, ".") {
				t.Errorf("%s %s: no documentation", kind, k.Name)
			}
			if k.Default != "" || k.Type == TypeList {
				if err := k.validate(k.Default); err != nil {
					t.Errorf("default of %s %s: %v", kind, k.Name, err)
				}
			}
			if k.Synonym != "" && brokerIndex[k.Synonym] == nil {
				t.Errorf("%s %s: synonym %q is not a broker key", kind, k.Name, k.Synonym)
			}
			if kind == "topic" && k.Synonym != "" {
				last := chain(k)[len(chain(k))-1]
				if (found{key: last, value: last.Default}).inUnitOf(k) != k.Default {
					t.Errorf("%s: default %q, its broker key %s has %q", k.Name, k.Default, last.Name, last.Default)
				}
			}
		}
		if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Errorf("%s keys are not in order or not unique", kind)
		}
	}
}

func TestInvalidValuesNameKeyAndBounds(t *testing.T) {
	f := func(key, value string, parts ...string) {
		t.Helper()
		_, err := ParseTopic(map[string]string{key: value}, nil)
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s=%q: %v", key, value, err)
			return
		}
		for _, part := range append(parts, key) {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s=%q: %q does not name %q", key, value, err, part)
			}
		}
	}
	f("segment.bytes", "1000", "1048576", "2147483647", `"1000"`)
	f("segment.bytes", "2147483648", "2147483647")
	f("segment.bytes", "99999999999999999999", "2147483647")
	f("segment.bytes", "a", "not a number")
	f("segment.bytes", "", "not a number")
	f("retention.ms", "-2", "-1", "9223372036854775807")
	f("max.compaction.lag.ms", "0", "1")
	f("min.cleanable.dirty.ratio", "1.5", "0", "1")
	f("min.cleanable.dirty.ratio", "NaN")
	f("cleanup.policy", "compact,shred", "compact, delete")
	f("cleanup.policy", "delete,delete", "twice")
	f("compression.type", "none", "uncompressed", "producer")
	f("compression.gzip.level", "0", "1", "9")
	f("compression.zstd.level", "23", "-131072", "22")
	f("message.timestamp.type", "createtime", "CreateTime")
	f("preallocate", "yes", "true or false")
	f("min.insync.replicas", "0", "1")
	f("remote.storage.enable", "true", "must be false")
	f("no.such.key", "1", "unknown topic configuration")

	_, err := ParseTopic(map[string]string{strings.Repeat("k", 5000): strings.Repeat("v", 5000)}, nil)
	if err == nil || len(err.Error()) > 300 {
		t.Error("a hostile key fills the message")
	}
	_, err = ParseTopic(map[string]string{"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "5"}, nil)
	if !errors.Is(err, ErrInvalid) {
		t.Errorf("lags that contradict: %v", err)
	}
	_, err = ParseTopic(map[string]string{"segment.ms": "0", "retention.ms": "-5"}, nil)
	if err == nil || !strings.Contains(err.Error(), "segment.ms") || !strings.Contains(err.Error(), "retention.ms") {
		t.Errorf("not all faults: %v", err)
	}
}

func TestTopicValues(t *testing.T) {
	s, err := ParseTopic(map[string]string{
		"cleanup.policy": " compact , delete", "compression.type": "zstd", "compression.zstd.level": "-5",
		"message.timestamp.type": "LogAppendTime", "retention.ms": "-1", "max.message.bytes": " 10 ",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Compact || !s.Delete || s.Compression != CompressionZstd || s.CompressionLevel != -5 || !s.LogAppendTime || s.RetentionMs != -1 || s.MaxMessageBytes != 10 {
		t.Errorf("%+v", s)
	}
	if s, err = ParseTopic(map[string]string{"cleanup.policy": "", "compression.type": "uncompressed"}, nil); err != nil || s.Compact || s.Delete || s.Compression != CompressionNone {
		t.Errorf("%+v, %v", s, err)
	}
}

// A value is taken from the nearest layer, and within a layer from the finest unit.
func TestSynonymsByLayerAndUnit(t *testing.T) {
	f := func(l Layers, own map[string]string, wantMs int64, wantSource int8, wantName string) {
		t.Helper()
		b := broker(t, l)
		s, err := ParseTopic(own, b)
		if err != nil {
			t.Fatal(err)
		}
		if s.RetentionMs != wantMs {
			t.Errorf("retention %d, want %d", s.RetentionMs, wantMs)
		}
		for _, e := range s.Describe(b) {
			if e.Name == "retention.ms" && (e.Source != wantSource || e.Synonyms[0].Name != wantName) {
				t.Errorf("source %d, synonyms %v; want %d, %s", e.Source, e.Synonyms, wantSource, wantName)
			}
		}
	}
	hours := map[string]string{"log.retention.hours": "2"}
	f(Layers{}, nil, 7*24*msPerHour, SourceDefault, "log.retention.hours")
	f(Layers{Static: hours}, nil, 2*msPerHour, SourceStaticBroker, "log.retention.hours")
	f(Layers{Static: map[string]string{"log.retention.hours": "2", "log.retention.minutes": "5"}}, nil, 5*msPerMinute, SourceStaticBroker, "log.retention.minutes")
	f(Layers{Static: map[string]string{"log.retention.hours": "-1"}}, nil, -1, SourceStaticBroker, "log.retention.hours")
	f(Layers{Default: map[string]string{"log.retention.ms": "7"}, Static: hours}, nil, 7, SourceDefaultBroker, "log.retention.ms")
	f(Layers{Broker: map[string]string{"log.retention.ms": "8"}, Default: map[string]string{"log.retention.ms": "7"}}, nil, 8, SourceBroker, "log.retention.ms")
	f(Layers{Default: map[string]string{"log.retention.ms": "7"}}, map[string]string{"retention.ms": "9"}, 9, SourceTopic, "retention.ms")
}

func TestBrokerKeysThatClientsMaySet(t *testing.T) {
	for name, ok := range map[string]bool{"log.retention.ms": true, "num.partitions": true, "log.retention.hours": false, "broker.id": false, "nope": false} {
		if err := CheckAlter(name); (err == nil) != ok || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseBroker(map[string]string{"broker.id": "4"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a fact was set: %v", err)
	}
	if _, err := ParseLayers(Layers{Static: map[string]string{"broker.id": "4", "listeners": "PLAINTEXT://:9092"}}); err != nil {
		t.Errorf("a fact was refused: %v", err)
	}
	if _, err := ParseBroker(map[string]string{"log.cleaner.min.compaction.lag.ms": "9", "log.cleaner.max.compaction.lag.ms": "1"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("defaults that make no valid topic: %v", err)
	}
	b, err := ParseBroker(map[string]string{"log.retention.ms": "7", "num.partitions": "3"})
	if err != nil || b.NumPartitions != 3 || !maps.Equal(b.TopicDefaults, map[string]string{"log.retention.ms": "7"}) || len(b.Overrides) != 2 {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestBrokerDescription(t *testing.T) {
	b := broker(t, Layers{Default: map[string]string{"num.partitions": "3"}, Static: map[string]string{"broker.id": "4"}})
	rows := make(map[string]Entry)
	for _, e := range b.Describe() {
		rows[e.Name] = e
	}
	if len(rows) != len(brokerKeys) {
		t.Errorf("%d rows", len(rows))
	}
	if e := rows["log.retention.ms"]; e.HasValue || e.Synonyms[0].Name != "log.retention.hours" {
		t.Errorf("log.retention.ms: %+v", e)
	}
	if e := rows["num.partitions"]; e.Value != "3" || e.Source != SourceDefaultBroker || e.ReadOnly || len(e.Synonyms) != 2 {
		t.Errorf("num.partitions: %+v", e)
	}
	if e := rows["broker.id"]; e.Value != "4" || e.Source != SourceStaticBroker || !e.ReadOnly {
		t.Errorf("broker.id: %+v", e)
	}
	if e := rows["inter.broker.protocol.version"]; e.Value != MetadataVersion {
		t.Errorf("inter.broker.protocol.version: %+v", e)
	}
	if all := b.DescribeDefaults(); len(all) != 1 || all[0].Name != "num.partitions" {
		t.Errorf("defaults: %+v", all)
	}
}

func FuzzParseTopic(f *testing.F) {
	for name, value := range topicDefaults {
		f.Add(name, value)
	}
	f.Add("segment.bytes", "-1")
	f.Add("cleanup.policy", ",,")
	f.Fuzz(func(t *testing.T, name, value string) {
		s, err := ParseTopic(map[string]string{name: value}, nil)
		switch {
		case err != nil && !errors.Is(err, ErrInvalid):
			t.Fatalf("%v is not ErrInvalid", err)
		case err == nil && (s.SegmentBytes < 1<<20 || s.MaxMessageBytes < 0 || s.SegmentMs < 1):
			t.Fatalf("out of bounds: %+v", s)
		case err == nil:
			s.Describe(nil)
		}
	})
}

// A group takes what it sets itself, then what the broker says; both within the broker's bounds.
func TestGroupLayers(t *testing.T) {
	b, err := ParseLayers(Layers{
		Default: map[string]string{"group.consumer.session.timeout.ms": "50000"},
		Static:  map[string]string{"group.consumer.min.heartbeat.interval.ms": "1000"},
	})
	if err != nil {
		t.Fatal(err)
	}
	g, err := ParseGroup(map[string]string{"consumer.heartbeat.interval.ms": "2000"}, b)
	if err != nil {
		t.Fatal(err)
	}
	if g.Consumer != (GroupTimes{SessionMs: 50_000, HeartbeatMs: 2000, AssignmentIntervalMs: 1000}) {
		t.Errorf("times %+v", g.Consumer)
	}
	for _, e := range g.Describe(b) {
		if e.Name == "consumer.heartbeat.interval.ms" && (e.Source != SourceGroup || e.Value != "2000" || len(e.Synonyms) != 2) ||
			e.Name == "consumer.session.timeout.ms" && (e.Source != SourceDefaultBroker || e.Value != "50000") ||
			e.Name == "share.session.timeout.ms" && (e.Source != SourceDefault || e.Value != "45000") {
			t.Errorf("%+v", e)
		}
	}
	for key, value := range map[string]string{
		"consumer.heartbeat.interval.ms": "999", "consumer.session.timeout.ms": "60001", "share.delivery.count.limit": "11",
		"share.auto.offset.reset": "by_duration:-PT1H", "share.isolation.level": "none", "streams.num.standby.replicas": "3",
		"streams.session.timeout.ms": "44999", "group.max.size": "1", "consumer.assignment.interval.ms": "-1",
	} {
		if _, err := ParseGroup(map[string]string{key: value}, b); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s=%s: %v", key, value, err)
		}
	}
	for _, value := range []string{"earliest", "latest", "by_duration:PT1H", "by_duration:P2DT3H4M5.5S"} {
		if _, err := ParseGroup(map[string]string{"share.auto.offset.reset": value}, b); err != nil {
			t.Errorf("%s: %v", value, err)
		}
	}
	if _, err := ParseBroker(map[string]string{"group.streams.heartbeat.interval.ms": "60000"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a heartbeat interval beyond its bound: %v", err)
	}
	for value, good := range map[string]bool{
		"classic": true, "classic, consumer,share,streams": true, "consumer": false, "": false, "classic,other": false,
	} {
		_, err := ParseLayers(Layers{Static: map[string]string{"group.coordinator.rebalance.protocols": value}})
		if good != (err == nil) || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("protocols %q: %v", value, err)
		}
	}
}
