package kafka

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"millrace/aws/door"
	"millrace/control"
)

type createRequest struct {
	Name string            `json:"clusterName" aws:"required,min=1,max=64"`
	Tags map[string]string `json:"tags"`
	provisioned
}

type createV2Request struct {
	Name        string            `json:"clusterName" aws:"required,min=1,max=64"`
	Tags        map[string]string `json:"tags"`
	Provisioned *provisioned      `json:"provisioned"`
	Serverless  *serverless       `json:"serverless"`
}

type created struct {
	ARN   string `json:"clusterArn"`
	Name  string `json:"clusterName"`
	State string `json:"state"`
}

type createdV2 struct {
	created
	Type string `json:"clusterType"`
}

// createCluster is CreateCluster.
func (s *Service) createCluster(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[createRequest](c)
	if err != nil {
		return nil, err
	}
	cl, err := s.create(ctx, c, r.Name, r.Tags, &r.provisioned, nil)
	if err != nil {
		return nil, err
	}
	return s.created(cl), nil
}

// createClusterV2 is CreateClusterV2.
func (s *Service) createClusterV2(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[createV2Request](c)
	if err != nil {
		return nil, err
	}
	if (r.Provisioned == nil) == (r.Serverless == nil) {
		return nil, door.BadRequest("provisioned", "You must specify either provisioned or serverless, and not both.")
	}
	cl, err := s.create(ctx, c, r.Name, r.Tags, r.Provisioned, r.Serverless)
	if err != nil {
		return nil, err
	}
	return createdV2{s.created(cl), string(typeOf(cl))}, nil
}

func (s *Service) created(cl control.Cluster) created {
	return created{ARN: s.arnOf(cl), Name: cl.Name, State: state(cl)}
}

// create makes a cluster of one of the two types.
func (s *Service) create(ctx context.Context, c *door.Call, name string, tags map[string]string, p *provisioned, v *serverless) (cl control.Cluster, err error) {
	if err := nameFault("clusterName", name); err != nil {
		return cl, err
	}
	if err := tagsFault(tags); err != nil {
		return cl, err
	}
	var set control.Settings
	if p != nil {
		set, err = s.provisionedSettings(ctx, p)
	} else {
		set, err = s.serverlessSettings(v)
	}
	if err != nil {
		return cl, err
	}
	if p != nil && p.Configuration != nil {
		if set.Configuration, err = s.revision(ctx, p.Configuration); err != nil {
			return cl, err
		}
	}
	cl, err = s.world.Plane.Create(ctx, name, set, tags)
	if err == nil {
		c.Changed(nil, set)
	}
	return cl, err
}

// nameFault refuses what cannot be the name of a cluster: it has letters, digits and dashes, and begins with no dash.
func nameFault(param, name string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	if strings.Trim(name, letters+"-") != "" || strings.HasPrefix(name, "-") {
		return door.BadRequest(param, "The cluster name is not valid: it may have letters, digits and hyphens, and begins with a letter or a digit.")
	}
	return nil
}

// The limits of tags.
const (
	maxTags     = 50
	maxTagKey   = 128 // characters
	maxTagValue = 256 // characters
)

func tagsFault(tags map[string]string) error {
	if len(tags) > maxTags {
		return door.BadRequest("tags", "There can be at most %d tags.", maxTags)
	}
	for k, v := range tags {
		switch {
		case k == "" || utf8.RuneCountInString(k) > maxTagKey:
			return door.BadRequest("tags", "The key of a tag must have 1 to %d characters.", maxTagKey)
		case utf8.RuneCountInString(v) > maxTagValue:
			return door.BadRequest("tags", "The value of a tag may have at most %d characters.", maxTagValue)
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return door.BadRequest("tags", "The key of a tag may not begin with aws:.")
		}
	}
	return nil
}

type deleted struct {
	ARN   string `json:"clusterArn"`
	State string `json:"state"`
}

// deleteCluster is DeleteCluster. Who names no version means whatever version of this very cluster: not one that got its name meanwhile.
func (s *Service) deleteCluster(ctx context.Context, c *door.Call) (any, error) {
	asked := c.Query.Get("currentVersion")
	for {
		cl, err := s.cluster(ctx, c)
		if err != nil {
			return nil, err
		}
		version := control.CurrentVersion(cl)
		if asked != "" && asked != version {
			return nil, control.ErrVersion
		}
		after, err := s.world.Plane.Delete(ctx, cl.Name, version)
		if asked == "" && errors.Is(err, control.ErrVersion) {
			continue // it has changed since it was read
		}
		if err != nil {
			return nil, err
		}
		c.Changed(cl.Settings, nil)
		return deleted{ARN: s.arnOf(cl), State: state(after)}, nil
	}
}
