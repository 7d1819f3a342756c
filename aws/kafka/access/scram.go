package access

import (
	"context"
	"errors"
	"log/slog"

	"millrace/aws/door"
	"millrace/control"
	"millrace/secure/secret"
)

type secretsRequest struct {
	ARNs []string `json:"secretArnList" aws:"required,min=1"`
}

// unprocessed is a secret that nothing was done with, and why.
type unprocessed struct {
	Code    string `json:"errorCode"`
	Message string `json:"errorMessage"`
	ARN     string `json:"secretArn"`
}

// associate is BatchAssociateScramSecret.
func (s *Service) associate(ctx context.Context, c *door.Call) (any, error) {
	return s.batch(ctx, c, s.world.Associations.Associate)
}

// disassociate is BatchDisassociateScramSecret.
func (s *Service) disassociate(ctx context.Context, c *door.Call) (any, error) {
	return s.batch(ctx, c, s.world.Associations.Disassociate)
}

// batch does something with each secret of a request; one that it can't be done with does not keep the others.
func (s *Service) batch(ctx context.Context, c *door.Call, do func(context.Context, string, secret.Ref) error) (any, error) {
	r, err := door.Decode[secretsRequest](c)
	if err != nil {
		return nil, err
	}
	if len(r.ARNs) > maxBatch {
		return nil, door.BadRequest("secretArnList", "The secretArnList can't contain more than %d secrets.", maxBatch)
	}
	cl, err := s.scramCluster(ctx, c)
	if err != nil {
		return nil, err
	}
	not := []unprocessed{}
	var done []string
	for _, name := range r.ARNs {
		if refused := s.each(ctx, cl.Name, name, do); refused != nil {
			not = append(not, unprocessed{refused.Code, refused.Message, name})
			continue
		}
		done = append(done, name)
	}
	c.Changed(nil, done)
	return struct {
		Cluster     string        `json:"clusterArn"`
		Unprocessed []unprocessed `json:"unprocessedScramSecrets"`
	}{s.home.Cluster(cl.Name, cl.ID), not}, nil
}

// each does it with one.
func (s *Service) each(ctx context.Context, cluster, name string, do func(context.Context, string, secret.Ref) error) *Refusal {
	secretName, tail, err := s.home.FindSecret(name)
	if err != nil {
		return refusal(invalidSecretARN, "The provided secret ARN is invalid.")
	}
	err = do(ctx, cluster, secret.Ref{Name: secretName, Tail: tail})
	var refused *Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return refused
	}
	s.world.Associations.world.Log.LogAttrs(ctx, slog.LevelError, "secret of a user was not processed",
		slog.String("cluster", cluster), slog.String("secret", secretName), slog.Any("err", err))
	return refusal(internalError, "An internal error occurred. Try again.")
}

// scramCluster returns the cluster that the path names, if it has users of secrets.
func (s *Service) scramCluster(ctx context.Context, c *door.Call) (control.Cluster, error) {
	cl, err := s.cluster(ctx, c)
	switch {
	case err != nil:
		return cl, err
	case cl.Settings.Type == control.Serverless:
		return cl, door.BadRequest("clusterArn", "This operation isn't supported for serverless clusters.")
	case cl.Phase == control.Creating || cl.Phase == control.Deleting || cl.Phase == control.Broken:
		return cl, door.BadRequest("clusterArn", "You can't associate secrets with a cluster in %s state.", cl.Phase)
	case !offers(cl, control.LoginScram):
		return cl, door.BadRequest("clusterArn", "SASL/SCRAM authentication isn't turned on for the cluster.")
	}
	return cl, nil
}

// listSecrets is ListScramSecrets.
func (s *Service) listSecrets(ctx context.Context, c *door.Call) (any, error) {
	cl, err := s.cluster(ctx, c)
	if err != nil {
		return nil, err
	}
	all, err := s.world.Associations.List(ctx, cl.Name)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(all))
	for _, r := range all {
		names = append(names, s.home.Secret(r.Name, r.Tail))
	}
	page, next, err := door.Page(c, names, func(name string) string { return name })
	if err != nil {
		return nil, err
	}
	return struct {
		Next string   `json:"nextToken,omitempty"`
		ARNs []string `json:"secretArnList"`
	}{next, page}, nil
}
