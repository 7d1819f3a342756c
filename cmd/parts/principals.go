package parts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/secure/iam"
	"millrace/secure/login"
)

// AccessKeys gives logins the access keys of IAM. It implements login.Keys.
type AccessKeys struct{ View *iam.View }

// Key implements login.Keys.
func (a AccessKeys) Key(ctx context.Context, id, sessionToken string) (login.Key, error) {
	c, err := a.View.Key(ctx, id, sessionToken)
	if errors.Is(err, iam.ErrKey) {
		return login.Key{}, fmt.Errorf("%w: %w", login.ErrUnknownKey, err)
	}
	if err != nil {
		return login.Key{}, err
	}
	return login.Key{ID: c.ID, Secret: c.Secret, Principal: c.Principal, Identity: c.Identity, Expires: c.Expires}, nil
}

// OpenView follows users, roles and keys until the end of running, and returns when they are known.
func OpenView(ctx context.Context, cluster string, store kv.KV, sealer iam.Sealer, log *slog.Logger, run func(what string, f func(context.Context) error)) (*iam.View, error) {
	view := iam.NewView(store, sealer, clock.System{}, log, iam.ViewConfig{Cluster: cluster})
	run("access keys", func(ctx context.Context) error {
		again(ctx, log, "access keys", view.Run)
		return nil
	})
	select {
	case <-view.Ready():
		return view, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("access keys: %w", ctx.Err())
	}
}

// againPause is before something is followed again that could not be.
const againPause = time.Second

// again goes on with f until ctx ends: what it knew when it failed stays known.
func again(ctx context.Context, log *slog.Logger, what string, f func(context.Context) error) {
	for ctx.Err() == nil {
		err := f(ctx)
		if ctx.Err() != nil {
			break
		}
		log.Warn("could not be followed, trying again", "what", what, "err", err)
		t := time.NewTimer(againPause)
		select {
		case <-ctx.Done():
			t.Stop()
		case <-t.C:
		}
	}
}
