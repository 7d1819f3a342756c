package settings

import (
	"math"
	"strconv"
	"strings"
)

// compressionNames are the values of compression.type; the index is the codec's number on the wire.
var compressionNames = []string{"uncompressed", "gzip", "snappy", "lz4", "zstd"}

const noLimit = "9223372036854775807"

// topicKeys is every topic configuration of Kafka 4, by name. Those that express only stores and shows,
// because it has no use for them, say so.
var topicKeys = []key{
	{Definition: Definition{Name: "cleanup.policy", Type: TypeList, List: true, Default: "delete", Synonym: "log.cleanup.policy",
		Doc: "What happens to old data: delete (by retention time and size), compact (the last value of each key stays), or both. Empty keeps everything."},
		choices: []string{"compact", "delete"}},
	{Definition: Definition{Name: "compression.gzip.level", Type: TypeInt, Default: "-1", Synonym: "compression.gzip.level",
		Doc: "The gzip level when compression.type is gzip; -1 is the codec's own default."},
		min: -1, max: 9, check: notZero},
	{Definition: Definition{Name: "compression.lz4.level", Type: TypeInt, Default: "9", Synonym: "compression.lz4.level",
		Doc: "The LZ4 level when compression.type is lz4."},
		min: 1, max: 17},
	{Definition: Definition{Name: "compression.type", Type: TypeString, Default: "producer", Synonym: "compression.type",
		Doc: "The codec records are kept in. producer keeps them as they were sent."},
		choices: append([]string{"producer"}, compressionNames...)},
	{Definition: Definition{Name: "compression.zstd.level", Type: TypeInt, Default: "3", Synonym: "compression.zstd.level",
		Doc: "The zstd level when compression.type is zstd."},
		min: -131072, max: 22},
	{Definition: Definition{Name: "delete.retention.ms", Type: TypeLong, Default: "86400000", Synonym: "log.cleaner.delete.retention.ms",
		Doc: "How long tombstones of compacted topics are kept, in milliseconds."}},
	{Definition: Definition{Name: "file.delete.delay.ms", Type: TypeLong, Default: "60000", Synonym: "log.segment.delete.delay.ms",
		Doc: "How long a removed segment stays on disk, in milliseconds. Stored only: express has one grace period for all objects."}},
	{Definition: Definition{Name: "flush.messages", Type: TypeLong, Default: noLimit, Synonym: "log.flush.interval.messages",
		Doc: "Records between forced flushes. Stored only: express syncs every record before it acknowledges it."},
		min: 1},
	{Definition: Definition{Name: "flush.ms", Type: TypeLong, Default: noLimit, Synonym: "log.flush.interval.ms",
		Doc: "Milliseconds between forced flushes. Stored only: express syncs every record before it acknowledges it."}},
	{Definition: Definition{Name: "follower.replication.throttled.replicas", Type: TypeList, List: true,
		Doc: "Replicas whose copying is throttled on the follower. Stored only: express does not copy replicas."},
		check: throttledFault},
	{Definition: Definition{Name: "index.interval.bytes", Type: TypeInt, Default: "4096", Synonym: "log.index.interval.bytes",
		Doc: "Record bytes between two entries of a segment's index."}},
	{Definition: Definition{Name: "leader.replication.throttled.replicas", Type: TypeList, List: true,
		Doc: "Replicas whose copying is throttled on the leader. Stored only: express does not copy replicas."},
		check: throttledFault},
	{Definition: Definition{Name: "local.retention.bytes", Type: TypeLong, Default: "-2", Synonym: "log.local.retention.bytes",
		Doc: "Bytes kept locally of a tiered topic; -2 follows retention.bytes. Stored only: express tiers by itself."},
		min: -2},
	{Definition: Definition{Name: "local.retention.ms", Type: TypeLong, Default: "-2", Synonym: "log.local.retention.ms",
		Doc: "Milliseconds a tiered topic is kept locally; -2 follows retention.ms. Stored only: express tiers by itself."},
		min: -2},
	{Definition: Definition{Name: "max.compaction.lag.ms", Type: TypeLong, Default: noLimit, Synonym: "log.cleaner.max.compaction.lag.ms",
		Doc: "A record of a compacted topic is compacted after this many milliseconds at the latest."},
		min: 1},
	{Definition: Definition{Name: "max.message.bytes", Type: TypeInt, Default: "1048588", Synonym: "message.max.bytes",
		Doc: "The largest record batch that is accepted, in bytes, after compression."}},
	{Definition: Definition{Name: "message.timestamp.after.max.ms", Type: TypeLong, Default: "3600000", Synonym: "log.message.timestamp.after.max.ms",
		Doc: "How far ahead of the broker's clock a record's timestamp may be, in milliseconds, under CreateTime."}},
	{Definition: Definition{Name: "message.timestamp.before.max.ms", Type: TypeLong, Default: noLimit, Synonym: "log.message.timestamp.before.max.ms",
		Doc: "How far behind the broker's clock a record's timestamp may be, in milliseconds, under CreateTime."}},
	{Definition: Definition{Name: "message.timestamp.type", Type: TypeString, Default: "CreateTime", Synonym: "log.message.timestamp.type",
		Doc: "Whether records carry the time the producer gave (CreateTime) or that of the append (LogAppendTime)."},
		choices: []string{"CreateTime", "LogAppendTime"}},
	{Definition: Definition{Name: "min.cleanable.dirty.ratio", Type: TypeDouble, Default: "0.5", Synonym: "log.cleaner.min.cleanable.ratio",
		Doc: "The share of a compacted log that must be uncompacted before the cleaner takes it up."},
		max: 1},
	{Definition: Definition{Name: "min.compaction.lag.ms", Type: TypeLong, Default: "0", Synonym: "log.cleaner.min.compaction.lag.ms",
		Doc: "A record of a compacted topic stays uncompacted for at least this many milliseconds."}},
	{Definition: Definition{Name: "min.insync.replicas", Type: TypeInt, Default: "2", Synonym: "min.insync.replicas",
		Doc: "Replicas that must have a record before acks=all is answered. Stored only: express acknowledges what its log's store has made durable."},
		min: 1},
	{Definition: Definition{Name: "preallocate", Type: TypeBoolean, Default: "false", Synonym: "log.preallocate",
		Doc: "Whether files of a segment are allocated at once. Stored only."}},
	{Definition: Definition{Name: "remote.log.copy.disable", Type: TypeBoolean, Default: "false",
		Doc: "Whether a tiered topic stops copying to the remote tier. Stored only: express tiers by itself."}},
	{Definition: Definition{Name: "remote.log.delete.on.disable", Type: TypeBoolean, Default: "false",
		Doc: "Whether tiered data is deleted when tiering is turned off. Stored only: express tiers by itself."}},
	{Definition: Definition{Name: "remote.storage.enable", Type: TypeBoolean, Default: "false",
		Doc: "Kafka's tiered storage. It cannot be turned on: express keeps sealed data in its object store for every topic."},
		check: refuseTrue},
	{Definition: Definition{Name: "retention.bytes", Type: TypeLong, Default: "-1", Synonym: "log.retention.bytes",
		Doc: "The size a partition may reach before its oldest data is deleted; below 0 for no limit."},
		min: math.MinInt64},
	{Definition: Definition{Name: "retention.ms", Type: TypeLong, Default: "604800000", Synonym: "log.retention.ms",
		Doc: "How long records are kept, in milliseconds; -1 for no limit."},
		min: -1},
	{Definition: Definition{Name: "segment.bytes", Type: TypeInt, Default: "1073741824", Synonym: "log.segment.bytes",
		Doc: "The size of a segment; retention and compaction work on whole segments."},
		min: 1 << 20},
	{Definition: Definition{Name: "segment.index.bytes", Type: TypeInt, Default: "10485760", Synonym: "log.index.size.max.bytes",
		Doc: "The largest index of a segment. Stored only: the index of an express segment is as large as its data needs."},
		min: 4},
	{Definition: Definition{Name: "segment.jitter.ms", Type: TypeLong, Default: "0", Synonym: "log.roll.jitter.ms",
		Doc: "Random part taken off segment.ms. Stored only: express rolls one log for all partitions."}},
	{Definition: Definition{Name: "segment.ms", Type: TypeLong, Default: "604800000", Synonym: "log.roll.ms",
		Doc: "The age after which a segment is closed even if it is not full, in milliseconds."},
		min: 1},
	{Definition: Definition{Name: "unclean.leader.election.enable", Type: TypeBoolean, Default: "false", Synonym: "unclean.leader.election.enable",
		Doc: "Whether a replica that lacks records may become leader. Stored only: an express leader always has every acknowledged record."}},
}

var topicIndex = index(topicKeys)

// TopicDefinitions gives all topic keys, sorted by name.
func TopicDefinitions() []Definition { return definitions(topicKeys) }

func notZero(value string) string {
	if strings.TrimSpace(value) == "0" {
		return "must be -1 or between 1 and 9"
	}
	return ""
}

func refuseTrue(value string) string {
	if on, _ := parseBool(value); on {
		return "must be false: tiering is built in and needs no setting"
	}
	return ""
}

// maxMs is what "no limit" is in Kafka's time keys.
const maxMs = math.MaxInt64

// throttledFault wants a list of PARTITION:BROKER, or * for all.
func throttledFault(value string) string {
	elements := SplitList(value)
	if len(elements) == 1 && elements[0] == "*" {
		return ""
	}
	for _, e := range elements {
		partition, broker, both := strings.Cut(e, ":")
		_, err := strconv.ParseUint(partition, 10, 31)
		_, err2 := strconv.ParseUint(broker, 10, 31)
		if !both || err != nil || err2 != nil {
			return "must be * or a list of PARTITION:BROKER"
		}
	}
	return ""
}
