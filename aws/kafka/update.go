package kafka

import (
	"context"
	"errors"
	"reflect"

	"millrace/aws/door"
	"millrace/control"
)

// The types of operations, in the words of the API.
const (
	increaseCount       = "INCREASE_BROKER_COUNT"
	decreaseCount       = "DECREASE_BROKER_COUNT"
	updateType          = "UPDATE_BROKER_TYPE"
	updateStorage       = "UPDATE_BROKER_STORAGE"
	updateMonitoring    = "UPDATE_MONITORING"
	updateSecurity      = "UPDATE_SECURITY"
	updateConnectivity  = "UPDATE_CONNECTIVITY"
	updateRebalancing   = "UPDATE_REBALANCING"
	updateConfiguration = "UPDATE_CLUSTER_CONFIGURATION"
	updateVersion       = "UPDATE_CLUSTER_KAFKA_VERSION"
	rebootNode          = "REBOOT_NODE"
)

// begun is what every update answers.
type begun struct {
	ARN       string `json:"clusterArn"`
	Operation string `json:"clusterOperationArn"`
}

// change is an update of a cluster: it takes the Settings as they are, changes them, and gives the type of operation.
type change func(cl control.Cluster, set *control.Settings) (operationType string, err error)

// update begins an operation after which the cluster that the path names is as change makes it (K3). what is in the message for an
// update that changes nothing.
func (s *Service) update(ctx context.Context, c *door.Call, version, what string, f change) (any, error) {
	cl, err := s.provisionedOnly(ctx, c)
	if err != nil {
		return nil, err
	}
	if version != control.CurrentVersion(cl) {
		return nil, control.ErrVersion
	}
	after := cl.Settings
	operationType, err := f(cl, &after)
	if err != nil {
		return nil, err
	}
	nothing := door.BadRequest("", "The request does not include any updates to the %s of the cluster. Verify the request, then try again.", what)
	if reflect.DeepEqual(after, cl.Settings) {
		return nil, nothing
	}
	op, err := s.world.Plane.Begin(ctx, cl.Name, control.Request{
		Kind: control.Update, Settings: &after, Version: version, Type: operationType, Requester: c.Caller.Principal,
	})
	if err != nil {
		return nil, err
	}
	if op.Number == 0 {
		return nil, nothing // the plane found nothing to do
	}
	c.Changed(cl.Settings, after)
	return begun{s.arnOf(cl), s.operationARN(cl, op)}, nil
}

type monitoringRequest struct {
	Version    string          `json:"currentVersion" aws:"required,min=1"`
	Monitoring string          `json:"enhancedMonitoring" aws:"enum=DEFAULT|PER_BROKER|PER_TOPIC_PER_BROKER|PER_TOPIC_PER_PARTITION"`
	Open       *openMonitoring `json:"openMonitoring"`
	Logging    *loggingInfo    `json:"loggingInfo"`
}

// updateMonitoring is UpdateMonitoring.
func (s *Service) updateMonitoring(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[monitoringRequest](c)
	if err != nil {
		return nil, err
	}
	return s.update(ctx, c, r.Version, "monitoring", func(_ control.Cluster, set *control.Settings) (string, error) {
		if r.Monitoring != orDefault(set.Monitoring, monitoringDefault) && r.Monitoring != "" {
			set.Monitoring = r.Monitoring
		}
		set.OpenMetrics = openMetrics(set.OpenMetrics, r.Open)
		return updateMonitoring, logInto(set, r.Logging)
	})
}

type securityRequest struct {
	Version        string                `json:"currentVersion" aws:"required,min=1"`
	Authentication *clientAuthentication `json:"clientAuthentication"`
	Encryption     *encryptionInfo       `json:"encryptionInfo"`
}

// updateSecurity is UpdateSecurity.
func (s *Service) updateSecurity(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[securityRequest](c)
	if err != nil {
		return nil, err
	}
	return s.update(ctx, c, r.Version, "security setting", func(_ control.Cluster, set *control.Settings) (string, error) {
		before := waysOf(*set)
		before.key = orDefault(before.key, s.key)
		w := before.changed(r.Authentication, r.Encryption)
		if e := r.Encryption; w.logins() && (e == nil || e.InTransit == nil || e.InTransit.InCluster == nil) {
			w.inCluster = true // with logins brokers show one another who they are
		}
		switch {
		case w.key != before.key:
			return "", door.BadRequest("dataVolumeKMSKeyId", "You can't change the key that encrypts data at rest.")
		case w.inCluster != before.inCluster && !w.logins():
			return "", door.BadRequest("inCluster", "You can't change the encryption of data among brokers.")
		case reflect.DeepEqual(w, before):
			return updateSecurity, nil
		}
		if err := w.fault(); err != nil {
			return "", err
		}
		key := set.KMSKey
		w.into(set)
		set.KMSKey = key // "" is shown as the default key, and stays ""
		return updateSecurity, errors.Join(publicAllowed(*set), privateAllowed(*set))
	})
}

// publicAllowed refuses public listeners where somebody may come in without a login.
func publicAllowed(set control.Settings) error {
	w := waysOf(set)
	if set.Public && (w.anonymous || w.transit != transitTLS || !w.logins()) {
		return door.BadRequest("publicAccess", "Public access needs unauthenticated access to be off, client authentication to be on, and clientBroker to be TLS.")
	}
	return nil
}

// privateAllowed refuses VPC connections by logins that the cluster does not have.
func privateAllowed(set control.Settings) error {
	have, want := waysOf(set), waysOf(control.Settings{Auth: set.PrivateAuth})
	if want.scram && !have.scram || want.iam && !have.iam || want.mtls && !have.mtls {
		return door.BadRequest("vpcConnectivity", "VPC connectivity needs the same client authentication to be turned on for the cluster.")
	}
	return nil
}

type connectivityRequest struct {
	Version      string            `json:"currentVersion" aws:"required,min=1"`
	Connectivity *connectivityInfo `json:"connectivityInfo"`
	Zookeeper    *flag             `json:"zookeeperAccess"`
}

// updateConnectivity is UpdateConnectivity.
func (s *Service) updateConnectivity(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[connectivityRequest](c)
	if err != nil {
		return nil, err
	}
	return s.update(ctx, c, r.Version, "connectivity", func(_ control.Cluster, set *control.Settings) (string, error) {
		if r.Zookeeper != nil {
			return "", door.BadRequest("zookeeperAccess", "The cluster has no Apache ZooKeeper nodes.")
		}
		i := r.Connectivity
		if i == nil {
			return updateConnectivity, nil
		}
		if err := publicFault(i.Public); err != nil {
			return "", err
		}
		if i.Public != nil && i.Public.Type != "" {
			set.Public = i.Public.Type == publicOn
		}
		if i.VPC != nil {
			set.PrivateAuth = private(set.PrivateAuth, i.VPC.Authentication)
		}
		if i.NetworkType != orDefault(set.NetworkType, networkIPv4) && i.NetworkType != "" {
			set.NetworkType = i.NetworkType
		}
		return updateConnectivity, errors.Join(publicAllowed(*set), privateAllowed(*set))
	})
}

type rebalancingRequest struct {
	Version     string             `json:"currentVersion" aws:"required,min=1"`
	Rebalancing *rebalancingUpdate `json:"rebalancing" aws:"required"`
}

// updateRebalancing is UpdateRebalancing.
func (s *Service) updateRebalancing(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[rebalancingRequest](c)
	if err != nil {
		return nil, err
	}
	return s.update(ctx, c, r.Version, "rebalancing", func(_ control.Cluster, set *control.Settings) (string, error) {
		set.Paused = r.Rebalancing.Status == rebalancingPaused
		return updateRebalancing, nil
	})
}

type configurationRequest struct {
	Version       string             `json:"currentVersion" aws:"required,min=1"`
	Configuration *configurationInfo `json:"configurationInfo" aws:"required"`
}

// updateClusterConfiguration is UpdateClusterConfiguration.
func (s *Service) updateClusterConfiguration(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[configurationRequest](c)
	if err != nil {
		return nil, err
	}
	revision, err := s.revision(ctx, r.Configuration)
	if err != nil {
		return nil, err
	}
	return s.update(ctx, c, r.Version, "configuration", func(_ control.Cluster, set *control.Settings) (string, error) {
		set.Configuration = revision
		return updateConfiguration, nil
	})
}

type versionRequest struct {
	Version       string             `json:"currentVersion" aws:"required,min=1"`
	Target        string             `json:"targetKafkaVersion" aws:"required,min=1"`
	Configuration *configurationInfo `json:"configurationInfo"`
}

// updateClusterKafkaVersion is UpdateClusterKafkaVersion.
func (s *Service) updateClusterKafkaVersion(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[versionRequest](c)
	if err != nil {
		return nil, err
	}
	var revision control.Revision
	if r.Configuration != nil {
		if revision, err = s.revision(ctx, r.Configuration); err != nil {
			return nil, err
		}
	}
	return s.update(ctx, c, r.Version, "Apache Kafka version", func(_ control.Cluster, set *control.Settings) (string, error) {
		if err := versionFault("targetKafkaVersion", set.BrokerType, r.Target); err != nil {
			return "", err
		}
		if err := upgradeFault(set.BrokerType, orDefault(set.KafkaVersion, control.DefaultKafkaVersion), r.Target); err != nil {
			return "", err
		}
		if err := s.usable(ctx, "targetKafkaVersion", set.BrokerType, r.Target); err != nil {
			return "", err
		}
		if r.Configuration != nil {
			set.Configuration = revision
		}
		if set.KafkaVersion != "" || r.Target != control.DefaultKafkaVersion {
			set.KafkaVersion = r.Target
		}
		return updateVersion, nil
	})
}
