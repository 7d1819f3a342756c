package access

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"millrace/aws/arn"
	"millrace/aws/door"
	"millrace/aws/kafka/fault"
	"millrace/base/kv"
	"millrace/control"
	"millrace/control/configuration"
)

// IAM is what the service needs of policies and tags of clusters, as *iam.Store has it. A cluster is named by its prefix in etcd.
type IAM interface {
	// ClusterPolicy returns the policy of a cluster and its version, or iam.ErrNotFound.
	ClusterPolicy(ctx context.Context, cluster string) (document []byte, version int64, err error)
	// SetClusterPolicy replaces the version of a policy that is told; 0: any, or none. Errors: iam.ErrInvalid, kv.ErrConflict.
	SetClusterPolicy(ctx context.Context, cluster string, document []byte, version int64) (int64, error)
	// DeleteClusterPolicy takes the policy away, or returns iam.ErrNotFound.
	DeleteClusterPolicy(ctx context.Context, cluster string) error
	// EditClusterTags changes the tags of a cluster; change gets nil where none were ever set, and may be called again.
	EditClusterTags(ctx context.Context, cluster string, change func(now map[string]string) (map[string]string, error)) error
}

// Configurations tells which there are; *configuration.Store does.
type Configurations interface {
	// Describe returns one by its ID, "NAME/UUID-N", or configuration.ErrNotFound.
	Describe(ctx context.Context, id string) (configuration.Configuration, error)
}

// World is all that a Service touches outside itself.
type World struct {
	KV             kv.KV
	Clusters       Clusters
	Configurations Configurations
	IAM            IAM
	Associations   *Associations
	Connections    *Connections
}

// Service answers the operations. Make one with New.
type Service struct {
	home  arn.Home
	world World
}

// New makes a Service.
func New(home arn.Home, w World) *Service { return &Service{home: home, world: w} }

type handler = fault.Handler

// Operations are for the table of the service kafka.
func (s *Service) Operations() []door.Operation {
	const (
		scram      = "/v1/clusters/{clusterArn}/scram-secrets"
		policy     = "/v1/clusters/{clusterArn}/policy"
		connection = "/v1/vpc-connection"
		tags       = "/v1/tags/{resourceArn}"
	)
	cluster := func(c *door.Call) string { return c.Params["clusterArn"] }
	one := func(c *door.Call) string { return c.Params["arn"] }
	resource := func(c *door.Call) string { return c.Params["resourceArn"] }
	op := func(name, method, path string, about func(*door.Call) string, d fault.Declared, h handler) door.Operation {
		return door.Operation{
			Name: name, Method: method, Path: path, Status: http.StatusOK, Reads: method == http.MethodGet,
			Action: "kafka:" + name, Resource: about, Handle: d.Guard(h, told),
		}
	}
	get, put, post, remove, patch := http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodPatch
	all := []door.Operation{
		op("BatchAssociateScramSecret", post, scram, cluster, fault.NotFound|fault.Unavailable, s.associate),
		op("BatchDisassociateScramSecret", patch, scram, cluster, fault.NotFound|fault.Unavailable, s.disassociate),
		op("ListScramSecrets", get, scram, cluster, fault.NotFound|fault.Unavailable, s.listSecrets),
		op("PutClusterPolicy", put, policy, cluster, 0, s.putPolicy),
		op("GetClusterPolicy", get, policy, cluster, fault.NotFound, s.getPolicy),
		op("DeleteClusterPolicy", remove, policy, cluster, fault.NotFound, s.deletePolicy),
		op("CreateVpcConnection", post, connection, nil, fault.Unavailable, s.createConnection),
		op("DescribeVpcConnection", get, connection+"/{arn}", one, fault.NotFound|fault.Unavailable, s.describeConnection),
		op("DeleteVpcConnection", remove, connection+"/{arn}", one, fault.NotFound, s.deleteConnection),
		op("ListVpcConnections", get, "/v1/vpc-connections", nil, fault.Unavailable, s.listConnections),
		op("ListClientVpcConnections", get, "/v1/clusters/{clusterArn}/client-vpc-connections", cluster, fault.Unavailable, s.listClientConnections),
		op("RejectClientVpcConnection", put, "/v1/clusters/{clusterArn}/client-vpc-connection", cluster, fault.Unavailable, s.rejectConnection),
		op("TagResource", post, tags, resource, fault.NotFound, s.tagResource),
		op("UntagResource", remove, tags, resource, fault.NotFound, s.untagResource),
		op("ListTagsForResource", get, tags, resource, fault.NotFound, s.listTags),
	}
	for i := range all {
		switch all[i].Name {
		case "TagResource":
			all[i].Status, all[i].Tags = http.StatusNoContent, requestTags
		case "UntagResource":
			all[i].Status, all[i].Tags = http.StatusNoContent, requestTags
		case "CreateVpcConnection":
			all[i].Tags, all[i].Needs = requestTags, s.connecting
		}
	}
	return all
}

// requestTags are those that a request gives and takes.
func requestTags(c *door.Call) (set map[string]string, removed []string) {
	r, err := door.Decode[struct {
		Tags map[string]string `json:"tags"`
		Keys []string          `query:"tagKeys"`
	}](c)
	if err != nil {
		return nil, nil
	}
	return r.Tags, r.Keys
}

// find returns the cluster of an ARN. A name that was given to another cluster meanwhile is not it.
func (s *Service) find(ctx context.Context, param, name string) (control.Cluster, error) {
	r, err := s.home.Find(name, arn.Cluster)
	if err != nil {
		return control.Cluster{}, fault.ARN(param, err)
	}
	c, err := s.world.Clusters.Cluster(ctx, r.Name)
	if err == nil && c.ID != r.ID {
		err = fmt.Errorf("%w: %q", control.ErrNoCluster, name)
	}
	return c, err
}

// cluster returns the one that the request's path names.
func (s *Service) cluster(ctx context.Context, c *door.Call) (control.Cluster, error) {
	return s.find(ctx, "clusterArn", c.Params["clusterArn"])
}

// offers says whether a cluster has a login.
func offers(c control.Cluster, login string) bool {
	return slices.Contains(strings.Split(cmp.Or(c.Settings.Auth, c.Auth), ","), login)
}

// timestamp is a time as the API has it.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
