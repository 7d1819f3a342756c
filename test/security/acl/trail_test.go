package acl

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/secure/trail"
)

// TestChangesAreRecorded makes each kind of change as an administrator, and looks for who, from where, what, before and after.
func TestChangesAreRecorded(t *testing.T) {
	told := new(events)
	s, _ := startExpress(t, false, told)
	ids := map[string][16]byte{}
	s.world(ids)
	for _, tc := range []struct {
		request       kmsg.Request
		resource      string
		before, after string // parts of the JSON
		outcome       trail.Outcome
	}{
		{creating("made", 1), "topic/made", "", `"partitions":1`, trail.Accepted},
		{creating("made", 1), "topic/made", "", "", trail.Refused},
		{at(3, partitions("made", 3)), "topic/made", `"partitions":1`, `"partitions":3`, trail.Accepted},
		{at(1, setting(kmsg.ConfigResourceTypeTopic, "made", "retention.ms", "1000")), "topic/made", `{}`, `"retention.ms":"1000"`, trail.Accepted},
		{at(1, setting(kmsg.ConfigResourceTypeTopic, "made", "retention.ms", "2000")), "topic/made", `"retention.ms":"1000"`, `"retention.ms":"2000"`, trail.Accepted},
		{at(1, setting(kmsg.ConfigResourceTypeTopic, "made", "retention.ms", "many")), "topic/made", `"retention.ms":"2000"`, "", trail.Refused},
		{at(1, setting(kmsg.ConfigResourceTypeBroker, "", "log.retention.ms", "9999")), "broker/", `auto.create`, `"log.retention.ms":"9999"`, trail.Accepted},
		{at(1, setting(kmsg.ConfigResourceTypeGroupConfig, group, "share.auto.offset.reset", "earliest")), "group/" + group, `{}`, `earliest`, trail.Accepted},
		{at(1, limiting("producer_byte_rate", 1e6)), "quota/", `null`, `1000000`, trail.Accepted},
		{at(1, limiting("producer_byte_rate", 2e6)), "quota/", `1000000`, `2000000`, trail.Accepted},
		{topicProbes()[4].make(ids), "topic/" + orders, "", `"LowWatermark"`, trail.Accepted},
		{groupProbes()[7].make(ids), "group/" + group, `orders`, "", trail.Accepted},
		{at(2, deleting(group)), "group/" + group, "", "", trail.Accepted},
		{at(2, deleting("none")), "group/none", "", "", trail.Refused},
		{at(3, allowing("User:carol")), "acl/topic/made", "", `"principal":"User:carol"`, trail.Accepted},
		{at(3, forgetting("User:carol")), "acl/topic/made", `"operation":"READ"`, "", trail.Accepted},
		{topicProbes()[9].make(ids), "topic/" + victim + "2", `"partitions":2`, "", trail.Accepted},
	} {
		told.mu.Lock()
		told.list = nil
		told.mu.Unlock()
		s.must(admin, abroad, tc.request)
		told.mu.Lock()
		at := slices.IndexFunc(told.list, func(e trail.Event) bool { return e.Kind == trail.Admin && strings.HasPrefix(e.Resource, tc.resource) })
		if at < 0 {
			t.Errorf("%s of %s is not recorded: %+v", kmsg.NameForKey(tc.request.Key()), tc.resource, told.list)
			told.mu.Unlock()
			continue
		}
		e := told.list[at]
		told.mu.Unlock()
		if e.Principal != "User:"+admin || e.From != abroad || e.Action != "kafka:"+kmsg.NameForKey(tc.request.Key()) || e.Outcome != tc.outcome ||
			e.Time.IsZero() || e.Listener == "" || e.ClientID != admin || e.Cluster == "" || (e.Reason != "") != (tc.outcome != trail.Accepted) {
			t.Errorf("%s: %+v", tc.resource, e)
		}
		if !strings.Contains(string(e.Before), tc.before) || !strings.Contains(string(e.After), tc.after) || tc.before == "" && e.Before != nil ||
			tc.after == "" && e.After != nil {
			t.Errorf("%s %s: before %s, after %s", e.Action, tc.resource, e.Before, e.After)
		}
	}
	// What is only validated, and what was refused for want of a permission, is no change.
	told.mu.Lock()
	told.list = nil
	told.mu.Unlock()
	for _, p := range alterConfigs(kmsg.ConfigResourceTypeTopic, "made", "retention.ms", "1000") {
		s.must(admin, home, p.make(ids))
	}
	s.must(alice, home, creating("other", 1))
	for _, e := range told.list {
		if e.Kind == trail.Admin {
			t.Errorf("no change: %+v", e)
		}
	}
}

func creating(name string, n int32) *kmsg.CreateTopicsRequest {
	q := kmsg.NewPtrCreateTopicsRequest()
	q.TimeoutMillis = 5000
	in := kmsg.NewCreateTopicsRequestTopic()
	in.Topic, in.NumPartitions, in.ReplicationFactor = name, n, 1
	q.Topics = append(q.Topics, in)
	return at(7, q)
}

func partitions(name string, n int32) *kmsg.CreatePartitionsRequest {
	q := kmsg.NewPtrCreatePartitionsRequest()
	q.TimeoutMillis = 5000
	q.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: name, Count: n}}
	return q
}

func setting(kind kmsg.ConfigResourceType, name, key, value string) *kmsg.IncrementalAlterConfigsRequest {
	q := kmsg.NewPtrIncrementalAlterConfigsRequest()
	q.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kind, ResourceName: name,
		Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: key, Value: &value}}}}
	return q
}

func limiting(key string, value float64) *kmsg.AlterClientQuotasRequest {
	q := kmsg.NewPtrAlterClientQuotasRequest()
	q.Entries = []kmsg.AlterClientQuotasRequestEntry{{
		Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "user", Name: ptr(alice)}},
		Ops:    []kmsg.AlterClientQuotasRequestEntryOp{{Key: key, Value: value}},
	}}
	return q
}

func deleting(name string) *kmsg.DeleteGroupsRequest {
	q := kmsg.NewPtrDeleteGroupsRequest()
	q.Groups = []string{name}
	return q
}

func allowing(principal string) *kmsg.CreateACLsRequest {
	q := kmsg.NewPtrCreateACLsRequest()
	q.Creations = []kmsg.CreateACLsRequestCreation{{ResourceType: topicType, ResourceName: "made", ResourcePatternType: literal,
		Principal: principal, Host: "*", Operation: kmsg.ACLOperationRead, PermissionType: kmsg.ACLPermissionTypeAllow}}
	return q
}

func forgetting(principal string) *kmsg.DeleteACLsRequest {
	q := kmsg.NewPtrDeleteACLsRequest()
	q.Filters = []kmsg.DeleteACLsRequestFilter{{ResourceType: 1, ResourcePatternType: 1, Operation: 1, PermissionType: 1, Principal: &principal}}
	return q
}
