package managed

import (
	"slices"
	"strings"
)

// The shapes of this file are the API's own, by its names on the wire; they are both sent and read.

// States of clusters.
const (
	Active = "ACTIVE"
	Broken = "FAILED"
)

// Types of clusters.
const (
	TypeProvisioned = "PROVISIONED"
	TypeServerless  = "SERVERLESS"
)

// Cluster is a cluster, as version 2 of the API shows it.
type Cluster struct {
	ARN         string            `json:"clusterArn"`
	Name        string            `json:"clusterName"`
	Type        string            `json:"clusterType"`
	State       string            `json:"state"`
	StateInfo   StateInfo         `json:"stateInfo,omitzero"`
	Version     string            `json:"currentVersion"`
	Created     string            `json:"creationTime,omitempty"`
	Operation   string            `json:"activeOperationArn,omitempty"`
	Tags        map[string]string `json:"tags"`
	Provisioned *Provisioned      `json:"provisioned,omitempty"`
	Serverless  *Serverless       `json:"serverless,omitempty"`
}

// StateInfo says why a cluster is as it is.
type StateInfo struct {
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
}

// Provisioned is what there is to a cluster with a fixed number of brokers.
type Provisioned struct {
	Nodes          NodeGroup       `json:"brokerNodeGroupInfo"`
	Brokers        int             `json:"numberOfBrokerNodes"`
	KafkaVersion   string          `json:"kafkaVersion,omitempty"`             // in requests
	Configuration  *Revision       `json:"configurationInfo,omitempty"`        // in requests
	Software       Software        `json:"currentBrokerSoftwareInfo,omitzero"` // in answers
	Authentication *Authentication `json:"clientAuthentication,omitempty"`     // nil: the API's default
	Encryption     *Encryption     `json:"encryptionInfo,omitempty"`           // likewise
	Monitoring     string          `json:"enhancedMonitoring,omitempty"`       // likewise
	OpenMonitoring *OpenMonitoring `json:"openMonitoring,omitempty"`           // likewise
	Rebalancing    *Rebalancing    `json:"rebalancing,omitempty"`              // likewise
	StorageMode    string          `json:"storageMode,omitempty"`              // in answers
	Action         string          `json:"customerActionStatus,omitempty"`     // in answers
}

// NodeGroup is what brokers are alike in.
type NodeGroup struct {
	InstanceType   string        `json:"instanceType"`
	ClientSubnets  []string      `json:"clientSubnets"`
	SecurityGroups []string      `json:"securityGroups,omitempty"`
	Zones          []string      `json:"zoneIds,omitempty"`
	Connectivity   *Connectivity `json:"connectivityInfo,omitempty"`
}

// Connectivity is how clients reach the brokers.
type Connectivity struct {
	Public      *PublicAccess `json:"publicAccess,omitempty"`
	NetworkType string        `json:"networkType,omitempty"`
}

// PublicAccess says whether there are listeners for everybody.
type PublicAccess struct {
	Type string `json:"type,omitempty"`
}

// Kinds of PublicAccess.
const (
	PublicOff = "DISABLED"
	PublicOn  = "SERVICE_PROVIDED_EIPS"
)

// Software is what brokers run.
type Software struct {
	Configuration string `json:"configurationArn,omitempty"`
	Revision      int64  `json:"configurationRevision,omitempty"`
	KafkaVersion  string `json:"kafkaVersion,omitempty"`
}

// Revision names a revision of a configuration.
type Revision struct {
	ARN    string `json:"arn"`
	Number int64  `json:"revision"`
}

// Switch is on or off; nil: not said.
type Switch struct {
	Enabled *bool `json:"enabled,omitempty"`
}

func on(s *Switch) bool { return s != nil && s.Enabled != nil && *s.Enabled }

// SASL are the logins by SASL.
type SASL struct {
	Scram *Switch `json:"scram,omitempty"`
	IAM   *Switch `json:"iam,omitempty"`
}

// TLSLogin is the login by a certificate.
type TLSLogin struct {
	Authorities []string `json:"certificateAuthorityArnList,omitempty"`
	Enabled     *bool    `json:"enabled,omitempty"`
}

// Authentication says how clients show who they are.
type Authentication struct {
	SASL            *SASL     `json:"sasl,omitempty"`
	TLS             *TLSLogin `json:"tls,omitempty"`
	Unauthenticated *Switch   `json:"unauthenticated,omitempty"`
}

// The logins, as people name them.
const (
	LoginIAM   = "iam"
	LoginScram = "scram"
	LoginTLS   = "tls"
	LoginNone  = "unauthenticated"
)

// LoginNames are all of them, in the order in which they are shown.
func LoginNames() []string { return []string{LoginIAM, LoginScram, LoginTLS, LoginNone} }

// AuthenticationOf turns the logins that are named on and the others off.
func AuthenticationOf(names []string) *Authentication {
	has := func(name string) *bool {
		v := slices.Contains(names, name)
		return &v
	}
	return &Authentication{
		SASL: &SASL{IAM: &Switch{has(LoginIAM)}, Scram: &Switch{has(LoginScram)}},
		TLS:  &TLSLogin{Enabled: has(LoginTLS)}, Unauthenticated: &Switch{has(LoginNone)},
	}
}

// Names are the logins that are on, in the order of LoginNames.
func (a *Authentication) Names() (names []string) {
	if a == nil {
		return nil
	}
	if a.SASL != nil && on(a.SASL.IAM) {
		names = append(names, LoginIAM)
	}
	if a.SASL != nil && on(a.SASL.Scram) {
		names = append(names, LoginScram)
	}
	if a.TLS != nil && a.TLS.Enabled != nil && *a.TLS.Enabled {
		names = append(names, LoginTLS)
	}
	if on(a.Unauthenticated) {
		names = append(names, LoginNone)
	}
	return names
}

// Encryption is what protects data.
type Encryption struct {
	AtRest  *AtRest  `json:"encryptionAtRest,omitempty"`
	Transit *Transit `json:"encryptionInTransit,omitempty"`
}

// AtRest names the key of what is stored.
type AtRest struct {
	Key string `json:"dataVolumeKMSKeyId"`
}

// Transit is what clients and brokers speak.
type Transit struct {
	ClientBroker string `json:"clientBroker,omitempty"` // TLS, TLS_PLAINTEXT or PLAINTEXT
	InCluster    *bool  `json:"inCluster,omitempty"`
}

// ClientBroker is what clients speak; "": not said.
func (e *Encryption) ClientBroker() string {
	if e == nil || e.Transit == nil {
		return ""
	}
	return e.Transit.ClientBroker
}

// OpenMonitoring says which exporters there are.
type OpenMonitoring struct {
	Prometheus Prometheus `json:"prometheus"`
}

// Prometheus are its exporters.
type Prometheus struct {
	JMX  *Exporter `json:"jmxExporter,omitempty"`
	Node *Exporter `json:"nodeExporter,omitempty"`
}

// Exporter is one of them.
type Exporter struct {
	Enabled bool `json:"enabledInBroker"`
}

// Rebalancing says whether partitions are evened out.
type Rebalancing struct {
	Status string `json:"status"` // ACTIVE or PAUSED
}

// Serverless is what there is to a cluster whose brokers follow its load.
type Serverless struct {
	VPCs           []VPC           `json:"vpcConfigs"`
	Authentication *Authentication `json:"clientAuthentication,omitempty"`
}

// VPC is a network of a serverless cluster.
type VPC struct {
	Subnets        []string `json:"subnetIds"`
	SecurityGroups []string `json:"securityGroupIds,omitempty"`
}

// Node is one broker, or a controller of Apache Kafka.
type Node struct {
	Type   string `json:"instanceType"`
	ARN    string `json:"nodeARN"`
	Added  string `json:"addedToClusterTime,omitempty"`
	Broker struct {
		ID        float64  `json:"brokerId"`
		Subnet    string   `json:"clientSubnet,omitempty"`
		Address   string   `json:"clientVpcIpAddress,omitempty"`
		Endpoints []string `json:"endpoints"`
		Software  Software `json:"currentBrokerSoftwareInfo"`
	} `json:"brokerNodeInfo,omitzero"`
	Controller *Controller `json:"controllerNodeInfo,omitempty"` // nil: a broker
}

// Controller is what the API tells of one.
type Controller struct {
	Endpoints []string `json:"endpoints"`
}

// Operation is something that is done to a cluster.
type Operation struct {
	ARN     string `json:"operationArn"`
	Cluster string `json:"clusterArn"`
	Type    string `json:"operationType"`
	State   string `json:"operationState"`
	Created string `json:"creationTime,omitempty"`
	Ended   string `json:"endTime,omitempty"`
	Error   *struct {
		Code string `json:"errorCode"`
		Text string `json:"errorString"`
	} `json:"errorInfo,omitempty"`
	Steps []Step `json:"operationSteps"`
}

// Step is a part of an Operation.
type Step struct {
	Name string `json:"stepName"`
	Info struct {
		Status string `json:"stepStatus"`
	} `json:"stepInfo"`
}

// Configuration is one that clusters can use.
type Configuration struct {
	ARN           string   `json:"arn"`
	Name          string   `json:"name"`
	Description   string   `json:"description,omitempty"`
	KafkaVersions []string `json:"kafkaVersions,omitempty"`
	Properties    []byte   `json:"serverProperties,omitempty"` // in requests
	State         string   `json:"state,omitempty"`
	Latest        struct {
		Number      int64  `json:"revision"`
		Description string `json:"description,omitempty"`
	} `json:"latestRevision,omitzero"`
}

// Topic is one of a provisioned cluster.
type Topic struct {
	Name       string `json:"topicName"`
	Partitions int    `json:"partitionCount"`
	Replicas   int    `json:"replicationFactor"`
	Status     string `json:"status,omitempty"`
	Encoded    string `json:"configs,omitempty"` // see Configs
}

// Short is the name in the ARN of a cluster, a configuration or an operation; another text is returned as it is.
func Short(arn string) string {
	if _, tail, ok := strings.Cut(arn, "/"); ok && strings.HasPrefix(arn, "arn:") {
		name, _, _ := strings.Cut(tail, "/")
		return name
	}
	return arn
}
