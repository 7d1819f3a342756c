package access

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"millrace/aws/door"
	"millrace/aws/kafka/fault"
	"millrace/base/kv"
	"millrace/control"
	"millrace/secure/iam"
)

// Versions of policies are told as a K and 13 digits of base 36.
const (
	versionDigits = 13
	versionBase   = 36
)

func policyVersion(n int64) string {
	return "K" + fmt.Sprintf("%0*s", versionDigits, strings.ToUpper(strconv.FormatInt(n, versionBase)))
}

// readVersion is the reverse; ok is false for what policyVersion does not make.
func readVersion(text string) (n int64, ok bool) {
	digits, ok := strings.CutPrefix(text, "K")
	if !ok || len(digits) != versionDigits {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, versionBase, 64)
	return n, err == nil && n > 0 && policyVersion(n) == text
}

func errVersion() error {
	return door.BadRequest("currentVersion", "The version of the cluster policy isn't current. Check the current version and try again.")
}

// putPolicy is PutClusterPolicy.
func (s *Service) putPolicy(ctx context.Context, c *door.Call) (any, error) {
	r, err := door.Decode[struct {
		Version string `json:"currentVersion"`
		Policy  string `json:"policy" aws:"required,min=1"`
	}](c)
	if err != nil {
		return nil, err
	}
	var version int64
	if r.Version != "" {
		var ok bool
		if version, ok = readVersion(r.Version); !ok {
			return nil, errVersion()
		}
	}
	cl, err := s.cluster(ctx, c)
	if err != nil {
		return nil, err
	}
	next, err := s.world.IAM.SetClusterPolicy(ctx, control.Prefix(cl.Name), []byte(r.Policy), version)
	switch {
	case errors.Is(err, kv.ErrConflict):
		return nil, errVersion()
	case errors.Is(err, iam.ErrInvalid):
		return nil, door.BadRequest("policy", "%s", fault.Because(err, iam.ErrInvalid))
	case err != nil:
		return nil, err
	}
	c.Changed(nil, r.Policy)
	return struct {
		Version string `json:"currentVersion"`
	}{policyVersion(next)}, nil
}

// getPolicy is GetClusterPolicy.
func (s *Service) getPolicy(ctx context.Context, c *door.Call) (any, error) {
	cl, err := s.cluster(ctx, c)
	if err != nil {
		return nil, err
	}
	document, version, err := s.world.IAM.ClusterPolicy(ctx, control.Prefix(cl.Name))
	if errors.Is(err, iam.ErrNotFound) {
		err = errNoPolicy
	}
	if err != nil {
		return nil, err
	}
	return struct {
		Version string `json:"currentVersion"`
		Policy  string `json:"policy"`
	}{policyVersion(version), string(document)}, nil
}

// deletePolicy is DeleteClusterPolicy.
func (s *Service) deletePolicy(ctx context.Context, c *door.Call) (any, error) {
	cl, err := s.cluster(ctx, c)
	if err != nil {
		return nil, err
	}
	err = s.world.IAM.DeleteClusterPolicy(ctx, control.Prefix(cl.Name))
	if errors.Is(err, iam.ErrNotFound) {
		err = errNoPolicy
	}
	if err == nil {
		c.Changed(cl.Name, nil)
	}
	return nil, err
}
