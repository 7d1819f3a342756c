package settings

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Group is the effective configuration of one group. Immutable once made; safe for concurrent use. Durations are
// milliseconds.
type Group struct {
	Consumer, Share, Streams GroupTimes
	ShareRecordLockMs        int64             // share.record.lock.duration.ms
	ShareDeliveryLimit       int               // share.delivery.count.limit
	ShareMaxRecordLocks      int               // share.partition.max.record.locks
	ShareOffsetReset         string            // share.auto.offset.reset
	ShareReadCommitted       bool              // share.isolation.level
	ShareRenew               bool              // share.renew.acknowledge.enable
	StreamsStandbys          int               // streams.num.standby.replicas
	StreamsInitialDelayMs    int64             // streams.initial.rebalance.delay.ms
	Overrides                map[string]string // what was set on the group itself; not to be changed
}

// GroupTimes are the times of a group, if it is of the protocol in question.
type GroupTimes struct {
	SessionMs            int64 // session.timeout.ms
	HeartbeatMs          int64 // heartbeat.interval.ms
	AssignmentIntervalMs int64 // assignment.interval.ms; 0: whenever an assignment is needed
}

// ParseGroup validates overrides and returns the effective configuration over b's defaults. overrides is copied. The error
// joins all faults and matches ErrInvalid.
func ParseGroup(overrides map[string]string, b *Broker) (*Group, error) {
	if err := checkAll(overrides, groupIndex, "group", func(*key) error { return nil }); err != nil {
		return nil, err
	}
	v := groupValues(overrides, b)
	g := &Group{
		Consumer: v.times("consumer"), Share: v.times("share"), Streams: v.times("streams"),
		ShareRecordLockMs:     v.number("share.record.lock.duration.ms"),
		ShareDeliveryLimit:    int(v.number("share.delivery.count.limit")),
		ShareMaxRecordLocks:   int(v.number("share.partition.max.record.locks")),
		ShareOffsetReset:      strings.TrimSpace(v.text("share.auto.offset.reset").value),
		ShareReadCommitted:    strings.TrimSpace(v.text("share.isolation.level").value) == "read_committed",
		ShareRenew:            v.flag("share.renew.acknowledge.enable"),
		StreamsStandbys:       int(v.number("streams.num.standby.replicas")),
		StreamsInitialDelayMs: v.number("streams.initial.rebalance.delay.ms"),
		Overrides:             maps.Clone(overrides),
	}
	return g, v.checkGroup()
}

func groupValues(overrides map[string]string, b *Broker) *values {
	return &values{keys: groupIndex, own: overrides, ownSource: SourceGroup, topic: true, layers: b.layersOrNone()}
}

func (v *values) times(protocol string) GroupTimes {
	return GroupTimes{
		SessionMs:            v.number(protocol + ".session.timeout.ms"),
		HeartbeatMs:          v.number(protocol + ".heartbeat.interval.ms"),
		AssignmentIntervalMs: v.number(protocol + ".assignment.interval.ms"),
	}
}

// checkGroup finds values that are outside of what the broker lets groups set, or contradict each other.
func (v *values) checkGroup() error {
	var errs []error
	bounds := []string{"share.record.lock.duration.ms", "share.delivery.count.limit", "share.partition.max.record.locks"}
	for _, protocol := range []string{"consumer", "share", "streams"} {
		bounds = append(bounds, protocol+".session.timeout.ms", protocol+".heartbeat.interval.ms", protocol+".assignment.interval.ms")
		if v.number(protocol+".session.timeout.ms") <= v.number(protocol+".heartbeat.interval.ms") {
			errs = append(errs, fmt.Errorf("%w: %s.session.timeout.ms must be greater than %s.heartbeat.interval.ms", ErrInvalid, protocol, protocol))
		}
	}
	broker := &values{keys: brokerIndex, layers: v.layers}
	for _, name := range bounds {
		protocol, rest, _ := strings.Cut(name, ".")
		least, most := "group."+protocol+".min."+rest, "group."+protocol+".max."+rest
		if v.number(name) < broker.number(least) {
			errs = append(errs, fmt.Errorf("%w: %s must be greater than or equal to %s", ErrInvalid, name, least))
		}
		if v.number(name) > broker.number(most) {
			errs = append(errs, fmt.Errorf("%w: %s must be less than or equal to %s", ErrInvalid, name, most))
		}
	}
	if v.number("streams.num.standby.replicas") > broker.number("group.streams.max.standby.replicas") {
		errs = append(errs, fmt.Errorf("%w: streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas", ErrInvalid))
	}
	return errors.Join(errs...)
}

// Describe gives all keys of a group, sorted by name; b is the broker configuration it was parsed with.
func (g *Group) Describe(b *Broker) []Entry {
	return groupValues(g.Overrides, b).describe(GroupDefinitions())
}

// ShareResetDuration is how long before now a share group begins to read, if share.auto.offset.reset is by_duration.
func (g *Group) ShareResetDuration() (time.Duration, bool) {
	text, ok := strings.CutPrefix(g.ShareOffsetReset, "by_duration:")
	if !ok {
		return 0, false
	}
	parts := isoDuration.FindStringSubmatch(text)
	if parts == nil {
		return 0, false
	}
	total := 0.0
	for i, unit := range []float64{1: 24 * 3600, 3: 3600, 4: 60, 5: 1} {
		if unit == 0 || parts[i] == "" {
			continue
		}
		n, err := strconv.ParseFloat(strings.ReplaceAll(parts[i][:len(parts[i])-1], ",", "."), 64)
		if err != nil {
			return 0, false
		}
		total += n * unit
	}
	return time.Duration(min(total, float64(math.MaxInt64/int64(time.Second))-1) * float64(time.Second)), true
}

// isoDuration is what Java's Duration reads, without a sign.
var isoDuration = regexp.MustCompile(`(?i)^P(\d+D)?(T(\d+H)?(\d+M)?(\d+([.,]\d{0,9})?S)?)?$`)

// offsetReset says what is wrong with a share.auto.offset.reset.
func offsetReset(value string) string {
	value = strings.TrimSpace(value)
	duration, by := strings.CutPrefix(value, "by_duration:")
	switch {
	case value == "earliest", value == "latest":
		return ""
	case by && isoDuration.MatchString(duration) && strings.ContainsAny(duration, "0123456789") && !strings.HasSuffix(strings.ToUpper(duration), "T"):
		return ""
	default:
		return "must be earliest, latest or by_duration:<an ISO-8601 duration that is not negative>"
	}
}
