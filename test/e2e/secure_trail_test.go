package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/aws"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"millrace/base/disk"
	"millrace/secure/trail"
	"millrace/test/harness"
)

// told keeps all that verbs print, for the search for secrets.
type told struct{ text bytes.Buffer }

// as runs millrace with a key, and returns what it printed and its exit code. What prints a secret on purpose is asked for by secret.
func (k *told) as(s secured, id, secret string, args ...string) (string, int) {
	s.t.Helper()
	out, code := s.run(id, secret, args...)
	k.text.WriteString(out)
	return out, code
}

func (s secured) run(id, secret string, args ...string) (string, int) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), harness.MillraceBinary(s.t), args...)
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+id, "AWS_SECRET_ACCESS_KEY="+secret, "AWS_REGION=us-east-1", "MILLRACE_CA="+s.ca(), "MILLRACE_API=https://"+s.API)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// lines are what `audit log` prints.
func (s secured) lines(args ...string) (lines []trail.Entry) {
	s.t.Helper()
	decode(s.t.(*testing.T), s.verb(append([]string{"audit", "log", "--data", s.Dir, "--output", "json"}, args...)...), &lines)
	return lines
}

// recorded waits for a line.
func (s secured) recorded(what string, args ...string) (found trail.Entry) {
	s.t.Helper()
	harness.Eventually(s.t, 20*time.Second, what+" in the audit trail", func(context.Context) error {
		lines := s.lines(args...)
		if len(lines) == 0 {
			return errors.New("no such line")
		}
		found = lines[len(lines)-1]
		return nil
	})
	return found
}

// TestAuditOfSecureCluster does what administrators and strangers do, and looks for all of it, and for no secret, in the trail.
func TestAuditOfSecureCluster(t *testing.T) {
	harness.Long(t, "make suite SUITE=e2e")
	const password, wrong = "wonderland-7f3a", "looking-glass-91c2"
	copies, dir := filepath.Join(t.TempDir(), "copies"), filepath.Join(t.TempDir(), "data")
	s := serveSecure(t, harness.MillraceOptions{Dir: dir}, "--secure", "--audit-ship", "file://"+copies, "--super-users", "User:chief")
	var said told
	rootID, rootSecret := s.root()
	root := func(args ...string) string {
		out, code := said.as(s, rootID, rootSecret, args...)
		if code != 0 {
			t.Fatalf("millrace %s: exit code %d\n%s", strings.Join(args, " "), code, out)
		}
		return out
	}
	s.topic("t", 1)
	admin := kadm.NewClient(s.iam())
	alice, chief := s.user("alice", password), s.user("chief", password+"-chief")
	cert := s.certificate("bob")
	works(t, "alice", s.client(portScram, s.trust(), alice), "t")
	works(t, "bob", s.client(portTLS, s.trust(cert), nil), "t")
	keptOut(t, "a wrong password", s.client(portScram, s.trust(), scram.Auth{User: "alice", Pass: wrong}.AsSha512Mechanism(), kgo.RetryTimeout(time.Second)))
	keptOut(t, "no certificate", s.client(portTLS, s.trust(), nil, kgo.RetryTimeout(time.Second)))

	// Somebody with a key and no policy, at both doors.
	root("iam", "user", "create", "eve")
	var key struct {
		ID     string `json:"access_key_id"`
		Secret string `json:"secret_access_key"`
	}
	text, code := s.run(rootID, rootSecret, "iam", "key", "create", "eve", "--output", "json")
	if code != 0 {
		t.Fatal(text)
	}
	decode(t, text, &key)
	var session map[string]any
	if text, code = s.run(rootID, rootSecret, "iam", "session", "create", "--output", "json"); code != 0 {
		t.Fatal(text)
	}
	decode(t, text, &session)
	temporary := func(name string) string { v, _ := session[name].(string); return v }
	t.Setenv("AWS_SESSION_TOKEN", temporary("session_token"))
	if out, code := said.as(s, temporary("access_key_id"), temporary("secret_access_key"), "cluster", "hosts"); code != 0 {
		t.Errorf("by a session %v: %s", slices.Collect(maps.Keys(session)), out)
	}
	t.Setenv("AWS_SESSION_TOKEN", "")
	keptOut(t, "who may not connect", s.client(portIAM, s.trust(), aws.Auth{AccessKey: key.ID, SecretKey: key.Secret}.AsManagedStreamingIAMMechanism(), kgo.RetryTimeout(time.Second)))
	if out, code := said.as(s, key.ID, key.Secret, "cluster", "roll"); code == 0 {
		t.Errorf("who has no policy rolled the cluster: %s", out)
	}

	// Changes by Kafka and by the API.
	day := "86400000"
	if _, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &day}}, "t"); err != nil {
		t.Fatal(err)
	}
	acls := kadm.NewACLs().Topics("t").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kmsg.ACLOperationAlterConfigs).Deny("User:alice")
	wide := kadm.NewACLs().AnyResource().Topics("*").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kmsg.ACLOperationAll).Allow("User:*")
	for _, b := range []*kadm.ACLBuilder{acls, wide} {
		if done, err := admin.CreateACLs(t.Context(), b); err != nil || done[0].Err != nil {
			t.Fatal(err, done)
		}
	}
	root("network", "group", "create", "office", "--allow", "192.0.2.0/24")
	root("network", "group", "set", "office", "--allow", "198.51.100.0/24")
	s.refusedOften(kadm.NewClient(s.client(portScram, s.trust(), alice)))
	if done, err := kadm.NewClient(s.client(portScram, s.trust(), chief)).DeleteTopic(t.Context(), "none"); !errors.Is(errors.Join(err, done.Err), kerr.UnknownTopicOrPartition) {
		t.Errorf("a super user is asked: %v", err)
	}

	s.allRecorded(key.ID)
	var alerts []struct{ Rule, Subject string }
	harness.Eventually(t, 30*time.Second, "alerts", func(context.Context) error {
		decode(t, root("audit", "alerts", "--data", s.Dir, "--output", "json"), &alerts)
		rules := map[string]bool{}
		for _, a := range alerts {
			rules[a.Rule] = true
		}
		if !rules["repeated-refusals"] || !rules["policy-widened"] {
			return fmt.Errorf("%v", alerts)
		}
		return nil
	})
	s.reports(&said, rootID, rootSecret)
	root("audit", "log", "--data", s.Dir)
	root("audit", "verify", "--data", s.Dir)
	s.copied(copies)
	s.Stop(t)

	root("audit", "verify", "--data", s.Dir)
	s.tampered()
	secrets := map[string]string{"password": password, "wrong password": wrong, "root's secret": rootSecret, "eve's secret": key.Secret,
		"session's secret": temporary("secret_access_key"), "session token": temporary("session_token")}
	s.keptSecret(secrets, said.text.Bytes(), copies)
}

// allRecorded looks for all that was done, refused and changed, keyID's refused login among it.
func (s secured) allRecorded(keyID string) {
	s.t.Helper()
	s.recorded("a login", "--kind", "login", "--outcome", "accepted", "--principal", "alice")
	s.recorded("a login with a certificate", "--kind", "login", "--outcome", "accepted", "--principal", "CN=bob")
	s.recorded("a refused login", "--kind", "login", "--outcome", "refused", "--principal", "alice")
	if denied := s.recorded("a login without Connect", "--kind", "login", "--outcome", "refused", "--writer", "default-1"); denied.From == "" {
		s.t.Errorf("from nowhere: %+v", denied)
	}
	harness.Eventually(s.t, 20*time.Second, "refused logins by their way", func(context.Context) error {
		ways := map[string]bool{}
		for _, l := range s.lines("--kind", "login", "--outcome", "refused") {
			ways[l.Mechanism+" "+l.AccessKey] = true
		}
		if !ways["SCRAM-SHA-512 "] || !ways["AWS_MSK_IAM "+keyID] || !ways["TLS "] {
			return fmt.Errorf("%v", ways)
		}
		return nil
	})
	s.recorded("a refused request", "--kind", "refusal", "--resource", "topic/t", "--principal", "alice")
	s.recorded("a refused call of the API", "--kind", "refusal", "--action", "kafka:RebootBroker")
	for what, args := range map[string][]string{
		"a changed configuration": {"--action", "kafka:IncrementalAlterConfigs", "--outcome", "accepted"},
		"a changed group":         {"--action", "network:*", "--outcome", "accepted"},
	} {
		if l := s.recorded(what, args...); len(l.Before) == 0 || len(l.After) == 0 || bytes.Equal(l.Before, l.After) || l.Principal == "" {
			s.t.Errorf("%s: before %s, after %s by %q", what, l.Before, l.After, l.Principal)
		}
	}
}

// keptSecret searches all that the run left, and what the verbs said, for secrets, and for a line of a private key.
func (s secured) keptSecret(secrets map[string]string, said []byte, copies string) {
	s.t.Helper()
	keyPEM, err := os.ReadFile(filepath.Join(s.Dir, "secure", "serve-local.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	for n, line := range strings.Split(string(keyPEM), "\n") {
		if begin := strings.Index(string(keyPEM), "PRIVATE KEY"); begin >= 0 && len(line) == 64 && strings.Index(string(keyPEM), line) > begin {
			secrets[fmt.Sprint("private key, line ", n)] = line
			break
		}
	}
	if len(secrets) != 7 || slices.Contains(slices.Collect(maps.Values(secrets)), "") {
		s.t.Errorf("no private key to look for in %d bytes", len(keyPEM))
	}
	noSecrets(s.t, secrets, map[string][]byte{"verbs": said}, filepath.Join(s.Dir, "logs"), filepath.Join(s.Dir, "trail"), copies, s.Process().Log())
}

// refusedOften has somebody ask for what they may not do until they were refused 25 times.
func (s secured) refusedOften(refused *kadm.Client) {
	s.t.Helper()
	for count, n := 0, 0; count < 25; n++ { // the broker hears of the ACL a moment after it is made
		value := fmt.Sprint(86400001 + n)
		done, err := refused.AlterTopicConfigs(s.t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}, "t")
		if err != nil || n > 2000 {
			s.t.Fatalf("alice alters: %v, refused %d of %d", err, count, n)
		}
		if errors.Is(done[0].Err, kerr.TopicAuthorizationFailed) {
			count++
		}
	}
}

// reports asks for one by each standard.
func (s secured) reports(said *told, id, secret string) {
	s.t.Helper()
	for _, standard := range []string{"soc2", "hipaa", "gdpr", "ccpa", "pci-dss"} {
		page := filepath.Join(s.t.TempDir(), standard+".html")
		out, code := said.as(s, id, secret, "compliance", "report", "--standard", standard, "--page", page)
		html, err := os.ReadFile(page)
		if err != nil || code > 1 || !bytes.Contains(html, []byte("<html")) || !strings.Contains(out, "passed") {
			s.t.Errorf("%s: exit code %d, page of %d bytes, %v\n%s", standard, code, len(html), err, out)
		}
		said.text.Write(html)
	}
}

// copied waits for shipped copies and verifies them as trails of their own.
func (s secured) copied(folder string) {
	s.t.Helper()
	root := filepath.Join(folder, "objects", "audit")
	harness.Eventually(s.t, 40*time.Second, "copies of the trails", func(ctx context.Context) error {
		report, err := trail.Verify(ctx, disk.OS(""), root, nil, nil, false)
		if err != nil {
			return err
		}
		if len(report.Findings) > 0 || len(report.Chains) < 2 {
			return fmt.Errorf("%+v", report)
		}
		return nil
	})
}

// tampered changes the trail of the broker in three ways, each of which must be found, and takes it back.
func (s secured) tampered() {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.Dir, "trail", "default-1", "*.jsonl"))
	if err != nil || len(files) == 0 {
		s.t.Fatalf("trail of the broker: %v, %v", files, err)
	}
	slices.Sort(files)
	file := files[len(files)-1]
	whole, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	for what, change := range map[string]func() error{
		"a changed line": func() error {
			return os.WriteFile(file, bytes.Replace(whole, []byte("User:alice"), []byte("User:mallo"), 1), 0o600)
		},
		"a cut end":      func() error { return os.WriteFile(file, bytes.Join(lines[:len(lines)/2], nil), 0o600) },
		"a removed file": func() error { return os.Remove(file) },
	} {
		if err := change(); err != nil {
			s.t.Fatal(err)
		}
		r := millrace(s.t.(*testing.T), "", "audit", "verify", "--data", s.Dir)
		if r.code != 1 || !strings.Contains(r.err, "not as it was written") {
			s.t.Errorf("%s: exit code %d\n%s%s", what, r.code, r.out, r.err)
		}
		if err := os.WriteFile(file, whole, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	if r := millrace(s.t.(*testing.T), "", "audit", "verify", "--data", s.Dir); r.code != 0 {
		s.t.Errorf("after all was taken back: %s%s", r.out, r.err)
	}
}

// noSecrets looks for secrets, as they are and as they stand in JSON.
func noSecrets(t testing.TB, secrets map[string]string, texts map[string][]byte, paths ...string) {
	t.Helper()
	for _, path := range paths {
		err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			texts[name], err = os.ReadFile(name)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(texts) < 5 {
		t.Errorf("only %d texts to search", len(texts))
	}
	for name, text := range texts {
		for what, secret := range secrets {
			quoted, err := json.Marshal(secret)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(text, []byte(secret)) || bytes.Contains(text, bytes.Trim(quoted, `"`)) {
				t.Errorf("%s is in %s", what, name)
			}
		}
	}
}
