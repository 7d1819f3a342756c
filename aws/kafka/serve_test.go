package kafka_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"millrace/aws/kafka"
	"millrace/aws/kafka/kafkatest"
	"millrace/control"
)

// TestOpenedClusters: what public access and VPC connectivity stand on is not taken away from under them.
func TestOpenedClusters(t *testing.T) {
	w := at(t, "GetBootstrapBrokers-public") // public, with VPC connectivity by IAM
	version := `{"currentVersion":"` + control.CurrentVersion(w.Plane.All[kafkatest.Orders]) + `",`
	for _, test := range []struct{ operation, rest, param, words string }{
		{
			"UpdateSecurity", `"clientAuthentication":{"sasl":{"iam":{"enabled":false},"scram":{"enabled":true}}}}`,
			"vpcConnectivity", "needs the same client authentication",
		},
		{"UpdateSecurity", `"clientAuthentication":{"unauthenticated":{"enabled":true}}}`, "publicAccess", "needs unauthenticated access to be off"},
		{
			"UpdateConnectivity", `"connectivityInfo":{"vpcConnectivity":{"clientAuthentication":{"sasl":{"scram":{"enabled":true}}}}}}`,
			"vpcConnectivity", "needs the same client authentication",
		},
	} {
		refuses(t, w, orders(test.operation, version+test.rest), http.StatusBadRequest, test.param, test.words)
	}
}

// TestClusterOfServe: the cluster that serve makes says little of itself, and is shown whole and changed as others are.
func TestClusterOfServe(t *testing.T) {
	w := kafkatest.New()
	const id = "00000009-1111-4222-8333-444444444444-1"
	w.Plane.All["default"] = control.Cluster{Name: "default", Brokers: 2, Managed: control.Managed{ID: id, Created: kafkatest.Clock(), Version: 1, Phase: control.Active}}
	arn := map[string]string{"clusterArn": kafkatest.Home().Cluster("default", id)}
	call := func(operation, body string) map[string]any {
		t.Helper()
		status, answer, err := w.Call(t.Context(), kafkatest.Ask{Operation: operation, Params: arn, Body: body})
		var got map[string]any
		if err != nil || status != http.StatusOK || json.Unmarshal(answer, &got) != nil {
			t.Fatalf("%s: %d %s %v", operation, status, answer, err)
		}
		return got
	}
	info, _ := call("DescribeCluster", "")["clusterInfo"].(map[string]any)
	group, _ := info["brokerNodeGroupInfo"].(map[string]any)
	if info["numberOfBrokerNodes"] != 2.0 || group["instanceType"] != "express.unlimited" || info["state"] != "ACTIVE" {
		t.Errorf("it is shown as %v", info)
	}
	version := `{"currentVersion":"` + control.CurrentVersion(w.Plane.All["default"]) + `",`
	refuses(t, w, kafkatest.Ask{Operation: "UpdateBrokerCount", Params: arn, Body: version + `"targetNumberOfBrokerNodes":2}`}, http.StatusBadRequest, "", "does not include")
	refuses(t, w, kafkatest.Ask{Operation: "UpdateSecurity", Params: arn, Body: version + `"clientAuthentication":{"unauthenticated":{"enabled":true}}}`},
		http.StatusBadRequest, "", "does not include")
	refuses(t, w, kafkatest.Ask{Operation: "UpdateSecurity", Params: arn, Body: version + `"clientAuthentication":{"sasl":{"iam":{"enabled":true}}}}`},
		http.StatusBadRequest, "clientBroker", "either TLS or TLS_PLAINTEXT")
	call("UpdateSecurity", version+`"clientAuthentication":{"sasl":{"iam":{"enabled":true}}},"encryptionInfo":{"encryptionInTransit":{"clientBroker":"TLS_PLAINTEXT"}}}`)
	after := *w.Plane.Done["default"][0].After
	if after.Auth != "plaintext,tls,iam" || !after.InCluster || after.KMSKey != "" {
		t.Errorf("logins %q, in cluster %v, key %q", after.Auth, after.InCluster, after.KMSKey)
	}
}

// TestOperationsWithoutACall: what the plane does by itself has a name in the API, too.
func TestOperationsWithoutACall(t *testing.T) {
	w := at(t, "UpdateBrokerCount")
	for i, test := range []struct {
		kind control.Kind
		want string
	}{
		{control.Create, "CREATE_CLUSTER"}, {control.Replace, "HEAL_CLUSTER"}, {control.Patch, "BROKER_UPDATE"}, {control.Roll, "REBOOT_NODE"},
		{control.Logins, "UPDATE_SECURITY"}, {control.Scale, "INCREASE_BROKER_COUNT"},
	} {
		op := control.Operation{Number: int64(i) + 1, ID: kafkatest.UUID(900 + i), Type: string(test.kind), Request: control.Request{Kind: test.kind}, State: control.Failed, Error: "why"}
		w.Plane.Done[kafkatest.Orders] = []control.Operation{op, {Number: 99}} // one of before there were ids
		_, answer, err := w.Call(t.Context(), orders("ListClusterOperations", ""))
		var got struct {
			List []struct {
				OperationType string
				ErrorInfo     struct{ ErrorString string }
			} `json:"clusterOperationInfoList"`
		}
		if err != nil || json.Unmarshal(answer, &got) != nil || len(got.List) != 1 || got.List[0].OperationType != test.want || got.List[0].ErrorInfo.ErrorString != "why" {
			t.Errorf("%s is %s %v", test.kind, answer, err)
		}
	}
}

// TestListBesideADelete: a cluster that goes while clusters are listed is not in the list, and the others are.
func TestListBesideADelete(t *testing.T) {
	w := at(t, "DescribeCluster")
	w.Service = kafka.New(kafka.World{
		Plane: w.Plane, Configurations: w.Configurations, Topics: w.Topics,
		Tags: func(_ context.Context, arn string) (map[string]string, error) {
			if arn == kafkatest.OrdersARN() {
				return nil, fmt.Errorf("tags: %w", control.ErrNoCluster)
			}
			return map[string]string{"now": "yes"}, nil
		},
	}, kafka.Config{Home: kafkatest.Home()})
	for operation, want := range map[string]int{"ListClusters": 1, "ListClustersV2": 2} {
		status, answer, err := w.Call(t.Context(), kafkatest.Ask{Operation: operation})
		var got struct {
			List []struct {
				ClusterName string
				Tags        map[string]string
			} `json:"clusterInfoList"`
		}
		if err != nil || status != http.StatusOK || json.Unmarshal(answer, &got) != nil || len(got.List) != want || got.List[0].Tags["now"] != "yes" {
			t.Errorf("%s: %d %s %v", operation, status, answer, err)
		}
	}
	refuses(t, w, orders("DescribeCluster", ""), http.StatusNotFound, "clusterArn", "doesn't exist")
}
