package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
	"millrace/express/share"
	"millrace/express/sharing"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// ShareState is the share coordinator of this broker. The requests of other brokers are answered for each share-partition by itself;
// one that is not coordinated here is NOT_COORDINATOR. refused, if not None, is the answer for all.
type ShareState interface {
	// PartitionFor is the partition of __share_group_state that keeps what has this key.
	PartitionFor(key string) int32

	// InitializeShareGroupState makes share-partitions new.
	InitializeShareGroupState(ctx context.Context, req *kmsg.InitializeShareGroupStateRequest, refused kerr.Code) *kmsg.InitializeShareGroupStateResponse
	// ReadShareGroupState tells what is stored.
	ReadShareGroupState(ctx context.Context, req *kmsg.ReadShareGroupStateRequest, refused kerr.Code) *kmsg.ReadShareGroupStateResponse
	// WriteShareGroupState changes what is stored.
	WriteShareGroupState(ctx context.Context, req *kmsg.WriteShareGroupStateRequest, refused kerr.Code) *kmsg.WriteShareGroupStateResponse
	// DeleteShareGroupState removes share-partitions.
	DeleteShareGroupState(ctx context.Context, req *kmsg.DeleteShareGroupStateRequest, refused kerr.Code) *kmsg.DeleteShareGroupStateResponse
	// ReadShareGroupStateSummary tells what is stored without its records.
	ReadShareGroupStateSummary(ctx context.Context, req *kmsg.ReadShareGroupStateSummaryRequest, refused kerr.Code) *kmsg.ReadShareGroupStateSummaryResponse
}

// refuseBroker is what a caller is refused with that may not act for the cluster.
func (a *API) refuseBroker(c caller) kerr.Code {
	if !a.mayCluster(c, kmsg.ACLOperationClusterAction) {
		return kerr.ClusterAuthorizationFailed
	}
	return kerr.None
}

// shareGroupState gives the topic that keeps the state of share groups, and creates it at its first use.
func (a *API) shareGroupState(ctx context.Context) (*catalog.Topic, error) {
	return a.internalTopic(ctx, catalog.NewTopic{
		Name: topic.ShareGroupState, Partitions: ShareStatePartitions, ReplicationFactor: -1,
		Configs: map[string]string{
			"cleanup.policy": "delete", "compression.type": "producer", "segment.bytes": "104857600", "retention.ms": "-1",
		},
	})
}

// ShareStatePartitions is Kafka's share.coordinator.state.topic.num.partitions.
const ShareStatePartitions = 50

// memberIDMost is the longest id of a member of a share group, in characters.
const memberIDMost = 36

// shareMember is who sent a ShareFetch or ShareAcknowledge. Errors: InvalidRequest, GroupAuthorizationFailed.
func (a *API) shareMember(c caller, group, member *string) (sharing.Member, error) {
	switch {
	case group == nil:
		return sharing.Member{}, &share.Error{Code: kerr.InvalidRequest, Message: "Invalid group id in the request."}
	case !a.mayGroup(c, kmsg.ACLOperationRead, *group):
		return sharing.Member{}, kerr.GroupAuthorizationFailed
	case member == nil || *member == "" || len([]rune(*member)) > memberIDMost:
		return sharing.Member{}, &share.Error{Code: kerr.InvalidRequest, Message: "Invalid member id in the request."}
	}
	return sharing.Member{Group: *group, ID: *member}, nil
}

// said is an error as share responses carry it.
func (a *API) said(err error) (int16, *string) {
	if err == nil {
		return 0, nil
	}
	code := a.code(err)
	var refused *share.Error
	if errors.As(err, &refused) {
		return int16(code), &refused.Message
	}
	return int16(code), kmsg.StringPtr(code.Message())
}

// acknowledging is the acknowledgements of one request: those that can be carried out, and what is wrong with the others.
type acknowledging struct {
	api    *API
	caller caller
	renews bool // the version knows Renew
	marked bool // and the request says that it has some

	wanted []sharing.Acknowledgement
	order  []topic.Partition
	errs   map[topic.Partition]error
}

func (a *API) acknowledging(c caller, version int16, marked bool) *acknowledging {
	return &acknowledging{api: a, caller: c, renews: version >= 2, marked: marked, errs: map[topic.Partition]error{}}
}

// add checks the acknowledgements of one partition. Kafka's rules, in its order.
func (k *acknowledging) add(id topic.Partition, acks []share.Ack) {
	if _, again := k.errs[id]; !again {
		k.order = append(k.order, id)
	}
	k.errs[id] = nil
	t, ok := k.api.catalog.TopicByID(id.Topic)
	switch {
	case !ok:
		k.errs[id] = kerr.UnknownTopicID
	case !k.valid(acks):
		k.errs[id] = kerr.InvalidRequest
	case !k.api.mayTopic(k.caller, kmsg.ACLOperationRead, t.Name):
		k.errs[id] = kerr.TopicAuthorizationFailed
	case id.Index < 0 || int(id.Index) >= len(t.Partitions):
		k.errs[id] = kerr.UnknownTopicOrPartition
	case len(acks) > 0:
		k.wanted = append(k.wanted, sharing.Acknowledgement{Partition: id, Acks: acks})
	}
}

func (k *acknowledging) valid(acks []share.Ack) bool {
	most := share.Reject
	if k.renews {
		most = share.Renew
	}
	end := int64(-1)
	for _, ack := range acks {
		if ack.First > ack.Last || ack.First < end || len(ack.Types) == 0 ||
			len(ack.Types) > 1 && ack.Last-ack.First != int64(len(ack.Types)-1) {
			return false
		}
		for _, kind := range ack.Types {
			if kind < share.Gap || kind > most || kind == share.Renew && !k.marked {
				return false
			}
		}
		end = ack.Last
	}
	return true
}

// run carries out what can be, and waits until it is durable.
func (k *acknowledging) run(ctx context.Context, who sharing.Member) {
	for i, err := range k.api.world.Sharing.Acknowledge(ctx, who, k.wanted) {
		id := k.wanted[i].Partition
		if _, here := k.api.world.Partitions.Partition(id); !here && kerr.Of(err) == kerr.UnknownTopicOrPartition {
			err = kerr.NotLeaderOrFollower // so that the client is told who leads it
		}
		k.errs[id] = err
	}
}

// lockMillis is how long members of a group hold what they acquire.
func (a *API) lockMillis(group string) int32 {
	return int32(a.catalog.GroupSettings(group).ShareRecordLockMs)
}
