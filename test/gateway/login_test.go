package gateway

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/aws"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/gateway"
	gwusers "millrace/gateway/users"
	"millrace/kafka/server"
	"millrace/secure/acl"
	"millrace/secure/authz"
	"millrace/secure/iam"
	"millrace/secure/identity"
	"millrace/secure/login"
	users "millrace/secure/scram"
	"millrace/secure/trail"
	"millrace/test/harness"
)

// sealer seals with a key that everybody knows.
type sealer struct{ gcm cipher.AEAD }

func newSealer(t testing.TB) sealer {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return sealer{gcm}
}

func (s sealer) Seal(plain, context []byte) ([]byte, error) {
	return s.gcm.Seal(nil, nil, plain, context), nil
}

func (s sealer) Open(sealed, context []byte) ([]byte, error) {
	return s.gcm.Open(nil, nil, sealed, context)
}

type keysOf struct{ view *iam.View }

func (k keysOf) Key(ctx context.Context, id, token string) (login.Key, error) {
	found, err := k.view.Key(ctx, id, token)
	if errors.Is(err, iam.ErrKey) {
		err = errors.Join(login.ErrUnknownKey, err)
	}
	return login.Key(found), err
}

type recorder struct {
	mu  sync.Mutex
	all []trail.Event
}

func (r *recorder) Record(e trail.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, e)
}

func (r *recorder) count(kind trail.Kind, outcome trail.Outcome) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.all {
		if e.Kind == kind && e.Outcome == outcome {
			n++
		}
	}
	return n
}

// secured is a gateway with the rooms that a real one has: users, ACLs, access keys and policies, in an etcd in memory.
type secured struct {
	*fixture
	users *users.Store
	acls  *acl.Store
	iam   *iam.Store
	trail *recorder
	tls   *tls.Config // that clients connect with; nil: without
}

const prefix = "clusters/test/"

func startSecured(t *testing.T, upstream string) *secured {
	t.Helper()
	store, seal, log := kv.NewMemory(), newSealer(t), slog.New(slog.NewTextHandler(t.Output(), nil))
	s := &secured{trail: &recorder{}}
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	t.Cleanup(func() { stop(); work.Wait(); _ = store.Close() })
	run := func(f func(context.Context) error) { work.Go(func() { _ = f(ctx) }) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	s.acls, err = acl.Open(ctx, store, prefix+"acls/")
	must(err)
	run(s.acls.Run)
	s.users, err = users.OpenStore(ctx, users.Config{Prefix: prefix}, users.World{KV: store, Sealer: seal, Random: func(b []byte) { _, _ = rand.Read(b) }, Log: log})
	must(err)
	run(s.users.Run)
	view := iam.NewView(store, seal, clock.System{}, log, iam.ViewConfig{Cluster: prefix})
	run(view.Run)
	s.iam = iam.NewStore(store, seal, clock.System{}, view)
	account, err := s.iam.OpenAccount(ctx)
	must(err)
	<-view.Ready()
	judge, err := authz.New(authz.Config{
		ClusterARN: fmt.Sprintf("arn:aws:kafka:us-east-1:%s:cluster/test/0123", account.ID), Cluster: "test", SuperUsers: []string{"User:root"},
	}, authz.World{ACLs: s.acls.Snapshot, Policies: view, Recorder: s.trail, Clock: clock.System{}})
	must(err)
	door, err := login.New(login.Config{Region: "us-east-1", Cluster: "test"},
		login.World{Users: s.users, Keys: keysOf{view}, Trail: s.trail, Clock: clock.System{}, Log: log})
	must(err)
	s.fixture = start(t, upstream, func(c *gateway.Config, w *gateway.World) {
		c.Listeners[0].Login.Mechanisms = []identity.Mechanism{identity.ScramSHA512, identity.ScramSHA256, identity.MSKIAM}
		w.Judge, w.Trail, w.Own = judge, s.trail, gwusers.Own(s.users)
		w.Connect = func(c *server.Conn, l login.Listener) (gateway.Session, error) { return door.Connected(c, l) }
	})
	return s
}

func (s *secured) user(t *testing.T, name, password string) {
	t.Helper()
	c, err := users.FromPassword(identity.ScramSHA512, password, []byte("some-salt-of-26-bytes-here"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.users.Alter(t.Context(), []users.Change{{User: name, Mechanism: identity.ScramSHA512, Credential: c}})...); err != nil {
		t.Fatal(err)
	}
}

// allow lets somebody do anything with the topic open.
func (s *secured) allow(t *testing.T, principal string) {
	t.Helper()
	b := acl.Binding{Resource: kmsg.ACLResourceTypeTopic, Name: "open", Pattern: kmsg.ACLResourcePatternTypeLiteral, Principal: principal, Host: "*",
		Operation: kmsg.ACLOperationAll, Permission: kmsg.ACLPermissionTypeAllow}
	if each, err := s.acls.Create(t.Context(), []acl.Binding{b}); errors.Join(append(each, err)...) != nil {
		t.Fatal(each, err)
	}
}

// as returns a client that logs in; nil: not by SASL. A refused login is not tried again for long.
func (s *secured) as(t *testing.T, how sasl.Mechanism, options ...kgo.Opt) *kgo.Client {
	all := []kgo.Opt{kgo.RequestRetries(0), kgo.RetryTimeout(0)}
	if how != nil {
		all = append(all, kgo.SASL(how))
	}
	if s.tls != nil {
		all = append(all, kgo.DialTLSConfig(s.tls))
	}
	return newClient(t, s.bootstrap, append(all, options...)...)
}

func password(name, secret string) sasl.Mechanism {
	return scram.Auth{User: name, Pass: secret}.AsSha512Mechanism()
}

// TestLogins: clients log in at the gateway by SCRAM and by IAM, Apache Kafka behind knows none of them, and each may do what its ACLs or
// its policies say.
func TestLogins(t *testing.T) {
	kafka := harness.StartKafka(t, harness.KafkaOptions{})
	createTopic(t, kafka.Bootstrap, "open", 1, 1)
	createTopic(t, kafka.Bootstrap, "closed", 1, 1)
	s := startSecured(t, kafka.Bootstrap)
	s.user(t, "alice", "wonder")
	s.user(t, "root", "rooted")
	s.allow(t, "User:alice")
	t.Run("scram", func(t *testing.T) { s.openNotClosed(t, password("alice", "wonder")) })
	t.Run("wrong password", func(t *testing.T) { s.refused(t, password("alice", "wander")) })
	t.Run("unknown user", func(t *testing.T) { s.refused(t, password("bob", "wonder")) })
	t.Run("made through the gateway", func(t *testing.T) {
		admin := kadm.NewClient(s.as(t, password("root", "rooted")))
		made, err := admin.AlterUserSCRAMs(deadline(t), nil, []kadm.UpsertSCRAM{{User: "carol", Mechanism: kadm.ScramSha512, Iterations: 4096, Password: "seaside"}})
		if err != nil || made["carol"].Err != nil {
			t.Fatal(err, made["carol"].Err)
		}
		told, err := admin.DescribeUserSCRAMs(deadline(t), "carol")
		if err != nil || len(told["carol"].CredInfos) != 1 {
			t.Fatal(err, told)
		}
		carol := kadm.NewClient(s.as(t, password("carol", "seaside")))
		if topics, err := carol.ListTopics(deadline(t)); err != nil || len(topics) != 0 {
			t.Errorf("carol sees %v, %v", topics.Names(), err)
		}
		gone, err := admin.AlterUserSCRAMs(deadline(t), []kadm.DeleteSCRAM{{User: "carol", Mechanism: kadm.ScramSha512}}, nil)
		if err != nil || gone["carol"].Err != nil {
			t.Fatal(err, gone)
		}
		s.refused(t, password("carol", "seaside"))
	})
	t.Run("iam", s.byIAM)
	if s.trail.count(trail.Login, trail.Accepted) == 0 || s.trail.count(trail.Login, trail.Refused) == 0 || s.trail.count(trail.Refusal, trail.Refused) == 0 ||
		s.trail.count(trail.Admin, trail.Accepted) < 2 {
		t.Errorf("the trail has %+v", s.trail.all)
	}
}

func (s *secured) byIAM(t *testing.T) {
	key := s.dave(t)
	s.openNotClosed(t, byKey(key.ID, key.Secret))
	s.refused(t, byKey(key.ID, key.Secret+"x"))
	if err := s.iam.SetKey(t.Context(), key.ID, false); err != nil {
		t.Fatal(err)
	}
	s.refused(t, byKey(key.ID, key.Secret))
}

func byKey(id, secret string) sasl.Mechanism {
	return aws.ManagedStreamingIAM(func(context.Context) (aws.Auth, error) { return aws.Auth{AccessKey: id, SecretKey: secret}, nil })
}

// dave is a user with a key, who may do anything with the topic open.
func (s *secured) dave(t *testing.T) iam.NewKey {
	t.Helper()
	t.Setenv("AWS_REGION", "us-east-1") // franz-go's, for a broker whose name does not tell
	if _, err := s.iam.CreateUser(t.Context(), "dave", nil); err != nil {
		t.Fatal(err)
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["kafka-cluster:Connect","kafka-cluster:WriteDataIdempotently"],"Resource":"*"},
		{"Effect":"Allow","Action":"kafka-cluster:*","Resource":"arn:aws:kafka:*:*:topic/*/*/open"}]}`
	if err := s.iam.PutInline(t.Context(), iam.Owner{Name: "dave"}, "data", []byte(policy)); err != nil {
		t.Fatal(err)
	}
	key, err := s.iam.CreateKey(t.Context(), "dave")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// openNotClosed works with one topic, and cannot with the other, nor see it.
func (s *secured) openNotClosed(t *testing.T, how sasl.Mechanism) {
	t.Helper()
	c := s.as(t, how, kgo.ConsumeTopics("open"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err := c.ProduceSync(deadline(t), &kgo.Record{Topic: "open", Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	fetches := c.PollFetches(deadline(t))
	if err := fetches.Err(); err != nil || fetches.NumRecords() == 0 {
		t.Fatalf("%d records, %v", fetches.NumRecords(), err)
	}
	err := c.ProduceSync(deadline(t), &kgo.Record{Topic: "closed", Value: []byte("v")}).FirstErr()
	if !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Errorf("produce to closed: %v", err)
	}
	topics, err := kadm.NewClient(c).ListTopics(deadline(t))
	if err != nil || topics.Has("closed") || !topics.Has("open") {
		t.Errorf("topics %v, %v", topics.Names(), err)
	}
}

func (s *secured) refused(t *testing.T, how sasl.Mechanism) {
	t.Helper()
	if err := s.as(t, how).Ping(deadline(t)); err == nil {
		t.Error("let in")
	}
}
