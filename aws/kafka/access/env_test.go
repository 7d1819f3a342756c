package access

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"millrace/aws/arn"
	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/control"
	"millrace/control/configuration"
	"millrace/secure/iam"
	"millrace/secure/identity"
	"millrace/secure/scram"
	"millrace/secure/secret"
)

type sealer struct{}

func (sealer) Seal(plain, _ []byte) ([]byte, error) {
	out := bytes.Clone(plain)
	for i := range out {
		out[i] ^= 0x5a
	}
	return out, nil
}
func (s sealer) Open(sealed, context []byte) ([]byte, error) { return s.Seal(sealed, context) }

// plane has clusters.
type plane map[string]control.Cluster

func (p plane) Cluster(_ context.Context, name string) (control.Cluster, error) {
	c, ok := p[name]
	if !ok {
		return c, fmt.Errorf("%w: %q", control.ErrNoCluster, name)
	}
	return c, nil
}

func (p plane) Clusters(context.Context) ([]control.Cluster, error) {
	var all []control.Cluster
	for _, name := range slices.Sorted(maps.Keys(p)) {
		all = append(all, p[name])
	}
	return all, nil
}

// configurations has one.
type configurations struct{}

const configurationID = "conf/11111111-1111-1111-1111-111111111111-1"

func (configurations) Describe(_ context.Context, id string) (configuration.Configuration, error) {
	if id != configurationID {
		return configuration.Configuration{}, configuration.ErrNotFound
	}
	return configuration.Configuration{ID: id, Name: "conf"}, nil
}

// users has the credentials of clusters, as far as they can be told: by salt and stored key.
type users struct {
	mu    sync.Mutex
	of    map[string]scram.Credential // by CLUSTER/USER
	fail  error                       // of the next Alter
	after bool                        // it fails after it was done
	hook  func()                      // before the next Alter
	told  chan string                 // nil: nobody asks
}

func (u *users) Alter(_ context.Context, cluster string, changes []scram.Change) []error {
	u.mu.Lock()
	hook, fail := u.hook, u.fail
	u.hook, u.fail = nil, nil
	u.mu.Unlock()
	if hook != nil {
		hook()
	}
	errs := make([]error, len(changes))
	u.mu.Lock()
	for i, c := range changes {
		if fail != nil {
			if errs[i] = fail; !u.after {
				continue
			}
		}
		key := cluster + "/" + c.User
		if !c.Delete {
			u.of[key] = c.Credential
			continue
		}
		if _, there := u.of[key]; !there && errs[i] == nil {
			errs[i] = scram.ErrNotFound
		}
		delete(u.of, key)
	}
	u.mu.Unlock()
	if u.told != nil {
		for _, c := range changes {
			u.told <- c.User
		}
	}
	return errs
}

// password says whether a user's credential is of a password.
func (u *users) password(t interface{ Fatal(...any) }, user, password string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	c, ok := u.of[user]
	if !ok {
		return false
	}
	want, err := scram.FromPassword(identity.ScramSHA512, password, c.Salt, c.Iterations)
	if err != nil {
		t.Fatal(err)
	}
	return c.Mechanism == identity.ScramSHA512 && bytes.Equal(c.StoredKey, want.StoredKey)
}

// flaky breaks off after so many writes, before or after the last was done; below 0: never.
type flaky struct {
	kv.KV
	left  int
	after bool
}

var errBroken = errors.New("broken off")

func (f *flaky) Txn(ctx context.Context, cond []kv.Cond, then []kv.Op) (int64, error) {
	if f.left == 0 && !f.after {
		return 0, errBroken
	}
	rev, err := f.KV.Txn(ctx, cond, then)
	if f.left == 0 && err == nil {
		err = errBroken
	}
	f.left--
	if f.left < -1 {
		f.left = -1
	}
	return rev, err
}

type fixture struct {
	*Service
	kv      *kv.Memory
	clock   *clock.Manual
	plane   plane
	users   *users
	secrets *secret.Store
	assoc   AssociationsWorld
	log     *bytes.Buffer
}

var home = arn.Home{Region: "eu-west-1", Account: "123456789012"}

const mainID = "00000000-0000-0000-0000-00000000000a-1"

func newFixture(t interface{ Cleanup(func()) }) *fixture {
	f := &fixture{kv: kv.NewMemory(), clock: clock.NewManual(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)), users: &users{of: map[string]scram.Credential{}}, log: &bytes.Buffer{}}
	t.Cleanup(func() { _ = f.kv.Close() })
	f.plane = plane{
		"main": {Name: "main", Managed: control.Managed{ID: mainID, Phase: control.Active, Tags: map[string]string{"made": "with"},
			Settings: control.Settings{Auth: "scram,iam", PrivateAuth: "iam,scram"}}},
		"plain": {Name: "plain", Managed: control.Managed{ID: mainID, Phase: control.Active, Settings: control.Settings{Auth: "plaintext"}}},
		"less":  {Name: "less", Managed: control.Managed{ID: mainID, Phase: control.Active, Settings: control.Settings{Type: control.Serverless, Auth: "iam"}}},
		"new":   {Name: "new", Managed: control.Managed{ID: mainID, Phase: control.Creating, Settings: control.Settings{Auth: "scram", PrivateAuth: "scram"}}},
	}
	random := func(b []byte) { _, _ = rand.Read(b) }
	f.secrets = secret.NewStore(secret.World{KV: f.kv, Sealer: sealer{}, Clock: f.clock, Random: random})
	f.assoc = AssociationsWorld{KV: f.kv, Secrets: f.secrets, Credentials: f.users, Clusters: f.plane, Random: random, Log: slog.New(slog.NewTextHandler(f.log, nil))}
	f.Service = New(home, World{
		KV: f.kv, Clusters: f.plane, Configurations: configurations{}, IAM: iam.NewStore(f.kv, sealer{}, f.clock, nil),
		Associations: NewAssociations(f.assoc), Connections: NewConnections(f.kv, f.clock, f.plane),
	})
	return f
}

// say makes a secret, or gives it another value.
func (f *fixture) say(t *testing.T, name, value string) secret.Ref {
	t.Helper()
	x, err := f.store(name, value)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func (f *fixture) store(name, value string) (secret.Ref, error) {
	v := secret.Value{Bytes: []byte(value)}
	x, _, err := f.secrets.Create(context.Background(), secret.Spec{Name: name, KMSKey: "key", Value: &v})
	if errors.Is(err, secret.ErrExists) {
		x, _, err = f.secrets.Put(context.Background(), secret.Ref{Name: name}, "", v, nil)
	}
	return x.Ref(), err
}

func value(user, password string) string {
	return fmt.Sprintf(`{"username":%q,"password":%q}`, user, password)
}
