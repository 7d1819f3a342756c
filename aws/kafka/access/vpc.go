package access

import (
	"context"
	"time"

	"millrace/aws/arn"
	"millrace/aws/door"
	"millrace/aws/kafka/fault"
	"millrace/control"
)

type createConnectionRequest struct {
	Cluster        string            `json:"targetClusterArn" aws:"required"`
	Authentication string            `json:"authentication" aws:"required,enum=TLS|SASL_SCRAM|SASL_IAM"`
	VPC            string            `json:"vpcId" aws:"required,min=1,max=64"`
	Subnets        []string          `json:"clientSubnets" aws:"required,min=1,max=16"`
	Groups         []string          `json:"securityGroups" aws:"required,min=1,max=16"`
	Tags           map[string]string `json:"tags"`
}

// connecting is what a caller needs beside kafka:CreateVpcConnection.
func (s *Service) connecting(c *door.Call) []door.Need {
	r, err := door.Decode[createConnectionRequest](c)
	if err != nil {
		return nil // it is refused later
	}
	needs := []door.Need{{Action: "kafka:CreateVpcConnection", Resource: r.Cluster}}
	if len(r.Tags) > 0 {
		needs = append(needs, door.Need{Action: "kafka:TagResource"})
	}
	return needs
}

// createConnection is CreateVpcConnection.
func (s *Service) createConnection(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[createConnectionRequest](c)
	if err != nil {
		return nil, err
	}
	if err := checkTags(r.Tags); err != nil {
		return nil, err
	}
	cl, err := s.find(ctx, "targetClusterArn", r.Cluster)
	if err != nil {
		return nil, err
	}
	if cl.Phase == control.Creating || cl.Phase == control.Deleting || cl.Phase == control.Broken {
		return nil, door.BadRequest("targetClusterArn", "You can't connect to a cluster in %s state.", cl.Phase)
	}
	owner := s.home.Account
	if c.Caller.IAM != nil && c.Caller.IAM.Account != "" {
		owner = c.Caller.IAM.Account
	}
	made, err := s.world.Connections.Create(ctx, cl, Connection{
		Authentication: r.Authentication, VPC: r.VPC, Subnets: r.Subnets, Groups: r.Groups, Tags: r.Tags, Owner: owner,
	})
	if err != nil {
		return nil, err
	}
	c.Changed(nil, made)
	return struct {
		ARN            string            `json:"vpcConnectionArn"`
		State          State             `json:"state"`
		Authentication string            `json:"authentication"`
		VPC            string            `json:"vpcId"`
		Subnets        []string          `json:"clientSubnets"`
		Groups         []string          `json:"securityGroups"`
		Created        string            `json:"creationTime"`
		Tags           map[string]string `json:"tags,omitempty"`
	}{s.connectionARN(made), made.State, made.Authentication, made.VPC, made.Subnets, made.Groups, timestamp(made.Created), made.Tags}, nil
}

func (s *Service) connectionARN(c Connection) string { return s.home.VPCConnection(c.Cluster, c.ID) }

// connection returns the one of an ARN.
func (s *Service) connection(ctx context.Context, param, name string) (Connection, error) {
	r, err := s.home.Find(name, arn.VPCConnection)
	if err != nil {
		return Connection{}, fault.ARN(param, err)
	}
	c, err := s.world.Connections.Describe(ctx, r.ID)
	if err == nil && (c.Cluster != r.Name || r.Owner != s.home.Account) {
		err = ErrNoConnection
	}
	return c, err
}

// connectionSummary is a connection in ListVpcConnections.
type connectionSummary struct {
	ARN            string `json:"vpcConnectionArn"`
	Target         string `json:"targetClusterArn"`
	Created        string `json:"creationTime"`
	Authentication string `json:"authentication"`
	VPC            string `json:"vpcId"`
	State          State  `json:"state"`
}

func (s *Service) connectionSummary(c Connection) connectionSummary {
	target := s.home.Cluster(c.Cluster, c.ClusterID)
	return connectionSummary{s.connectionARN(c), target, timestamp(c.Created), c.Authentication, c.VPC, c.State}
}

// describeConnection is DescribeVpcConnection.
func (s *Service) describeConnection(ctx context.Context, c *door.Call) (any, error) {
	found, err := s.connection(ctx, "arn", c.Params["arn"])
	if err != nil {
		return nil, err
	}
	return struct {
		connectionSummary
		Subnets []string          `json:"subnets"`
		Groups  []string          `json:"securityGroups"`
		Tags    map[string]string `json:"tags,omitempty"`
	}{s.connectionSummary(found), found.Subnets, found.Groups, found.Tags}, nil
}

// deleteConnection is DeleteVpcConnection.
func (s *Service) deleteConnection(ctx context.Context, c *door.Call) (any, error) {
	found, err := s.connection(ctx, "arn", c.Params["arn"])
	if err != nil {
		return nil, err
	}
	gone, err := s.world.Connections.Delete(ctx, found.ID)
	if err != nil {
		return nil, err
	}
	c.Changed(found, nil)
	return struct {
		ARN   string `json:"vpcConnectionArn"`
		State State  `json:"state"`
	}{s.connectionARN(gone), gone.State}, nil
}

// listConnections is ListVpcConnections.
func (s *Service) listConnections(ctx context.Context, c *door.Call) (any, error) {
	all, err := s.world.Connections.List(ctx, "", "")
	if err != nil {
		return nil, err
	}
	page, next, err := door.Page(c, all, byAge)
	if err != nil {
		return nil, err
	}
	list := make([]connectionSummary, 0, len(page))
	for _, one := range page {
		list = append(list, s.connectionSummary(one))
	}
	return struct {
		List []connectionSummary `json:"vpcConnections"`
		Next string              `json:"nextToken,omitempty"`
	}{list, next}, nil
}

func byAge(c Connection) string { return c.Created.UTC().Format(time.RFC3339Nano) + " " + c.ID }

// clientConnection is a connection in ListClientVpcConnections.
type clientConnection struct {
	Authentication string `json:"authentication"`
	Created        string `json:"creationTime"`
	State          State  `json:"state"`
	ARN            string `json:"vpcConnectionArn"`
	Owner          string `json:"owner"`
}

// listClientConnections is ListClientVpcConnections.
func (s *Service) listClientConnections(ctx context.Context, c *door.Call) (any, error) {
	cl, err := s.cluster(ctx, c)
	if err != nil {
		return nil, err
	}
	all, err := s.world.Connections.List(ctx, cl.Name, cl.ID)
	if err != nil {
		return nil, err
	}
	page, next, err := door.Page(c, all, byAge)
	if err != nil {
		return nil, err
	}
	list := make([]clientConnection, 0, len(page))
	for _, one := range page {
		list = append(list, clientConnection{one.Authentication, timestamp(one.Created), one.State, s.connectionARN(one), one.Owner})
	}
	return struct {
		List []clientConnection `json:"clientVpcConnections"`
		Next string             `json:"nextToken,omitempty"`
	}{list, next}, nil
}

// rejectConnection is RejectClientVpcConnection.
func (s *Service) rejectConnection(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[struct {
		ARN string `json:"vpcConnectionArn" aws:"required"`
	}](c)
	if err != nil {
		return nil, err
	}
	cl, err := s.cluster(ctx, c)
	if err != nil {
		return nil, err
	}
	found, err := s.connection(ctx, "vpcConnectionArn", r.ARN)
	if err != nil {
		return nil, err
	}
	if found.Cluster != cl.Name || found.ClusterID != cl.ID {
		return nil, ErrNoConnection
	}
	after, err := s.world.Connections.Reject(ctx, found.ID)
	if err != nil {
		return nil, err
	}
	c.Changed(found, after)
	return struct{}{}, nil
}
