package settings

import (
	"strconv"
	"strings"
)

// Entry is one key of a DescribeConfigs answer.
type Entry struct {
	Definition
	Value    string // "" when HasValue is false or the key is sensitive
	HasValue bool   // false: null on the wire
	Source   int8   // one of the Source constants
	Synonyms []Synonym
}

// Synonym is one of the values that an entry could have, the effective one first, under the name of the
// key that has it and in that key's unit.
type Synonym struct {
	Name, Value string
	Source      int8
}

// Describe gives all keys of a topic, sorted by name; b is the broker configuration it was parsed with.
func (t *Topic) Describe(b *Broker) []Entry {
	v := values{keys: topicIndex, own: t.Overrides, topic: true, layers: b.layersOrNone()}
	return v.describe(TopicDefinitions())
}

// Describe gives all keys of the broker, sorted by name.
func (b *Broker) Describe() []Entry {
	v := values{keys: brokerIndex, layers: b.layers}
	return v.describe(BrokerDefinitions())
}

// DescribeDefaults gives only what was set at runtime for all brokers: Kafka's answer for the broker
// resource without a name.
func (b *Broker) DescribeDefaults() []Entry {
	var entries []Entry
	for _, l := range b.layers {
		if l.source != SourceDefaultBroker {
			continue
		}
		for _, d := range BrokerDefinitions() {
			if value, ok := l.values[d.Name]; ok {
				e := Entry{Definition: d, Value: value, HasValue: true, Source: l.source,
					Synonyms: []Synonym{{d.Name, value, l.source}}}
				entries = append(entries, e.masked())
			}
		}
	}
	return entries
}

func (v *values) describe(defs []Definition) []Entry {
	entries := make([]Entry, 0, len(defs))
	for _, d := range defs {
		k := v.keys[d.Name]
		e := Entry{Definition: d, Source: SourceDefault}
		for _, f := range v.all(k) {
			// A broker key shows only its own value: log.retention.ms is null while hours rule.
			if !e.HasValue && (v.topic || f.key == k) {
				e.Value, e.HasValue, e.Source = f.inUnitOf(k), true, f.source
			}
			e.Synonyms = append(e.Synonyms, Synonym{f.key.Name, f.value, f.source})
		}
		entries = append(entries, e.masked())
	}
	return entries
}

// inUnitOf gives the value as k would state it: hours become milliseconds.
func (f found) inUnitOf(k *key) string {
	if f.key.unitMs == k.unitMs {
		return f.value
	}
	n, err := strconv.ParseInt(strings.TrimSpace(f.value), 10, 64)
	if err != nil {
		return f.value
	}
	return strconv.FormatInt(f.key.toMs(n), 10)
}

func (e Entry) masked() Entry {
	if !e.Sensitive {
		return e
	}
	e.Value, e.HasValue, e.Synonyms = "", false, nil
	return e
}
