package warden

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine"
)

// pools are sizes of pools of threads, which Kafka at most halves or doubles while it runs: further it takes a start.
func pools() []string {
	return []string{
		"background.threads", "log.cleaner.threads", "num.io.threads", "num.network.threads",
		"num.recovery.threads.per.data.dir", "num.replica.fetchers",
	}
}

// Apply changes properties for all brokers where Kafka lets them be changed while it runs, and returns the names of those that need a
// start, sorted. An empty value takes back what an earlier Apply set; then what the broker was started with holds, or Kafka's default.
// A property that needs a start and has the value already on all brokers that run is not among the names. It may be repeated.
//
// ErrRefused: Kafka does not take a value, and then nothing is changed (W7).
func (w *Warden) Apply(ctx context.Context, c engine.Target, properties map[string]string) (needStart []string, err error) {
	err = w.with(ctx, c, "configure", func(s *session) error {
		now, err := s.read(ctx, 0)
		if err != nil {
			return err
		}
		var brokers []int32
		for id, b := range now.Brokers {
			if b.Alive {
				brokers = append(brokers, id)
			}
		}
		a, err := s.sort(ctx, slices.Sorted(slices.Values(brokers)), properties)
		if err != nil {
			return err
		}
		needStart = a.start
		return s.put(ctx, a)
	})
	if err != nil {
		return nil, err
	}
	return needStart, nil
}

// sorted is how each property is to be changed.
type sorted struct {
	all     map[string]*string // of all brokers, by the cluster's default
	each    map[string]*string // of each broker for itself, as Kafka wants it
	brokers []int32            // that are told each
	start   []string           // by a start
}

// effective is one property as brokers have it.
type effective struct {
	values   map[int32]string
	readOnly bool
	shadowed bool   // a dynamic value for all brokers is set
	beneath  string // what would hold without it
}

// sort finds out how each property can be changed, without changing any.
func (s *session) sort(ctx context.Context, brokers []int32, properties map[string]string) (sorted, error) {
	a := sorted{all: map[string]*string{}, each: map[string]*string{}, brokers: brokers}
	known, err := s.effective(ctx, brokers, slices.Sorted(maps.Keys(properties)))
	if err != nil {
		return a, err
	}
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		value := properties[name]
		have, ok := known[name]
		switch {
		case !ok || have.readOnly: // some are known only to what starts a broker
			if !have.is(value, len(brokers)) {
				a.start = append(a.start, name)
			}
			continue
		case have.is(value, len(brokers)) || value == "" && !have.shadowed:
			continue
		}
		err := s.alterAll(ctx, map[string]*string{name: filled(value)}, true)
		if err == nil {
			a.all[name] = filled(value)
			continue
		}
		if !errors.Is(err, kerr.InvalidRequest) && !errors.Is(err, kerr.InvalidConfig) {
			return a, err
		}
		if value == "" && have.beneath != "" { // with ELR, min.insync.replicas has to be set for all brokers
			if s.alterAll(ctx, map[string]*string{name: &have.beneath}, true) == nil {
				a.all[name] = &have.beneath
				continue
			}
		}
		if s.alterOne(ctx, brokers[0], map[string]*string{name: filled(value)}, true) == nil {
			a.each[name] = filled(value)
			continue
		}
		if n, bad := strconv.Atoi(value); bad != nil || n <= 0 || !slices.Contains(pools(), name) {
			return a, fmt.Errorf("%w: %s=%s: %w", ErrRefused, name, value, err)
		}
		a.start = append(a.start, name)
		if have.shadowed { // it would hold after the start, too
			a.all[name] = nil
		}
	}
	return a, nil
}

// put changes what can be changed.
func (s *session) put(ctx context.Context, a sorted) error {
	refused := func(err error) error {
		if errors.Is(err, kerr.InvalidRequest) || errors.Is(err, kerr.InvalidConfig) {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return err
	}
	if len(a.all) > 0 {
		if err := s.alterAll(ctx, a.all, false); err != nil {
			return refused(err)
		}
	}
	if len(a.each) == 0 {
		return nil
	}
	for _, id := range a.brokers {
		if err := s.alterOne(ctx, id, a.each, false); err != nil {
			return refused(fmt.Errorf("broker %d: %w", id, err))
		}
	}
	return nil
}

// is tells whether all brokers have a value.
func (e effective) is(value string, brokers int) bool {
	if len(e.values) < brokers {
		return false
	}
	for _, have := range e.values {
		if !strings.EqualFold(strings.TrimSpace(have), strings.TrimSpace(value)) {
			return false
		}
	}
	return true
}

// look reads what lies beneath a value: Kafka lists where it could come from, what comes first holds.
func (e *effective) look(c kmsg.DescribeConfigsResponseResourceConfig) {
	e.beneath = ""
	for _, synonym := range c.ConfigSynonyms {
		switch synonym.Source {
		case kmsg.ConfigSourceDynamicDefaultBrokerConfig:
			e.shadowed = e.shadowed || synonym.Name == c.Name
		case kmsg.ConfigSourceStaticBrokerConfig, kmsg.ConfigSourceDefaultConfig:
			if e.beneath == "" && synonym.Value != nil {
				e.beneath = *synonym.Value
			}
		}
	}
}

// effective asks all brokers for properties. What is secret has no value.
func (s *session) effective(ctx context.Context, brokers []int32, names []string) (map[string]effective, error) {
	known := map[string]effective{}
	for _, id := range brokers {
		req := kmsg.NewPtrDescribeConfigsRequest()
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(id)), names
		req.Resources = append(req.Resources, r)
		req.IncludeSynonyms = true
		broker, err := s.broker(id)
		if err != nil {
			return nil, err
		}
		answer, err := request[*kmsg.DescribeConfigsResponse](ctx, broker, req)
		if err != nil {
			return nil, fmt.Errorf("configuration of broker %d: %w", id, err)
		}
		for _, r := range answer.Resources {
			if err := told(r.ErrorCode, r.ErrorMessage); err != nil {
				return nil, fmt.Errorf("configuration of broker %d: %w", id, err)
			}
			for _, c := range r.Configs {
				e := known[c.Name]
				if e.values == nil {
					e.values = map[int32]string{}
				}
				if c.Value != nil && !c.IsSensitive {
					e.values[id] = *c.Value
				}
				e.readOnly = e.readOnly || c.ReadOnly
				e.look(c)
				known[c.Name] = e
			}
		}
	}
	return known, nil
}
