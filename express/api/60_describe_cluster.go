package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// DescribeCluster: v0-2. v1 type of endpoint (KIP-919), v2 fenced brokers (KIP-1073: here a fenced broker is not
// in the view, so there is none to show).

// Types of endpoints.
const (
	endpointBrokers     int8 = 1
	endpointControllers int8 = 2
)

func (a *API) describeCluster(_ context.Context, c caller, req *kmsg.DescribeClusterRequest) *kmsg.DescribeClusterResponse {
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.EndpointType, resp.ControllerID, resp.ClusterAuthorizedOperations = endpointBrokers, -1, notAsked
	if err := checkEndpoint(req); err != nil {
		code := a.code(err)
		resp.ErrorCode, resp.ErrorMessage = int16(code), message(code, err)
		return resp
	}
	resp.ClusterID, resp.ControllerID = a.catalog.ClusterID(), a.catalog.Controller()
	for _, b := range a.brokersAt(c.listener()) {
		out := kmsg.NewDescribeClusterResponseBroker()
		out.NodeID, out.Host, out.Port, out.Rack = b.ID, b.Host, b.Port, pointer(b.Rack)
		resp.Brokers = append(resp.Brokers, out)
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = a.authorizedOnCluster(c)
	}
	return resp
}

func checkEndpoint(req *kmsg.DescribeClusterRequest) error {
	switch {
	case req.Version < 1 || req.EndpointType == endpointBrokers:
		return nil
	case req.EndpointType == endpointControllers:
		return fmt.Errorf("%w: this is a broker, it does not list controllers", kerr.MismatchedEndpointType)
	default:
		return fmt.Errorf("%w: %d", kerr.UnsupportedEndpointType, req.EndpointType)
	}
}
