package kafka

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"

	"github.com/google/uuid"

	"millrace/aws/door"
	"millrace/control"
	"millrace/engine"
)

type brokerNodeInfo struct {
	ID        double       `json:"brokerId"`
	Subnet    string       `json:"clientSubnet,omitempty"`
	Address   string       `json:"clientVpcIpAddress,omitempty"`
	Software  softwareInfo `json:"currentBrokerSoftwareInfo"`
	Endpoints []string     `json:"endpoints"`
}

type nodeInfo struct {
	Added      string              `json:"addedToClusterTime,omitempty"`
	Broker     *brokerNodeInfo     `json:"brokerNodeInfo,omitempty"`
	Controller *controllerNodeInfo `json:"controllerNodeInfo,omitempty"`
	Type       string              `json:"instanceType,omitempty"` // of brokers: controllers have none
	ARN        string              `json:"nodeARN,omitempty"`      // likewise
	Kind       string              `json:"nodeType,omitempty"`     // likewise: the API has no word for the others
}

// controllerNodeInfo is what is told of a controller, which is not billed.
type controllerNodeInfo struct {
	Endpoints []string `json:"endpoints"`
}

// listNodes is ListNodes.
func (s *Service) listNodes(ctx context.Context, c *door.Call) (any, error) {
	cl, err := s.provisionedOnly(ctx, c)
	if err != nil {
		return nil, err
	}
	nodes, err := s.world.Plane.Nodes(ctx, cl.Name)
	if err != nil {
		return nil, err
	}
	page, next, err := door.Page(c, nodes, func(n control.Node) string { return fmt.Sprintf("%010d", n.Spec.ID) })
	if err != nil {
		return nil, err
	}
	infos := make([]nodeInfo, 0, len(page))
	for _, n := range page {
		infos = append(infos, s.node(cl, n))
	}
	return struct {
		Next string     `json:"nextToken,omitempty"`
		List []nodeInfo `json:"nodeInfoList"`
	}{next, infos}, nil
}

func (s *Service) node(cl control.Cluster, n control.Node) nodeInfo {
	set := cl.Settings
	if n.Spec.Role == engine.Controller {
		info := nodeInfo{Added: timestamp(cl.Created), Controller: &controllerNodeInfo{Endpoints: []string{}}}
		if host, _, err := net.SplitHostPort(n.Spec.Listen); err == nil && host != "" {
			info.Controller.Endpoints = []string{host}
		}
		return info
	}
	info := nodeInfo{
		Added: timestamp(cl.Created), Type: orDefault(set.BrokerType, unbounded), Kind: "BROKER", ARN: s.home.Broker(cl.Name, cl.ID, nodeID(cl.ID, n.Spec.ID)),
		Broker: &brokerNodeInfo{ID: double(n.Spec.ID), Software: s.software(set), Endpoints: []string{}},
	}
	if len(set.Subnets) > 0 && n.Spec.ID > 0 {
		info.Broker.Subnet = set.Subnets[int(n.Spec.ID-1)%len(set.Subnets)]
	}
	if host, _, err := net.SplitHostPort(n.Spec.Served()[0].Told()); err == nil && host != "" {
		info.Broker.Endpoints = []string{host}
		if net.ParseIP(host) != nil {
			info.Broker.Address = host
		}
	}
	return info
}

// nodeID is the id of a broker in its ARN, the same at any time.
func nodeID(cluster string, broker int32) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", cluster, broker))
	return uuid.UUID(sum[:16]).String()
}
