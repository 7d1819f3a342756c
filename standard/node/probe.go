package node

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine"
	"millrace/engine/reach"
)

// Bounds of answers, in bytes.
const (
	probeMost    = 1 << 20
	metadataMost = 64 << 20
)

// Probe asks a broker whether it is one of the cluster's, and a controller whether it knows a leader (N2).
func (e Engine) Probe(ctx context.Context, s engine.NodeSpec) error {
	conn, err := reach.Dial(ctx, s, e.ClientTLS)
	if err != nil {
		return err
	}
	defer conn.Close()
	if s.Role == engine.Controller {
		return probeController(conn)
	}
	return probeBroker(conn, s.ID)
}

// probeBroker asks for no topics: the answer names the brokers that are not fenced.
func probeBroker(conn io.ReadWriter, id int32) error {
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.Topics = metadataVersion, []kmsg.MetadataRequestTopic{}
	resp := kmsg.NewPtrMetadataResponse()
	if err := reach.Ask(conn, req, resp, probeMost); err != nil {
		return err
	}
	if !slices.ContainsFunc(resp.Brokers, func(b kmsg.MetadataResponseBroker) bool { return b.NodeID == id }) {
		return fmt.Errorf("%w: the controllers do not let it: it starts, or cannot reach them", engine.ErrAlive)
	}
	return nil
}

// probeController asks for the controllers, of which the answer names the leader.
func probeController(conn io.ReadWriter) error {
	const controllers = 2 // type of endpoint
	req := kmsg.NewPtrDescribeClusterRequest()
	req.Version, req.EndpointType = 1, controllers
	resp := kmsg.NewPtrDescribeClusterResponse()
	if err := reach.Ask(conn, req, resp, probeMost); err != nil {
		return err
	}
	if resp.ErrorCode != 0 {
		return fmt.Errorf("%w: the controller answers with error %d", engine.ErrAlive, resp.ErrorCode)
	}
	if resp.ControllerID < 0 {
		return fmt.Errorf("%w: the controllers have no leader", engine.ErrAlive)
	}
	return nil
}

// metadataVersion is the last before flexible headers; every version of Apache Kafka from 3.9 on has it.
const metadataVersion = 8

// Owned is how many replicas each broker has, by its id, as the node knows it; a controller is not asked.
func (e Engine) Owned(ctx context.Context, s engine.NodeSpec) (map[int32]int, error) {
	owned := map[int32]int{}
	if s.Role == engine.Controller {
		return owned, nil
	}
	conn, err := reach.Dial(ctx, s, e.ClientTLS)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	req := kmsg.NewPtrMetadataRequest()
	req.Version = metadataVersion
	resp := kmsg.NewPtrMetadataResponse()
	if err := reach.Ask(conn, req, resp, metadataMost); err != nil {
		return nil, fmt.Errorf("ask broker %d for metadata: %w", s.ID, err)
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			for _, id := range p.Replicas {
				owned[id]++
			}
		}
	}
	return owned, nil
}
