// Package configs puts configurations as packages settings and telemetry know them into the rows of the protocol, and the changes
// that requests ask for into new overrides.
//
// Flow: overrides of the moment and a request -> Increment or Replacement -> overrides to be checked and stored. Entries -> Row, Created.
//
// All functions are pure. Files: configs.go.
package configs

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/settings"
	"millrace/express/telemetry"
	"millrace/kafka/kerr"
)

// Increment applies changes to the overrides of a resource of that type. b says what is inherited.
func Increment(b *settings.Broker, kind kmsg.ConfigResourceType, now map[string]string, changes []kmsg.IncrementalAlterConfigsRequestResourceConfig) (map[string]string, error) {
	seen := make(map[string]bool, len(changes))
	for _, c := range changes {
		if seen[c.Name] {
			return nil, fmt.Errorf("%w: %s is listed twice", kerr.InvalidRequest, c.Name)
		}
		seen[c.Name] = true
		if c.Value == nil && c.Op != kmsg.IncrementalAlterConfigOpDelete {
			return nil, fmt.Errorf("%w: %s has no value", kerr.InvalidRequest, c.Name)
		}
		switch c.Op {
		case kmsg.IncrementalAlterConfigOpSet:
			now[c.Name] = *c.Value
		case kmsg.IncrementalAlterConfigOpDelete:
			delete(now, c.Name)
		case kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract:
			value, err := incrementList(b, kind, now, c)
			if err != nil {
				return nil, err
			}
			now[c.Name] = value
		default:
			return nil, fmt.Errorf("%w: %s: unknown operation %d", kerr.InvalidRequest, c.Name, c.Op)
		}
	}
	return now, nil
}

// incrementList adds elements to the list that c names, or takes them off.
func incrementList(b *settings.Broker, kind kmsg.ConfigResourceType, now map[string]string, c kmsg.IncrementalAlterConfigsRequestResourceConfig) (string, error) {
	if kind == kmsg.ConfigResourceTypeClientMetrics {
		return "", notList{c} // whatever its type, as in Kafka
	}
	defs := settings.BrokerDefinitions()
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		defs = settings.TopicDefinitions()
	case kmsg.ConfigResourceTypeGroupConfig:
		defs = settings.GroupDefinitions()
	default:
	}
	at := slices.IndexFunc(defs, func(d settings.Definition) bool { return d.Name == c.Name })
	if at < 0 || !defs[at].List {
		return "", fmt.Errorf("%w: %q is not a list, so nothing can be appended to or subtracted from it", settings.ErrInvalid, c.Name)
	}
	value, overridden := now[c.Name]
	if !overridden {
		value = inherited(b, defs[at])
	}
	list := settings.SplitList(value)
	for _, e := range settings.SplitList(*c.Value) {
		has := slices.Contains(list, e)
		switch {
		case c.Op == kmsg.IncrementalAlterConfigOpAppend && !has:
			list = append(list, e)
		case c.Op == kmsg.IncrementalAlterConfigOpSubtract && has:
			list = slices.DeleteFunc(list, func(have string) bool { return have == e })
		}
	}
	return strings.Join(list, ","), nil
}

// inherited is the value that holds where nothing is overridden.
func inherited(b *settings.Broker, d settings.Definition) string {
	for _, e := range b.Describe() {
		if e.Name == d.Synonym && e.HasValue {
			return e.Value
		}
	}
	return d.Default
}

// notList is the error of a change to a list that Kafka does not take for one.
type notList struct {
	change kmsg.IncrementalAlterConfigsRequestResourceConfig
}

func (e notList) Error() string {
	return fmt.Sprintf("Can't %s to key %s because its type is not LIST.", e.change.Op, e.change.Name[:min(len(e.change.Name), nameMost)])
}

func (e notList) Unwrap() error { return kerr.InvalidConfig }

// nameMost keeps a hostile name from filling an answer.
const nameMost = 200

// Replacement is the overrides that a request sets in place of all.
func Replacement(list []kmsg.AlterConfigsRequestResourceConfig) (map[string]string, error) {
	next := make(map[string]string, len(list))
	for _, c := range list {
		if c.Value == nil {
			return nil, fmt.Errorf("%w: %s has no value", kerr.InvalidRequest, c.Name)
		}
		if _, again := next[c.Name]; again {
			return nil, fmt.Errorf("%w: %s is listed twice", kerr.InvalidRequest, c.Name)
		}
		next[c.Name] = *c.Value
	}
	return next, nil
}

// sourceClientMetrics is the source of what was set for a telemetry subscription.
const sourceClientMetrics = int8(kmsg.ConfigSourceClientMetricsConfig)

// OfSubscription gives all keys of a telemetry subscription.
func OfSubscription(set map[string]string) []settings.Entry {
	var entries []settings.Entry
	for _, d := range telemetry.Definitions() {
		e := settings.Entry{
			Definition: settings.Definition{Name: d.Name, Doc: d.Doc, Default: d.Default, Type: settings.TypeInt},
			Value:      d.Default, HasValue: true, Source: settings.SourceDefault,
		}
		if d.List {
			e.Type = settings.TypeList
		}
		if value, ok := set[d.Name]; ok {
			e.Value, e.Source = value, sourceClientMetrics
			e.Synonyms = []settings.Synonym{{Name: d.Name, Value: value, Source: sourceClientMetrics}}
		}
		entries = append(entries, e)
	}
	return entries
}

// Row is the row of one key.
func Row(e *settings.Entry, req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.ReadOnly, out.IsSensitive = e.Name, e.ReadOnly, e.Sensitive
	out.Source, out.IsDefault = kmsg.ConfigSource(e.Source), e.Source == settings.SourceDefault
	out.ConfigType = kmsg.ConfigType(e.Type)
	if e.HasValue {
		out.Value = kmsg.StringPtr(e.Value)
	}
	if req.IncludeDocumentation {
		out.Documentation = kmsg.StringPtr(e.Doc)
	}
	if req.IncludeSynonyms {
		for _, s := range e.Synonyms {
			syn := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			syn.Name, syn.Value, syn.Source = s.Name, kmsg.StringPtr(s.Value), kmsg.ConfigSource(s.Source)
			out.ConfigSynonyms = append(out.ConfigSynonyms, syn)
		}
	}
	return out
}

// Created is the rows that CreateTopics shows of a new topic.
func Created(entries []settings.Entry) []kmsg.CreateTopicsResponseTopicConfig {
	var out []kmsg.CreateTopicsResponseTopicConfig
	for _, e := range entries {
		c := kmsg.NewCreateTopicsResponseTopicConfig()
		c.Name, c.ReadOnly, c.Source, c.IsSensitive = e.Name, e.ReadOnly, e.Source, e.Sensitive
		if e.HasValue {
			c.Value = kmsg.StringPtr(e.Value)
		}
		out = append(out, c)
	}
	return out
}

// Told is overrides as they may be written down: a copy without the values of sensitive keys.
func Told(overrides map[string]string) map[string]string {
	out := maps.Clone(overrides)
	for _, defs := range [][]settings.Definition{settings.TopicDefinitions(), settings.BrokerDefinitions(), settings.GroupDefinitions()} {
		for _, d := range defs {
			if _, ok := out[d.Name]; ok && d.Sensitive {
				out[d.Name] = "(hidden)"
			}
		}
	}
	return out
}
