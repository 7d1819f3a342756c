package managed

import (
	"context"
	"encoding/base64"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kafka"
	"github.com/aws/aws-sdk-go-v2/service/kafka/types"
)

// provider makes the requests that Terraform's AWS provider makes for its resources, in its order and with its waits, by the SDK that it has.
type provider struct {
	*testing.T
	api *kafka.Client
}

func newProvider(t *testing.T, s site) provider {
	t.Helper()
	for _, assignment := range s.env {
		if name, value, _ := strings.Cut(assignment, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, value)
		}
	}
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return provider{t, kafka.NewFromConfig(cfg)}
}

func (p provider) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// until asks until the state is the target one; any other than those that may come before fails the test.
func (p provider) until(target string, pending []string, ask func() (string, error)) {
	p.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		state, err := ask()
		p.must(err)
		if state == target {
			return
		}
		if !slices.Contains(pending, state) || time.Now().After(deadline) {
			p.Fatalf("state is %s, want %s", state, target)
		}
		wait(p.Context())
	}
}

// gone asks until nothing is found.
func (p provider) gone(pending []string, ask func() (string, error)) {
	p.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		state, err := ask()
		var missing *types.NotFoundException
		if errors.As(err, &missing) {
			return
		}
		p.must(err)
		if !slices.Contains(pending, state) || time.Now().After(deadline) {
			p.Fatalf("state is %s, want it gone", state)
		}
		wait(p.Context())
	}
}

// wait is between two questions about a state.
func wait(ctx context.Context) {
	timer := time.NewTimer(20 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (p provider) clusterState(arn *string) func() (string, error) {
	return func() (string, error) {
		out, err := p.api.DescribeClusterV2(p.Context(), &kafka.DescribeClusterV2Input{ClusterArn: arn})
		if err != nil {
			return "", err
		}
		return string(out.ClusterInfo.State), nil
	}
}

func (p provider) active(arn *string) {
	p.Helper()
	p.until("ACTIVE", []string{"CREATING"}, p.clusterState(arn))
}

func (p provider) destroyCluster(arn *string) {
	p.Helper()
	_, err := p.api.DeleteCluster(p.Context(), &kafka.DeleteClusterInput{ClusterArn: arn})
	p.must(err)
	p.gone([]string{"DELETING"}, p.clusterState(arn))
}

// updated waits for an operation, as the provider does.
func (p provider) updated(operation *string) {
	p.Helper()
	p.until("UPDATE_COMPLETE", []string{"PENDING", "UPDATE_IN_PROGRESS", "REBOOT_IN_PROGRESS"}, func() (string, error) {
		out, err := p.api.DescribeClusterOperation(p.Context(), &kafka.DescribeClusterOperationInput{ClusterOperationArn: operation})
		if err != nil {
			return "", err
		}
		return *out.ClusterOperationInfo.OperationState, nil
	})
}

// read is what the provider's read keeps of a cluster.
func (p provider) read(arn *string) *types.ClusterInfo {
	p.Helper()
	out, err := p.api.DescribeCluster(p.Context(), &kafka.DescribeClusterInput{ClusterArn: arn})
	p.must(err)
	brokers, err := p.api.GetBootstrapBrokers(p.Context(), &kafka.GetBootstrapBrokersInput{ClusterArn: arn})
	p.must(err)
	again, err := p.api.GetBootstrapBrokers(p.Context(), &kafka.GetBootstrapBrokersInput{ClusterArn: arn})
	p.must(err)
	again.ResultMetadata = brokers.ResultMetadata
	if !reflect.DeepEqual(brokers, again) {
		p.Errorf("bootstrap brokers changed between two reads: %v, %v", brokers, again)
	}
	if out.ClusterInfo.CurrentVersion == nil || out.ClusterInfo.BrokerNodeGroupInfo == nil {
		p.Fatal("the cluster has no version, or no brokers")
	}
	return out.ClusterInfo
}

// stays fails the test where a second read gives something else: a plan would not be empty.
func (p provider) stays(arn *string) *types.ClusterInfo {
	p.Helper()
	first, second := p.read(arn), p.read(arn)
	if !reflect.DeepEqual(first, second) {
		p.Errorf("a plan would not be empty: %+v, then %+v", first, second)
	}
	return second
}

var nodes = types.BrokerNodeGroupInfo{ //nolint:gochecknoglobals // not changed
	ClientSubnets: []string{"subnet-1", "subnet-2", "subnet-3"}, InstanceType: aws.String("express.m7g.large"), SecurityGroups: []string{"sg-1"},
}

// TestTerraformCluster is the life of an aws_msk_cluster.
func TestTerraformCluster(t *testing.T) {
	p := newProvider(t, start(t))
	ctx := t.Context()
	made, err := p.api.CreateCluster(ctx, &kafka.CreateClusterInput{
		ClusterName: aws.String("tf"), KafkaVersion: aws.String("3.8.x"), NumberOfBrokerNodes: aws.Int32(3), BrokerNodeGroupInfo: &nodes,
		Tags: map[string]string{"by": "terraform"},
	})
	p.must(err)
	arn := made.ClusterArn
	if parts := strings.Split(strings.SplitN(*arn, ":", 6)[5], "/"); len(parts) != 3 || parts[0] != "cluster" || parts[1] != "tf" {
		t.Errorf("cluster_uuid cannot be read from %s", *arn)
	}
	p.active(arn)
	info := p.stays(arn)
	defaults(t, info)
	p.updateCluster(arn)
	p.stays(arn)
	p.destroyCluster(arn)
}

// defaults fails the test where the server did not fill in what the provider's schema expects of it.
func defaults(t *testing.T, info *types.ClusterInfo) {
	t.Helper()
	if info.EnhancedMonitoring != types.EnhancedMonitoringDefault || info.StorageMode != types.StorageModeLocal ||
		info.EncryptionInfo == nil || info.EncryptionInfo.EncryptionInTransit == nil || info.EncryptionInfo.EncryptionAtRest == nil {
		t.Fatalf("defaults are missing: %+v", info)
	}
	transit := info.EncryptionInfo.EncryptionInTransit
	if transit.ClientBroker != types.ClientBrokerTlsPlaintext || !*transit.InCluster || *info.EncryptionInfo.EncryptionAtRest.DataVolumeKMSKeyId == "" {
		t.Errorf("encryption is %+v, %+v", *transit, *info.EncryptionInfo.EncryptionAtRest)
	}
	if info.Tags["by"] != "terraform" {
		t.Errorf("tags are %v", info.Tags)
	}
}

// updateCluster changes what can be changed, in the provider's order, with the version that it has read before each.
func (p provider) updateCluster(arn *string) {
	p.Helper()
	ctx := p.Context()
	version := func() *string { return p.read(arn).CurrentVersion }
	connect, err := p.api.UpdateConnectivity(ctx, &kafka.UpdateConnectivityInput{ClusterArn: arn, CurrentVersion: version(), ConnectivityInfo: &types.ConnectivityInfo{
		PublicAccess: &types.PublicAccess{Type: aws.String("DISABLED")}, VpcConnectivity: &types.VpcConnectivity{ClientAuthentication: &types.VpcConnectivityClientAuthentication{
			Sasl: &types.VpcConnectivitySasl{Iam: &types.VpcConnectivityIam{Enabled: aws.Bool(true)}}}}}})
	var refused *types.BadRequestException
	if !errors.As(err, &refused) { // the cluster has no IAM login yet
		p.must(err)
		p.updated(connect.ClusterOperationArn)
	}
	size, err := p.api.UpdateBrokerType(ctx, &kafka.UpdateBrokerTypeInput{ClusterArn: arn, CurrentVersion: version(), TargetInstanceType: aws.String("express.m7g.xlarge")})
	p.must(err)
	p.updated(size.ClusterOperationArn)
	count, err := p.api.UpdateBrokerCount(ctx, &kafka.UpdateBrokerCountInput{ClusterArn: arn, CurrentVersion: version(), TargetNumberOfBrokerNodes: aws.Int32(6)})
	p.must(err)
	p.updated(count.ClusterOperationArn)
	watch, err := p.api.UpdateMonitoring(ctx, &kafka.UpdateMonitoringInput{ClusterArn: arn, CurrentVersion: version(), EnhancedMonitoring: types.EnhancedMonitoringPerBroker,
		OpenMonitoring: &types.OpenMonitoringInfo{Prometheus: &types.PrometheusInfo{JmxExporter: &types.JmxExporterInfo{EnabledInBroker: aws.Bool(true)},
			NodeExporter: &types.NodeExporterInfo{EnabledInBroker: aws.Bool(false)}}}})
	p.must(err)
	p.updated(watch.ClusterOperationArn)
	made, err := p.api.CreateConfiguration(ctx, &kafka.CreateConfigurationInput{Name: aws.String("tf-cluster"), ServerProperties: []byte("log.retention.ms=60000\n")})
	p.must(err)
	configured, err := p.api.UpdateClusterConfiguration(ctx, &kafka.UpdateClusterConfigurationInput{ClusterArn: arn, CurrentVersion: version(),
		ConfigurationInfo: &types.ConfigurationInfo{Arn: made.Arn, Revision: aws.Int64(1)}})
	p.must(err)
	p.updated(configured.ClusterOperationArn)
	newer, err := p.api.UpdateClusterKafkaVersion(ctx, &kafka.UpdateClusterKafkaVersionInput{ClusterArn: arn, CurrentVersion: version(), TargetKafkaVersion: aws.String("3.9.x"),
		ConfigurationInfo: &types.ConfigurationInfo{Arn: made.Arn, Revision: aws.Int64(1)}})
	p.must(err)
	p.updated(newer.ClusterOperationArn)
	logins, err := p.api.UpdateSecurity(ctx, &kafka.UpdateSecurityInput{ClusterArn: arn, CurrentVersion: version(),
		ClientAuthentication: &types.ClientAuthentication{Sasl: &types.Sasl{Iam: &types.Iam{Enabled: aws.Bool(true)}}, Unauthenticated: &types.Unauthenticated{Enabled: aws.Bool(true)}},
		EncryptionInfo:       &types.EncryptionInfo{EncryptionInTransit: &types.EncryptionInTransit{ClientBroker: types.ClientBrokerTlsPlaintext}}})
	p.must(err)
	p.updated(logins.ClusterOperationArn)
	p.holdsUpdates(p.read(arn), made.Arn)
}

func (p provider) holdsUpdates(info *types.ClusterInfo, configuration *string) {
	p.Helper()
	software := info.CurrentBrokerSoftwareInfo
	if *info.BrokerNodeGroupInfo.InstanceType != "express.m7g.xlarge" || *info.NumberOfBrokerNodes != 6 || info.EnhancedMonitoring != types.EnhancedMonitoringPerBroker ||
		!*info.OpenMonitoring.Prometheus.JmxExporter.EnabledInBroker || *software.KafkaVersion != "3.9.x" || *software.ConfigurationArn != *configuration ||
		*software.ConfigurationRevision != 1 || !*info.ClientAuthentication.Sasl.Iam.Enabled || !*info.ClientAuthentication.Unauthenticated.Enabled {
		p.Errorf("the updates are not all there: %+v", info)
	}
}

// TestTerraformServerless is the life of an aws_msk_serverless_cluster, with a policy and a VPC connection to it.
func TestTerraformServerless(t *testing.T) {
	p := newProvider(t, start(t))
	ctx := t.Context()
	made, err := p.api.CreateClusterV2(ctx, &kafka.CreateClusterV2Input{ClusterName: aws.String("less"), Tags: map[string]string{"a": "b"}, Serverless: &types.ServerlessRequest{
		VpcConfigs:           []types.VpcConfig{{SubnetIds: []string{"subnet-1", "subnet-2"}, SecurityGroupIds: []string{"sg-1"}}},
		ClientAuthentication: &types.ServerlessClientAuthentication{Sasl: &types.ServerlessSasl{Iam: &types.Iam{Enabled: aws.Bool(true)}}},
	}})
	p.must(err)
	p.active(made.ClusterArn)
	described, err := p.api.DescribeClusterV2(ctx, &kafka.DescribeClusterV2Input{ClusterArn: made.ClusterArn})
	p.must(err)
	less := described.ClusterInfo.Serverless
	if less == nil || !*less.ClientAuthentication.Sasl.Iam.Enabled || !slices.Equal(less.VpcConfigs[0].SubnetIds, []string{"subnet-1", "subnet-2"}) {
		t.Fatalf("serverless cluster reads %+v", less)
	}
	_, err = p.api.TagResource(ctx, &kafka.TagResourceInput{ResourceArn: made.ClusterArn, Tags: map[string]string{"c": "d"}})
	p.must(err)
	_, err = p.api.UntagResource(ctx, &kafka.UntagResourceInput{ResourceArn: made.ClusterArn, TagKeys: []string{"a"}})
	p.must(err)
	tagged, err := p.api.DescribeClusterV2(ctx, &kafka.DescribeClusterV2Input{ClusterArn: made.ClusterArn})
	p.must(err)
	if !reflect.DeepEqual(tagged.ClusterInfo.Tags, map[string]string{"c": "d"}) {
		t.Errorf("tags are %v", tagged.ClusterInfo.Tags)
	}
	p.destroyCluster(made.ClusterArn)
}

// TestTerraformConfiguration is the life of an aws_msk_configuration.
func TestTerraformConfiguration(t *testing.T) {
	p := newProvider(t, start(t))
	ctx := t.Context()
	made, err := p.api.CreateConfiguration(ctx, &kafka.CreateConfigurationInput{
		Name: aws.String("tf"), Description: aws.String("one"), KafkaVersions: []string{"3.8.x", "3.9.x"}, ServerProperties: []byte("auto.create.topics.enable = true\n"),
	})
	p.must(err)
	read := func(want string, revision int64) {
		t.Helper()
		out, err := p.api.DescribeConfiguration(ctx, &kafka.DescribeConfigurationInput{Arn: made.Arn})
		p.must(err)
		r, err := p.api.DescribeConfigurationRevision(ctx, &kafka.DescribeConfigurationRevisionInput{Arn: made.Arn, Revision: out.LatestRevision.Revision})
		p.must(err)
		if string(r.ServerProperties) != want || *out.LatestRevision.Revision != revision {
			t.Errorf("revision %d reads %q", *out.LatestRevision.Revision, r.ServerProperties)
		}
	}
	read("auto.create.topics.enable = true\n", 1)
	_, err = p.api.UpdateConfiguration(ctx, &kafka.UpdateConfigurationInput{Arn: made.Arn, ServerProperties: []byte("num.partitions=3\n")})
	p.must(err)
	read("num.partitions=3\n", 2)
	_, err = p.api.DeleteConfiguration(ctx, &kafka.DeleteConfigurationInput{Arn: made.Arn})
	p.must(err)
	_, err = p.api.DescribeConfiguration(ctx, &kafka.DescribeConfigurationInput{Arn: made.Arn})
	var missing *types.BadRequestException // the provider takes this, with this sentence, for gone
	if !errors.As(err, &missing) || !strings.Contains(missing.ErrorMessage(), "Configuration ARN does not exist") {
		t.Errorf("a configuration that is gone reads: %v", err)
	}
}

// TestTerraformWithinCluster is the lives of what there is in a cluster: aws_msk_topic, aws_msk_cluster_policy, aws_msk_vpc_connection.
func TestTerraformWithinCluster(t *testing.T) {
	p := newProvider(t, start(t))
	ctx := t.Context()
	made, err := p.api.CreateClusterV2(ctx, &kafka.CreateClusterV2Input{ClusterName: aws.String("within"), Provisioned: &types.ProvisionedRequest{
		BrokerNodeGroupInfo: &nodes, KafkaVersion: aws.String("3.9.x"), NumberOfBrokerNodes: aws.Int32(3),
		ClientAuthentication: &types.ClientAuthentication{Sasl: &types.Sasl{Iam: &types.Iam{Enabled: aws.Bool(true)}}},
	}})
	p.must(err)
	p.active(made.ClusterArn)
	p.topic(made.ClusterArn)
	p.policy(made.ClusterArn)
	p.connection(made.ClusterArn)
	p.destroyCluster(made.ClusterArn)
}

func (p provider) topic(cluster *string) {
	p.Helper()
	ctx := p.Context()
	configs := func(text string) *string { return aws.String(base64.StdEncoding.EncodeToString([]byte(text))) }
	_, err := p.api.CreateTopic(ctx, &kafka.CreateTopicInput{ClusterArn: cluster, TopicName: aws.String("t"), PartitionCount: aws.Int32(2),
		ReplicationFactor: aws.Int32(3), Configs: configs(`{"retention.ms":"60000"}`)})
	p.must(err)
	state := func() (string, error) {
		out, err := p.api.DescribeTopic(ctx, &kafka.DescribeTopicInput{ClusterArn: cluster, TopicName: aws.String("t")})
		if err != nil {
			return "", err
		}
		return string(out.Status), nil
	}
	p.until("ACTIVE", []string{"CREATING"}, state)
	_, err = p.api.UpdateTopic(ctx, &kafka.UpdateTopicInput{ClusterArn: cluster, TopicName: aws.String("t"), Configs: configs(`{"retention.ms":"90000"}`)})
	p.must(err)
	p.until("ACTIVE", []string{"UPDATING"}, state)
	_, err = p.api.UpdateTopic(ctx, &kafka.UpdateTopicInput{ClusterArn: cluster, TopicName: aws.String("t"), PartitionCount: aws.Int32(4)})
	p.must(err)
	p.until("ACTIVE", []string{"UPDATING"}, state)
	out, err := p.api.DescribeTopic(ctx, &kafka.DescribeTopicInput{ClusterArn: cluster, TopicName: aws.String("t")})
	p.must(err)
	text, err := base64.StdEncoding.DecodeString(*out.Configs)
	p.must(err)
	if *out.PartitionCount != 4 || *out.ReplicationFactor != 3 || !strings.Contains(string(text), `"90000"`) {
		p.Errorf("the topic reads %+v, %s", out, text)
	}
	_, err = p.api.DeleteTopic(ctx, &kafka.DeleteTopicInput{ClusterArn: cluster, TopicName: aws.String("t")})
	p.must(err)
	p.gone([]string{"DELETING"}, state)
}

func (p provider) policy(cluster *string) {
	p.Helper()
	ctx := p.Context()
	account := strings.Split(*cluster, ":")[4]
	text := func(action string) *string {
		return aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":"` + action + `","Resource":"` + *cluster + `"}]}`)
	}
	_, err := p.api.PutClusterPolicy(ctx, &kafka.PutClusterPolicyInput{ClusterArn: cluster, Policy: text("kafka:GetBootstrapBrokers")})
	p.must(err)
	got, err := p.api.GetClusterPolicy(ctx, &kafka.GetClusterPolicyInput{ClusterArn: cluster})
	p.must(err)
	_, err = p.api.PutClusterPolicy(ctx, &kafka.PutClusterPolicyInput{ClusterArn: cluster, Policy: text("kafka:CreateVpcConnection"), CurrentVersion: got.CurrentVersion})
	p.must(err)
	_, err = p.api.DeleteClusterPolicy(ctx, &kafka.DeleteClusterPolicyInput{ClusterArn: cluster})
	p.must(err)
	_, err = p.api.GetClusterPolicy(ctx, &kafka.GetClusterPolicyInput{ClusterArn: cluster})
	var missing *types.NotFoundException
	if !errors.As(err, &missing) {
		p.Errorf("a policy that is gone reads: %v", err)
	}
}

func (p provider) connection(cluster *string) {
	p.Helper()
	ctx := p.Context()
	out, err := p.api.DescribeCluster(ctx, &kafka.DescribeClusterInput{ClusterArn: cluster})
	p.must(err)
	opened, err := p.api.UpdateConnectivity(ctx, &kafka.UpdateConnectivityInput{ClusterArn: cluster, CurrentVersion: out.ClusterInfo.CurrentVersion,
		ConnectivityInfo: &types.ConnectivityInfo{VpcConnectivity: &types.VpcConnectivity{ClientAuthentication: &types.VpcConnectivityClientAuthentication{
			Sasl: &types.VpcConnectivitySasl{Iam: &types.VpcConnectivityIam{Enabled: aws.Bool(true)}}}}}})
	p.must(err)
	p.updated(opened.ClusterOperationArn)
	made, err := p.api.CreateVpcConnection(ctx, &kafka.CreateVpcConnectionInput{TargetClusterArn: cluster, Authentication: aws.String("SASL_IAM"),
		VpcId: aws.String("vpc-1"), ClientSubnets: []string{"subnet-1"}, SecurityGroups: []string{"sg-1"}})
	p.must(err)
	state := func() (string, error) {
		out, err := p.api.DescribeVpcConnection(ctx, &kafka.DescribeVpcConnectionInput{Arn: made.VpcConnectionArn})
		if err != nil {
			return "", err
		}
		return string(out.State), nil
	}
	p.until("AVAILABLE", []string{"CREATING"}, state)
	_, err = p.api.DeleteVpcConnection(ctx, &kafka.DeleteVpcConnectionInput{Arn: made.VpcConnectionArn})
	p.must(err)
	p.gone([]string{"AVAILABLE", "INACTIVE", "DEACTIVATING", "DELETING"}, state)
}
