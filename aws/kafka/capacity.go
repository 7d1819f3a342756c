package kafka

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"millrace/aws/door"
	"millrace/control"
	"millrace/control/sizes"
)

type countRequest struct {
	Version string `json:"currentVersion" aws:"required,min=1"`
	Target  int    `json:"targetNumberOfBrokerNodes" aws:"required,min=1,max=15"`
}

// updateBrokerCount is UpdateBrokerCount.
func (s *Service) updateBrokerCount(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[countRequest](c)
	if err != nil {
		return nil, err
	}
	return s.update(ctx, c, r.Version, "number of broker nodes", func(cl control.Cluster, set *control.Settings) (string, error) {
		before := brokersOf(cl)
		if r.Target == before {
			return "", nil
		}
		set.Brokers = r.Target
		if r.Target > before {
			return increaseCount, countFault("targetNumberOfBrokerNodes", *set)
		}
		return decreaseCount, countFault("targetNumberOfBrokerNodes", *set)
	})
}

type typeRequest struct {
	Version string `json:"currentVersion" aws:"required,min=1"`
	Target  string `json:"targetInstanceType" aws:"required,min=1"`
}

// updateBrokerType is UpdateBrokerType.
func (s *Service) updateBrokerType(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[typeRequest](c)
	if err != nil {
		return nil, err
	}
	return s.update(ctx, c, r.Version, "broker type", func(_ control.Cluster, set *control.Settings) (string, error) {
		if r.Target == orDefault(set.BrokerType, unbounded) {
			return "", nil
		}
		if err := s.brokerTypeFault(ctx, "targetInstanceType", r.Target, set.KafkaVersion); err != nil {
			return "", err
		}
		if sizes.Standard(r.Target) != sizes.Standard(set.BrokerType) {
			return "", door.BadRequest("targetInstanceType", "You can't change a cluster between Standard and Express brokers.")
		}
		set.BrokerType = r.Target
		return updateType, nil
	})
}

// brokerVolume is a volume that UpdateBrokerStorage asks for, and that operations show.
type brokerVolume struct {
	Broker     string                 `json:"kafkaBrokerNodeId" aws:"required,min=1"`
	Throughput *provisionedThroughput `json:"provisionedThroughput,omitempty"`
	GiB        *int                   `json:"volumeSizeGB,omitempty" aws:"min=1,max=16384"`
}

type brokerStorageRequest struct {
	Version string         `json:"currentVersion" aws:"required,min=1"`
	Target  []brokerVolume `json:"targetBrokerEBSVolumeInfo" aws:"required,min=1"`
}

// allBrokers is the only broker whose volume can be told its size: volumes are alike.
const allBrokers = "All"

// updateBrokerStorage is UpdateBrokerStorage.
func (s *Service) updateBrokerStorage(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[brokerStorageRequest](c)
	if err != nil {
		return nil, err
	}
	if len(r.Target) > 1 || r.Target[0].Broker != allBrokers && r.Target[0].Broker != "ALL" {
		return nil, door.BadRequest("kafkaBrokerNodeId", "You can only update the storage of all brokers at once: set kafkaBrokerNodeId to %s.", allBrokers)
	}
	return s.volumes(ctx, c, r.Version, r.Target[0].GiB, r.Target[0].Throughput, "")
}

type storageRequest struct {
	Version    string                 `json:"currentVersion" aws:"required,min=1"`
	Throughput *provisionedThroughput `json:"provisionedThroughput"`
	Mode       string                 `json:"storageMode" aws:"enum=LOCAL|TIERED"`
	GiB        *int                   `json:"volumeSizeGB" aws:"min=1,max=16384"`
}

// updateStorage is UpdateStorage.
func (s *Service) updateStorage(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[storageRequest](c)
	if err != nil {
		return nil, err
	}
	return s.volumes(ctx, c, r.Version, r.GiB, r.Throughput, r.Mode)
}

// volumes changes the volumes of brokers, where there are any: those of Express brokers grow by themselves.
func (s *Service) volumes(ctx context.Context, c *door.Call, version string, gib *int, t *provisionedThroughput, mode string) (any, error) {
	return s.update(ctx, c, version, "EBS volumes", func(_ control.Cluster, set *control.Settings) (string, error) {
		if set.VolumeGiB == 0 {
			return "", door.BadRequest("", "The storage of a cluster with Express brokers is managed for you, and can't be updated.")
		}
		if gib != nil {
			set.VolumeGiB = *gib
		}
		if mode == storageTiered {
			return "", door.BadRequest("storageMode", "Tiered storage isn't supported for a cluster with Standard brokers yet.")
		}
		set.StorageMode = orDefault(mode, set.StorageMode)
		return updateStorage, throughputInto(set, t)
	})
}

// throughputInto takes what a request says of the throughput of volumes.
func throughputInto(set *control.Settings, t *provisionedThroughput) error {
	if t != nil && t.Enabled != nil && !*t.Enabled {
		set.Throughput = 0
	} else if t != nil && t.Throughput != nil {
		set.Throughput = *t.Throughput
	}
	if set.Throughput < 0 {
		return door.BadRequest("volumeThroughput", "The value of volumeThroughput is out of range.")
	}
	return nil
}

type rebootRequest struct {
	Brokers []string `json:"brokerIds" aws:"required,min=1"`
}

// rebootBroker is RebootBroker. It names no version: it means the cluster as it is.
func (s *Service) rebootBroker(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[rebootRequest](c)
	if err != nil {
		return nil, err
	}
	if len(r.Brokers) > 1 {
		return nil, door.BadRequest("brokerIds", "You can reboot one broker at a time.")
	}
	id, err := strconv.ParseInt(r.Brokers[0], 10, 32)
	if err != nil {
		return nil, door.BadRequest("brokerIds", "The broker ID [%s] isn't valid.", r.Brokers[0])
	}
	for {
		cl, err := s.provisionedOnly(ctx, c)
		if err != nil {
			return nil, err
		}
		nodes, err := s.world.Plane.Nodes(ctx, cl.Name)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(nodes, func(n control.Node) bool { return n.Spec.Role == "" && int64(n.Spec.ID) == id }) {
			return nil, door.BadRequest("brokerIds", "The broker ID [%d] doesn't exist in the cluster.", id)
		}
		op, err := s.world.Plane.Begin(ctx, cl.Name, control.Request{
			Kind: control.Reboot, Nodes: []int32{int32(id)}, Version: control.CurrentVersion(cl), Type: rebootNode, Requester: c.Caller.Principal,
		})
		if errors.Is(err, control.ErrVersion) {
			continue // it has changed since it was read, or another one has its name
		}
		if err != nil {
			return nil, err
		}
		return begun{s.arnOf(cl), s.operationARN(cl, op)}, nil
	}
}
