package e2e

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"millrace/test/harness"
)

// transit is a server that speaks the protocol of Vault's transit engine, with one key, and can be away: then it cuts connections.
type transit struct {
	t     *testing.T
	gcm   cipher.AEAD
	token string
	away  atomic.Bool
	url   string // for --kms
}

func newTransit(t *testing.T) *transit {
	t.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	v := &transit{t: t, token: "hvs." + known()}
	if v.gcm, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(v)
	t.Cleanup(server.Close)
	v.url = "vault://millrace?addr=" + url.QueryEscape(server.URL)
	return v
}

// ServeHTTP answers encrypt and decrypt.
func (v *transit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if v.away.Load() {
		nc, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			v.t.Error(err)
			return
		}
		_ = nc.Close()
		return
	}
	var in struct {
		Plaintext  []byte `json:"plaintext"`
		Ciphertext string `json:"ciphertext"`
		Bound      []byte `json:"associated_data"`
	}
	w.Header().Set("Content-Type", "application/json")
	refuse := func(status int, why string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"errors": []string{why}})
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		refuse(http.StatusBadRequest, err.Error())
		return
	}
	if r.Header.Get("X-Vault-Token") != v.token {
		refuse(http.StatusForbidden, "permission denied")
		return
	}
	switch r.URL.Path {
	case "/v1/transit/encrypt/millrace":
		sealed := v.gcm.Seal(nil, nil, in.Plaintext, in.Bound)
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"ciphertext": "vault:v1:" + base64.StdEncoding.EncodeToString(sealed)}})
	case "/v1/transit/decrypt/millrace":
		sealed, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(in.Ciphertext, "vault:v1:"))
		if err != nil {
			refuse(http.StatusBadRequest, err.Error())
			return
		}
		plain, err := v.gcm.Open(nil, nil, sealed, in.Bound)
		if err != nil {
			refuse(http.StatusBadRequest, err.Error())
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"plaintext": plain}})
	default:
		refuse(http.StatusNotFound, "no handler")
	}
}

// logged waits until a log has something in it from an offset on, and returns its length then.
func logged(t *testing.T, path, what string, from int) (end int) {
	t.Helper()
	harness.Eventually(t, time.Minute, filepath.Base(path)+" says "+what, func(context.Context) error {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if from > len(text) || !strings.Contains(string(text[from:]), what) {
			return errors.New("not yet")
		}
		end = len(text)
		return nil
	})
	return end
}

// size is how long a log is now.
func size(t *testing.T, path string) int {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Size())
}

// TestKMSAway lets the KMS go away under load: brokers that run go on, new data keys are refused, a broker that is started again waits and
// says for what, and serves when the KMS is back. So does serve.
func TestKMSAway(t *testing.T) {
	harness.Long(t, "make suite SUITE=e2e")
	const partitions, away = 6, "KMS is away, waiting for it"
	kms := newTransit(t)
	options := harness.MillraceOptions{
		Dir: filepath.Join(t.TempDir(), "data"), Brokers: 2, Env: []string{"VAULT_TOKEN=" + kms.token}, Args: []string{"--wal", "object", "--kms", kms.url},
	}
	s := serveSecure(t, options, "--secure")
	s.topic("t", partitions)
	l := s.load("t", partitions)
	l.await(t, 300)
	kms.away.Store(true)
	l.await(t, 300) // brokers that run go on
	if out := s.failing("kms", "rotate"); !strings.Contains(out, "KMS is away") {
		t.Errorf("new data keys while the KMS is away: %s", out)
	}
	log := filepath.Join(s.Dir, "logs", "broker-default-2.log")
	from := size(t, log)
	if err := syscall.Kill(brokerPID(t, s.Cluster, 2), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	from = logged(t, log, away, from)
	l.await(t, 300) // the other one serves what the killed one did
	kms.away.Store(false)
	logged(t, log, "broker is ready", from)
	l.await(t, 300)
	l.stop(t, s, "t")
	s.verb("kms", "rotate")

	s.Stop(t)
	kms.away.Store(true)
	serve := filepath.Join(t.TempDir(), "serve.log")
	cmd := exec.Command(s.Binary(), "serve", "--data", s.Dir, "--kafka", s.Bootstrap, "--listen", s.API, "--kms", kms.url)
	cmd.Env = append(os.Environ(), options.Env...)
	p := harness.StartProcess(t, "millrace serve, waiting", serve, cmd)
	from = logged(t, serve, away, 0)
	kms.away.Store(false)
	logged(t, serve, "cluster is ready", from)
	l.stop(t, s, "t")
	if code := p.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if found := holding(t, s.Dir, kms.token); len(found) > 0 {
		t.Errorf("the KMS's token can be read in %v", found)
	}
}

// failing runs a verb with the root key that must fail, and returns what it says.
func (s secured) failing(args ...string) string {
	s.t.Helper()
	out, err := s.command(args...).CombinedOutput()
	if err == nil {
		s.t.Errorf("millrace %s: done", strings.Join(args, " "))
	}
	return string(out)
}
