package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"millrace/aws/door"
	"millrace/control"
	"millrace/control/sizes"
)

// Kinds of public access.
const (
	publicOff = "DISABLED"
	publicOn  = "SERVICE_PROVIDED_EIPS"
)

// Defaults that the API tells where a request said nothing.
const (
	monitoringDefault = "DEFAULT"
	storageLocal      = "LOCAL"
	storageTiered     = "TIERED"
	networkIPv4       = "IPV4"
)

// named is the longest list of names of networks, zones and the like that a cluster keeps.
const named = 64

// provisioned is what a request says of a cluster with a fixed number of brokers.
type provisioned struct {
	Group          *brokerNodeGroupInfo  `json:"brokerNodeGroupInfo" aws:"required"`
	Rebalancing    *rebalancing          `json:"rebalancing"`
	Authentication *clientAuthentication `json:"clientAuthentication"`
	Configuration  *configurationInfo    `json:"configurationInfo"`
	Encryption     *encryptionInfo       `json:"encryptionInfo"`
	Monitoring     string                `json:"enhancedMonitoring" aws:"enum=DEFAULT|PER_BROKER|PER_TOPIC_PER_BROKER|PER_TOPIC_PER_PARTITION"`
	Open           *openMonitoring       `json:"openMonitoring"`
	KafkaVersion   string                `json:"kafkaVersion" aws:"required,min=1,max=128"`
	Logging        *loggingInfo          `json:"loggingInfo"`
	Brokers        *int                  `json:"numberOfBrokerNodes" aws:"required,min=1,max=15"`
	StorageMode    string                `json:"storageMode" aws:"enum=LOCAL|TIERED"`
}

// provisionedSettings are the settings of a new cluster, with what the API fills in. The configuration is not among them.
func (s *Service) provisionedSettings(ctx context.Context, p *provisioned) (control.Settings, error) {
	g := p.Group
	w := first(p.Authentication, p.Encryption, s.key)
	set := control.Settings{
		Type: control.Provisioned, BrokerType: g.InstanceType, Brokers: *p.Brokers, KafkaVersion: p.KafkaVersion,
		NetworkType: networkIPv4, Subnets: g.ClientSubnets, SecurityGroup: g.SecurityGroups, Zones: g.ZoneIDs,
		Monitoring: orDefault(p.Monitoring, monitoringDefault), OpenMetrics: openMetrics(control.OpenMetrics{}, p.Open),
		StorageMode: orDefault(p.StorageMode, storageLocal), Paused: p.Rebalancing != nil && p.Rebalancing.Status == rebalancingPaused,
	}
	w.into(&set)
	checks := []error{
		versionFault("kafkaVersion", g.InstanceType, p.KafkaVersion),
		s.brokerTypeFault(ctx, "instanceType", g.InstanceType, p.KafkaVersion),
		w.fault(),
		connectAtOnce(g.Connectivity, &set),
		logInto(&set, p.Logging),
		names("clientSubnets", g.ClientSubnets), names("securityGroups", g.SecurityGroups), names("zoneIds", g.ZoneIDs),
		countFault("numberOfBrokerNodes", set),
	}
	checks = append(checks, volumeInto(&set, g.Storage, p.StorageMode))
	for _, err := range checks {
		if err != nil {
			return control.Settings{}, err
		}
	}
	return set, nil
}

// volumeDefault is the volume of a standard broker that was told no size, in GiB.
const volumeDefault = 100

// volumeInto takes the volumes of a new cluster; Express brokers have none.
func volumeInto(set *control.Settings, storage *storageInfo, mode string) error {
	var v ebsStorageInfo
	if storage != nil && storage.EBS != nil {
		v = *storage.EBS
	}
	switch {
	case !sizes.Standard(set.BrokerType) && storage != nil && storage.EBS != nil:
		return door.BadRequest("storageInfo", "You can't specify storage for a cluster with Express brokers.")
	case !sizes.Standard(set.BrokerType) && mode == storageTiered:
		return door.BadRequest("storageMode", "Tiered storage isn't supported for a cluster with Express brokers.")
	case !sizes.Standard(set.BrokerType):
		return nil
	case mode == storageTiered:
		return door.BadRequest("storageMode", "Tiered storage isn't supported for a cluster with Standard brokers yet.")
	}
	set.VolumeGiB = volumeDefault
	if v.VolumeSize != nil {
		set.VolumeGiB = *v.VolumeSize
	}
	return throughputInto(set, v.Throughput)
}

// connectAtOnce takes what a new cluster may be told of its connectivity: public access and VPC connectivity come later, by an update.
func connectAtOnce(c *connectivityInfo, set *control.Settings) error {
	if c == nil {
		return nil
	}
	set.NetworkType = orDefault(c.NetworkType, set.NetworkType)
	if c.Public != nil && c.Public.Type == publicOn {
		return door.BadRequest("publicAccess", "You can't turn on public access when you create a cluster. Turn it on once the cluster is active.")
	}
	if c.VPC != nil && private("", nil) != private("", c.VPC.Authentication) {
		return door.BadRequest("vpcConnectivity", "You can't turn on VPC connectivity when you create a cluster. Turn it on once the cluster is active.")
	}
	return publicFault(c.Public)
}

func publicFault(p *publicAccess) error {
	if p == nil || p.Type == "" || p.Type == publicOff || p.Type == publicOn {
		return nil
	}
	return door.BadRequest("publicAccess", "Invalid public access type [%s]. Valid values: [%s, %s]", p.Type, publicOff, publicOn)
}

// brokerTypeFault refuses types that no engine here runs.
func (s *Service) brokerTypeFault(ctx context.Context, param, name, version string) error {
	valid := strings.Join(sizes.Names(), ", ")
	_, err := sizes.Find(name)
	switch {
	case sizes.Standard(name) && err == nil && s.world.StandardUsable == nil:
		return door.BadRequest(param, "Broker type [%s] runs on the standard engine, which isn't available here.", name)
	case sizes.Standard(name) && err == nil:
		return s.usable(ctx, param, name, version)
	case err == nil:
		return nil
	}
	return door.BadRequest(param, "Unsupported InstanceType [%s]. Valid values: [%s]", name, valid)
}

// usable says what is missing to run a version of Apache Kafka, before anything is made or changed.
func (s *Service) usable(ctx context.Context, param, brokerType, version string) error {
	if !sizes.Standard(brokerType) || s.world.StandardUsable == nil {
		return nil
	}
	if err := s.world.StandardUsable(ctx, version); err != nil {
		return door.BadRequest(param, "Broker type [%s] runs on the standard engine, which can't be used: %v", brokerType, err)
	}
	return nil
}

// countFault holds the number of brokers to that of the networks.
func countFault(param string, s control.Settings) error {
	if s.Brokers < 1 || s.Brokers > control.MaxBrokers {
		return door.BadRequest(param, "The number of broker nodes must be between 1 and %d.", control.MaxBrokers)
	}
	if n := len(s.Subnets); n > 0 && s.Brokers%n != 0 {
		return door.BadRequest(param, "The number of broker nodes must be a multiple of Availability Zones in the Client Subnets parameter.")
	}
	return nil
}

// names refuses a list that is too long, or has an empty name or one twice.
func names(param string, list []string) error {
	if len(list) > named {
		return door.BadRequest(param, "There can be at most %d of %s.", named, param)
	}
	for i, n := range list {
		if n == "" || len(n) > maxName || slices.Contains(list[:i], n) {
			return door.BadRequest(param, "One or more of the parameters are not valid. Each of %s must be given once and not be empty.", param)
		}
	}
	return nil
}

// maxName is the longest name in a list, in bytes; ARNs are the longest of them.
const maxName = 2048

// openMetrics are those after a request: what it leaves out stays.
func openMetrics(before control.OpenMetrics, o *openMonitoring) control.OpenMetrics {
	if o == nil || o.Prometheus == nil {
		return before
	}
	if p := o.Prometheus.JMX; p != nil {
		before.JMX = isTrue(p.EnabledInBroker)
	}
	if p := o.Prometheus.Node; p != nil {
		before.Node = isTrue(p.EnabledInBroker)
	}
	return before
}

// logInto keeps where logs shall go.
func logInto(set *control.Settings, l *loggingInfo) error {
	if l == nil {
		return nil
	}
	for _, d := range []*logDestinations{l.Broker, l.Authorizer} {
		switch {
		case d == nil:
		case d.CloudWatch != nil && isTrue(d.CloudWatch.Enabled) && d.CloudWatch.LogGroup == "":
			return door.BadRequest("logGroup", "You must specify a log group to deliver logs to CloudWatch Logs.")
		case d.Firehose != nil && isTrue(d.Firehose.Enabled) && d.Firehose.DeliveryStream == "":
			return door.BadRequest("deliveryStream", "You must specify a delivery stream to deliver logs to Firehose.")
		case d.S3 != nil && isTrue(d.S3.Enabled) && d.S3.Bucket == "":
			return door.BadRequest("bucket", "You must specify a bucket to deliver logs to Amazon S3.")
		}
	}
	kept, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode logging info: %w", err)
	}
	set.Logging = kept
	return nil
}

// serverlessSettings are the settings of a new Serverless cluster: clients come in by IAM, and the plane looks after the rest.
func (s *Service) serverlessSettings(v *serverless) (control.Settings, error) {
	a := v.Authentication
	if a != nil && a.SASL != nil && a.SASL.IAM != nil && a.SASL.IAM.Enabled != nil && !*a.SASL.IAM.Enabled {
		return control.Settings{}, door.BadRequest("clientAuthentication", "Serverless clusters require IAM access control, which can't be turned off.")
	}
	set := control.Settings{Type: control.Serverless, NetworkType: networkIPv4}
	ways{iam: true, transit: transitTLS, inCluster: true, key: s.key}.into(&set)
	if v.Connectivity != nil {
		set.NetworkType = orDefault(v.Connectivity.NetworkType, set.NetworkType)
	}
	if len(v.VPCs) == 0 || len(v.VPCs) > maxVPCs {
		return control.Settings{}, door.BadRequest("vpcConfigs", "A Serverless cluster needs 1 to %d VPC configurations.", maxVPCs)
	}
	for _, c := range v.VPCs {
		if len(c.Subnets) == 0 {
			return control.Settings{}, door.BadRequest("subnetIds", "A VPC configuration needs at least one subnet.")
		}
		for _, err := range []error{names("subnetIds", c.Subnets), names("securityGroupIds", c.SecurityGroups)} {
			if err != nil {
				return control.Settings{}, err
			}
		}
		set.VPCs = append(set.VPCs, control.VPC{Subnets: c.Subnets, SecurityGroups: c.SecurityGroups})
	}
	return set, nil
}

// maxVPCs is how many networks a Serverless cluster may be in, as with MSK.
const maxVPCs = 5

func orDefault(v, otherwise string) string {
	if v == "" {
		return otherwise
	}
	return v
}
