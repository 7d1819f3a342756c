package managed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"millrace/test/harness"
)

// ask has one of AWS's own programs make a request, and gives its answer. Arguments have the names that the API gives them.
type ask func(t *testing.T, service, operation string, arguments map[string]any) map[string]any

// programs are those that can be asked, in the environment of a site's clients.
func (s site) programs(t *testing.T) map[string]ask {
	t.Helper()
	python := harness.Require(t, harness.Python)
	run := func(t *testing.T, name string, args ...string) map[string]any {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Env = append(s.env, "AWS_PAGER=", "AWS_MAX_ATTEMPTS=2")
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, errs.String())
		}
		answer := map[string]any{}
		if err := json.Unmarshal(out, &answer); err != nil && len(strings.TrimSpace(string(out))) > 0 {
			t.Fatalf("%v: %s", err, out)
		}
		return answer
	}
	text := func(t *testing.T, arguments map[string]any) string {
		t.Helper()
		b, err := json.Marshal(arguments)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	return map[string]ask{
		"CLI": func(t *testing.T, service, operation string, arguments map[string]any) map[string]any {
			t.Helper()
			return run(t, filepath.Join(filepath.Dir(python), "aws"), service, strings.ReplaceAll(operation, "_", "-"), "--cli-input-json", text(t, arguments), "--output", "json")
		},
		"boto3": func(t *testing.T, service, operation string, arguments map[string]any) map[string]any {
			t.Helper()
			return run(t, python, filepath.Join("testdata", "call.py"), service, operation, text(t, arguments))
		},
	}
}

// startSecure is start where the API asks who comes, over TLS, and everything that is kept is encrypted.
func startSecure(t *testing.T) site {
	t.Helper()
	return startWith(t, harness.MillraceOptions{KeepRebalanceDelay: true, Args: []string{"--secure"}})
}

// TestSecureTours has boto3 and the AWS CLI go through every operation where the API asks who comes.
func TestSecureTours(t *testing.T) {
	harness.Long(t, "make managed")
	python := harness.Require(t, harness.Python)
	t.Run("boto3", func(t *testing.T) {
		s := startSecure(t)
		s.run(t, python, filepath.Join("testdata", "tour.py")).complete(t)
	})
	t.Run("CLI", func(t *testing.T) {
		s := startSecure(t)
		s.env = append(s.env, "AWS="+filepath.Join(filepath.Dir(python), "aws"))
		s.run(t, filepath.Join("testdata", "tour.sh"), filepath.Join(t.TempDir(), "calls")).complete(t)
	})
}

// TestScramSecrets lets a client in by a secret, from its making to its end, as each program asks for it.
func TestScramSecrets(t *testing.T) {
	harness.Long(t, "make suite SUITE=managed")
	s := startSecure(t)
	programs := s.programs(t)
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		if name == "CLI" && !harness.Everything() {
			continue // it takes a second for each call
		}
		t.Run(name, func(t *testing.T) { s.scramSecret(t, programs[name], strings.ToLower(name)) })
	}
}

func (s site) scramSecret(t *testing.T, do ask, name string) {
	t.Helper()
	type object = map[string]any
	cluster := do(t, "kafka", "create_cluster_v2", object{"ClusterName": "scram-" + name, "Provisioned": object{
		"BrokerNodeGroupInfo": object{"ClientSubnets": nodes.ClientSubnets, "InstanceType": *nodes.InstanceType}, "KafkaVersion": "3.9.x",
		"NumberOfBrokerNodes": 3, "ClientAuthentication": object{"Sasl": object{"Scram": object{"Enabled": true}}},
	}})["ClusterArn"]
	harness.Eventually(t, time.Minute, "the cluster", func(context.Context) error {
		info, _ := do(t, "kafka", "describe_cluster_v2", object{"ClusterArn": cluster})["ClusterInfo"].(object)
		if info["State"] != "ACTIVE" {
			return fmt.Errorf("it is %v", info["State"])
		}
		return nil
	})
	at, _ := do(t, "kafka", "get_bootstrap_brokers", object{"ClusterArn": cluster})["BootstrapBrokerStringSaslScram"].(string)
	door := scramDoor{at: strings.Split(at, ","), trust: s.trust(t)}
	do(t, "kafka", "create_topic", object{"ClusterArn": cluster, "TopicName": "t", "PartitionCount": 3, "ReplicationFactor": 3})

	user, first, second := "alice-"+name, "open sesame", "open barley"
	value := func(password string) string { return fmt.Sprintf(`{"username":%q,"password":%q}`, user, password) }
	secret := do(t, "secretsmanager", "create_secret", object{"Name": "AmazonMSK_" + user, "KmsKeyId": "alias/" + name, "SecretString": value(first)})["ARN"]
	door.refuses(t, "before the secret is associated", user, first)
	secrets := object{"ClusterArn": cluster, "SecretArnList": []any{secret}}
	none := func(answer object) {
		t.Helper()
		if left, _ := answer["UnprocessedScramSecrets"].([]any); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
	none(do(t, "kafka", "batch_associate_scram_secret", secrets))
	door.admits(t, "the secret is associated", user, first)
	door.refuses(t, "a wrong password", user, second)
	do(t, "secretsmanager", "put_secret_value", object{"SecretId": secret, "SecretString": value(second)})
	door.admits(t, "the secret is another", user, second)
	door.refuses(t, "the password before", user, first)
	none(do(t, "kafka", "batch_disassociate_scram_secret", secrets))
	door.refuses(t, "the secret is not associated any more", user, second)
	do(t, "secretsmanager", "delete_secret", object{"SecretId": secret, "ForceDeleteWithoutRecovery": true})
	do(t, "kafka", "delete_cluster", object{"ClusterArn": cluster})
}

// trust is the certificate authority of the site.
func (s site) trust(t *testing.T) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(s.Dir, "secure", "ca.pem"))
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		t.Fatalf("authority: %v", err)
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
}

// scramDoor is where clients of a cluster log in by passwords.
type scramDoor struct {
	at    []string
	trust *tls.Config
}

func (d scramDoor) client(t *testing.T, user, password string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	login := scram.Auth{User: user, Pass: password}.AsSha512Mechanism()
	return newClient(t, append(options, kgo.DialTLSConfig(d.trust), kgo.SASL(login), kgo.DisableClientMetrics())...)
}

// admits waits until every broker lets the user in, who then writes and reads.
func (d scramDoor) admits(t *testing.T, when, user, password string) {
	t.Helper()
	d.each(t, when, user, password, func(err error) bool { return err == nil })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c := d.client(t, user, password, kgo.SeedBrokers(d.at...), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer c.Close()
	if err := c.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte(when)}).FirstErr(); err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	for found := false; !found; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { found = found || string(r.Value) == when })
	}
}

// refuses waits until no broker lets the user in any more, because of who it is.
func (d scramDoor) refuses(t *testing.T, when, user, password string) {
	t.Helper()
	d.each(t, when, user, password, func(err error) bool { return errors.Is(err, kerr.SaslAuthenticationFailed) })
}

func (d scramDoor) each(t *testing.T, when, user, password string, want func(error) bool) {
	t.Helper()
	for _, broker := range d.at {
		harness.Eventually(t, 10*time.Second, when+" at "+broker, func(ctx context.Context) error {
			c := d.client(t, user, password, kgo.SeedBrokers(broker), kgo.RetryTimeout(time.Second))
			defer c.Close()
			if err := c.Ping(ctx); !want(err) {
				return fmt.Errorf("the login ends with: %w", errors.Join(err, errors.New("(end)")))
			}
			return nil
		})
	}
}
