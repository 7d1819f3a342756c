package secretsmanager

import (
	"context"

	"millrace/aws/door"
	"millrace/secure/secret"
)

// putSecretValue is PutSecretValue.
func (s *Service) putSecretValue(ctx context.Context, c *door.Call) (any, error) {
	in, err := decode[struct {
		value
		which
		Stages []string `json:"VersionStages" aws:"min=1,max=20"`
	}](c)
	if err != nil {
		return nil, err
	}
	v, err := in.read()
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, invalidParameter("You must provide either SecretString or SecretBinary.")
	}
	r, err := s.ref(in.ID)
	if err != nil {
		return nil, err
	}
	x, version, err := s.secrets.Put(ctx, r, in.Token, *v, in.Stages)
	if err != nil {
		return nil, err
	}
	c.Changed(nil, x)
	return versioned{s.nameOf(x), version.ID, version.Stages}, nil
}

// getSecretValue is GetSecretValue.
func (s *Service) getSecretValue(ctx context.Context, c *door.Call) (any, error) {
	in, err := decode[struct {
		which
		Version string `json:"VersionId" aws:"min=32,max=64"`
		Stage   string `json:"VersionStage" aws:"min=1,max=256"`
	}](c)
	if err != nil {
		return nil, err
	}
	r, err := s.ref(in.ID)
	if err != nil {
		return nil, err
	}
	x, version, v, err := s.secrets.Get(ctx, r, in.Version, in.Stage)
	if err != nil {
		return nil, err
	}
	out := struct {
		versioned
		Text    *string  `json:"SecretString,omitempty"`
		Binary  []byte   `json:"SecretBinary,omitempty"`
		Created *float64 `json:"CreatedDate"`
	}{versioned: versioned{s.nameOf(x), version.ID, version.Stages}, Created: seconds(version.Created)}
	if v.Binary {
		out.Binary = v.Bytes
	} else {
		text := string(v.Bytes)
		out.Text = &text
	}
	return out, nil
}

// updateSecretVersionStage is UpdateSecretVersionStage.
func (s *Service) updateSecretVersionStage(ctx context.Context, c *door.Call) (any, error) {
	in, err := decode[struct {
		which
		Stage string `json:"VersionStage" aws:"required,min=1,max=256"`
		From  string `json:"RemoveFromVersionId" aws:"min=32,max=64"`
		To    string `json:"MoveToVersionId" aws:"min=32,max=64"`
	}](c)
	if err != nil {
		return nil, err
	}
	r, err := s.ref(in.ID)
	if err != nil {
		return nil, err
	}
	x, err := s.secrets.Move(ctx, r, in.Stage, in.From, in.To)
	if err != nil {
		return nil, err
	}
	c.Changed(nil, x)
	return s.nameOf(x), nil
}

type versionEntry struct {
	ID      string   `json:"VersionId"`
	Stages  []string `json:"VersionStages,omitempty"`
	Created *float64 `json:"CreatedDate"`
}

// listSecretVersionIDs is ListSecretVersionIds.
func (s *Service) listSecretVersionIDs(ctx context.Context, c *door.Call) (any, error) {
	in, err := decode[struct {
		which
		pageOf
		Deprecated bool `json:"IncludeDeprecated"`
	}](c)
	if err != nil {
		return nil, err
	}
	r, err := s.ref(in.ID)
	if err != nil {
		return nil, err
	}
	x, err := s.secrets.Describe(ctx, r)
	if err != nil {
		return nil, err
	}
	var all []secret.Version
	for _, v := range x.Versions {
		if in.Deprecated || len(v.Stages) > 0 {
			all = append(all, v)
		}
	}
	page, next, err := page(c, all, func(v secret.Version) string { return v.ID }, in.pageOf)
	if err != nil {
		return nil, err
	}
	list := make([]versionEntry, 0, len(page))
	for _, v := range page {
		list = append(list, versionEntry{v.ID, v.Stages, seconds(v.Created)})
	}
	return struct {
		name
		Versions []versionEntry `json:"Versions"`
		Next     string         `json:"NextToken,omitempty"`
	}{s.nameOf(x), list, next}, nil
}
