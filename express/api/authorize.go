package api

import "github.com/twmb/franz-go/pkg/kmsg"

// anonymous is who a client is that did not log in.
const anonymous = "User:ANONYMOUS"

// Access is one thing that somebody wants to do.
type Access struct {
	Principal string // "User:name"
	Host      string // the client's address, as Kafka prints it: "/127.0.0.1"
	Operation kmsg.ACLOperation
	Resource  kmsg.ACLResourceType
	Name      string // of the resource; "kafka-cluster" for the cluster
}

// Authorizer says who may do what. It is asked for each resource of each request: it must be quick and
// safe for concurrent use.
type Authorizer interface {
	Allowed(Access) bool
}

// clusterName is the one resource of the cluster type.
const clusterName = "kafka-cluster"

func (a *API) may(c caller, op kmsg.ACLOperation, resource kmsg.ACLResourceType, name string) bool {
	if a.world.Authorizer == nil {
		return true
	}
	return a.world.Authorizer.Allowed(Access{c.conn.Principal(), c.host(), op, resource, name})
}

func (a *API) mayTopic(c caller, op kmsg.ACLOperation, name string) bool {
	return a.may(c, op, kmsg.ACLResourceTypeTopic, name)
}

func (a *API) mayGroup(c caller, op kmsg.ACLOperation, name string) bool {
	return a.may(c, op, kmsg.ACLResourceTypeGroup, name)
}

func (a *API) mayTransactionalID(c caller, op kmsg.ACLOperation, id string) bool {
	return a.may(c, op, kmsg.ACLResourceTypeTransactionalId, id)
}

func (a *API) mayCluster(c caller, op kmsg.ACLOperation) bool {
	return a.may(c, op, kmsg.ACLResourceTypeCluster, clusterName)
}

// notAsked stands for authorized operations that the client did not ask for.
const notAsked int32 = -2147483648

// authorized is the bit field of the operations that a caller may do on a resource.
func (a *API) authorized(c caller, resource kmsg.ACLResourceType, name string) int32 {
	var ops []kmsg.ACLOperation
	switch resource {
	case kmsg.ACLResourceTypeTopic:
		ops = []kmsg.ACLOperation{kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationDelete,
			kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs}
	case kmsg.ACLResourceTypeGroup:
		ops = []kmsg.ACLOperation{kmsg.ACLOperationRead, kmsg.ACLOperationDelete, kmsg.ACLOperationDescribe,
			kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs}
	default:
		ops = []kmsg.ACLOperation{kmsg.ACLOperationCreate, kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe, kmsg.ACLOperationClusterAction,
			kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs, kmsg.ACLOperationIdempotentWrite}
	}
	var bits int32
	for _, op := range ops {
		if a.may(c, op, resource, name) {
			bits |= 1 << op
		}
	}
	return bits
}
