package coord

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"millrace/base/clock"
	"millrace/express/group"
	"millrace/express/group/consumer"
	"millrace/express/group/modern"
	"millrace/express/group/shares"
	"millrace/express/machine"
	"millrace/express/settings"
	"millrace/kafka/topic"
)

// Topic is what the coordinator needs to know about a topic.
type Topic = modern.Topic

// Topics finds topics in the cluster's metadata as it is now. It must not block.
type Topics = modern.Topics

// GroupSettings are read anew for every event, so that configuration changes take effect at once.
type GroupSettings struct {
	Limits         group.Limits
	ExpireInterval time.Duration // offsets.retention.check.interval.ms; 0: 10 minutes
}

// FromBroker takes over what the broker's configuration says, and that of each group, and leaves the rest at its default.
// of must not block; it may be called until the next FromBroker.
func FromBroker(b *settings.Broker, of func(group string) *settings.Group) GroupSettings {
	l := group.DefaultLimits()
	l.MinSessionTimeout = time.Duration(b.GroupMinSessionTimeoutMs) * time.Millisecond
	l.MaxSessionTimeout = time.Duration(b.GroupMaxSessionTimeoutMs) * time.Millisecond
	l.InitialRebalanceDelay = time.Duration(b.GroupInitialRebalanceDelayMs) * time.Millisecond
	l.OffsetsRetention = time.Duration(b.OffsetsRetentionMs) * time.Millisecond
	l.MaxOffsetMetadata = b.OffsetMetadataMaxBytes
	l.MaxSize = int(b.GroupMaxSize)
	l.Consumer = func(name string) consumer.Config {
		g := of(name).Consumer
		c := consumer.DefaultConfig()
		c.Session = time.Duration(g.SessionMs) * time.Millisecond
		c.Heartbeat = time.Duration(g.HeartbeatMs) * time.Millisecond
		c.AssignmentInterval = time.Duration(g.AssignmentIntervalMs) * time.Millisecond
		c.MaxSize, c.ClassicMaxSize = int(b.ConsumerGroups.MaxSize), int(b.GroupMaxSize)
		c.Assignors = b.ConsumerGroups.Assignors
		c.RegexRefresh = time.Duration(b.ConsumerGroups.RegexRefreshMs) * time.Millisecond
		c.Upgrade, c.Downgrade = b.ConsumerGroups.Upgrade, b.ConsumerGroups.Downgrade
		return c
	}
	l.Share = func(name string) shares.Config {
		g := of(name).Share
		c := shares.DefaultConfig()
		c.Session = time.Duration(g.SessionMs) * time.Millisecond
		c.Heartbeat = time.Duration(g.HeartbeatMs) * time.Millisecond
		c.AssignmentInterval = time.Duration(g.AssignmentIntervalMs) * time.Millisecond
		c.MaxSize = int(b.ShareMaxSize)
		return c
	}
	return GroupSettings{Limits: l, ExpireInterval: time.Duration(b.OffsetsRetentionCheckMs) * time.Millisecond}
}

// GroupConfig is read once by New.
type GroupConfig struct {
	Partitions int32                // of __consumer_offsets; at least 1, no default
	Settings   func() GroupSettings // must not block; default: Kafka's defaults
	QueueLen   int                  // see Config
	BatchBytes int                  // see Config
	MaxBytes   int                  // see Config
	Leads      func() bool          // see Config
}

// World is what the coordinator touches outside itself.
type World struct {
	Clock  clock.Clock
	Log    *slog.Logger
	Topics Topics                     // nil: topics are not checked, and requests by topic id are refused
	NewID  func(prefix string) string // makes member ids; nil: newMemberID
}

// Coordinator answers the group APIs for the partitions of __consumer_offsets that are loaded. Make one with New. Safe for
// concurrent use.
type Coordinator struct {
	*Runtime[*group.Machine]
	topics Topics

	share     *ShareWorld // nil: share groups are not served
	shareLife context.Context
	endShares context.CancelFunc
	shareWork sync.WaitGroup
}

// New returns a Coordinator without partitions.
func New(cfg GroupConfig, w World) (*Coordinator, error) {
	if cfg.Settings == nil {
		cfg.Settings = func() GroupSettings { return GroupSettings{Limits: group.DefaultLimits()} }
	}
	if w.NewID == nil {
		w.NewID = newMemberID
	}
	c := &Coordinator{topics: w.Topics}
	r, err := NewRuntime(Config[*group.Machine]{
		Leads:      cfg.Leads,
		Name:       topic.ConsumerOffsets,
		Partitions: cfg.Partitions,
		New:        func(int32) *group.Machine { return group.New(cfg.Settings().Limits, w.NewID, w.Topics) },
		Configure:  func(m *group.Machine) { m.Configure(cfg.Settings().Limits) },
		After:      c.afterGroups,
		Every:      func() time.Duration { return cfg.Settings().ExpireInterval },
		QueueLen:   cfg.QueueLen, BatchBytes: cfg.BatchBytes, MaxBytes: cfg.MaxBytes,
	}, w.Clock, w.Log)
	if err != nil {
		return nil, err
	}
	c.Runtime = r
	return c, nil
}

// Close is Runtime.Close, and waits for what is done for share groups.
func (c *Coordinator) Close() {
	if c.endShares != nil {
		c.endShares()
	}
	c.Runtime.Close()
	c.shareWork.Wait()
}

// newMemberID makes a member id as Kafka does: the prefix and a random UUID; without a prefix, as members of the newer
// protocols have none, a random id in the way of topic ids.
func newMemberID(prefix string) string {
	if prefix == "" {
		return topic.NewID().String()
	}
	return prefix + "-" + uuid.NewString()
}

// TopicDeleted removes all offsets of a topic, and what share groups know of it, from the partitions loaded here. It only takes
// note, and does not block.
func (c *Coordinator) TopicDeleted(name string, id topic.ID) {
	c.TellAll(func(m *group.Machine, now time.Time) machine.Effects { return m.TopicDeleted(now, name) })
	c.TellAll(func(m *group.Machine, now time.Time) machine.Effects { return m.ShareTopicDeleted(now, id) })
}
