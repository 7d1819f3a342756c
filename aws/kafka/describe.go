package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"millrace/aws/door"
	"millrace/control"
)

// rebalancing in the words of the API.
const (
	rebalancingActive = "ACTIVE"
	rebalancingPaused = "PAUSED"
)

// unbounded is the broker type that is shown of a cluster whose brokers have no size, as the one that serve makes.
const unbounded = "express.unlimited"

// about is what both versions of the API show of a cluster.
type about struct {
	Operation string            `json:"activeOperationArn,omitempty"`
	ARN       string            `json:"clusterArn"`
	Name      string            `json:"clusterName"`
	Created   string            `json:"creationTime,omitempty"`
	Version   string            `json:"currentVersion"`
	State     string            `json:"state"`
	StateInfo *stateInfo        `json:"stateInfo,omitempty"`
	Tags      map[string]string `json:"tags"`
}

// provisionedInfo is what both show of one with a fixed number of brokers.
type provisionedInfo struct {
	Group          brokerNodeGroupInfo   `json:"brokerNodeGroupInfo"`
	Rebalancing    *rebalancing          `json:"rebalancing,omitempty"`
	Software       softwareInfo          `json:"currentBrokerSoftwareInfo"`
	Authentication *clientAuthentication `json:"clientAuthentication"`
	Encryption     *encryptionInfo       `json:"encryptionInfo"`
	Monitoring     string                `json:"enhancedMonitoring"`
	Open           *openMonitoring       `json:"openMonitoring"`
	Logging        json.RawMessage       `json:"loggingInfo,omitempty"`
	Brokers        int                   `json:"numberOfBrokerNodes"`
	StorageMode    string                `json:"storageMode"`
	Action         string                `json:"customerActionStatus"`
}

// clusterInfo is a cluster as version 1 shows it.
type clusterInfo struct {
	about
	provisionedInfo
}

// clusterInfoV2 is a cluster as version 2 shows it.
type clusterInfoV2 struct {
	about
	Type        string           `json:"clusterType"`
	Provisioned *provisionedInfo `json:"provisioned,omitempty"`
	Serverless  *serverless      `json:"serverless,omitempty"`
}

// described is what describes one cluster, in either version.
type described struct {
	Info any `json:"clusterInfo"`
}

// describeCluster is DescribeCluster.
func (s *Service) describeCluster(ctx context.Context, c *door.Call) (any, error) {
	cl, err := s.provisionedOnly(ctx, c)
	if err != nil {
		return nil, err
	}
	info, err := s.infoV1(ctx, cl)
	return described{info}, err
}

// describeClusterV2 is DescribeClusterV2.
func (s *Service) describeClusterV2(ctx context.Context, c *door.Call) (any, error) {
	cl, err := s.cluster(ctx, c)
	if err != nil {
		return nil, err
	}
	info, err := s.infoV2(ctx, cl)
	return described{info}, err
}

// listClusters is ListClusters; Serverless clusters are not for it.
func (s *Service) listClusters(ctx context.Context, c *door.Call) (any, error) {
	list, next, err := s.page(ctx, c, string(control.Provisioned))
	if err != nil {
		return nil, err
	}
	infos, err := showEach(ctx, list, s.infoV1)
	if err != nil {
		return nil, err
	}
	return struct {
		List []clusterInfo `json:"clusterInfoList"`
		Next string        `json:"nextToken,omitempty"`
	}{infos, next}, nil
}

// listClustersV2 is ListClustersV2.
func (s *Service) listClustersV2(ctx context.Context, c *door.Call) (any, error) {
	of := strings.ToUpper(c.Query.Get("clusterTypeFilter"))
	if of != "" && of != string(control.Provisioned) && of != string(control.Serverless) {
		return nil, door.BadRequest("clusterTypeFilter", "Unsupported clusterTypeFilter specified. Valid values: [%s, %s]", control.Provisioned, control.Serverless)
	}
	list, next, err := s.page(ctx, c, of)
	if err != nil {
		return nil, err
	}
	infos, err := showEach(ctx, list, s.infoV2)
	if err != nil {
		return nil, err
	}
	return struct {
		List []clusterInfoV2 `json:"clusterInfoList"`
		Next string          `json:"nextToken,omitempty"`
	}{infos, next}, nil
}

// showEach shows clusters; one that was deleted since it was listed is left out.
func showEach[T any](ctx context.Context, list []control.Cluster, show func(context.Context, control.Cluster) (T, error)) ([]T, error) {
	infos := make([]T, 0, len(list))
	for _, cl := range list {
		info, err := show(ctx, cl)
		if e := told(err); e != nil && e.Status == http.StatusNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// page are the clusters that a list asks for, of one type; "": of any.
func (s *Service) page(ctx context.Context, c *door.Call, of string) ([]control.Cluster, string, error) {
	all, err := s.world.Plane.Clusters(ctx)
	if err != nil {
		return nil, "", err
	}
	var list []control.Cluster
	for _, cl := range all {
		if strings.HasPrefix(cl.Name, c.Query.Get("clusterNameFilter")) && (of == "" || string(typeOf(cl)) == of) {
			list = append(list, cl)
		}
	}
	return door.Page(c, list, func(cl control.Cluster) string { return cl.Name })
}

func typeOf(cl control.Cluster) control.ClusterType {
	if cl.Settings.Type == "" {
		return control.Provisioned
	}
	return cl.Settings.Type
}

func state(cl control.Cluster) string { return orDefault(string(cl.Phase), string(control.Active)) }

func (s *Service) about(ctx context.Context, cl control.Cluster) (about, error) {
	a := about{ARN: s.arnOf(cl), Name: cl.Name, Created: timestamp(cl.Created), Version: control.CurrentVersion(cl), State: state(cl)}
	if cl.Fault != (control.Fault{}) {
		a.StateInfo = &stateInfo{Code: cl.Fault.Code, Message: cl.Fault.Message}
	}
	if cl.Managed.Phase != control.Broken && cl.Operation != 0 {
		op, err := s.world.Plane.Operation(ctx, cl.Name, cl.Operation)
		switch {
		case err == nil:
			a.Operation = s.operationARN(cl, op)
		case !errors.Is(err, control.ErrNoOperation): // it is done since
			return about{}, fmt.Errorf("active operation of %s: %w", cl.Name, err)
		}
	}
	tags, err := s.tags(ctx, cl)
	if tags == nil {
		tags = map[string]string{}
	}
	a.Tags = tags
	return a, err
}

func (s *Service) infoV1(ctx context.Context, cl control.Cluster) (clusterInfo, error) {
	a, err := s.about(ctx, cl)
	return clusterInfo{a, s.provisionedInfo(cl)}, err
}

func (s *Service) infoV2(ctx context.Context, cl control.Cluster) (clusterInfoV2, error) {
	a, err := s.about(ctx, cl)
	info := clusterInfoV2{about: a, Type: string(typeOf(cl))}
	if typeOf(cl) == control.Serverless {
		info.Serverless = serverlessInfo(cl.Settings)
	} else {
		info.Provisioned = ptr(s.provisionedInfo(cl))
	}
	return info, err
}

func (s *Service) provisionedInfo(cl control.Cluster) provisionedInfo {
	set := cl.Settings
	w := waysOf(set)
	w.key = orDefault(w.key, s.key)
	info := provisionedInfo{
		Group: group(set), Software: s.software(set), Authentication: w.authentication(), Encryption: w.encryption(),
		Monitoring: orDefault(set.Monitoring, monitoringDefault), Open: openMonitoringOf(set.OpenMetrics), Logging: set.Logging,
		Brokers: brokersOf(cl), StorageMode: orDefault(set.StorageMode, storageLocal), Action: "NONE",
		Rebalancing: rebalancingOf(set),
	}
	return info
}

// brokersOf is how many brokers a cluster is said to have.
func brokersOf(cl control.Cluster) int {
	if cl.Settings.Brokers > 0 {
		return cl.Settings.Brokers
	}
	return cl.Brokers
}

func rebalancingOf(set control.Settings) *rebalancing {
	if set.Paused {
		return &rebalancing{rebalancingPaused}
	}
	return &rebalancing{rebalancingActive}
}

// software is what brokers run, in the configuration's words too.
func (s *Service) software(set control.Settings) softwareInfo {
	info := softwareInfo{KafkaVersion: orDefault(set.KafkaVersion, control.DefaultKafkaVersion)}
	if c := configurationOf(s, set); c != nil {
		info.ConfigurationARN, info.ConfigurationRevision = c.ARN, *c.Revision
	}
	return info
}

func group(set control.Settings) brokerNodeGroupInfo {
	g := brokerNodeGroupInfo{
		Distribution: "DEFAULT", ClientSubnets: set.Subnets, InstanceType: orDefault(set.BrokerType, unbounded),
		SecurityGroups: set.SecurityGroup, ZoneIDs: set.Zones, Connectivity: connectivity(set),
	}
	if g.ClientSubnets == nil {
		g.ClientSubnets = []string{}
	}
	if set.VolumeGiB > 0 {
		g.Storage = &storageInfo{EBS: &ebsStorageInfo{VolumeSize: ptr(set.VolumeGiB), Throughput: throughputOf(set)}}
	}
	return g
}

func throughputOf(set control.Settings) *provisionedThroughput {
	if set.Throughput == 0 {
		return nil
	}
	return &provisionedThroughput{Enabled: ptr(true), Throughput: ptr(set.Throughput)}
}

func connectivity(set control.Settings) *connectivityInfo {
	c := &connectivityInfo{
		Public: &publicAccess{Type: publicOff}, NetworkType: orDefault(set.NetworkType, networkIPv4),
		VPC: &vpcConnectivity{Authentication: vpcAuthenticationOf(set.PrivateAuth)},
	}
	if set.Public {
		c.Public.Type = publicOn
	}
	return c
}

func openMonitoringOf(o control.OpenMetrics) *openMonitoring {
	return &openMonitoring{Prometheus: &prometheus{JMX: &exporter{ptr(o.JMX)}, Node: &exporter{ptr(o.Node)}}}
}

func serverlessInfo(set control.Settings) *serverless {
	v := &serverless{
		VPCs:           []vpcConfig{},
		Authentication: &serverlessAuthentication{SASL: &serverlessSASL{IAM: toggle(true)}},
		Connectivity:   &serverlessConnectivity{NetworkType: orDefault(set.NetworkType, networkIPv4)},
	}
	for _, n := range set.VPCs {
		v.VPCs = append(v.VPCs, vpcConfig{Subnets: n.Subnets, SecurityGroups: n.SecurityGroups})
	}
	return v
}
