package kafka

import (
	"strconv"
	"time"
)

// The shapes of this file are the API's own, by its names on the wire; they are both read and written. A pointer that is nil, or an empty
// list, was not given. What `aws` tags ask for is checked by door.Decode.

// flag is a switch. Nil: not said.
type flag struct {
	Enabled *bool `json:"enabled,omitempty"`
}

// sasl are the logins by SASL.
type sasl struct {
	Scram *flag `json:"scram,omitempty"`
	IAM   *flag `json:"iam,omitempty"`
}

// tlsLogin is the login by a client's certificate.
type tlsLogin struct {
	Authorities []string `json:"certificateAuthorityArnList,omitempty"`
	Enabled     *bool    `json:"enabled,omitempty"`
}

// clientAuthentication says how clients show who they are.
type clientAuthentication struct {
	SASL            *sasl     `json:"sasl,omitempty"`
	TLS             *tlsLogin `json:"tls,omitempty"`
	Unauthenticated *flag     `json:"unauthenticated,omitempty"`
}

type encryptionAtRest struct {
	Key string `json:"dataVolumeKMSKeyId" aws:"required"`
}

type encryptionInTransit struct {
	ClientBroker string `json:"clientBroker,omitempty" aws:"enum=TLS|TLS_PLAINTEXT|PLAINTEXT"`
	InCluster    *bool  `json:"inCluster,omitempty"`
}

type encryptionInfo struct {
	AtRest    *encryptionAtRest    `json:"encryptionAtRest,omitempty"`
	InTransit *encryptionInTransit `json:"encryptionInTransit,omitempty"`
}

type provisionedThroughput struct {
	Enabled    *bool `json:"enabled,omitempty"`
	Throughput *int  `json:"volumeThroughput,omitempty"`
}

type ebsStorageInfo struct {
	Throughput *provisionedThroughput `json:"provisionedThroughput,omitempty"`
	VolumeSize *int                   `json:"volumeSize,omitempty" aws:"min=1,max=16384"`
}

type storageInfo struct {
	EBS *ebsStorageInfo `json:"ebsStorageInfo,omitempty"`
}

type publicAccess struct {
	Type string `json:"type,omitempty"`
}

type vpcAuthentication struct {
	SASL *sasl `json:"sasl,omitempty"`
	TLS  *flag `json:"tls,omitempty"`
}

type vpcConnectivity struct {
	Authentication *vpcAuthentication `json:"clientAuthentication,omitempty"`
}

type connectivityInfo struct {
	Public      *publicAccess    `json:"publicAccess,omitempty"`
	VPC         *vpcConnectivity `json:"vpcConnectivity,omitempty"`
	NetworkType string           `json:"networkType,omitempty" aws:"enum=IPV4|DUAL"`
}

type brokerNodeGroupInfo struct {
	Distribution   string            `json:"brokerAZDistribution,omitempty" aws:"enum=DEFAULT"`
	ClientSubnets  []string          `json:"clientSubnets" aws:"required"`
	InstanceType   string            `json:"instanceType" aws:"required,min=5,max=32"`
	SecurityGroups []string          `json:"securityGroups,omitempty"`
	Storage        *storageInfo      `json:"storageInfo,omitempty"`
	Connectivity   *connectivityInfo `json:"connectivityInfo,omitempty"`
	ZoneIDs        []string          `json:"zoneIds,omitempty"`
}

type rebalancing struct {
	Status string `json:"status,omitempty" aws:"enum=PAUSED|ACTIVE"`
}

type rebalancingUpdate struct {
	Status string `json:"status" aws:"required,enum=PAUSED|ACTIVE"`
}

type configurationInfo struct {
	ARN      string `json:"arn" aws:"required"`
	Revision *int64 `json:"revision" aws:"required,min=1"`
}

type exporter struct {
	EnabledInBroker *bool `json:"enabledInBroker" aws:"required"`
}

type prometheus struct {
	JMX  *exporter `json:"jmxExporter,omitempty"`
	Node *exporter `json:"nodeExporter,omitempty"`
}

type openMonitoring struct {
	Prometheus *prometheus `json:"prometheus" aws:"required"`
}

type cloudWatchLogs struct {
	Enabled  *bool  `json:"enabled" aws:"required"`
	LogGroup string `json:"logGroup,omitempty"`
}

type firehose struct {
	DeliveryStream string `json:"deliveryStream,omitempty"`
	Enabled        *bool  `json:"enabled" aws:"required"`
}

type s3Logs struct {
	Bucket  string `json:"bucket,omitempty"`
	Enabled *bool  `json:"enabled" aws:"required"`
	Prefix  string `json:"prefix,omitempty"`
}

type logDestinations struct {
	CloudWatch *cloudWatchLogs `json:"cloudWatchLogs,omitempty"`
	Firehose   *firehose       `json:"firehose,omitempty"`
	S3         *s3Logs         `json:"s3,omitempty"`
}

type loggingInfo struct {
	Authorizer *logDestinations `json:"authorizerLogs,omitempty"`
	Broker     *logDestinations `json:"brokerLogs" aws:"required"`
}

type stateInfo struct {
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
}

type softwareInfo struct {
	ConfigurationARN      string `json:"configurationArn,omitempty"`
	ConfigurationRevision int64  `json:"configurationRevision,omitempty"`
	KafkaVersion          string `json:"kafkaVersion,omitempty"`
}

// vpcConfig is a network of a Serverless cluster.
type vpcConfig struct {
	Subnets        []string `json:"subnetIds" aws:"required"`
	SecurityGroups []string `json:"securityGroupIds,omitempty"`
}

type serverlessSASL struct {
	IAM *flag `json:"iam,omitempty"`
}

type serverlessAuthentication struct {
	SASL *serverlessSASL `json:"sasl,omitempty"`
}

type serverlessConnectivity struct {
	NetworkType string `json:"networkType,omitempty" aws:"enum=IPV4|DUAL"`
}

// serverless is what the API knows of a Serverless cluster.
type serverless struct {
	VPCs           []vpcConfig               `json:"vpcConfigs" aws:"required"`
	Authentication *serverlessAuthentication `json:"clientAuthentication,omitempty"`
	Connectivity   *serverlessConnectivity   `json:"connectivityInfo,omitempty"`
}

// times are written as ISO 8601 in UTC, to the millisecond.
const timeFormat = "2006-01-02T15:04:05.000Z"

// timestamp is a time on the wire; "" is none.
func timestamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeFormat)
}

func isTrue(b *bool) bool { return b != nil && *b }

func toggle(on bool) *flag { return &flag{Enabled: &on} }

func ptr[T any](v T) *T { return &v }

// double is a whole number that the API writes as a double: the id of a broker.
type double int32

// MarshalJSON writes it with its point, as MSK does.
func (d double) MarshalJSON() ([]byte, error) { return []byte(strconv.Itoa(int(d)) + ".0"), nil }
