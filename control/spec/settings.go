package spec

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// ClusterType says how a cluster is managed, in the words of the MSK API.
type ClusterType string

// The types of clusters.
const (
	Provisioned ClusterType = "PROVISIONED" // a fixed number of brokers of a size
	Serverless  ClusterType = "SERVERLESS"  // capacity follows the load
)

// Phase is what a cluster goes through, in the words of the MSK API. "" is Active.
type Phase string

// The phases of a cluster.
const (
	Creating    Phase = "CREATING"
	Active      Phase = "ACTIVE"
	Updating    Phase = "UPDATING"
	Rebooting   Phase = "REBOOTING_BROKER"
	Healing     Phase = "HEALING"     // brokers of a lost host are placed elsewhere
	Maintenance Phase = "MAINTENANCE" // what nobody asked for by the API: patches, certificates
	Deleting    Phase = "DELETING"
	Broken      Phase = "FAILED" // it could not be made; it can only be deleted
)

// Settings are what a cluster shall be, as the API is told it: what brokers are made of, and what is kept only to be read back. It is
// plain data that is never changed in place; an update is the Settings that were and those that shall be, and what has to be done
// follows from the difference.
type Settings struct {
	Type         ClusterType `json:"type,omitempty"`          // "": Provisioned
	BrokerType   string      `json:"broker_type,omitempty"`   // as "express.m7g.large" (control/sizes); "": without limits, as the cluster that serve makes
	Brokers      int         `json:"brokers,omitempty"`       // that there shall be. Of a Serverless cluster the plane decides
	KafkaVersion string      `json:"kafka_version,omitempty"` // as "3.9.x"; what brokers speak does not depend on it

	Auth          string   `json:"auth,omitempty"`            // logins, as ParseAuth gives them
	PrivateAuth   string   `json:"private_auth,omitempty"`    // logins of VPC connections, of mtls, scram, iam; "": there can be none
	InTransit     string   `json:"in_transit,omitempty"`      // between clients and brokers: TLS, TLS_PLAINTEXT or PLAINTEXT
	InCluster     bool     `json:"in_cluster,omitempty"`      // brokers among themselves by TLS
	KMSKey        string   `json:"kms_key,omitempty"`         // ARN of the key that wraps data keys, as it is shown
	Authorities   []string `json:"authorities,omitempty"`     // ARNs of certificate authorities whose clients are let in
	Public        bool     `json:"public,omitempty"`          // brokers listen at public addresses too
	NetworkType   string   `json:"network_type,omitempty"`    // IPV4 or DUAL
	Subnets       []string `json:"subnets,omitempty"`         // names of networks, kept to be read back
	SecurityGroup []string `json:"security_groups,omitempty"` // names of security groups (secure/network) that guard the client listeners; those that do not exist are kept to be read back
	Zones         []string `json:"zones,omitempty"`           // ids, kept to be read back
	VPCs          []VPC    `json:"vpcs,omitempty"`            // of a Serverless cluster

	Configuration Revision        `json:"configuration,omitzero"`      // zero: none
	Monitoring    string          `json:"monitoring,omitempty"`        // DEFAULT, PER_BROKER, PER_TOPIC_PER_BROKER, PER_TOPIC_PER_PARTITION
	OpenMetrics   OpenMetrics     `json:"open_metrics,omitzero"`       //
	Logging       json.RawMessage `json:"logging,omitempty"`           // the API's loggingInfo, kept to be read back
	StorageMode   string          `json:"storage_mode,omitempty"`      // LOCAL or TIERED
	VolumeGiB     int             `json:"volume_gib,omitempty"`        // of each broker; 0: not bounded, as with express
	Throughput    int             `json:"volume_throughput,omitempty"` // MiB/s of a volume, kept to be read back; 0: not asked for
	Paused        bool            `json:"rebalancing_paused,omitempty"`
	Window        string          `json:"window,omitempty"` // maintenance window, as "Sun:02:00-Sun:04:00" in UTC; "": at any time for what was asked for, and no patches by themselves
}

// VPC is a network that a Serverless cluster is said to be in, kept to be read back.
type VPC struct {
	Subnets        []string `json:"subnets"`
	SecurityGroups []string `json:"security_groups,omitempty"`
}

// Revision names one revision of a configuration (control/configuration).
type Revision struct {
	ID     string `json:"id,omitempty"` // of the configuration: "NAME/UUID-N", the end of its ARN
	Number int64  `json:"number,omitempty"`
}

// OpenMetrics says what of Prometheus a cluster offers.
type OpenMetrics struct {
	JMX  bool `json:"jmx,omitempty"`
	Node bool `json:"node,omitempty"`
}

// Managed is what a cluster's record has of its life in the API.
type Managed struct {
	ID       string    `json:"id,omitempty"`      // "UUID-N", the end of its ARN, and what Kafka calls the cluster's id. It never changes
	Created  time.Time `json:"created,omitzero"`  //
	Version  int64     `json:"version,omitempty"` // of the Settings, from 1, one more with each change; CurrentVersion tells it
	Phase    Phase     `json:"phase,omitempty"`   //
	Fault    Fault     `json:"fault,omitzero"`    // why the phase is Broken, or what the last operation failed of
	Settings Settings  `json:"settings,omitzero"` // as they are; those of an operation under way stand in its record

	// Release is the version of Millrace that all brokers were started anew with last; "": it is not known.
	Release string `json:"release,omitempty"`

	Tags  map[string]string `json:"tags,omitempty"`  // that it was made with
	Drift []Fault           `json:"drift,omitempty"` // the last specs that differed from the record and were mended, the latest last
}

// Fault is a code for programs and a sentence for people.
type Fault struct {
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
}

// CurrentVersion is what the API calls the version of a cluster: "K" and 13 capital letters and digits, another one after each change of
// its Settings.
func CurrentVersion(c Cluster) string {
	sum := sha256.Sum256([]byte(c.ID + "\x00" + strconv.FormatInt(c.Version, 10)))
	text := strings.ToUpper(strconv.FormatUint(binary.BigEndian.Uint64(sum[:]), 36))
	const digits = 13 // of the largest number, in base 36
	return "K" + strings.Repeat("0", digits-len(text)) + text
}

// Same says that two records would be written alike.
func Same[T any](a, b T) bool {
	one, err1 := json.Marshal(a)
	other, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(one, other)
}

// Describe keeps the Settings of a cluster that follows serve's flags, and verbs, as what it is (C13).
func (c *Cluster) Describe() {
	s := c.Settings
	if s.Type == "" {
		s.Type, s.KafkaVersion, s.Monitoring, s.StorageMode = Provisioned, DefaultKafkaVersion, "DEFAULT", "LOCAL"
	}
	if s.InTransit == "" || s.Auth != c.Auth {
		s.InTransit, s.InCluster = inTransit(c.Auth), c.Auth != ""
	}
	s.Brokers, s.Auth = c.Brokers, c.Auth
	c.Settle(s)
}

// DefaultKafkaVersion is that of a cluster that was told none.
const DefaultKafkaVersion = "3.9.x"

// Settle gives the cluster other Settings, and a Version for them if they differ.
func (c *Cluster) Settle(s Settings) {
	if !Same(c.Settings, s) {
		c.Settings = s
		c.Version++
	}
}

// inTransit says it for logins.
func inTransit(auth string) string {
	switch {
	case auth == "" || auth == LoginPlaintext:
		return "PLAINTEXT"
	case Offers(auth, LoginPlaintext):
		return "TLS_PLAINTEXT"
	}
	return "TLS"
}
