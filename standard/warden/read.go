package warden

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/standard/warden/view"
)

// part is what read reads beside the quorum.
type part int

const (
	replicas part = 1 << iota // brokers, partitions, and what is under way
	settings                  // min.insync.replicas and throttles of topics
	eligible                  // the ELR of partitions without a leader
)

// errNoBroker: no broker can be asked, or none keeps up with the controllers.
var errNoBroker = errors.New("no broker answers that keeps up with the controllers")

const (
	quorumTopic     = "__cluster_metadata"
	minISR          = "min.insync.replicas"
	configBatch     = 500              // topics per request
	brokersPatience = 10 * time.Second // a broker that is further behind would have been fenced
)

// read reads a cluster. With errNoBroker the quorum is there all the same.
func (s *session) read(ctx context.Context, what part) (view.Cluster, error) {
	now := view.Cluster{Brokers: map[int32]view.Broker{}, Quorum: view.Quorum{Leader: -1}}
	for id, zone := range s.target.Zones {
		now.Brokers[id] = view.Broker{Rack: zone}
	}
	quorum, err := s.quorum(ctx)
	if err != nil {
		return now, err
	}
	now.Quorum = voters(quorum)
	metadata, err := s.metadata(ctx, keepsUp(quorum))
	if err != nil {
		return now, err
	}
	fill(&now, metadata)
	if what&replicas != 0 {
		if err := s.underWay(ctx, &now); err != nil {
			return now, err
		}
	}
	if what&settings != 0 {
		if err := s.settings(ctx, &now); err != nil {
			return now, err
		}
	}
	if what&eligible != 0 {
		if err := s.eligible(ctx, &now); err != nil {
			return now, err
		}
	}
	return now, nil
}

// quorum asks the controllers, of whom only the active one answers; without their addresses the brokers, who pass it on.
func (s *session) quorum(ctx context.Context) (*kmsg.DescribeQuorumResponseTopicPartition, error) {
	addresses := s.target.Controllers
	if len(addresses) == 0 {
		addresses = s.target.Bootstrap
	}
	nodes, err := s.open(addresses...)
	if err != nil {
		return nil, err
	}
	answer, node, err := first(ctx, nodes, askQuorum)
	if err != nil {
		return nil, fmt.Errorf("no active controller answers: %w", err)
	}
	if len(s.target.Controllers) > 0 {
		s.active = &node
	}
	return answer, nil
}

func askQuorum(ctx context.Context, node peer) (*kmsg.DescribeQuorumResponseTopicPartition, error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = quorumTopic
	topic.Partitions = []kmsg.DescribeQuorumRequestTopicPartition{kmsg.NewDescribeQuorumRequestTopicPartition()}
	req.Topics = append(req.Topics, topic)
	answer, err := request[*kmsg.DescribeQuorumResponse](ctx, node, req)
	if err != nil {
		return nil, err
	}
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return nil, err
	}
	if len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		return nil, errors.New("an answer about the quorum that does not tell of it")
	}
	p := &answer.Topics[0].Partitions[0]
	return p, kerr.ErrorForCode(p.ErrorCode)
}

// behind is how long a replica of the metadata did not have all that the active controller had, by the latter's clock.
func behind(q *kmsg.DescribeQuorumResponseTopicPartition, r kmsg.DescribeQuorumResponseTopicPartitionReplicaState) time.Duration {
	if r.ReplicaID == q.LeaderID {
		return 0
	}
	var now int64
	for _, v := range slices.Concat(q.CurrentVoters, q.Observers) {
		now = max(now, v.LastCaughtUpTimestamp, v.LastFetchTimestamp)
	}
	if r.LastCaughtUpTimestamp <= 0 {
		return math.MaxInt64
	}
	return time.Duration(now-r.LastCaughtUpTimestamp) * time.Millisecond
}

func voters(q *kmsg.DescribeQuorumResponseTopicPartition) view.Quorum {
	quorum := view.Quorum{Leader: q.LeaderID}
	var end int64
	for _, v := range q.CurrentVoters {
		end = max(end, v.LogEndOffset)
	}
	for _, v := range q.CurrentVoters {
		quorum.Voters = append(quorum.Voters, view.Voter{ID: v.ReplicaID, Behind: behind(q, v), Lag: end - v.LogEndOffset})
	}
	return quorum
}

// keepsUp are the nodes that know what the active controller knows, the freshest first.
func keepsUp(q *kmsg.DescribeQuorumResponseTopicPartition) []int32 {
	late := map[int32]time.Duration{}
	for _, r := range slices.Concat(q.CurrentVoters, q.Observers) {
		if d := behind(q, r); d <= brokersPatience {
			late[r.ReplicaID] = d
		}
	}
	return slices.SortedFunc(maps.Keys(late), func(a, b int32) int {
		return cmp.Or(cmp.Compare(late[a], late[b]), cmp.Compare(a, b))
	})
}

// metadata asks one of the nodes that is a broker for all brokers and topics (W1).
func (s *session) metadata(ctx context.Context, nodes []int32) (*kmsg.MetadataResponse, error) {
	seeds, err := s.open(s.target.Bootstrap...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoBroker, err)
	}
	known, _, err := first(ctx, seeds, func(ctx context.Context, node peer) (*kmsg.MetadataResponse, error) {
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = []kmsg.MetadataRequestTopic{}
		return request[*kmsg.MetadataResponse](ctx, node, req)
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoBroker, err)
	}
	s.meet(known)
	var last error
	for _, id := range nodes {
		if s.addresses[id] == "" {
			continue // a controller
		}
		answer, err := s.whole(ctx, id)
		if err == nil {
			s.meet(answer)
			return answer, nil
		}
		last = err
	}
	return nil, errors.Join(errNoBroker, last)
}

// meet remembers where brokers are.
func (s *session) meet(m *kmsg.MetadataResponse) {
	s.addresses = map[int32]string{}
	for _, b := range m.Brokers {
		s.addresses[b.NodeID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
	}
}

// whole asks a broker for all brokers and topics, and keeps to it from then on.
func (s *session) whole(ctx context.Context, id int32) (*kmsg.MetadataResponse, error) {
	broker, err := s.broker(id)
	if err != nil {
		return nil, err
	}
	answer, err := request[*kmsg.MetadataResponse](ctx, broker, kmsg.NewPtrMetadataRequest())
	s.fresh = broker
	return answer, err
}

// fill puts brokers and partitions into a view.
func fill(now *view.Cluster, m *kmsg.MetadataResponse) {
	for _, b := range m.Brokers {
		one := now.Brokers[b.NodeID]
		one.Alive = true
		if b.Rack != nil {
			one.Rack = *b.Rack
		}
		now.Brokers[b.NodeID] = one
	}
	for _, t := range m.Topics {
		if t.Topic == nil || t.ErrorCode != 0 {
			continue // it is being deleted
		}
		for _, p := range t.Partitions {
			now.Partitions = append(now.Partitions, view.Partition{
				Topic: *t.Topic, Number: p.Partition, Leader: p.Leader, Replicas: p.Replicas, ISR: p.ISR,
			})
		}
	}
}

// byName finds partitions of a view.
func byName(now *view.Cluster) map[string]*view.Partition {
	all := make(map[string]*view.Partition, len(now.Partitions))
	for i := range now.Partitions {
		all[now.Partitions[i].Name()] = &now.Partitions[i]
	}
	return all
}

// underWay adds which replicas come and go. A partition is taken as the controller has it now, which may be later than what the broker had.
func (s *session) underWay(ctx context.Context, now *view.Cluster) error {
	answer, err := request[*kmsg.ListPartitionReassignmentsResponse](ctx, s.fresh, kmsg.NewPtrListPartitionReassignmentsRequest())
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return err
	}
	parts := byName(now)
	for _, t := range answer.Topics {
		for _, one := range t.Partitions {
			p := parts[view.Partition{Topic: t.Topic, Number: one.Partition}.Name()]
			if p != nil {
				p.Replicas, p.Adding, p.Removing = one.Replicas, one.AddingReplicas, one.RemovingReplicas
			}
		}
	}
	return nil
}

// throttles are a topic's two lists of throttled replicas, as they are set.
type throttles struct{ leader, follower string }

// settings adds min.insync.replicas of all topics, and remembers their throttles.
func (s *session) settings(ctx context.Context, now *view.Cluster) error {
	s.throttled = map[string]throttles{}
	least := map[string]int{}
	names := topics(now)
	for batch := range slices.Chunk(names, configBatch) {
		req := kmsg.NewPtrDescribeConfigsRequest()
		for _, name := range batch {
			r := kmsg.NewDescribeConfigsRequestResource()
			r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, name
			r.ConfigNames = []string{minISR, leaderReplicas, followerReplicas}
			req.Resources = append(req.Resources, r)
		}
		answer, err := request[*kmsg.DescribeConfigsResponse](ctx, s.fresh, req)
		if err != nil {
			return err
		}
		for _, r := range answer.Resources {
			if err := kerr.ErrorForCode(r.ErrorCode); errors.Is(err, kerr.UnknownTopicOrPartition) {
				continue
			} else if err != nil {
				return fmt.Errorf("configuration of topic %s: %w", r.ResourceName, err)
			}
			values := map[string]string{}
			for _, c := range r.Configs {
				if c.Value != nil {
					values[c.Name] = *c.Value
				}
			}
			n, err := strconv.Atoi(values[minISR])
			if err != nil {
				return fmt.Errorf("%s of topic %s: %w", minISR, r.ResourceName, err)
			}
			least[r.ResourceName] = n
			s.throttled[r.ResourceName] = throttles{values[leaderReplicas], values[followerReplicas]}
		}
	}
	now.Partitions = slices.DeleteFunc(now.Partitions, func(p view.Partition) bool { return least[p.Topic] == 0 }) // deleted meanwhile
	for i := range now.Partitions {
		now.Partitions[i].MinISR = least[now.Partitions[i].Topic]
	}
	return nil
}

// topics are the names of all topics, sorted.
func topics(now *view.Cluster) []string {
	var names []string
	for _, p := range now.Partitions {
		names = append(names, p.Topic)
	}
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// eligible adds the ELR where it tells what to do: who has to come back for a partition to have a leader. What a broker does not tell in
// one answer, of thousands of partitions, is not known; who decides by it takes that for the worst.
func (s *session) eligible(ctx context.Context, now *view.Cluster) error {
	var names []string
	for _, p := range now.Partitions {
		if p.Leader < 0 && !slices.Contains(names, p.Topic) {
			names = append(names, p.Topic)
		}
	}
	parts := byName(now)
	for batch := range slices.Chunk(slices.Sorted(slices.Values(names)), configBatch) {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		for _, name := range batch {
			t := kmsg.NewDescribeTopicPartitionsRequestTopic()
			t.Topic = name
			req.Topics = append(req.Topics, t)
		}
		answer, err := request[*kmsg.DescribeTopicPartitionsResponse](ctx, s.fresh, req)
		if err != nil {
			return err
		}
		for _, t := range answer.Topics {
			for _, one := range t.Partitions {
				if t.Topic == nil {
					continue
				}
				if p := parts[view.Partition{Topic: *t.Topic, Number: one.Partition}.Name()]; p != nil {
					p.ELR = one.EligibleLeaderReplicas
				}
			}
		}
	}
	return nil
}
