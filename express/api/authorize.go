package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/secure/acl"
	"millrace/secure/authz"
)

// access is the question whether a caller may do something.
func (c caller) access(op kmsg.ACLOperation, resource kmsg.ACLResourceType, name string) authz.Access {
	return authz.Access{
		Who: c.who, Host: c.address, TLS: c.conn.TLS() != nil, Operation: op, Resource: resource, Name: name,
		Looks: c.looks, Key: c.key, ClientID: c.clientID, Listener: c.conn.Listener(),
	}
}

// looking is the caller where the answer only decides what is shown, so that a refusal is none.
func (c caller) looking() caller {
	c.looks = true
	return c
}

func (a *API) may(c caller, op kmsg.ACLOperation, resource kmsg.ACLResourceType, name string) bool {
	if a.world.Authorizer == nil {
		return true
	}
	return a.world.Authorizer.Allowed(c.access(op, resource, name))
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
	return a.may(c, op, kmsg.ACLResourceTypeCluster, acl.ClusterName)
}

// maySomeTopic says whether the caller may do something to at least one topic.
func (a *API) maySomeTopic(c caller, op kmsg.ACLOperation) bool {
	return a.world.Authorizer == nil || a.world.Authorizer.AllowedSomewhere(c.access(op, kmsg.ACLResourceTypeTopic, ""))
}

// mayCreate says whether the caller may create a topic: any, or this one.
func (a *API) mayCreate(c caller, name string) bool {
	return a.mayCluster(c.looking(), kmsg.ACLOperationCreate) || a.mayTopic(c, kmsg.ACLOperationCreate, name)
}

// noteRead tells of the records in an answer. What brokers read of one another is nobody's habit.
func (a *API) noteRead(c caller, bytes int) {
	if a.world.Read != nil && bytes > 0 && c.who != nil && !c.who.Internal {
		a.world.Read(c.who.Principal, int64(bytes))
	}
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
	c = c.looking()
	var bits int32
	for _, op := range ops {
		if a.may(c, op, resource, name) {
			bits |= 1 << op
		}
	}
	return bits
}

// authorizedOnCluster is authorized for the cluster: nothing to who may not describe it.
func (a *API) authorizedOnCluster(c caller) int32 {
	if !a.mayCluster(c, kmsg.ACLOperationDescribe) {
		return 0
	}
	return a.authorized(c, kmsg.ACLResourceTypeCluster, acl.ClusterName)
}
