package settings

import "slices"

// groupKeys are the configurations of a group, by name.
var groupKeys = []key{
	{Definition: Definition{Name: "consumer.assignment.interval.ms", Type: TypeInt, Default: "1000", Synonym: "group.consumer.assignment.interval.ms",
		Doc: "The least time between two target assignments of consumer groups, in milliseconds."}},
	{Definition: Definition{Name: "consumer.heartbeat.interval.ms", Type: TypeInt, Default: "5000", Synonym: "group.consumer.heartbeat.interval.ms",
		Doc: "The time between two heartbeats of a member of consumer groups, in milliseconds."}, min: 1},
	{Definition: Definition{Name: "consumer.session.timeout.ms", Type: TypeInt, Default: "45000", Synonym: "group.consumer.session.timeout.ms",
		Doc: "How long a member may send no heartbeat before it is taken out of consumer groups, in milliseconds."}, min: 1},
	{Definition: Definition{Name: "share.assignment.interval.ms", Type: TypeInt, Default: "1000", Synonym: "group.share.assignment.interval.ms",
		Doc: "The least time between two target assignments of share groups, in milliseconds."}},
	{Definition: Definition{Name: "share.auto.offset.reset", Type: TypeString, Default: "latest",
		Doc: "Where a share group begins to read: earliest, latest, or by_duration: and an ISO-8601 duration before now."}, check: offsetReset},
	{Definition: Definition{Name: "share.delivery.count.limit", Type: TypeInt, Default: "5", Synonym: "group.share.delivery.count.limit",
		Doc: "How often a record is delivered to a share group."}, min: 2},
	{Definition: Definition{Name: "share.heartbeat.interval.ms", Type: TypeInt, Default: "5000", Synonym: "group.share.heartbeat.interval.ms",
		Doc: "The time between two heartbeats of a member of share groups, in milliseconds."}, min: 1},
	{Definition: Definition{Name: "share.isolation.level", Type: TypeString, Default: "read_uncommitted",
		Doc: "Whether a share group reads records of transactions before they are committed."}, choices: []string{"read_committed", "read_uncommitted"}},
	{Definition: Definition{Name: "share.partition.max.record.locks", Type: TypeInt, Default: "2000", Synonym: "group.share.partition.max.record.locks",
		Doc: "The most records of one partition that a share group has locked."}, min: 100},
	{Definition: Definition{Name: "share.record.lock.duration.ms", Type: TypeInt, Default: "30000", Synonym: "group.share.record.lock.duration.ms",
		Doc: "How long a record is locked for the member that fetched it, in milliseconds."}, min: 1000},
	{Definition: Definition{Name: "share.renew.acknowledge.enable", Type: TypeBoolean, Default: "true",
		Doc: "Whether members of a share group may renew the lock of a record."}},
	{Definition: Definition{Name: "share.session.timeout.ms", Type: TypeInt, Default: "45000", Synonym: "group.share.session.timeout.ms",
		Doc: "How long a member may send no heartbeat before it is taken out of share groups, in milliseconds."}, min: 1},
	{Definition: Definition{Name: "streams.assignment.interval.ms", Type: TypeInt, Default: "1000", Synonym: "group.streams.assignment.interval.ms",
		Doc: "The least time between two target assignments of streams groups, in milliseconds."}},
	{Definition: Definition{Name: "streams.heartbeat.interval.ms", Type: TypeInt, Default: "5000", Synonym: "group.streams.heartbeat.interval.ms",
		Doc: "The time between two heartbeats of a member of streams groups, in milliseconds."}, min: 1},
	{Definition: Definition{Name: "streams.initial.rebalance.delay.ms", Type: TypeInt, Default: "3000", Synonym: "group.streams.initial.rebalance.delay.ms",
		Doc: "How long a new streams group waits for more members before its first assignment, in milliseconds."}},
	{Definition: Definition{Name: "streams.num.standby.replicas", Type: TypeInt, Default: "0", Synonym: "group.streams.num.standby.replicas",
		Doc: "The standby replicas of each task of a streams group."}},
	{Definition: Definition{Name: "streams.session.timeout.ms", Type: TypeInt, Default: "45000", Synonym: "group.streams.session.timeout.ms",
		Doc: "How long a member may send no heartbeat before it is taken out of streams groups, in milliseconds."}, min: 1},
}

var groupIndex = index(groupKeys)

// GroupDefinitions gives all group keys, sorted by name.
func GroupDefinitions() []Definition { return definitions(groupKeys) }

// namesClassic is the check of group.coordinator.rebalance.protocols: nobody can do without the classic protocol.
func namesClassic(value string) string {
	if !slices.Contains(SplitList(value), "classic") {
		return "the classic protocol cannot be disabled"
	}
	return ""
}

func notEmpty(value string) string {
	if len(SplitList(value)) == 0 {
		return "must not be empty"
	}
	return ""
}
