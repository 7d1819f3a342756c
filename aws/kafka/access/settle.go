package access

import (
	"context"
	"errors"

	"millrace/secure/identity"
	"millrace/secure/scram"
	"millrace/secure/secret"
)

// settle brings the credential of one association to what the record and the secret say, and goes on until nothing has changed meanwhile
// (A3). The error is a *Refusal where the secret is at fault; then everything stays as it was.
func (a *Associations) settle(ctx context.Context, cluster string, r secret.Ref) error {
	for {
		all, _, err := read[associated](ctx, a.world.KV, associatedKey(cluster))
		if err != nil {
			return err
		}
		i := all.find(r)
		if i < 0 {
			return nil
		}
		x := all.Secrets[i]
		if x.Removing {
			return a.remove(ctx, cluster, x)
		}
		said, err := a.fetch(ctx, r)
		switch {
		case errors.Is(err, secret.ErrDeleted):
			return nil // it may come back
		case errors.Is(err, secret.ErrNotFound):
			if x.Version == goneVersion {
				return nil
			}
			said = login{user: x.User, version: goneVersion}
		case err != nil:
			return err
		}
		if x.Version == said.version && x.Former == "" {
			return nil
		}
		switch {
		case x.Former != "":
			err = a.drop(ctx, cluster, x)
		case x.User != said.user:
			err = a.rename(ctx, cluster, r, said.user)
		default:
			err = a.apply(ctx, cluster, x, said)
		}
		if err != nil {
			return err
		}
	}
}

// remove deletes the credential of an association, and then the association.
func (a *Associations) remove(ctx context.Context, cluster string, x association) error {
	if err := a.alter(ctx, cluster, forget(x.User, x.Former)); err != nil {
		return err
	}
	return a.edit(ctx, cluster, func(now *associated) (bool, error) {
		i := now.find(x.ref())
		if i < 0 || !now.Secrets[i].Removing { // associated anew
			return false, nil
		}
		now.Secrets = append(now.Secrets[:i:i], now.Secrets[i+1:]...)
		return true, nil
	})
}

// rename notes that a secret names another user now.
func (a *Associations) rename(ctx context.Context, cluster string, r secret.Ref, user string) error {
	if err := a.free(ctx, cluster, user, r); err != nil {
		return err
	}
	return a.edit(ctx, cluster, func(now *associated) (bool, error) {
		i := now.find(r)
		if i < 0 || now.Secrets[i].Removing || now.Secrets[i].Former != "" {
			return false, nil
		}
		if now.holder(user, r) >= 0 {
			return false, errTaken()
		}
		x := &now.Secrets[i]
		x.User, x.Former, x.Version = user, x.User, ""
		return true, nil
	})
}

// drop deletes the credential of the user that a secret named before.
func (a *Associations) drop(ctx context.Context, cluster string, x association) error {
	if err := a.alter(ctx, cluster, forget(x.Former)); err != nil {
		return err
	}
	return a.edit(ctx, cluster, func(now *associated) (bool, error) {
		i := now.find(x.ref())
		if i < 0 || now.Secrets[i].Former != x.Former {
			return false, nil
		}
		now.Secrets[i].Former = ""
		return true, nil
	})
}

// apply sets the credential of an association to what its secret says, and notes that it is.
func (a *Associations) apply(ctx context.Context, cluster string, x association, said login) error {
	changes := forget(x.User)
	if said.version != goneVersion {
		change, err := a.credential(said)
		if err != nil {
			return err
		}
		changes = []scram.Change{change}
	}
	if err := a.alter(ctx, cluster, changes); err != nil {
		return err
	}
	return a.edit(ctx, cluster, func(r *associated) (bool, error) {
		i := r.find(x.ref())
		if i < 0 || r.Secrets[i].Removing || r.Secrets[i].User != x.User {
			return false, nil
		}
		r.Secrets[i].Version = said.version
		return true, nil
	})
}

// credential makes one of SCRAM-SHA-512, of the shape that Kafka's tools make.
func (a *Associations) credential(said login) (scram.Change, error) {
	const saltBytes = 26
	salt := make([]byte, saltBytes)
	a.world.Random(salt)
	c, err := scram.FromPassword(identity.ScramSHA512, said.password, salt, scram.DefaultIterations)
	return scram.Change{User: said.user, Mechanism: identity.ScramSHA512, Credential: c}, err
}

// forget deletes the credentials of users; "": of nobody.
func forget(users ...string) []scram.Change {
	var all []scram.Change
	for _, user := range users {
		if user != "" {
			all = append(all, scram.Change{User: user, Mechanism: identity.ScramSHA512, Delete: true})
		}
	}
	return all
}

// alter changes credentials; what is to be deleted and is not there is as it should be.
func (a *Associations) alter(ctx context.Context, cluster string, changes []scram.Change) error {
	if len(changes) == 0 {
		return nil
	}
	errs := a.world.Credentials.Alter(ctx, cluster, changes)
	for i, err := range errs {
		if i < len(changes) && changes[i].Delete && errors.Is(err, scram.ErrNotFound) {
			errs[i] = nil
		}
	}
	return errors.Join(errs...)
}
