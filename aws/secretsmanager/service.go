package secretsmanager

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"millrace/aws/arn"
	"millrace/aws/door"
	"millrace/secure/secret"
)

// Secrets is what the service needs of the store, as *secret.Store has it.
type Secrets interface {
	// Create makes a secret; version is the ID of its first version, "": it has none.
	Create(ctx context.Context, spec secret.Spec) (made secret.Secret, version string, err error)
	// Put gives a secret a version; without stages it becomes AWSCURRENT.
	Put(ctx context.Context, r secret.Ref, token string, v secret.Value, stages []string) (secret.Secret, secret.Version, error)
	// Get opens a version by ID, by stage, by both, or with neither the current one.
	Get(ctx context.Context, r secret.Ref, id, stage string) (secret.Secret, secret.Version, secret.Value, error)
	// Describe returns what may be told of a secret, also of one that is marked for deletion.
	Describe(ctx context.Context, r secret.Ref) (secret.Secret, error)
	// Update changes a secret; version is the ID of the version that came of it, "": none.
	Update(ctx context.Context, r secret.Ref, c secret.Change) (x secret.Secret, version string, err error)
	// Move gives a stage to a version, or takes it away where to is "".
	Move(ctx context.Context, r secret.Ref, stage, from, to string) (secret.Secret, error)
	// List returns all secrets by name, those that are marked for deletion included.
	List(ctx context.Context) ([]secret.Secret, error)
	// Delete marks a secret for deletion in so many days; 0: it is gone at once.
	Delete(ctx context.Context, r secret.Ref, days int) (secret.Secret, error)
	// Restore has a secret stay that was marked for deletion.
	Restore(ctx context.Context, r secret.Ref) (secret.Secret, error)
	// Tag gives a secret tags, beside those that it has.
	Tag(ctx context.Context, r secret.Ref, tags map[string]string) (secret.Secret, error)
	// Untag takes tags away.
	Untag(ctx context.Context, r secret.Ref, keys []string) (secret.Secret, error)
	// SetPolicy gives a secret a resource policy; nil: it has none any more.
	SetPolicy(ctx context.Context, r secret.Ref, document []byte) (secret.Secret, error)
}

// Service answers the operations. Make one with New.
type Service struct {
	home    arn.Home
	secrets Secrets
}

// New makes a Service of an installation's secrets.
func New(home arn.Home, secrets Secrets) *Service { return &Service{home: home, secrets: secrets} }

// Door is what the door serves.
func (s *Service) Door() door.Service {
	return door.Service{Name: "secretsmanager", Protocol: door.JSON11, Target: "secretsmanager", Operations: s.operations(), Error: told, Tags: s.tags}
}

func (s *Service) operations() []door.Operation {
	type handle = func(context.Context, *door.Call) (any, error)
	op := func(name string, reads bool, resource func(*door.Call) string, h handle) door.Operation {
		return door.Operation{Name: name, Reads: reads, Action: "secretsmanager:" + name, Resource: resource, Handle: h}
	}
	all := []door.Operation{
		op("CreateSecret", false, s.created, s.createSecret),
		op("PutSecretValue", false, s.named, s.putSecretValue),
		op("GetSecretValue", true, s.named, s.getSecretValue),
		op("DescribeSecret", true, s.named, s.describeSecret),
		op("UpdateSecret", false, s.named, s.updateSecret),
		op("UpdateSecretVersionStage", false, s.named, s.updateSecretVersionStage),
		op("ListSecrets", true, nil, s.listSecrets),
		op("ListSecretVersionIds", true, s.named, s.listSecretVersionIDs),
		op("DeleteSecret", false, s.named, s.deleteSecret),
		op("RestoreSecret", false, s.named, s.restoreSecret),
		op("TagResource", false, s.named, s.tagResource),
		op("UntagResource", false, s.named, s.untagResource),
		op("GetResourcePolicy", true, s.named, s.getResourcePolicy),
		op("PutResourcePolicy", false, s.named, s.putResourcePolicy),
		op("DeleteResourcePolicy", false, s.named, s.deleteResourcePolicy),
	}
	for i := range all {
		all[i].Tags = requestTags
	}
	return all
}

// which is what names a secret in a request.
type which struct {
	ID string `json:"SecretId" aws:"required,min=1,max=2048"`
}

// ref reads an ARN, the ARN without its random end, or a name.
func (s *Service) ref(id string) (secret.Ref, error) {
	if !strings.HasPrefix(id, "arn:") {
		return secret.Ref{Name: id}, nil
	}
	name, tail, err := s.home.FindSecret(id)
	if errors.Is(err, arn.ErrForm) {
		var ok bool
		if name, ok = strings.CutPrefix(id, strings.TrimSuffix(s.home.Secret("", ""), "-")); ok {
			return secret.Ref{Name: name}, nil
		}
		return secret.Ref{}, invalidParameter("Invalid secret ARN.")
	}
	return secret.Ref{Name: name, Tail: tail}, err
}

// unknownTail stands for the random end of an ARN where there is none yet; policies end in -?????? or -*.
const unknownTail = "??????"

// created is the ARN that a secret will have.
func (s *Service) created(c *door.Call) string {
	var in struct{ Name string }
	_ = json.Unmarshal(c.Body, &in) // what it cannot read is refused later
	return s.home.Secret(in.Name, unknownTail)
}

// named is the ARN of the secret that a request names.
func (s *Service) named(c *door.Call) string {
	var in which
	_ = json.Unmarshal(c.Body, &in)
	r, err := s.ref(in.ID)
	if err != nil {
		return in.ID
	}
	if x, err := s.secrets.Describe(c.Request.Context(), r); err == nil {
		return s.home.Secret(x.Name, x.Tail)
	}
	if r.Tail == "" {
		r.Tail = unknownTail
	}
	return s.home.Secret(r.Name, r.Tail)
}

// requestTags are those that a request gives and takes.
func requestTags(c *door.Call) (set map[string]string, removed []string) {
	var in struct {
		Tags    []tag
		TagKeys []string
	}
	_ = json.Unmarshal(c.Body, &in)
	for _, t := range in.Tags {
		if set == nil {
			set = map[string]string{}
		}
		set[t.Key] = t.Value
	}
	return set, in.TagKeys
}

// tags are those of the secret of an ARN.
func (s *Service) tags(ctx context.Context, name string) map[string]string {
	r, err := s.ref(name)
	if err != nil {
		return nil
	}
	x, err := s.secrets.Describe(ctx, r)
	if err != nil {
		return nil
	}
	return x.Tags
}
