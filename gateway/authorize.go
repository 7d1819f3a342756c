package gateway

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/secure/acl"
)

const clusterName = acl.ClusterName

const (
	opRead            = kmsg.ACLOperationRead
	opWrite           = kmsg.ACLOperationWrite
	opCreate          = kmsg.ACLOperationCreate
	opDelete          = kmsg.ACLOperationDelete
	opAlter           = kmsg.ACLOperationAlter
	opDescribe        = kmsg.ACLOperationDescribe
	opClusterAction   = kmsg.ACLOperationClusterAction
	opDescribeConfigs = kmsg.ACLOperationDescribeConfigs
	opAlterConfigs    = kmsg.ACLOperationAlterConfigs
	opIdempotentWrite = kmsg.ACLOperationIdempotentWrite
)

// may asks the Judge, and keeps what was asked for the trail.
func (c *call) may(op kmsg.ACLOperation, resource kmsg.ACLResourceType, name string) bool {
	if c.e.changes {
		c.touched.add(resource, name)
	}
	a := c.who
	a.Operation, a.Resource, a.Name = op, resource, name
	return c.g.world.Judge.Allowed(a)
}

// sees asks whether something is shown. Nobody has asked for what is not.
func (c *call) sees(op kmsg.ACLOperation, resource kmsg.ACLResourceType, name string) bool {
	a := c.who
	a.Operation, a.Resource, a.Name, a.Looks = op, resource, name, true
	return c.g.world.Judge.Allowed(a)
}

func (c *call) seesTopic(name string) bool {
	return c.sees(opDescribe, kmsg.ACLResourceTypeTopic, name)
}

func (c *call) seesCluster(op kmsg.ACLOperation) bool {
	return c.sees(op, kmsg.ACLResourceTypeCluster, clusterName)
}

func (c *call) mayTopic(op kmsg.ACLOperation, name string) bool {
	return c.may(op, kmsg.ACLResourceTypeTopic, name)
}

func (c *call) mayGroup(op kmsg.ACLOperation, name string) bool {
	return c.may(op, kmsg.ACLResourceTypeGroup, name)
}

func (c *call) mayTxn(op kmsg.ACLOperation, id string) bool {
	return c.may(op, kmsg.ACLResourceTypeTransactionalId, id)
}

func (c *call) mayCluster(op kmsg.ACLOperation) bool {
	return c.may(op, kmsg.ACLResourceTypeCluster, clusterName)
}

// mayAny asks by the type of resource.
func (c *call) mayAny(op kmsg.ACLOperation, resource kmsg.ACLResourceType) bool {
	a := c.who
	a.Operation, a.Resource = op, resource
	return c.g.world.Judge.AllowedSomewhere(a)
}

// operations is the bit field of what the caller may do on a resource: the broker's own answer would be about the gateway.
func (c *call) operations(resource kmsg.ACLResourceType, name string) int32 {
	ops := []kmsg.ACLOperation{opCreate, opAlter, opDescribe, opClusterAction, opDescribeConfigs, opAlterConfigs, opIdempotentWrite}
	switch resource {
	case kmsg.ACLResourceTypeTopic:
		ops = []kmsg.ACLOperation{opRead, opWrite, opCreate, opDelete, opAlter, opDescribe, opDescribeConfigs, opAlterConfigs}
	case kmsg.ACLResourceTypeGroup:
		ops = []kmsg.ACLOperation{opRead, opDelete, opDescribe, opDescribeConfigs, opAlterConfigs}
	}
	var bits int32
	for _, op := range ops {
		if c.sees(op, resource, name) {
			bits |= 1 << op
		}
	}
	return bits
}
