package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"millrace/aws/arn"
	"millrace/aws/door"
	"millrace/control"
	"millrace/control/configuration"
)

type revisionInfo struct {
	Created     string `json:"creationTime"`
	Description string `json:"description,omitempty"`
	Revision    int64  `json:"revision"`
}

type configurationSummary struct {
	ARN           string       `json:"arn"`
	Created       string       `json:"creationTime"`
	Description   string       `json:"description"`
	KafkaVersions []string     `json:"kafkaVersions"`
	Latest        revisionInfo `json:"latestRevision"`
	Name          string       `json:"name"`
	State         string       `json:"state"`
}

// configurationARN is the ARN of what the configurations know as "NAME/UUID-N".
func (s *Service) configurationARN(id string) string {
	name, rest, _ := strings.Cut(id, "/")
	return s.home.Configuration(name, rest)
}

// configurationOf is the one that a cluster is said to have; nil: none.
func configurationOf(s *Service, set control.Settings) *configurationInfo {
	if set.Configuration.ID == "" {
		return nil
	}
	return &configurationInfo{ARN: s.configurationARN(set.Configuration.ID), Revision: ptr(set.Configuration.Number)}
}

// revision is the one that a request names, if it is there.
func (s *Service) revision(ctx context.Context, i *configurationInfo) (control.Revision, error) {
	r, err := s.home.Find(i.ARN, arn.Configuration)
	if err != nil {
		return control.Revision{}, door.BadRequest("arn", "Invalid Configuration ARN.")
	}
	if _, err := s.lookUp(ctx, r.Tail(), *i.Revision); err != nil {
		return control.Revision{}, err
	}
	return control.Revision{ID: r.Tail(), Number: *i.Revision}, nil
}

// lookUp returns a revision, and tells a configuration that is missing from a revision that is.
func (s *Service) lookUp(ctx context.Context, id string, number int64) (configuration.Revision, error) {
	rev, err := s.world.Configurations.Revision(ctx, id, number)
	if !errors.Is(err, configuration.ErrNotFound) {
		return rev, err
	}
	if _, err := s.world.Configurations.Describe(ctx, id); err != nil {
		return rev, err
	}
	return rev, door.BadRequest("revision", "Configuration revision [%d] does not exist.", number)
}

// configurationID is what the path names.
func (s *Service) configurationID(c *door.Call) (string, error) {
	r, err := s.home.Find(c.Params["arn"], arn.Configuration)
	if err != nil {
		return "", door.BadRequest("arn", "Invalid Configuration ARN.")
	}
	return r.Tail(), nil
}

type createConfigurationRequest struct {
	Name          string   `json:"name" aws:"required,min=1"`
	Description   string   `json:"description"`
	KafkaVersions []string `json:"kafkaVersions"`
	Properties    []byte   `json:"serverProperties" aws:"required"`
}

// createConfiguration is CreateConfiguration.
func (s *Service) createConfiguration(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[createConfigurationRequest](c)
	if err != nil {
		return nil, err
	}
	made, err := s.world.Configurations.Create(ctx, configuration.Spec{
		Name: r.Name, Description: r.Description, KafkaVersions: r.KafkaVersions, Properties: r.Properties,
	})
	if err != nil {
		return nil, err
	}
	c.Changed(nil, made)
	return struct {
		ARN     string       `json:"arn"`
		Created string       `json:"creationTime"`
		Latest  revisionInfo `json:"latestRevision"`
		Name    string       `json:"name"`
		State   string       `json:"state"`
	}{s.configurationARN(made.ID), timestamp(made.Created), revisionInfoOf(made.Latest), made.Name, string(made.State)}, nil
}

func revisionInfoOf(r configuration.Revision) revisionInfo {
	return revisionInfo{Created: timestamp(r.Created), Description: r.Description, Revision: r.Number}
}

func (s *Service) summary(made configuration.Configuration) configurationSummary {
	return configurationSummary{
		ARN: s.configurationARN(made.ID), Created: timestamp(made.Created), Description: made.Description,
		KafkaVersions: append([]string{}, made.KafkaVersions...), Latest: revisionInfoOf(made.Latest), Name: made.Name, State: string(made.State),
	}
}

// describeConfiguration is DescribeConfiguration.
func (s *Service) describeConfiguration(ctx context.Context, c *door.Call) (any, error) {
	id, err := s.configurationID(c)
	if err != nil {
		return nil, err
	}
	made, err := s.world.Configurations.Describe(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.summary(made), nil
}

// listConfigurations is ListConfigurations.
func (s *Service) listConfigurations(ctx context.Context, c *door.Call) (any, error) {
	all, err := s.world.Configurations.List(ctx)
	if err != nil {
		return nil, err
	}
	page, next, err := door.Page(c, all, func(made configuration.Configuration) string { return made.Name })
	if err != nil {
		return nil, err
	}
	list := make([]configurationSummary, 0, len(page))
	for _, made := range page {
		list = append(list, s.summary(made))
	}
	return struct {
		List []configurationSummary `json:"configurations"`
		Next string                 `json:"nextToken,omitempty"`
	}{list, next}, nil
}

type updateConfigurationRequest struct {
	Description string `json:"description"`
	Properties  []byte `json:"serverProperties" aws:"required"`
}

// updateConfiguration is UpdateConfiguration.
func (s *Service) updateConfiguration(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[updateConfigurationRequest](c)
	if err != nil {
		return nil, err
	}
	id, err := s.configurationID(c)
	if err != nil {
		return nil, err
	}
	made, err := s.world.Configurations.Update(ctx, id, r.Description, r.Properties)
	if err != nil {
		return nil, err
	}
	c.Changed(nil, made)
	return struct {
		ARN    string       `json:"arn"`
		Latest revisionInfo `json:"latestRevision"`
	}{s.configurationARN(made.ID), revisionInfoOf(made.Latest)}, nil
}

// deleteConfiguration is DeleteConfiguration.
func (s *Service) deleteConfiguration(ctx context.Context, c *door.Call) (any, error) {
	id, err := s.configurationID(c)
	if err != nil {
		return nil, err
	}
	made, err := s.world.Configurations.Delete(ctx, id)
	if err != nil {
		return nil, err
	}
	c.Changed(made, nil)
	return struct {
		ARN   string `json:"arn"`
		State string `json:"state"`
	}{s.configurationARN(id), string(made.State)}, nil
}

// listConfigurationRevisions is ListConfigurationRevisions.
func (s *Service) listConfigurationRevisions(ctx context.Context, c *door.Call) (any, error) {
	id, err := s.configurationID(c)
	if err != nil {
		return nil, err
	}
	all, err := s.world.Configurations.Revisions(ctx, id)
	if err != nil {
		return nil, err
	}
	page, next, err := door.Page(c, all, func(r configuration.Revision) string { return fmt.Sprintf("%019d", r.Number) })
	if err != nil {
		return nil, err
	}
	list := make([]revisionInfo, 0, len(page))
	for _, r := range page {
		list = append(list, revisionInfoOf(r))
	}
	return struct {
		Next string         `json:"nextToken,omitempty"`
		List []revisionInfo `json:"revisions"`
	}{next, list}, nil
}

// describeConfigurationRevision is DescribeConfigurationRevision.
func (s *Service) describeConfigurationRevision(ctx context.Context, c *door.Call) (any, error) {
	id, err := s.configurationID(c)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseInt(c.Params["revision"], 10, 64)
	if err != nil || number < 1 {
		return nil, door.BadRequest("revision", "The value of revision must be a positive integer.")
	}
	rev, err := s.lookUp(ctx, id, number)
	if err != nil {
		return nil, err
	}
	return struct {
		ARN         string `json:"arn"`
		Created     string `json:"creationTime"`
		Description string `json:"description,omitempty"`
		Revision    int64  `json:"revision"`
		Properties  []byte `json:"serverProperties"`
	}{s.configurationARN(id), timestamp(rev.Created), rev.Description, rev.Number, rev.Properties}, nil
}
