package secretsmanager

import (
	"context"
	"encoding/json"
	"errors"

	"millrace/aws/door"
	"millrace/secure/secret"
)

// versioned is an answer about one version.
type versioned struct {
	name
	Version string   `json:"VersionId,omitempty"`
	Stages  []string `json:"VersionStages,omitempty"`
}

type createRequest struct {
	value
	Name        string            `json:"Name" aws:"required,min=1,max=512"`
	Description string            `json:"Description" aws:"max=2048"`
	KMSKey      string            `json:"KmsKeyId" aws:"max=2048"`
	Tags        []tag             `json:"Tags"`
	Replicas    []json.RawMessage `json:"AddReplicaRegions"`
}

// createSecret is CreateSecret.
func (s *Service) createSecret(ctx context.Context, c *door.Call) (any, error) {
	in, err := decode[createRequest](c)
	if err != nil {
		return nil, err
	}
	if len(in.Replicas) > 0 {
		return nil, invalidParameter("A secret can't be replicated: this installation is one Region.")
	}
	v, err := in.read()
	if err != nil {
		return nil, err
	}
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	x, version, err := s.secrets.Create(ctx, secret.Spec{
		Name: in.Name, Description: in.Description, KMSKey: in.KMSKey, Tags: tags, Value: v, Token: in.Token,
	})
	if err != nil {
		return nil, err
	}
	c.Changed(nil, x)
	return versioned{name: s.nameOf(x), Version: version}, nil
}

// describeSecret is DescribeSecret.
func (s *Service) describeSecret(ctx context.Context, c *door.Call) (any, error) {
	x, err := s.find(ctx, c)
	if err != nil {
		return nil, err
	}
	e, stages := s.entryOf(x)
	e.Stages = stages
	return e, nil
}

// find returns the secret that a request names, also one that is marked for deletion.
func (s *Service) find(ctx context.Context, c *door.Call) (secret.Secret, error) {
	r, err := s.refOf(c)
	if err != nil {
		return secret.Secret{}, err
	}
	return s.secrets.Describe(ctx, r)
}

func (s *Service) refOf(c *door.Call) (secret.Ref, error) {
	in, err := decode[which](c)
	if err != nil {
		return secret.Ref{}, err
	}
	return s.ref(in.ID)
}

type updateRequest struct {
	value
	which
	Description *string `json:"Description" aws:"max=2048"`
	KMSKey      *string `json:"KmsKeyId" aws:"max=2048"`
}

// updateSecret is UpdateSecret.
func (s *Service) updateSecret(ctx context.Context, c *door.Call) (any, error) {
	in, err := decode[updateRequest](c)
	if err != nil {
		return nil, err
	}
	v, err := in.read()
	if err != nil {
		return nil, err
	}
	r, err := s.ref(in.ID)
	if err != nil {
		return nil, err
	}
	x, version, err := s.secrets.Update(ctx, r, secret.Change{Description: in.Description, KMSKey: in.KMSKey, Value: v, Token: in.Token})
	if err != nil {
		return nil, err
	}
	c.Changed(nil, x)
	return versioned{name: s.nameOf(x), Version: version}, nil
}

// windowDefault is the recovery window where nobody asks for another, in days.
const windowDefault = 30

// deleteSecret is DeleteSecret.
func (s *Service) deleteSecret(ctx context.Context, c *door.Call) (any, error) {
	in, err := decode[struct {
		which
		Days  *int `json:"RecoveryWindowInDays"`
		Force bool `json:"ForceDeleteWithoutRecovery"`
	}](c)
	if err != nil {
		return nil, err
	}
	days := windowDefault
	switch {
	case in.Force && in.Days != nil:
		return nil, invalidParameter("You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.")
	case in.Force:
		days = 0
	case in.Days != nil:
		if days = *in.Days; days == 0 {
			return nil, invalidParameter("The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).")
		}
	}
	r, err := s.ref(in.ID)
	if err != nil {
		return nil, err
	}
	x, err := s.secrets.Delete(ctx, r, days)
	if in.Force && errors.Is(err, secret.ErrNotFound) { // which is what was asked for
		return struct{ Name string }{r.Name}, nil
	}
	if err != nil {
		return nil, err
	}
	c.Changed(x.Ref(), nil)
	return struct {
		name
		Deleted *float64 `json:"DeletionDate"`
	}{s.nameOf(x), seconds(x.Deleted)}, nil
}

// restoreSecret is RestoreSecret.
func (s *Service) restoreSecret(ctx context.Context, c *door.Call) (any, error) {
	r, err := s.refOf(c)
	if err != nil {
		return nil, err
	}
	x, err := s.secrets.Restore(ctx, r)
	if err != nil {
		return nil, err
	}
	c.Changed(nil, x)
	return s.nameOf(x), nil
}

// tagResource is TagResource.
func (s *Service) tagResource(ctx context.Context, c *door.Call) (any, error) {
	in, err := decode[struct {
		which
		Tags []tag `json:"Tags" aws:"required"`
	}](c)
	if err != nil {
		return nil, err
	}
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	r, err := s.ref(in.ID)
	if err != nil {
		return nil, err
	}
	x, err := s.secrets.Tag(ctx, r, tags)
	if errors.Is(err, secret.ErrLimit) { // which this operation does not declare
		err = invalidParameter("%s", because(err, secret.ErrLimit))
	}
	c.Changed(nil, x.Tags)
	return nil, err
}

// untagResource is UntagResource.
func (s *Service) untagResource(ctx context.Context, c *door.Call) (any, error) {
	in, err := decode[struct {
		which
		Keys []string `json:"TagKeys" aws:"required"`
	}](c)
	if err != nil {
		return nil, err
	}
	r, err := s.ref(in.ID)
	if err != nil {
		return nil, err
	}
	x, err := s.secrets.Untag(ctx, r, in.Keys)
	c.Changed(nil, x.Tags)
	return nil, err
}
