package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"millrace/base/kv"
	"millrace/control"
	"millrace/secure/scram"
	"millrace/secure/secret"
)

// The limits of Amazon MSK.
const (
	maxSecrets   = 1000 // of a cluster
	maxBatch     = 10   // of a call
	secretPrefix = "AmazonMSK_"
)

// Secrets are those of the installation; *secret.Store has them.
type Secrets interface {
	// Get opens a version; ID and stage "": the current one. Errors: secret.ErrNotFound, ErrDeleted.
	Get(ctx context.Context, r secret.Ref, id, stage string) (secret.Secret, secret.Version, secret.Value, error)
	// Follow tells the names of secrets that change until ctx ends or it fails; first "": any may have changed.
	Follow(ctx context.Context, changed func(name string)) error
}

// Credentials sets those of a cluster's users; a *scram.Store of the cluster does, while its Run runs.
type Credentials interface {
	// Alter makes changes and returns an error for each, in order; scram.ErrNotFound for what cannot be deleted.
	Alter(ctx context.Context, cluster string, changes []scram.Change) []error
}

// Clusters tells which clusters there are; *control.Plane does.
type Clusters interface {
	// Cluster returns one, or control.ErrNoCluster.
	Cluster(ctx context.Context, name string) (control.Cluster, error)
	// Clusters returns all.
	Clusters(ctx context.Context) ([]control.Cluster, error)
}

// AssociationsWorld is all that Associations touch outside themselves.
type AssociationsWorld struct {
	KV          kv.KV
	Secrets     Secrets
	Credentials Credentials
	Clusters    Clusters
	Random      func([]byte)
	Log         *slog.Logger
}

// Associations keep the credentials of clusters to what secrets say. Make them with NewAssociations; safe for concurrent use.
type Associations struct {
	world AssociationsWorld
	turn  chan struct{} // full while somebody changes credentials: two changes of one user must not cross
}

// NewAssociations makes Associations.
func NewAssociations(w AssociationsWorld) *Associations {
	return &Associations{world: w, turn: make(chan struct{}, 1)}
}

// alone waits until nobody else changes credentials; done lets the next one.
func (a *Associations) alone(ctx context.Context) (done func(), err error) {
	select {
	case a.turn <- struct{}{}:
		return func() { <-a.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// association is one secret of a cluster.
type association struct {
	Name     string `json:"name"`
	Tail     string `json:"tail"`
	User     string `json:"user"`
	Former   string `json:"former,omitempty"`   // user that the secret named before, whose credential has to go
	Version  string `json:"version,omitempty"`  // of the secret that is applied; "": none yet, or not for sure; goneVersion
	Removing bool   `json:"removing,omitempty"` // its credential has to go, then it
}

// goneVersion is that of a secret that is gone, and its credential with it.
const goneVersion = "gone"

func (a association) ref() secret.Ref { return secret.Ref{Name: a.Name, Tail: a.Tail} }

// associated are all secrets of a cluster.
type associated struct {
	Format  int           `json:"format"`
	Secrets []association `json:"secrets"` // by name
}

func (a associated) version() int { return a.Format }

func (a associated) find(r secret.Ref) int {
	return slices.IndexFunc(a.Secrets, func(x association) bool { return x.ref() == r })
}

// holder is the association that the credential of a user belongs to, also where it has yet to go; other than one; -1: none.
func (a associated) holder(user string, other secret.Ref) int {
	return slices.IndexFunc(a.Secrets, func(x association) bool { return x.ref() != other && (x.User == user || x.Former == user) })
}

func associatedKey(cluster string) string { return control.Prefix(cluster) + "scram-secrets" }

// edit changes the associations of a cluster.
func (a *Associations) edit(ctx context.Context, cluster string, change func(*associated) (bool, error)) error {
	_, err := edit(ctx, a.world.KV, associatedKey(cluster), func(r *associated) (bool, error) {
		r.Format = format
		return change(r)
	})
	return err
}

// List returns the secrets of a cluster by name.
func (a *Associations) List(ctx context.Context, cluster string) ([]secret.Ref, error) {
	r, _, err := read[associated](ctx, a.world.KV, associatedKey(cluster))
	var all []secret.Ref
	for _, x := range r.Secrets {
		if !x.Removing {
			all = append(all, x.ref())
		}
	}
	return all, err
}

// Refusal is why a secret cannot be associated, as the API tells it.
type Refusal struct{ Code, Message string }

// Error is the message.
func (r *Refusal) Error() string { return r.Message }

// InvalidSecretArn is AWS's own; the others are in its manner.
const (
	invalidSecretARN   = "InvalidSecretArn"
	invalidSecretValue = "InvalidSecretValue"
	duplicateUser      = "DuplicateUsername"
	limitExceeded      = "LimitExceeded"
	notAssociated      = "SecretNotAssociated"
	internalError      = "InternalError"
)

func refusal(code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, args...)}
}

// login is what a secret says.
type login struct {
	user, password, version string
}

// fetch reads a secret. The error is a *Refusal where the secret is at fault.
func (a *Associations) fetch(ctx context.Context, r secret.Ref) (login, error) {
	x, version, value, err := a.world.Secrets.Get(ctx, r, "", "")
	switch {
	case errors.Is(err, secret.ErrNotFound), errors.Is(err, secret.ErrDeleted):
		return login{}, fmt.Errorf("%w: %w", refusal(invalidSecretARN, "Amazon MSK wasn't able to access the provided secret."), err)
	case err != nil:
		return login{}, err
	case x.KMSKey == "":
		return login{}, refusal(invalidSecretARN, "The provided secret is encrypted with the default key. Use a secret with a customer managed AWS KMS key.")
	}
	var said struct {
		User     *string `json:"username"`
		Password *string `json:"password"`
	}
	if json.Unmarshal(value.Bytes, &said) != nil || said.User == nil || said.Password == nil || *said.Password == "" {
		return login{}, refusal(invalidSecretValue, `The secret's value must be a JSON object with the keys "username" and "password".`)
	}
	if scram.CheckUser(*said.User) != nil {
		return login{}, refusal(invalidSecretValue, "The username in the secret isn't valid.")
	}
	return login{*said.User, *said.Password, version.ID}, nil
}

// Associate has the user of a secret log in to a cluster; once more does no harm. The error is a *Refusal where the secret is at fault.
func (a *Associations) Associate(ctx context.Context, cluster string, r secret.Ref) error {
	if !strings.HasPrefix(r.Name, secretPrefix) {
		return refusal(invalidSecretARN, "The provided secret arn cannot be used with Amazon MSK. Secret names must have the prefix '%s'.", secretPrefix)
	}
	done, err := a.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	said, err := a.fetch(ctx, r)
	if err != nil {
		return err
	}
	if err := a.free(ctx, cluster, said.user, r); err != nil {
		return err
	}
	err = a.edit(ctx, cluster, func(all *associated) (bool, error) {
		i := all.find(r)
		switch {
		case all.holder(said.user, r) >= 0:
			return false, errTaken()
		case i >= 0 && !all.Secrets[i].Removing:
			return false, nil
		case i >= 0:
			all.Secrets[i].Removing, all.Secrets[i].Version = false, ""
			return true, nil
		case len(all.Secrets) >= maxSecrets:
			return false, refusal(limitExceeded, "A cluster can have at most %d associated secrets.", maxSecrets)
		}
		all.Secrets = append(all.Secrets, association{Name: r.Name, Tail: r.Tail, User: said.user})
		slices.SortFunc(all.Secrets, func(x, y association) int { return strings.Compare(x.Name+"-"+x.Tail, y.Name+"-"+y.Tail) })
		return true, nil
	})
	if err != nil {
		return err
	}
	return a.settle(ctx, cluster, r)
}

func errTaken() error {
	return refusal(duplicateUser, "Another secret that is associated with the cluster has the same username.")
}

// free finishes what another association has left of the credential of a user.
func (a *Associations) free(ctx context.Context, cluster, user string, r secret.Ref) error {
	all, _, err := read[associated](ctx, a.world.KV, associatedKey(cluster))
	if err != nil {
		return err
	}
	if i := all.holder(user, r); i >= 0 && (all.Secrets[i].Removing || all.Secrets[i].User != user) {
		return a.settle(ctx, cluster, all.Secrets[i].ref())
	}
	return nil
}

// Disassociate has the user log in no more. The error is a *Refusal where the secret is not associated.
func (a *Associations) Disassociate(ctx context.Context, cluster string, r secret.Ref) error {
	done, err := a.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	err = a.edit(ctx, cluster, func(all *associated) (bool, error) {
		i := all.find(r)
		if i < 0 {
			return false, refusal(notAssociated, "The provided secret isn't associated with the cluster.")
		}
		all.Secrets[i].Removing = true
		return true, nil
	})
	if err != nil {
		return err
	}
	return a.settle(ctx, cluster, r)
}

// Sync brings the credentials of all clusters to what their associations with a secret say; name "": with any. What fails with one does not
// keep the others.
func (a *Associations) Sync(ctx context.Context, name string) error {
	clusters, err := a.world.Clusters.Clusters(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range clusters {
		r, _, err := read[associated](ctx, a.world.KV, associatedKey(c.Name))
		errs = append(errs, err)
		for _, x := range r.Secrets {
			if name != "" && x.Name != name {
				continue
			}
			err := a.settleAlone(ctx, c.Name, x.ref())
			var refused *Refusal
			if errors.As(err, &refused) {
				a.world.Log.Warn("secret of a user is not followed", "cluster", c.Name, "secret", x.Name, "err", err)
				continue
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (a *Associations) settleAlone(ctx context.Context, cluster string, r secret.Ref) error {
	done, err := a.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	return a.settle(ctx, cluster, r)
}

// retryPause lies between two attempts of Run.
const retryPause = time.Second

// Run follows the secrets until ctx ends; then it returns nil. One process does, that which runs the control plane.
func (a *Associations) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		a.follow(ctx)
	}
	return nil
}

// follow goes on until something fails, and a moment more.
func (a *Associations) follow(ctx context.Context) {
	following, stop := context.WithCancelCause(ctx)
	err := a.world.Secrets.Follow(following, func(name string) {
		if err := a.Sync(following, name); err != nil {
			stop(err) // from the beginning, where everything is looked at
		}
	})
	if cause := context.Cause(following); cause != nil {
		err = cause
	}
	stop(nil)
	if ctx.Err() != nil {
		return
	}
	a.world.Log.Warn("secrets of users are not followed", "retry_in", retryPause, "err", err)
	timer := time.NewTimer(retryPause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
