package managed

import (
	"encoding/base64"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kafka"
	"github.com/aws/aws-sdk-go-v2/service/kafka/types"

	"millrace/test/harness"
)

// Shapes of the resources in examples/terraform, by the names of the provider's schema. Reading is strict: an argument that a test does not
// know is a fault of one of the two.
type (
	tfConfiguration struct {
		Name          string   `json:"name"`
		Description   string   `json:"description"`
		KafkaVersions []string `json:"kafka_versions"`
		Properties    string   `json:"server_properties"`
	}
	tfCluster struct {
		Name    string `json:"cluster_name"`
		Version string `json:"kafka_version"`
		Brokers int32  `json:"number_of_broker_nodes"`
		Group   []struct {
			InstanceType   string   `json:"instance_type"`
			ClientSubnets  []string `json:"client_subnets"`
			SecurityGroups []string `json:"security_groups"`
		} `json:"broker_node_group_info"`
		Configuration []struct {
			ARN      string `json:"arn"`
			Revision string `json:"revision"`
		} `json:"configuration_info"`
		Authentication []struct {
			SASL []struct {
				IAM   bool `json:"iam"`
				Scram bool `json:"scram"`
			} `json:"sasl"`
		} `json:"client_authentication"`
		Encryption []struct {
			Transit []struct {
				ClientBroker string `json:"client_broker"`
				InCluster    bool   `json:"in_cluster"`
			} `json:"encryption_in_transit"`
		} `json:"encryption_info"`
		Tags map[string]string `json:"tags"`
	}
	tfTopic struct {
		Name       string `json:"name"`
		Cluster    string `json:"cluster_arn"`
		Partitions int32  `json:"partition_count"`
		Replicas   int32  `json:"replication_factor"`
		Configs    string `json:"configs"`
	}
	tfPolicy struct {
		Cluster string `json:"cluster_arn"`
		Policy  string `json:"policy"`
	}
	tfServerless struct {
		Name string `json:"cluster_name"`
		VPC  []struct {
			Subnets []string `json:"subnet_ids"`
			Groups  []string `json:"security_group_ids"`
		} `json:"vpc_config"`
		Authentication []struct {
			SASL []struct {
				IAM []struct {
					Enabled bool `json:"enabled"`
				} `json:"iam"`
			} `json:"sasl"`
		} `json:"client_authentication"`
		Tags map[string]string `json:"tags"`
	}
	tfProvider struct {
		Region    string              `json:"region"`
		Endpoints []map[string]string `json:"endpoints"`
		NoMeta    bool                `json:"skip_metadata_api_check"`
	}
)

// module is what the files of examples/terraform say.
type module struct {
	Provider      tfProvider      `json:"provider.aws"`
	Configuration tfConfiguration `json:"aws_msk_configuration.shop"`
	Cluster       tfCluster       `json:"aws_msk_cluster.orders"`
	Topic         tfTopic         `json:"aws_msk_topic.orders"`
	Policy        tfPolicy        `json:"aws_msk_cluster_policy.orders"`
	Serverless    tfServerless    `json:"aws_msk_serverless_cluster.clicks"`
}

// readModule reads the files, with values of variables.
func readModule(t *testing.T, variables ...string) (m module) {
	t.Helper()
	reader := harness.GoBuild(t, filepath.Join("clients", "hcl"))
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), reader, append([]string{filepath.Join(root, "examples", "terraform")}, variables...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	d := json.NewDecoder(strings.NewReader(string(out)))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return m
}

// TestTerraformExample makes the requests that Terraform's provider makes for the files in examples/terraform: apply, a plan that is empty,
// an apply with more brokers, destroy.
func TestTerraformExample(t *testing.T) {
	m, more := readModule(t), readModule(t, "brokers=6")
	if m.Provider.Endpoints[0]["kafka"] == "" || m.Cluster.Brokers != 3 || more.Cluster.Brokers != 6 {
		t.Fatalf("the files say %+v", m)
	}
	p := newProvider(t, start(t))
	configuration, cluster := p.exampleCluster(m)
	p.exampleTopic(m, cluster)
	p.examplePolicy(m, cluster)
	serverless := p.exampleServerless(m)

	info := p.stays(cluster)
	p.isExample(m, info, configuration)
	count, err := p.api.UpdateBrokerCount(p.Context(), &kafka.UpdateBrokerCountInput{
		ClusterArn: cluster, CurrentVersion: info.CurrentVersion, TargetNumberOfBrokerNodes: aws.Int32(more.Cluster.Brokers),
	})
	p.must(err)
	p.updated(count.ClusterOperationArn)
	p.isExample(more, p.stays(cluster), configuration)

	p.destroyCluster(serverless)
	_, err = p.api.DeleteClusterPolicy(p.Context(), &kafka.DeleteClusterPolicyInput{ClusterArn: cluster})
	p.must(err)
	_, err = p.api.DeleteTopic(p.Context(), &kafka.DeleteTopicInput{ClusterArn: cluster, TopicName: &m.Topic.Name})
	p.must(err)
	p.gone([]string{"DELETING", "ACTIVE"}, p.topicState(cluster, m.Topic.Name))
	p.destroyCluster(cluster)
	_, err = p.api.DeleteConfiguration(p.Context(), &kafka.DeleteConfigurationInput{Arn: configuration})
	p.must(err)
}

// exampleCluster makes the configuration and the cluster that uses it.
func (p provider) exampleCluster(m module) (configuration, cluster *string) {
	p.Helper()
	ctx, c := p.Context(), m.Cluster
	conf, err := p.api.CreateConfiguration(ctx, &kafka.CreateConfigurationInput{
		Name: &m.Configuration.Name, Description: &m.Configuration.Description, KafkaVersions: m.Configuration.KafkaVersions,
		ServerProperties: []byte(m.Configuration.Properties),
	})
	p.must(err)
	known := strings.NewReplacer("@aws_msk_configuration.shop.arn@", *conf.Arn, "@aws_msk_configuration.shop.latest_revision@",
		strconv.FormatInt(*conf.LatestRevision.Revision, 10))
	revision, err := strconv.ParseInt(known.Replace(c.Configuration[0].Revision), 10, 64)
	p.must(err)
	sasl, transit := c.Authentication[0].SASL[0], c.Encryption[0].Transit[0]
	made, err := p.api.CreateCluster(ctx, &kafka.CreateClusterInput{
		ClusterName: &c.Name, KafkaVersion: &c.Version, NumberOfBrokerNodes: &c.Brokers, Tags: c.Tags,
		BrokerNodeGroupInfo: &types.BrokerNodeGroupInfo{
			InstanceType: &c.Group[0].InstanceType, ClientSubnets: c.Group[0].ClientSubnets, SecurityGroups: c.Group[0].SecurityGroups,
		},
		ConfigurationInfo: &types.ConfigurationInfo{Arn: aws.String(known.Replace(c.Configuration[0].ARN)), Revision: &revision},
		ClientAuthentication: &types.ClientAuthentication{
			Sasl: &types.Sasl{Iam: &types.Iam{Enabled: &sasl.IAM}, Scram: &types.Scram{Enabled: &sasl.Scram}},
		},
		EncryptionInfo: &types.EncryptionInfo{
			EncryptionInTransit: &types.EncryptionInTransit{ClientBroker: types.ClientBroker(transit.ClientBroker), InCluster: &transit.InCluster},
		},
	})
	p.must(err)
	p.active(made.ClusterArn)
	return conf.Arn, made.ClusterArn
}

// isExample fails the test where a read differs from the files: a plan would not be empty.
func (p provider) isExample(m module, info *types.ClusterInfo, configuration *string) {
	p.Helper()
	c := m.Cluster
	software, sasl, transit := info.CurrentBrokerSoftwareInfo, info.ClientAuthentication.Sasl, info.EncryptionInfo.EncryptionInTransit
	if *info.NumberOfBrokerNodes != c.Brokers || *info.BrokerNodeGroupInfo.InstanceType != c.Group[0].InstanceType ||
		!slices.Equal(info.BrokerNodeGroupInfo.ClientSubnets, c.Group[0].ClientSubnets) || !slices.Equal(info.BrokerNodeGroupInfo.SecurityGroups, c.Group[0].SecurityGroups) ||
		*software.KafkaVersion != c.Version || *software.ConfigurationArn != *configuration || *software.ConfigurationRevision != 1 ||
		*sasl.Iam.Enabled != c.Authentication[0].SASL[0].IAM || *sasl.Scram.Enabled != c.Authentication[0].SASL[0].Scram ||
		string(transit.ClientBroker) != c.Encryption[0].Transit[0].ClientBroker || *transit.InCluster != c.Encryption[0].Transit[0].InCluster ||
		!reflect.DeepEqual(info.Tags, c.Tags) {
		p.Errorf("a plan would not be empty: there is %+v", info)
	}
	brokers, err := p.api.GetBootstrapBrokers(p.Context(), &kafka.GetBootstrapBrokersInput{ClusterArn: info.ClusterArn})
	p.must(err)
	if n := int32(len(strings.Split(aws.ToString(brokers.BootstrapBrokerStringSaslIam), ","))); n != c.Brokers || brokers.BootstrapBrokerStringSaslScram == nil {
		p.Errorf("outputs would be %+v", brokers)
	}
}

func (p provider) topicState(cluster *string, name string) func() (string, error) {
	return func() (string, error) {
		out, err := p.api.DescribeTopic(p.Context(), &kafka.DescribeTopicInput{ClusterArn: cluster, TopicName: &name})
		if err != nil {
			return "", err
		}
		return string(out.Status), nil
	}
}

func (p provider) exampleTopic(m module, cluster *string) {
	p.Helper()
	if m.Topic.Cluster != "@aws_msk_cluster.orders.arn@" {
		p.Fatalf("the topic is one of %s", m.Topic.Cluster)
	}
	configs := base64.StdEncoding.EncodeToString([]byte(m.Topic.Configs))
	_, err := p.api.CreateTopic(p.Context(), &kafka.CreateTopicInput{
		ClusterArn: cluster, TopicName: &m.Topic.Name, PartitionCount: &m.Topic.Partitions, ReplicationFactor: &m.Topic.Replicas, Configs: &configs,
	})
	p.must(err)
	p.until("ACTIVE", []string{"CREATING"}, p.topicState(cluster, m.Topic.Name))
	out, err := p.api.DescribeTopic(p.Context(), &kafka.DescribeTopicInput{ClusterArn: cluster, TopicName: &m.Topic.Name})
	p.must(err)
	if *out.PartitionCount != m.Topic.Partitions || *out.ReplicationFactor != m.Topic.Replicas || *out.Configs != configs {
		p.Errorf("a plan would not be empty: there is %+v", out)
	}
}

func (p provider) examplePolicy(m module, cluster *string) {
	p.Helper()
	text := strings.NewReplacer("@aws_msk_cluster.orders.arn@[4]", strings.Split(*cluster, ":")[4], "@aws_msk_cluster.orders.arn@", *cluster).Replace(m.Policy.Policy)
	_, err := p.api.PutClusterPolicy(p.Context(), &kafka.PutClusterPolicyInput{ClusterArn: cluster, Policy: &text})
	p.must(err)
	got, err := p.api.GetClusterPolicy(p.Context(), &kafka.GetClusterPolicyInput{ClusterArn: cluster})
	p.must(err)
	var want, have any
	p.must(json.Unmarshal([]byte(text), &want))
	p.must(json.Unmarshal([]byte(*got.Policy), &have))
	if !reflect.DeepEqual(want, have) {
		p.Errorf("the policy reads %s", *got.Policy)
	}
}

func (p provider) exampleServerless(m module) *string {
	p.Helper()
	s := m.Serverless
	made, err := p.api.CreateClusterV2(p.Context(), &kafka.CreateClusterV2Input{ClusterName: &s.Name, Tags: s.Tags, Serverless: &types.ServerlessRequest{
		VpcConfigs: []types.VpcConfig{{SubnetIds: s.VPC[0].Subnets, SecurityGroupIds: s.VPC[0].Groups}},
		ClientAuthentication: &types.ServerlessClientAuthentication{
			Sasl: &types.ServerlessSasl{Iam: &types.Iam{Enabled: &s.Authentication[0].SASL[0].IAM[0].Enabled}},
		},
	}})
	p.must(err)
	p.active(made.ClusterArn)
	out, err := p.api.DescribeClusterV2(p.Context(), &kafka.DescribeClusterV2Input{ClusterArn: made.ClusterArn})
	p.must(err)
	vpc := out.ClusterInfo.Serverless.VpcConfigs[0]
	if !slices.Equal(vpc.SubnetIds, s.VPC[0].Subnets) || !slices.Equal(vpc.SecurityGroupIds, s.VPC[0].Groups) || !reflect.DeepEqual(out.ClusterInfo.Tags, s.Tags) {
		p.Errorf("a plan would not be empty: there is %+v", out.ClusterInfo)
	}
	return made.ClusterArn
}
