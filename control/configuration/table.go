package configuration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Effect is when brokers take a property.
type Effect string

// The effects of a property.
const (
	Live  Effect = "LIVE"  // at once
	Start Effect = "START" // when a broker starts
	Kept  Effect = "KEPT"  // never: it is kept to be read back
)

// Writable is a property that a configuration may have.
type Writable struct {
	Name   string
	Effect Effect
	// fault says what is wrong with a value that brokers have no rule for; nil: brokers have one.
	fault func(value string) string
}

// Writables are the properties of express clusters, by name.
func Writables() []Writable {
	int32s := func(min int64) func(string) string { return whole(min, 1<<31-1) }
	return []Writable{
		{"advertised.listeners", Kept, listenerList},
		{"allow.everyone.if.no.acl.found", Live, nil},
		{"auto.create.topics.enable", Live, nil},
		{"compression.type", Live, nil},
		{"connections.max.idle.ms", Start, nil},
		{"delete.topic.enable", Live, nil},
		{"group.initial.rebalance.delay.ms", Live, nil},
		{"group.max.session.timeout.ms", Live, nil},
		{"leader.imbalance.per.broker.percentage", Kept, int32s(0)},
		{"log.cleaner.delete.retention.ms", Live, nil},
		{"log.cleaner.max.compaction.lag.ms", Live, nil},
		{"log.cleaner.min.compaction.lag.ms", Live, nil},
		{"log.cleanup.policy", Live, nil},
		{"log.message.timestamp.after.max.ms", Live, nil},
		{"log.message.timestamp.before.max.ms", Live, nil},
		{"log.message.timestamp.type", Live, nil},
		{"log.retention.bytes", Live, nil},
		{"log.retention.ms", Live, nil},
		{"max.connection.creation.rate", Start, nil},
		{"max.connections", Start, nil},
		{"max.connections.per.ip", Start, nil},
		{"max.connections.per.ip.overrides", Kept, perAddress},
		{"max.incremental.fetch.session.cache.slots", Start, nil},
		{"message.max.bytes", Live, nil},
		{"num.partitions", Live, nil},
		{"offsets.retention.minutes", Live, nil},
		{"producer.id.expiration.ms", Live, nil},
		{"replica.fetch.max.bytes", Kept, int32s(0)},
		{"replica.selector.class", Kept, className},
		{"socket.receive.buffer.bytes", Start, nil},
		{"socket.request.max.bytes", Start, nil},
		{"socket.send.buffer.bytes", Start, nil},
		{"transaction.max.timeout.ms", Start, nil},
		{"transactional.id.expiration.ms", Start, nil},
	}
}

// writable finds one by its name.
func writable(name string) (Writable, bool) {
	all := Writables()
	i, ok := slices.BinarySearchFunc(all, name, func(w Writable, name string) int { return strings.Compare(w.Name, name) })
	if !ok {
		return Writable{}, false
	}
	return all[i], true
}

// whole checks a number.
func whole(least, most int64) func(string) string {
	return func(value string) string {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil && strings.Trim(value, "+-0123456789") != "" || value == "" {
			return fmt.Sprintf("not a number; must be between %d and %d", least, most)
		}
		if err != nil || n < least || n > most {
			return fmt.Sprintf("must be between %d and %d", least, most)
		}
		return ""
	}
}

// perAddress checks a list of HOST:CONNECTIONS.
func perAddress(value string) string {
	for _, one := range elements(value) {
		at := strings.LastIndexByte(one, ':')
		if at < 1 || whole(0, 1<<31-1)(one[at+1:]) != "" {
			return "must be a list such as host:100,127.0.0.1:200"
		}
	}
	return ""
}

// listenerList checks a list of NAME://HOST:PORT with names that clients' listeners have.
func listenerList(value string) string {
	for _, one := range elements(value) {
		name, rest, ok := strings.Cut(one, "://")
		at := strings.LastIndexByte(rest, ':')
		switch {
		case !ok || name == "" || at < 0:
			return "must be a list such as CLIENT_IAM://b-1.example.com:9098"
		case strings.HasPrefix(name, "REPLICATION") || name == "CONTROLLER":
			return "listener " + name + " is the brokers' own"
		}
	}
	return ""
}

func className(value string) string {
	for _, c := range value {
		if c != '.' && c != '_' && c != '$' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return "must be the name of a class"
		}
	}
	return ""
}

func elements(value string) []string {
	if strings.TrimSpace(value) == "" {
		return nil
	}
	all := strings.Split(value, ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}
