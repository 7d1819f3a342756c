package api

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/twmb/franz-go/pkg/kadm"
	fkerr "github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/aws"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"millrace/kafka/client"
	"millrace/secure/authz"
	"millrace/secure/identity"
	"millrace/secure/login"
	own "millrace/secure/scram"
	"millrace/secure/sigv4"
)

// oneKey is the keys of an installation that has one.
type oneKey struct{ id, secret string }

func (k oneKey) Key(_ context.Context, id, token string) (login.Key, error) {
	if id != k.id || token != "" {
		return login.Key{}, login.ErrUnknownKey
	}
	const arn = "arn:aws:iam::123456789012:user/alice"
	return login.Key{ID: k.id, Secret: k.secret, Principal: "User:" + arn, Identity: identity.IAM{ARN: arn, AccessKey: id}}, nil
}

// Real clients log in by every mechanism, and produce and consume then; with a wrong secret they are told that it is wrong.
func TestClientsLogIn(t *testing.T) {
	t.Setenv("AWS_REGION", "eu-west-9")
	key := oneKey{"AKIAALICEALICEALICE1", "alices/secret+key"}
	e := newEnv(t, options{keys: key, mechanisms: []identity.Mechanism{identity.ScramSHA512, identity.ScramSHA256, identity.MSKIAM, identity.OAuthBearer},
		static: map[string]string{"auto.create.topics.enable": "true"}})
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	e.user("alice", "alices-password")
	for name, m := range map[string]struct {
		right, wrong sasl.Mechanism
		principal    string
	}{
		"scram-256": {scram.Auth{User: "alice", Pass: "alices-password"}.AsSha256Mechanism(), scram.Auth{User: "alice", Pass: "x"}.AsSha256Mechanism(), "User:alice"},
		"scram-512": {scram.Auth{User: "alice", Pass: "alices-password"}.AsSha512Mechanism(), scram.Auth{User: "bob", Pass: "x"}.AsSha512Mechanism(), "User:alice"},
		"iam": {aws.Auth{AccessKey: key.id, SecretKey: key.secret}.AsManagedStreamingIAMMechanism(),
			aws.Auth{AccessKey: key.id, SecretKey: "x"}.AsManagedStreamingIAMMechanism(), ""},
		"oauth": {bearer(t, key), bearer(t, oneKey{key.id, "x"}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := kgo.NewClient(kgo.SeedBrokers(e.addr), kgo.SASL(m.right), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic(name), kgo.ConsumeTopics(name),
				kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			must(t, err)
			defer c.Close()
			must(t, c.ProduceSync(ctx, kgo.StringRecord("hello")).FirstErr())
			if fetched := c.PollFetches(ctx); fetched.Err() != nil || fetched.NumRecords() != 1 {
				t.Errorf("%v, %d records", fetched.Err(), fetched.NumRecords())
			}
			refused(ctx, t, e, m.wrong)
		})
	}
	refused(ctx, t, e, plain.Auth{User: "alice", Pass: "alices-password"}.AsMechanism())
	c := e.dial() // without a login
	c.send(int16(kmsg.Metadata), 9, kmsg.NewPtrMetadataRequest().AppendTo(nil))
	c.closed(int16(kmsg.Metadata), 9)
}

// refused checks that a client is told that it may not log in.
func refused(ctx context.Context, t *testing.T, e *env, m sasl.Mechanism) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(e.addr), kgo.SASL(m), kgo.RequestRetries(0))
	must(t, err)
	defer c.Close()
	_, err = kadm.NewClient(c).ListTopics(ctx)
	told := err != nil && m.Name() == "OAUTHBEARER" && strings.Contains(err.Error(), "oauth") // franz-go does not read the challenge
	if !told && !errors.Is(err, fkerr.SaslAuthenticationFailed) && !errors.Is(err, fkerr.UnsupportedSaslMechanism) {
		t.Errorf("%s: %v", m.Name(), err)
	}
}

// bearer is OAUTHBEARER with the token that the MSK IAM signers make.
func bearer(t *testing.T, key oneKey) sasl.Mechanism {
	return oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+sigv4.BearerHost("eu-west-9")+"/?Action=kafka-cluster%3AConnect&X-Amz-Expires=900", nil)
		must(t, err)
		signed, _, err := v4.NewSigner().PresignHTTP(ctx, sdk.Credentials{AccessKeyID: key.id, SecretAccessKey: key.secret}, r,
			"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "kafka-cluster", "eu-west-9", time.Now())
		must(t, err)
		return oauth.Auth{Token: base64.RawURLEncoding.EncodeToString([]byte(signed + "&User-Agent=x"))}, nil
	})
}

// user makes a user as kafka-configs does, with both mechanisms.
func (e *env) user(name, password string) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, m := range []identity.Mechanism{identity.ScramSHA256, identity.ScramSHA512} {
		credential, err := own.FromPassword(m, password, []byte("salt"), own.MinIterations)
		must(e.t, err)
		for _, err := range e.users.Alter(ctx, []own.Change{{User: name, Mechanism: m, Credential: credential}}) {
			must(e.t, err)
		}
	}
}

// A client logs in again before its session ends, and goes on without an error (KIP-368).
func TestClientLogsInAgain(t *testing.T) {
	e := newEnv(t, options{mechanisms: []identity.Mechanism{identity.ScramSHA512}, maxReauth: 3 * time.Second, static: map[string]string{"auto.create.topics.enable": "true"}})
	e.user("alice", "p")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(e.addr), kgo.SASL(scram.Auth{User: "alice", Pass: "p"}.AsSha512Mechanism()), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("t"))
	must(t, err)
	defer c.Close()
	for e.api.world.Door.Metrics().Reauthenticated.Load() < 2 {
		must(t, c.ProduceSync(ctx, kgo.StringRecord("hello")).FirstErr())
	}
	if n := e.api.world.Door.Metrics().Expired.Load(); n > 0 {
		t.Errorf("%d sessions expired", n)
	}
}

// The principal of a login is who is authorized.
func TestAuthorizerSeesWhoLoggedIn(t *testing.T) {
	seen := make(chan string, 100)
	e := newEnv(t, options{mechanisms: []identity.Mechanism{identity.ScramSHA512}, authorizer: deny(func(a authz.Access) bool {
		select {
		case seen <- a.Who.Principal:
		default:
		}
		return false
	})})
	e.user("alice", "p")
	c, err := kgo.NewClient(kgo.SeedBrokers(e.addr), kgo.SASL(scram.Auth{User: "alice", Pass: "p"}.AsSha512Mechanism()))
	must(t, err)
	defer c.Close()
	if _, err := kadm.NewClient(c).DescribeUserSCRAMs(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; got != "User:alice" {
		t.Errorf("authorized as %q", got)
	}
}

// The project's own client logs in by what the flags of the verbs say, and tells a refused login from a broker that is not there.
func TestOwnClientLogsIn(t *testing.T) {
	t.Setenv("AWS_REGION", "eu-west-9")
	key := oneKey{"AKIAALICEALICEALICE1", "alices/secret+key"}
	e := newEnv(t, options{keys: key, mechanisms: []identity.Mechanism{identity.ScramSHA512, identity.ScramSHA256, identity.MSKIAM}})
	e.user("alice", "alices-password")
	read := func(name string) ([]byte, error) { return []byte(name + "\n"), nil }
	secret := func(value string) func(string) string {
		return func(name string) string {
			return map[string]string{"AWS_ACCESS_KEY_ID": key.id, "AWS_SECRET_ACCESS_KEY": value}[name]
		}
	}
	for _, c := range []struct {
		security client.Security
		want     error
	}{
		{client.Security{SASL: client.SCRAM, User: "alice", PasswordFile: "alices-password", ReadFile: read}, nil},
		{client.Security{SASL: client.SCRAM256, User: "alice", PasswordFile: "alices-password", ReadFile: read}, nil},
		{client.Security{SASL: client.IAM, Getenv: secret(key.secret)}, nil},
		{client.Security{SASL: client.SCRAM, User: "alice", PasswordFile: "x", ReadFile: read}, client.ErrRefused},
		{client.Security{SASL: client.IAM, Getenv: secret("x")}, client.ErrRefused},
		{client.Security{}, client.ErrUnreachable},
	} {
		k, err := client.New(t.Context(), client.Config{Bootstrap: []string{e.addr}, Timeout: 5 * time.Second, Security: c.security})
		if err == nil {
			k.Close()
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s %s: %v, want %v", c.security.SASL, c.security.PasswordFile, err, c.want)
		}
		if c.want != nil && client.Hint(err) == "" {
			t.Errorf("no hint for %v", err)
		}
	}
}
