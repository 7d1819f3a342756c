package kafka

import (
	"cmp"
	"context"
	"fmt"

	"millrace/aws/arn"
	"millrace/aws/door"
	"millrace/aws/kafka/fault"
	"millrace/control"
	"millrace/control/configuration"
)

// plane is what the service needs of the control plane, as *control.Plane has it.
type plane interface {
	clusters
	operations
	brokers
}

type clusters interface {
	Create(ctx context.Context, name string, s control.Settings, tags map[string]string) (control.Cluster, error)
	Delete(ctx context.Context, name, version string) (control.Cluster, error)
	Clusters(ctx context.Context) ([]control.Cluster, error)
	Cluster(ctx context.Context, name string) (control.Cluster, error)
}

type operations interface {
	Begin(ctx context.Context, name string, r control.Request) (control.Operation, error)
	Operation(ctx context.Context, name string, number int64) (control.Operation, error)
	OperationsOf(ctx context.Context, name string) ([]control.Operation, error)
}

type brokers interface {
	Nodes(ctx context.Context, name string) ([]control.Node, error)
	Endpoints(ctx context.Context, name string) (map[string][]string, error)
}

// configurations is what the service needs of configurations, as *configuration.Store has it.
type configurations interface {
	Create(ctx context.Context, spec configuration.Spec) (configuration.Configuration, error)
	Describe(ctx context.Context, id string) (configuration.Configuration, error)
	List(ctx context.Context) ([]configuration.Configuration, error)
	Delete(ctx context.Context, id string) (configuration.Configuration, error)
	revisions
}

type revisions interface {
	Update(ctx context.Context, id, description string, properties []byte) (configuration.Configuration, error)
	Revisions(ctx context.Context, id string) ([]configuration.Revision, error)
	Revision(ctx context.Context, id string, number int64) (configuration.Revision, error)
}

// World is all that a Service touches outside itself.
type World struct {
	Plane          plane          // a *control.Plane
	Configurations configurations // a *configuration.Store
	Topics         topicKeeper    // a *topics.Topics
	// StandardUsable says what is missing for a cluster of a standard broker type with a version of Kafka; ctx bounds it. nil: there can
	// be none.
	StandardUsable func(ctx context.Context, version string) error
	// Tags are those that a cluster has now; nil: those that it was made with.
	Tags func(ctx context.Context, arn string) (map[string]string, error)
}

// Config is read once by New.
type Config struct {
	Home arn.Home // of which ARNs are made; both parts are needed
	Key  string   // ARN of the key that wraps data keys where a request names none; "": that of AWS's own alias
}

// Service answers the operations. Make one with New.
type Service struct {
	world World
	home  arn.Home
	key   string
}

// New makes a Service.
func New(w World, c Config) *Service {
	key := cmp.Or(c.Key, fmt.Sprintf("arn:aws:kms:%s:%s:alias/aws/kafka", c.Home.Region, c.Home.Account))
	return &Service{world: w, home: c.Home, key: key}
}

// cluster returns the one that the request's path names.
func (s *Service) cluster(ctx context.Context, c *door.Call) (control.Cluster, error) {
	return s.find(ctx, c.Params["clusterArn"])
}

// find returns the cluster of an ARN. A name that was given to another cluster meanwhile is not it.
func (s *Service) find(ctx context.Context, name string) (control.Cluster, error) {
	r, err := s.home.Find(name, arn.Cluster)
	if err != nil {
		return control.Cluster{}, fault.ARN("clusterArn", err)
	}
	cl, err := s.world.Plane.Cluster(ctx, r.Name)
	if err == nil && cl.ID != r.ID {
		err = fmt.Errorf("%w: %q", control.ErrNoCluster, name)
	}
	return cl, err
}

// provisionedOnly returns the cluster that the path names, unless it is a Serverless one, of which the API does not know the operation.
func (s *Service) provisionedOnly(ctx context.Context, c *door.Call) (control.Cluster, error) {
	cl, err := s.cluster(ctx, c)
	if err == nil && cl.Settings.Type == control.Serverless {
		return cl, door.BadRequest("clusterArn", "This operation isn't supported for serverless clusters.")
	}
	return cl, err
}

func (s *Service) arnOf(cl control.Cluster) string { return s.home.Cluster(cl.Name, cl.ID) }

func (s *Service) operationARN(cl control.Cluster, op control.Operation) string {
	if op.ID == "" {
		return ""
	}
	return s.home.Operation(cl.Name, cl.ID, op.ID)
}

// tags are those that a cluster has.
func (s *Service) tags(ctx context.Context, cl control.Cluster) (map[string]string, error) {
	if s.world.Tags == nil {
		return cl.Tags, nil
	}
	return s.world.Tags(ctx, s.arnOf(cl))
}
