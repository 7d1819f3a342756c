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

	"millrace/standard/warden/moves"
	"millrace/standard/warden/view"
)

// Properties of topics and brokers that bound the copying of replicas.
const (
	leaderReplicas   = "leader.replication.throttled.replicas"
	followerReplicas = "follower.replication.throttled.replicas"
	leaderRate       = "leader.replication.throttled.rate"
	followerRate     = "follower.replication.throttled.rate"
)

// throttle makes the throttles of all topics and brokers those of what is under way and what is to be begun (W3). Others, which a tool or
// an earlier process left behind, are taken away.
func (s *session) throttle(ctx context.Context, now view.Cluster, batch []moves.Move) error {
	want := map[string]throttles{}
	if s.cfg.Throttle > 0 {
		want = wanted(now, batch)
	}
	for _, name := range slices.Sorted(maps.Keys(s.throttled)) {
		if s.throttled[name] == want[name] {
			continue
		}
		changes := map[string]*string{leaderReplicas: filled(want[name].leader), followerReplicas: filled(want[name].follower)}
		err := s.alter(ctx, s.fresh, kmsg.ConfigResourceTypeTopic, name, changes, false)
		if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("throttle topic %s: %w", name, err)
		}
	}
	rate := ""
	if len(want) > 0 {
		rate = strconv.FormatInt(s.cfg.Throttle, 10)
	}
	for _, id := range slices.Sorted(maps.Keys(now.Brokers)) {
		if !now.Brokers[id].Alive {
			continue // Leave takes its own away
		}
		set, err := s.own(ctx, id, leaderRate, followerRate)
		if err != nil {
			return err
		}
		if set[leaderRate] == rate && set[followerRate] == rate {
			continue
		}
		changes := map[string]*string{leaderRate: filled(rate), followerRate: filled(rate)}
		if err := s.alterOne(ctx, id, changes, false); err != nil {
			return fmt.Errorf("throttle broker %d: %w", id, err)
		}
	}
	return nil
}

// wanted are the throttles by topic: replicas that come are followers, all others of their partitions may lead.
func wanted(now view.Cluster, batch []moves.Move) map[string]throttles {
	want := map[string]throttles{}
	parts := byName(&now)
	add := func(topic string, number int32, lead, follow []int32) {
		t := want[topic]
		t.leader, t.follower = entries(t.leader, number, lead), entries(t.follower, number, follow)
		want[topic] = t
	}
	begun := map[string]bool{}
	for _, m := range batch {
		p := parts[view.Partition{Topic: m.Topic, Number: m.Number}.Name()]
		if p == nil || len(m.Arrive) == 0 {
			continue
		}
		begun[p.Name()] = true
		add(m.Topic, m.Number, p.Replicas, m.Arrive)
	}
	for _, p := range now.Partitions {
		if len(p.Adding) == 0 || begun[p.Name()] {
			continue
		}
		old := slices.DeleteFunc(slices.Clone(p.Replicas), func(id int32) bool { return slices.Contains(p.Adding, id) })
		add(p.Topic, p.Number, old, p.Adding)
	}
	return want
}

// entries adds PARTITION:BROKER of each broker to a list.
func entries(list string, number int32, brokers []int32) string {
	all := strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
	for _, id := range brokers {
		all = append(all, fmt.Sprintf("%d:%d", number, id))
	}
	return strings.Join(all, ",")
}

// filled is nil for "", which takes a property away.
func filled(value string) *string {
	if value == "" {
		return nil
	}
	return &value
}

// own are properties that are set for one broker alone, by itself.
func (s *session) own(ctx context.Context, id int32, names ...string) (map[string]string, error) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(id)), names
	req.Resources = append(req.Resources, r)
	broker, err := s.broker(id)
	if err != nil {
		return nil, err
	}
	answer, err := request[*kmsg.DescribeConfigsResponse](ctx, broker, req)
	if err != nil {
		return nil, fmt.Errorf("configuration of broker %d: %w", id, err)
	}
	values := map[string]string{}
	for _, r := range answer.Resources {
		if err := told(r.ErrorCode, r.ErrorMessage); err != nil {
			return nil, fmt.Errorf("configuration of broker %d: %w", id, err)
		}
		for _, c := range r.Configs {
			if c.Value != nil && c.Source == kmsg.ConfigSourceDynamicBrokerConfig {
				values[c.Name] = *c.Value
			}
		}
	}
	return values, nil
}

// alterOne sets properties of one broker, which only it can be told.
func (s *session) alterOne(ctx context.Context, id int32, changes map[string]*string, validate bool) error {
	broker, err := s.broker(id)
	if err != nil {
		return err
	}
	return s.alter(ctx, broker, kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(id)), changes, validate)
}

// alterAll sets properties of all brokers.
func (s *session) alterAll(ctx context.Context, changes map[string]*string, validate bool) error {
	return s.alter(ctx, s.fresh, kmsg.ConfigResourceTypeBroker, "", changes, validate)
}

// alter sets properties of one topic or broker, all or none, and takes away those that are nil.
func (s *session) alter(
	ctx context.Context, to peer, kind kmsg.ConfigResourceType, name string, changes map[string]*string, validate bool,
) error {
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, key := range slices.Sorted(maps.Keys(changes)) {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Value, c.Op = key, changes[key], kmsg.IncrementalAlterConfigOpSet
		if c.Value == nil {
			c.Op = kmsg.IncrementalAlterConfigOpDelete
		}
		r.Configs = append(r.Configs, c)
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, r)
	req.ValidateOnly = validate
	answer, err := request[*kmsg.IncrementalAlterConfigsResponse](ctx, to, req)
	if err != nil {
		return err
	}
	if len(answer.Resources) != 1 {
		return errors.New("an answer to another question")
	}
	return told(answer.Resources[0].ErrorCode, answer.Resources[0].ErrorMessage)
}
