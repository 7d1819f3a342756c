package managed

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kafka"
	"github.com/aws/aws-sdk-go-v2/service/kafka/types"
	"github.com/aws/smithy-go/middleware"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// calls are the names of the operations that an SDK's client has called.
type calls struct {
	mu    sync.Mutex
	names []string
}

// note is for the options of a client.
func (c *calls) note(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("calls", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
		middleware.InitializeOutput, middleware.Metadata, error,
	) {
		c.mu.Lock()
		c.names = append(c.names, middleware.GetOperationName(ctx))
		c.mu.Unlock()
		return next.HandleInitialize(ctx, in)
	}), middleware.After)
}

// TestSDK goes through every operation with aws-sdk-go-v2, and produces to and consumes from what it makes.
func TestSDK(t *testing.T) {
	harness.Long(t, "make managed")
	s := start(t)
	p := newProvider(t, s)
	cfg, err := config.LoadDefaultConfig(t.Context())
	p.must(err)
	var called calls
	p.api = kafka.NewFromConfig(cfg, func(o *kafka.Options) { o.APIOptions = append(o.APIOptions, called.note) })
	tour := sdkTour{provider: p}
	began := time.Now()
	tour.create()
	tour.stream(1)
	took := time.Since(began)
	tour.updates()
	configuration := tour.configurations()
	tour.topic(tour.arn)
	tour.topics()
	tour.policy(tour.arn)
	tour.access()
	tour.stream(10)
	tour.end(configuration)
	slices.Sort(called.names)
	report{Operations: slices.Compact(called.names), CreateToAck: took.Seconds()}.complete(t)
}

// sdkTour is the way through the operations that Terraform's provider does not call.
type sdkTour struct {
	provider
	arn, older *string
}

func (p *sdkTour) create() {
	p.Helper()
	ctx := p.Context()
	group := &types.BrokerNodeGroupInfo{ClientSubnets: []string{"a", "b", "c"}, InstanceType: aws.String("express.m7g.large")}
	made, err := p.api.CreateClusterV2(ctx, &kafka.CreateClusterV2Input{ClusterName: aws.String("tour"), Tags: map[string]string{"team": "a"},
		Provisioned: &types.ProvisionedRequest{BrokerNodeGroupInfo: group, KafkaVersion: aws.String("3.8.x"), NumberOfBrokerNodes: aws.Int32(3)}})
	p.must(err)
	p.arn = made.ClusterArn
	p.active(p.arn)
	_, err = p.api.CreateTopic(ctx, &kafka.CreateTopicInput{ClusterArn: p.arn, TopicName: aws.String("first"), PartitionCount: aws.Int32(3), ReplicationFactor: aws.Int32(3)})
	p.must(err)
	one, err := p.api.CreateCluster(ctx, &kafka.CreateClusterInput{ClusterName: aws.String("older"), BrokerNodeGroupInfo: group,
		KafkaVersion: aws.String("3.9.x"), NumberOfBrokerNodes: aws.Int32(3),
		ClientAuthentication: &types.ClientAuthentication{Sasl: &types.Sasl{Scram: &types.Scram{Enabled: aws.Bool(true)}}}})
	p.must(err)
	p.older = one.ClusterArn
	p.active(p.older)
	var names []string
	for pages := kafka.NewListClustersV2Paginator(p.api, &kafka.ListClustersV2Input{MaxResults: aws.Int32(1)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		p.must(err)
		for _, c := range page.ClusterInfoList {
			names = append(names, *c.ClusterName)
		}
	}
	if !slices.Contains(names, "tour") || !slices.Contains(names, "older") {
		p.Errorf("clusters: %v", names)
	}
	if list, err := p.api.ListClusters(ctx, &kafka.ListClustersInput{ClusterNameFilter: aws.String("old")}); err != nil || len(list.ClusterInfoList) != 1 {
		p.Errorf("clusters called old…: %+v, %v", list, err)
	}
}

// stream produces records, and consumes as many.
func (p *sdkTour) stream(n int) {
	p.Helper()
	out, err := p.api.GetBootstrapBrokers(p.Context(), &kafka.GetBootstrapBrokersInput{ClusterArn: p.arn})
	p.must(err)
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(*out.BootstrapBrokerString, ",")...), kgo.DefaultProduceTopic("first"), kgo.ConsumeTopics("first"))
	p.must(err)
	defer client.Close()
	for range n {
		p.must(client.ProduceSync(p.Context(), kgo.StringRecord("x")).FirstErr())
	}
	ctx, cancel := context.WithTimeout(p.Context(), time.Minute)
	defer cancel()
	for seen := 0; seen < n; {
		fetches := client.PollFetches(ctx)
		p.must(fetches.Err())
		seen += fetches.NumRecords()
	}
}

func (p *sdkTour) version() *string { return p.read(p.arn).CurrentVersion }

func (p *sdkTour) updates() {
	p.Helper()
	ctx := p.Context()
	rebalanced, err := p.api.UpdateRebalancing(ctx, &kafka.UpdateRebalancingInput{ClusterArn: p.arn, CurrentVersion: p.version(),
		Rebalancing: &types.Rebalancing{Status: types.RebalancingStatusPaused}})
	p.must(err)
	p.updated(rebalanced.ClusterOperationArn)
	// Storage is not what one changes of express brokers: both are refused, and change nothing.
	if _, err := p.api.UpdateBrokerStorage(ctx, &kafka.UpdateBrokerStorageInput{ClusterArn: p.arn, CurrentVersion: p.version(), TargetBrokerEBSVolumeInfo: []types.BrokerEBSVolumeInfo{
		{KafkaBrokerNodeId: aws.String("All"), VolumeSizeGB: aws.Int32(100)}}}); err == nil {
		p.Error("the volumes of express brokers were changed")
	}
	if _, err := p.api.UpdateStorage(ctx, &kafka.UpdateStorageInput{ClusterArn: p.arn, CurrentVersion: p.version(), VolumeSizeGB: aws.Int32(100)}); err == nil {
		p.Error("the storage of express brokers was changed")
	}
	compatible, err := p.api.GetCompatibleKafkaVersions(ctx, &kafka.GetCompatibleKafkaVersionsInput{ClusterArn: p.arn})
	p.must(err)
	if len(compatible.CompatibleKafkaVersions) == 0 || !slices.Contains(compatible.CompatibleKafkaVersions[0].TargetVersions, "3.9.x") {
		p.Errorf("3.8.x goes to %+v", compatible)
	}
	p.updateCluster(p.arn)
	rebooted, err := p.api.RebootBroker(ctx, &kafka.RebootBrokerInput{ClusterArn: p.arn, BrokerIds: []string{"1"}})
	p.must(err)
	p.updated(rebooted.ClusterOperationArn)
	nodes, err := p.api.ListNodes(ctx, &kafka.ListNodesInput{ClusterArn: p.arn})
	p.must(err)
	if len(nodes.NodeInfoList) != 6 {
		p.Errorf("%d nodes", len(nodes.NodeInfoList))
	}
	all, err := p.api.ListClusterOperations(ctx, &kafka.ListClusterOperationsInput{ClusterArn: p.arn})
	p.must(err)
	newer, err := p.api.ListClusterOperationsV2(ctx, &kafka.ListClusterOperationsV2Input{ClusterArn: p.arn})
	p.must(err)
	if len(all.ClusterOperationInfoList) < 8 || len(newer.ClusterOperationInfoList) < 8 {
		p.Errorf("%d and %d operations", len(all.ClusterOperationInfoList), len(newer.ClusterOperationInfoList))
	}
	one := newer.ClusterOperationInfoList[0].OperationArn
	if op, err := p.api.DescribeClusterOperationV2(ctx, &kafka.DescribeClusterOperationV2Input{ClusterOperationArn: one}); err != nil || *op.ClusterOperationInfo.OperationState != "UPDATE_COMPLETE" {
		p.Errorf("%+v, %v", op, err)
	}
}

// configurations returns one that is used no more.
func (p *sdkTour) configurations() *string {
	p.Helper()
	ctx := p.Context()
	made, err := p.api.CreateConfiguration(ctx, &kafka.CreateConfigurationInput{Name: aws.String("tour"), ServerProperties: []byte("log.retention.ms=3600000\n")})
	p.must(err)
	_, err = p.api.UpdateConfiguration(ctx, &kafka.UpdateConfigurationInput{Arn: made.Arn, ServerProperties: []byte("log.retention.ms=7200000\n")})
	p.must(err)
	if out, err := p.api.DescribeConfiguration(ctx, &kafka.DescribeConfigurationInput{Arn: made.Arn}); err != nil || *out.LatestRevision.Revision != 2 {
		p.Errorf("%+v, %v", out, err)
	}
	if out, err := p.api.DescribeConfigurationRevision(ctx, &kafka.DescribeConfigurationRevisionInput{Arn: made.Arn, Revision: aws.Int64(1)}); err != nil || !strings.Contains(string(out.ServerProperties), "3600000") {
		p.Errorf("%+v, %v", out, err)
	}
	if out, err := p.api.ListConfigurationRevisions(ctx, &kafka.ListConfigurationRevisionsInput{Arn: made.Arn}); err != nil || len(out.Revisions) != 2 {
		p.Errorf("%+v, %v", out, err)
	}
	if out, err := p.api.ListConfigurations(ctx, &kafka.ListConfigurationsInput{}); err != nil || len(out.Configurations) != 2 {
		p.Errorf("%+v, %v", out, err)
	}
	if out, err := p.api.ListKafkaVersions(ctx, &kafka.ListKafkaVersionsInput{}); err != nil || len(out.KafkaVersions) == 0 {
		p.Errorf("%+v, %v", out, err)
	}
	return made.Arn
}

func (p *sdkTour) topics() {
	p.Helper()
	ctx := p.Context()
	list, err := p.api.ListTopics(ctx, &kafka.ListTopicsInput{ClusterArn: p.arn, TopicNameFilter: aws.String("first")})
	p.must(err)
	parts, err := p.api.DescribeTopicPartitions(ctx, &kafka.DescribeTopicPartitionsInput{ClusterArn: p.arn, TopicName: aws.String("first")})
	p.must(err)
	if len(list.Topics) != 1 || len(parts.Partitions) != 3 {
		p.Errorf("%+v, %+v", list.Topics, parts.Partitions)
	}
}

func (p *sdkTour) access() {
	p.Helper()
	ctx := p.Context()
	account := strings.Split(*p.arn, ":")[4]
	none := []string{"arn:aws:secretsmanager:us-east-1:" + account + ":secret:AmazonMSK_nobody-abcdef"}
	if out, err := p.api.BatchAssociateScramSecret(ctx, &kafka.BatchAssociateScramSecretInput{ClusterArn: p.older, SecretArnList: none}); err != nil || len(out.UnprocessedScramSecrets) != 1 {
		p.Errorf("a secret that there is not: %+v, %v", out, err)
	}
	if out, err := p.api.BatchDisassociateScramSecret(ctx, &kafka.BatchDisassociateScramSecretInput{ClusterArn: p.older, SecretArnList: none}); err != nil || len(out.UnprocessedScramSecrets) != 1 {
		p.Errorf("a secret that is not associated: %+v, %v", out, err)
	}
	if out, err := p.api.ListScramSecrets(ctx, &kafka.ListScramSecretsInput{ClusterArn: p.older}); err != nil || len(out.SecretArnList) != 0 {
		p.Errorf("%+v, %v", out, err)
	}
	p.connection(p.arn)
	made, err := p.api.CreateVpcConnection(ctx, &kafka.CreateVpcConnectionInput{TargetClusterArn: p.arn, Authentication: aws.String("SASL_IAM"), VpcId: aws.String("vpc-1"),
		ClientSubnets: []string{"s"}, SecurityGroups: []string{"g"}})
	p.must(err)
	mine, err := p.api.ListVpcConnections(ctx, &kafka.ListVpcConnectionsInput{})
	p.must(err)
	theirs, err := p.api.ListClientVpcConnections(ctx, &kafka.ListClientVpcConnectionsInput{ClusterArn: p.arn})
	p.must(err)
	if len(mine.VpcConnections) != 1 || len(theirs.ClientVpcConnections) != 1 {
		p.Errorf("%+v, %+v", mine.VpcConnections, theirs.ClientVpcConnections)
	}
	_, err = p.api.RejectClientVpcConnection(ctx, &kafka.RejectClientVpcConnectionInput{ClusterArn: p.arn, VpcConnectionArn: made.VpcConnectionArn})
	p.must(err)
	_, err = p.api.DeleteVpcConnection(ctx, &kafka.DeleteVpcConnectionInput{Arn: made.VpcConnectionArn})
	p.must(err)
	_, err = p.api.TagResource(ctx, &kafka.TagResourceInput{ResourceArn: p.arn, Tags: map[string]string{"cost": "1"}})
	p.must(err)
	_, err = p.api.UntagResource(ctx, &kafka.UntagResourceInput{ResourceArn: p.arn, TagKeys: []string{"team"}})
	p.must(err)
	tags, err := p.api.ListTagsForResource(ctx, &kafka.ListTagsForResourceInput{ResourceArn: p.arn})
	p.must(err)
	if text, _ := json.Marshal(tags.Tags); string(text) != `{"cost":"1"}` {
		p.Errorf("tags: %s", text)
	}
}

func (p *sdkTour) end(configuration *string) {
	p.Helper()
	p.destroyCluster(p.arn)
	p.destroyCluster(p.older)
	_, err := p.api.DeleteConfiguration(p.Context(), &kafka.DeleteConfigurationInput{Arn: configuration})
	p.must(err)
}
