package settings

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Layers are the places a broker value can come from, nearest first. The maps are not kept; nil is empty.
type Layers struct {
	Broker  map[string]string // set for one broker by id, at runtime
	Default map[string]string // set for all brokers, at runtime
	Static  map[string]string // what the process was started with, facts (listeners, broker.id) included
}

// Sources of a value, with the numbers of Kafka's DescribeConfigs.
const (
	SourceTopic         int8 = 1
	SourceBroker        int8 = 2
	SourceDefaultBroker int8 = 3
	SourceStaticBroker  int8 = 4
	SourceDefault       int8 = 5
	SourceGroup         int8 = 8
)

// layer is one map of values together with what Kafka calls its source.
type layer struct {
	source int8
	values map[string]string
}

// found is where a key's value was found.
type found struct {
	key    *key // whose value it is: the key itself or a synonym
	value  string
	source int8
}

// chain gives the broker keys that stand for k, nearest first.
func chain(k *key) []*key {
	var keys []*key
	for name := k.Synonym; name != ""; {
		next := brokerIndex[name]
		keys = append(keys, next)
		name = next.Synonym
	}
	return keys
}

// checkAll validates values against the keys of a table; what is allowed beyond that is up to allow.
func checkAll(values map[string]string, keys map[string]*key, kind string, allow func(*key) error) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		k, ok := keys[name]
		if !ok {
			errs = append(errs, fmt.Errorf("%w: unknown %s configuration %q", ErrInvalid, kind, clip(name)))
			continue
		}
		if err := allow(k); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, k.validate(values[name]))
	}
	return errors.Join(errs...)
}

// values reads typed values that have been validated; a missing number reads as 0.
type values struct {
	keys   map[string]*key
	own    map[string]string // the topic's or group's overrides
	topic  bool              // or group
	layers []layer

	ownSource int8 // what Kafka calls own; 0: SourceTopic
}

// text gives the effective value of a key and the key it came from; source 0 when there is none.
func (v *values) text(name string) found {
	if all := v.all(v.keys[name]); len(all) > 0 {
		return all[0]
	}
	return found{}
}

// all lists the values that k could take, the effective one first.
func (v *values) all(k *key) []found {
	var all []found
	keys := chain(k)
	if !v.topic || len(keys) == 0 {
		keys = append([]*key{k}, keys...) // a broker key, or a topic key that no broker key stands for
	}
	if own, ok := v.own[k.Name]; ok {
		all = append(all, found{k, own, cmp.Or(v.ownSource, SourceTopic)})
	}
	for _, l := range v.layers {
		for _, s := range keys {
			if value, ok := l.values[s.Name]; ok {
				all = append(all, found{s, value, l.source})
			}
		}
	}
	for _, s := range keys {
		if s.Default != "" || s.Type == TypeList {
			all = append(all, found{s, s.Default, SourceDefault})
		}
	}
	return all
}

// number gives an integer value, converted to the unit of the asked key.
func (v *values) number(name string) int64 {
	f := v.text(name)
	n, err := strconv.ParseInt(strings.TrimSpace(f.value), 10, 64)
	if err != nil {
		return 0
	}
	if f.key.unitMs == v.keys[name].unitMs {
		return n
	}
	return f.key.toMs(n)
}

func (v *values) flag(name string) bool {
	on, _ := parseBool(v.text(name).value)
	return on
}

func (v *values) ratio(name string) float64 {
	f, err := strconv.ParseFloat(strings.TrimSpace(v.text(name).value), 64)
	if err != nil {
		return 0
	}
	return f
}
