package acl

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/secure/acl"
)

// grantCase is what holds while all probes are asked.
type grantCase struct {
	name string
	list []acl.Binding
	from string // where alice calls from; "": home
}

const (
	topicType   = kmsg.ACLResourceTypeTopic
	groupType   = kmsg.ACLResourceTypeGroup
	clusterType = kmsg.ACLResourceTypeCluster
	txnType     = kmsg.ACLResourceTypeTransactionalId
	literal     = kmsg.ACLResourcePatternTypeLiteral
	prefixed    = kmsg.ACLResourcePatternTypePrefixed
)

func grant(resource kmsg.ACLResourceType, name string, op kmsg.ACLOperation) acl.Binding {
	return acl.Binding{Resource: resource, Name: name, Pattern: literal, Principal: "User:" + alice, Host: "*", Operation: op,
		Permission: kmsg.ACLPermissionTypeAllow}
}

func prefix(b acl.Binding, name string) acl.Binding {
	b.Name, b.Pattern = name, prefixed
	return b
}

func denied(b acl.Binding) acl.Binding {
	b.Permission = kmsg.ACLPermissionTypeDeny
	return b
}

func host(b acl.Binding, from string) acl.Binding {
	b.Host = from
	return b
}

func who(b acl.Binding, principal string) acl.Binding {
	b.Principal = principal
	return b
}

// operations are those that Kafka knows for a resource, and some that it does not.
func operations(r kmsg.ACLResourceType) []kmsg.ACLOperation {
	const (
		all, read, write, create, del, alter, describe = kmsg.ACLOperationAll, kmsg.ACLOperationRead, kmsg.ACLOperationWrite,
			kmsg.ACLOperationCreate, kmsg.ACLOperationDelete, kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe
	)
	switch r {
	case topicType:
		return []kmsg.ACLOperation{all, read, write, create, del, alter, describe, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs}
	case groupType:
		return []kmsg.ACLOperation{all, read, write, del, describe, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs}
	case clusterType:
		return []kmsg.ACLOperation{all, read, create, alter, describe, kmsg.ACLOperationClusterAction, kmsg.ACLOperationDescribeConfigs,
			kmsg.ACLOperationAlterConfigs, kmsg.ACLOperationIdempotentWrite}
	default:
		return []kmsg.ACLOperation{all, read, write, describe, acl.TwoPhaseCommit}
	}
}

// names are literal and prefixed names for a type, which match what probes ask about.
func names(r kmsg.ACLResourceType) (name, begin string) {
	switch r {
	case topicType:
		return orders, "ord"
	case groupType:
		return group, "te"
	case clusterType:
		return acl.ClusterName, "kafka-"
	default:
		return txnID, "tx"
	}
}

// cases are what is compared where nobody is allowed what no ACL names.
func cases() []grantCase {
	all := []grantCase{{name: "nothing"}}
	add := func(name string, list ...acl.Binding) { all = append(all, grantCase{name: name, list: list}) }
	for _, r := range []kmsg.ACLResourceType{topicType, groupType, clusterType, txnType} {
		name, begin := names(r)
		for i, op := range operations(r) {
			b := grant(r, name, op)
			add(fmt.Sprintf("%v %v", r, op), b)
			if r == clusterType {
				continue // it has one name
			}
			switch i % 3 { // patterns and deny in turn
			case 0:
				add(fmt.Sprintf("%v %v prefixed", r, op), prefix(b, begin))
			case 1:
				add(fmt.Sprintf("%v %v of all but one", r, op), grant(r, "*", op), denied(b))
			case 2:
				add(fmt.Sprintf("%v %v of all but a prefix", r, op), grant(r, "*", op), denied(prefix(b, begin)))
			}
		}
		every := grant(r, "*", kmsg.ACLOperationAll)
		if r == clusterType {
			every.Name = acl.ClusterName
		}
		add(fmt.Sprintf("%v everything but describing", r), every, denied(grant(r, every.Name, kmsg.ACLOperationDescribe)))
		add(fmt.Sprintf("%v everything but reading", r), every, denied(grant(r, every.Name, kmsg.ACLOperationRead)))
		add(fmt.Sprintf("%v everything for everybody", r), who(every, acl.Everybody))
		add(fmt.Sprintf("%v everything for another", r), who(every, "User:"+bob))
		add(fmt.Sprintf("%v denied to everybody", r), every, denied(who(every, acl.Everybody)))
		add(fmt.Sprintf("%v from home", r), host(every, home))
		add(fmt.Sprintf("%v from abroad", r), host(every, abroad))
		add(fmt.Sprintf("%v from home, called from abroad", r), host(every, home))
		all[len(all)-1].from = abroad
		add(fmt.Sprintf("%v denied from abroad, called from abroad", r), every, denied(host(every, abroad)))
		all[len(all)-1].from = abroad
	}
	write, read := kmsg.ACLOperationWrite, kmsg.ACLOperationRead
	add("produce in transactions", grant(topicType, orders, write), grant(txnType, txnID, write))
	add("consume", grant(topicType, orders, read), grant(groupType, group, read))
	add("consume all", grant(topicType, "*", read), grant(groupType, "*", read), grant(groupType, "*", kmsg.ACLOperationDescribe))
	add("offsets in transactions", grant(topicType, orders, read), grant(groupType, group, read), grant(txnType, txnID, write))
	add("share", grant(groupType, "share", read), grant(topicType, orders, read))
	add("share, describing", grant(groupType, "share", kmsg.ACLOperationDescribe), grant(topicType, secret, kmsg.ACLOperationDescribe))
	add("share, deleting", prefix(grant(groupType, "", kmsg.ACLOperationDelete), "sha"), grant(topicType, secret, read))
	add("open transactions", prefix(grant(txnType, "", kmsg.ACLOperationDescribe), "tx-"), grant(topicType, secret, kmsg.ACLOperationDescribe))
	add("delete a topic", prefix(grant(topicType, "", kmsg.ACLOperationDelete), victim))
	add("delete a topic unseen", prefix(grant(topicType, "", kmsg.ACLOperationDelete), victim),
		denied(prefix(grant(topicType, "", kmsg.ACLOperationDescribe), victim)))
	add("write only to what is denied", grant(topicType, orders, write), denied(prefix(grant(topicType, "", write), "o")))
	add("write to a prefix in a denied one", prefix(grant(topicType, "", write), "ord"), denied(prefix(grant(topicType, "", write), "or")))
	add("write to a prefix around a denied one", prefix(grant(topicType, "", write), "ord"), denied(prefix(grant(topicType, "", write), "orde")))
	add("write to all but all", grant(topicType, "*", write), denied(grant(topicType, "*", write)))
	add("write to the name of the probe", grant(topicType, "hardcode", write))
	add("a user type that is not User", who(grant(topicType, orders, read), "Group:"+alice))
	add("the wildcard as a prefix", prefix(grant(topicType, "", read), "*"))
	add("a name that is a prefix of the pattern", grant(topicType, "orders-more", read))
	return all
}

// openCases are compared where what no ACL names is open to everybody.
func openCases() []grantCase {
	read, describe := kmsg.ACLOperationRead, kmsg.ACLOperationDescribe
	return []grantCase{
		{name: "nothing"},
		{name: "a topic of another", list: []acl.Binding{who(grant(topicType, orders, read), "User:"+bob)}},
		{name: "a topic denied to another", list: []acl.Binding{denied(who(grant(topicType, orders, read), "User:"+bob))}},
		{name: "a prefix of another", list: []acl.Binding{who(prefix(grant(topicType, "", read), "ord"), "User:"+bob)}},
		{name: "all topics of another", list: []acl.Binding{who(grant(topicType, "*", read), "User:"+bob)}},
		{name: "the cluster of another", list: []acl.Binding{who(grant(clusterType, acl.ClusterName, describe), "User:"+bob)}},
		{name: "a group of another", list: []acl.Binding{who(grant(groupType, group, read), "User:"+bob)}},
		{name: "a transactional id of another", list: []acl.Binding{who(prefix(grant(txnType, "", describe), "tx"), "User:"+bob)}},
		{name: "from elsewhere", list: []acl.Binding{host(grant(topicType, orders, read), abroad)}},
		{name: "denied to write anywhere", list: []acl.Binding{denied(grant(topicType, "*", kmsg.ACLOperationWrite)),
			denied(grant(clusterType, acl.ClusterName, kmsg.ACLOperationIdempotentWrite))}},
	}
}
