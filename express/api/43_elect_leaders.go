package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
	"millrace/kafka/kerr"
)

// ElectLeaders: v0-2. v1 unclean elections (KIP-460), v2 flexible.
//
// The owner of a partition is its first replica, and so its preferred leader: as long as it is live there is nothing to
// elect, also while the partition is on its way to another broker. When it is away nobody else can be elected: what it
// acknowledged is in its log. Leaders are evened out by the controller without being asked.

// Kinds of elections.
const (
	electPreferred int8 = 0
	electUnclean   int8 = 1
)

// adminPartitionsMost bounds the partitions of a request that is answered with a text for each.
const adminPartitionsMost = 100_000

func (a *API) electLeaders(_ context.Context, c caller, req *kmsg.ElectLeadersRequest) *kmsg.ElectLeadersResponse {
	resp := kmsg.NewPtrElectLeadersResponse()
	refused := a.checkElection(c, req)
	if refused != nil {
		resp.ErrorCode = int16(a.code(refused))
	}
	if req.Topics == nil && refused == nil {
		resp.Topics = a.electAll(req.ElectionType)
	}
	partitions := 0
	for _, in := range req.Topics {
		partitions += len(in.Partitions)
	}
	if partitions > adminPartitionsMost {
		resp.ErrorCode = int16(kerr.InvalidRequest)
		return resp
	}
	for _, in := range req.Topics {
		out := kmsg.NewElectLeadersResponseTopic()
		out.Topic = in.Topic
		t, _ := a.catalog.Topic(in.Topic)
		for _, index := range in.Partitions {
			err := refused
			if err == nil {
				err = a.elect(t, in.Topic, index, req.ElectionType)
			}
			out.Partitions = append(out.Partitions, a.elected(index, err))
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// checkElection refuses a request as a whole.
func (a *API) checkElection(c caller, req *kmsg.ElectLeadersRequest) error {
	switch {
	case !a.mayCluster(c, kmsg.ACLOperationAlter):
		return kerr.ClusterAuthorizationFailed
	case req.ElectionType != electPreferred && req.ElectionType != electUnclean:
		return say(kerr.InvalidRequest, "Unknown election type %d", req.ElectionType)
	}
	return nil
}

// electAll answers a request for all partitions, with those that have no leader.
func (a *API) electAll(kind int8) []kmsg.ElectLeadersResponseTopic {
	var topics []kmsg.ElectLeadersResponseTopic
	for _, t := range a.catalog.Topics() {
		out := kmsg.NewElectLeadersResponseTopic()
		out.Topic = t.Name
		for i := range t.Partitions {
			if err := a.elect(t, t.Name, int32(i), kind); a.code(err) != kerr.ElectionNotNeeded {
				out.Partitions = append(out.Partitions, a.elected(int32(i), err))
			}
		}
		topics = append(topics, out)
	}
	return topics
}

// elect says why no leader is elected. t is nil for an unknown topic.
func (a *API) elect(t *catalog.Topic, name string, index int32, kind int8) error {
	switch {
	case t == nil:
		return say(kerr.UnknownTopicOrPartition, "No such topic as %s", clip(name))
	case index < 0 || int(index) >= len(t.Partitions):
		return say(kerr.UnknownTopicOrPartition, "No such partition as %s-%d", clip(name), index)
	}
	_, _, live := a.leader(t, index)
	switch {
	case live:
		return say(kerr.ElectionNotNeeded, "Leader election not needed for topic partition.")
	case kind == electPreferred:
		return say(kerr.PreferredLeaderNotAvailable, "The preferred leader was not available.")
	default:
		return say(kerr.EligibleLeadersNotAvailable, "Eligible topic partition leaders are not available.")
	}
}

func (a *API) elected(index int32, err error) kmsg.ElectLeadersResponseTopicPartition {
	out := kmsg.NewElectLeadersResponseTopicPartition()
	code := a.code(err)
	out.Partition, out.ErrorCode, out.ErrorMessage = index, int16(code), message(code, err)
	return out
}
