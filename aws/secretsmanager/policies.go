package secretsmanager

import (
	"context"

	"millrace/aws/door"
	"millrace/secure/secret"
)

// getResourcePolicy is GetResourcePolicy.
func (s *Service) getResourcePolicy(ctx context.Context, c *door.Call) (any, error) {
	x, err := s.find(ctx, c)
	if err != nil {
		return nil, err
	}
	if !x.Deleted.IsZero() {
		return nil, secret.ErrDeleted
	}
	return struct {
		name
		Policy string `json:"ResourcePolicy,omitempty"`
	}{s.nameOf(x), string(x.Policy)}, nil
}

// putResourcePolicy is PutResourcePolicy.
func (s *Service) putResourcePolicy(ctx context.Context, c *door.Call) (any, error) {
	in, err := decode[struct {
		which
		Policy string `json:"ResourcePolicy" aws:"required,min=1,max=20480"`
	}](c)
	if err != nil {
		return nil, err
	}
	return s.setPolicy(ctx, c, []byte(in.Policy))
}

// deleteResourcePolicy is DeleteResourcePolicy.
func (s *Service) deleteResourcePolicy(ctx context.Context, c *door.Call) (any, error) {
	return s.setPolicy(ctx, c, nil)
}

func (s *Service) setPolicy(ctx context.Context, c *door.Call, document []byte) (any, error) {
	r, err := s.refOf(c)
	if err != nil {
		return nil, err
	}
	x, err := s.secrets.SetPolicy(ctx, r, document)
	if err != nil {
		return nil, err
	}
	c.Changed(nil, x.Policy)
	return s.nameOf(x), nil
}
