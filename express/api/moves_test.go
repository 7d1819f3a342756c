package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/features"
	"millrace/kafka/kerr"
)

func TestElections(t *testing.T) {
	e := newEnv(t, options{})
	e.create("orders", 2, nil)
	e.moveAway("orders", 1, 7, 3)
	c := e.dial()
	q := kmsg.NewPtrElectLeadersRequest()
	q.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "orders", Partitions: []int32{0, 1, 9}}, {Topic: "nope", Partitions: []int32{0}}}
	ask1 := func(version int16) (codes []kerr.Code, top kerr.Code) {
		resp := ask[*kmsg.ElectLeadersResponse](c, version, q)
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				codes = append(codes, kerr.Code(p.ErrorCode))
			}
		}
		return codes, kerr.Code(resp.ErrorCode)
	}
	want := []kerr.Code{kerr.ElectionNotNeeded, kerr.ElectionNotNeeded, kerr.UnknownTopicOrPartition, kerr.UnknownTopicOrPartition}
	for version := range int16(3) {
		if codes, top := ask1(version); !slices.Equal(codes, want) || top != kerr.None {
			t.Errorf("v%d: %v, %v", version, codes, top)
		}
	}
	q.ElectionType = 2
	if codes, top := ask1(2); top != kerr.InvalidRequest || codes[0] != kerr.InvalidRequest {
		t.Errorf("unknown type: %v, %v", codes, top)
	}
	e.remove("brokers/7")
	e.eventually(func() bool { return len(e.catalog.Brokers()) == 1 })
	q.ElectionType = electPreferred
	want[1] = kerr.PreferredLeaderNotAvailable
	if codes, _ := ask1(2); !slices.Equal(codes, want) {
		t.Errorf("with an owner away: %v", codes)
	}
	q.ElectionType = electUnclean
	want[1] = kerr.EligibleLeadersNotAvailable
	if codes, _ := ask1(2); !slices.Equal(codes, want) {
		t.Errorf("unclean, with an owner away: %v", codes)
	}
	q.Topics = nil
	resp := ask[*kmsg.ElectLeadersResponse](c, 2, q)
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 || resp.Topics[0].Partitions[0].Partition != 1 {
		t.Errorf("all: %+v", resp.Topics)
	}
}

func TestReassignments(t *testing.T) {
	e := newEnv(t, options{})
	e.create("orders", 2, nil)
	e.moveAway("orders", 1, 7, 3)
	e.put("brokers/8", `{"version":1,"incarnation":1,"host":"other","port":9008,"draining":true}`)
	e.eventually(func() bool { return len(e.catalog.Brokers()) == 3 })
	c := e.dial()
	for _, tc := range []struct {
		name      string
		topic     string
		partition int32
		replicas  []int32
		keepRF    bool
		want      kerr.Code
	}{
		{"to its owner", "orders", 0, []int32{1}, false, kerr.None},
		{"to its owner, which is another", "orders", 1, []int32{7}, false, kerr.None},
		{"to its owner and more", "orders", 0, []int32{1, 7}, false, kerr.None},
		{"to another", "orders", 0, []int32{7}, false, kerr.None},
		{"to another, again", "orders", 0, []int32{7, 1, 8}, true, kerr.None},
		{"cancelled while under way", "orders", 0, nil, false, kerr.None},
		{"to one that drains, and one that does not", "orders", 0, []int32{8, 7}, false, kerr.None},
		{"back to its owner", "orders", 0, []int32{1}, false, kerr.None},
		{"to one that drains", "orders", 0, []int32{8}, false, kerr.InvalidReplicaAssignment},
		{"to an unknown one", "orders", 0, []int32{1, 9}, false, kerr.InvalidReplicaAssignment},
		{"twice the same", "orders", 0, []int32{1, 1}, false, kerr.InvalidReplicaAssignment},
		{"to nobody", "orders", 0, []int32{}, false, kerr.InvalidReplicaAssignment},
		{"with fewer copies", "orders", 0, []int32{7}, true, kerr.InvalidReplicationFactor},
		{"cancelled", "orders", 0, nil, false, kerr.NoReassignmentInProgress},
		{"unknown partition", "orders", 2, []int32{1}, false, kerr.UnknownTopicOrPartition},
		{"negative partition", "orders", -1, nil, false, kerr.UnknownTopicOrPartition},
		{"unknown topic", "nope", 0, []int32{1}, false, kerr.UnknownTopicOrPartition},
	} {
		q := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		q.AllowReplicationFactorChange = !tc.keepRF
		q.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: tc.topic,
			Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: tc.partition, Replicas: tc.replicas}}}}
		resp := ask[*kmsg.AlterPartitionAssignmentsResponse](c, 1, q)
		if got := kerr.Code(resp.Topics[0].Partitions[0].ErrorCode); got != tc.want || resp.ErrorCode != 0 {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	q := kmsg.NewPtrListPartitionReassignmentsRequest()
	if list := ask[*kmsg.ListPartitionReassignmentsResponse](c, 0, q); list.ErrorCode != 0 || len(list.Topics) != 0 {
		t.Errorf("in progress: %+v", list)
	}
}

func TestReassignmentsInProgressAreListed(t *testing.T) {
	e := newEnv(t, options{})
	e.create("orders", 3, nil)
	e.create("other", 1, nil)
	e.moveAway("orders", 1, 7, 3)
	c := e.dial()
	q := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	q.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: "orders", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{
		{Partition: 0, Replicas: []int32{7}}, {Partition: 1, Replicas: []int32{1, 7}}, {Partition: 2, Replicas: []int32{7}},
		{Partition: 2, Replicas: []int32{1}}, {Partition: 9, Replicas: []int32{1}}, // the last for a partition counts
	}}}
	ask[*kmsg.AlterPartitionAssignmentsResponse](c, 1, q)
	list := func(topics []kmsg.ListPartitionReassignmentsRequestTopic, want string) {
		t.Helper()
		q := kmsg.NewPtrListPartitionReassignmentsRequest()
		q.Topics = topics
		got := ""
		for _, tp := range ask[*kmsg.ListPartitionReassignmentsResponse](c, 0, q).Topics {
			for _, p := range tp.Partitions {
				got += fmt.Sprintf("%s-%d %v +%v -%v ", tp.Topic, p.Partition, p.Replicas, p.AddingReplicas, p.RemovingReplicas)
			}
		}
		if got != want {
			t.Errorf("in progress: %q, want %q", got, want)
		}
	}
	first, second := "orders-0 [7 1] +[7] -[1] ", "orders-1 [1 7] +[1] -[7] "
	list(nil, first+second)
	list([]kmsg.ListPartitionReassignmentsRequestTopic{{Topic: "orders", Partitions: []int32{2, 1}}, {Topic: "nope"}, {Topic: "other", Partitions: []int32{0}}}, second)
	list([]kmsg.ListPartitionReassignmentsRequestTopic{{Topic: "orders"}}, "")
}

// A text for each partition must not make a small request's answer large.
func TestAdminAnswersAreBounded(t *testing.T) {
	e := newEnv(t, options{})
	c := e.dial()
	name := strings.Repeat("x", 10_000)
	q := kmsg.NewPtrElectLeadersRequest()
	q.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: name, Partitions: make([]int32, 1000)}}
	resp := ask[*kmsg.ElectLeadersResponse](c, 2, q)
	if text := *resp.Topics[0].Partitions[0].ErrorMessage; len(text) > 300 {
		t.Errorf("a text of %d bytes", len(text))
	}
	q.Topics[0].Partitions = make([]int32, adminPartitionsMost+1)
	if resp := ask[*kmsg.ElectLeadersResponse](c, 2, q); kerr.Code(resp.ErrorCode) != kerr.InvalidRequest || len(resp.Topics) != 0 {
		t.Errorf("code %d, %d topics", resp.ErrorCode, len(resp.Topics))
	}
	r := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	r.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: name,
		Partitions: make([]kmsg.AlterPartitionAssignmentsRequestTopicPartition, adminPartitionsMost+1)}}
	if resp := ask[*kmsg.AlterPartitionAssignmentsResponse](c, 1, r); kerr.Code(resp.ErrorCode) != kerr.InvalidRequest || len(resp.Topics) != 0 {
		t.Errorf("code %d, %d topics", resp.ErrorCode, len(resp.Topics))
	}
}

func TestFeaturesStayAsTheyAre(t *testing.T) {
	all := []features.Feature{{Name: "metadata.version", Min: 7, Max: 30, Finalized: 29}, {Name: "group.version", Max: 1, Finalized: 1}}
	for _, tc := range []struct {
		name  string
		level int16
		kind  int8
		want  string
	}{
		{"metadata.version", 29, features.Upgrade, ""},
		{"metadata.version", 29, features.SafeDowngrade, ""},
		{"metadata.version", 29, 0, "does not support the given upgrade type."},
		{"metadata.version", -1, features.Upgrade, "cannot be less than 0."},
		{"metadata.version", 99, features.Upgrade, "Local controller 1 only supports versions 7-30"},
		{"metadata.version", 5, features.SafeDowngrade, "Local controller 1 only supports versions 7-30"},
		{"metadata.version", 28, features.Upgrade, "without setting the upgrade type to either safe or unsafe downgrade."},
		{"metadata.version", 28, features.SafeDowngrade, "because it might delete metadata information."},
		{"metadata.version", 28, features.UnsafeDowngrade, "Unsafe metadata downgrade is not supported in this version."},
		{"metadata.version", 30, features.SafeDowngrade, "Can't downgrade to a newer version."},
		{"metadata.version", 30, features.Upgrade, "comes with the program and stays at 29."},
		{"group.version", 0, features.SafeDowngrade, "comes with the program and stays at 1."},
		{"nope", 1, features.Upgrade, "Local controller 1 does not support this feature."},
		{"nope", 0, features.SafeDowngrade, "Feature nope not found."},
	} {
		got := features.Change(all, tc.name, tc.level, tc.kind, 1)
		if (got == "") != (tc.want == "") || !strings.HasSuffix(got, tc.want) {
			t.Errorf("%s to %d by %d: %q, want %q", tc.name, tc.level, tc.kind, got, tc.want)
		}
	}
}

func TestUpdateFeatures(t *testing.T) {
	e := newEnv(t, options{})
	c := e.dial()
	all := features.All()
	level := all[slices.IndexFunc(all, func(f features.Feature) bool { return f.Name == "metadata.version" })].Finalized
	for version := range int16(3) {
		q := kmsg.NewPtrUpdateFeaturesRequest()
		same := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		same.Feature, same.MaxVersionLevel, same.UpgradeType = "metadata.version", level, features.Upgrade
		q.FeatureUpdates = append(q.FeatureUpdates, same)
		resp := ask[*kmsg.UpdateFeaturesResponse](c, version, q)
		if resp.ErrorCode != 0 || (len(resp.Results) == 1) != (version < 2) {
			t.Errorf("v%d: %+v", version, resp)
		}
		same.Feature = "nope"
		q.FeatureUpdates = append(q.FeatureUpdates, same)
		resp = ask[*kmsg.UpdateFeaturesResponse](c, version, q)
		if kerr.Code(resp.ErrorCode) != kerr.InvalidUpdateVersion || len(resp.Results) != 0 {
			t.Errorf("v%d, one unknown: %+v", version, resp)
		}
	}
}

func TestAlterReplicaLogDirs(t *testing.T) {
	e := newEnv(t, options{})
	e.create("orders", 1, nil)
	c := e.dial()
	for dir, want := range map[string][]kerr.Code{
		"express": {kerr.None, kerr.UnknownTopicOrPartition},
		"/tmp":    {kerr.LogDirNotFound, kerr.LogDirNotFound},
	} {
		q := kmsg.NewPtrAlterReplicaLogDirsRequest()
		q.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Dir: dir,
			Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: "orders", Partitions: []int32{0, 1}}}}}
		var codes []kerr.Code
		for _, p := range ask[*kmsg.AlterReplicaLogDirsResponse](c, 2, q).Topics[0].Partitions {
			codes = append(codes, kerr.Code(p.ErrorCode))
		}
		if !slices.Equal(codes, want) {
			t.Errorf("%s: %v, want %v", dir, codes, want)
		}
	}
}
