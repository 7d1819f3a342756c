package keys

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"millrace/base/disk"
	"millrace/base/kv"
)

// remote is a fake of a KMS behind HTTP. It wraps by a local key ring, so what it gives out is bound to its context as the real one's is.
type remote struct {
	t    *testing.T
	ring KMS
	key  string // the only one it has

	mu     sync.Mutex
	status int          // of every answer, where it is not 0
	body   string       // of that
	bearer string       // what a caller must show; Vault only
	heard  bytes.Buffer // everything that callers sent
}

// say makes every further answer this one; 0: the right ones.
func (r *remote) say(status int, body string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status, r.body = status, body
}

// begin reads a call, and answers it when it shall be refused.
func (r *remote) begin(w http.ResponseWriter, call *http.Request, into any) (goOn bool) {
	var body bytes.Buffer
	_, _ = body.ReadFrom(call.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard.Write(body.Bytes())
	if r.status != 0 {
		w.WriteHeader(r.status)
		_, _ = fmt.Fprint(w, r.body)
		return false
	}
	if err := json.Unmarshal(body.Bytes(), into); err != nil {
		r.t.Errorf("call of %q: %v", &body, err)
		return false
	}
	return true
}

// aws answers as AWS KMS does: JSON 1.1, the operation in a header.
func (r *remote) aws(w http.ResponseWriter, call *http.Request) {
	var in struct {
		KeyID                     string `json:"KeyId"`
		Plaintext, CiphertextBlob []byte
		EncryptionContext         map[string]string
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if !r.begin(w, call, &in) {
		return
	}
	if !strings.HasPrefix(call.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKIDTEST/") {
		r.t.Errorf("not signed: %q", call.Header.Get("Authorization"))
	}
	bound := []byte(in.EncryptionContext["millrace"])
	refuse := func(code string) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"__type":%q,"message":"no"}`, code)
	}
	if in.KeyID != r.key {
		refuse("NotFoundException")
		return
	}
	switch call.Header.Get("X-Amz-Target") {
	case "TrentService.Encrypt":
		out, err := r.ring.Wrap(call.Context(), in.Plaintext, bound)
		if err != nil {
			r.t.Error(err)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"CiphertextBlob": out, "KeyId": r.key, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"})
	case "TrentService.Decrypt":
		out, err := r.ring.Unwrap(call.Context(), in.CiphertextBlob, bound)
		if err != nil {
			refuse("InvalidCiphertextException")
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"Plaintext": out, "KeyId": r.key, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"})
	default:
		r.t.Errorf("operation %q", call.Header.Get("X-Amz-Target"))
	}
}

// vault answers as the transit engine does.
func (r *remote) vault(w http.ResponseWriter, call *http.Request) {
	var in struct {
		Plaintext  string `json:"plaintext"`
		Ciphertext string `json:"ciphertext"`
		Bound      string `json:"associated_data"`
	}
	w.Header().Set("Content-Type", "application/json")
	if !r.begin(w, call, &in) {
		return
	}
	refuse := func(status int, why string) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"errors":[%q]}`, why)
	}
	r.mu.Lock()
	bearer := r.bearer
	r.mu.Unlock()
	if call.Header.Get("X-Vault-Token") != bearer {
		refuse(http.StatusForbidden, "permission denied")
		return
	}
	bound, _ := base64.StdEncoding.DecodeString(in.Bound)
	var data map[string]any
	switch call.URL.Path {
	case "/v1/transit/encrypt/" + r.key:
		plain, _ := base64.StdEncoding.DecodeString(in.Plaintext)
		out, err := r.ring.Wrap(call.Context(), plain, bound)
		if err != nil {
			r.t.Error(err)
		}
		data = map[string]any{"ciphertext": "vault:v1:" + base64.StdEncoding.EncodeToString(out), "key_version": 1}
	case "/v1/transit/decrypt/" + r.key:
		b, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(in.Ciphertext, "vault:v1:"))
		plain, err := r.ring.Unwrap(call.Context(), b, bound)
		if err != nil {
			refuse(http.StatusBadRequest, "cipher: message authentication failed")
			return
		}
		data = map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plain)}
	default:
		refuse(http.StatusNotFound, "no handler")
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
}

// door is one kind of remote KMS with its fake.
type door struct {
	fake  *remote
	kms   KMS
	other KMS // the same server, a key that it has not
	away  []answer
	no    []answer
}

type answer struct {
	status int
	body   string
}

const secretToken = "hvs.SECRETTOKEN"

func openDoor(t *testing.T, kind string) *door {
	t.Helper()
	d := &door{fake: &remote{t: t, ring: newKeyring(t)}}
	open := func(url string) KMS {
		k, err := OpenKMS(t.Context(), url, disk.NewMem())
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	switch kind {
	case "aws":
		t.Setenv("AWS_ACCESS_KEY_ID", "AKIDTEST")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "SECRETKEY")
		t.Setenv("AWS_MAX_ATTEMPTS", "1")
		server := httptest.NewServer(http.HandlerFunc(d.fake.aws))
		t.Cleanup(server.Close)
		d.fake.key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd"
		query := "?region=eu-west-1&endpoint=" + url.QueryEscape(server.URL)
		d.kms, d.other = open("aws-kms://"+d.fake.key+query), open("aws-kms://alias/other"+query)
		d.away = []answer{{500, `{}`}, {503, ``}, {400, `{"__type":"ThrottlingException"}`}, {400, `{"__type":"ExpiredTokenException"}`}}
		d.no = []answer{{400, `{"__type":"AccessDeniedException"}`}, {400, `{"__type":"DisabledException"}`}}
	case "vault":
		t.Setenv("VAULT_TOKEN", secretToken)
		server := httptest.NewServer(http.HandlerFunc(d.fake.vault))
		t.Cleanup(server.Close)
		d.fake.key, d.fake.bearer = "millrace", secretToken
		query := "?addr=" + url.QueryEscape(server.URL)
		d.kms, d.other = open("vault://millrace"+query), open("vault://other"+query)
		d.away = []answer{{503, `{"errors":["Vault is sealed"]}`}, {429, ``}, {200, `{"data":{}}`}}
		d.no = []answer{{403, `{"errors":["permission denied"]}`}, {400, `{"errors":["encryption key not found"]}`}}
	}
	return d
}

// TestRemoteKMS: both doors say what their servers understand, and tell "no" from "not now", which is what a start waits for.
func TestRemoteKMS(t *testing.T) {
	for _, kind := range []string{"aws", "vault"} {
		t.Run(kind, func(t *testing.T) {
			d := openDoor(t, kind)
			root := bytes.Repeat([]byte("R"), keyBytes)
			wrapped, err := d.kms.Wrap(t.Context(), root, []byte("place"))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(wrapped, root) {
				t.Error("wrapped in the clear")
			}
			if plain, err := d.kms.Unwrap(t.Context(), wrapped, []byte("place")); err != nil || !bytes.Equal(plain, root) {
				t.Fatalf("%q, %v", plain, err)
			}
			if _, err := d.kms.Unwrap(t.Context(), wrapped, []byte("elsewhere")); !errors.Is(err, ErrWrongKMS) {
				t.Errorf("another context: %v", err)
			}
			if _, err := d.other.Unwrap(t.Context(), wrapped, []byte("place")); !errors.Is(err, ErrWrongKMS) {
				t.Errorf("another key: %v", err)
			}
			try := func(answers []answer, want error) {
				for _, a := range answers {
					d.fake.say(a.status, a.body)
					_, werr := d.kms.Wrap(t.Context(), root, nil)
					_, uerr := d.kms.Unwrap(t.Context(), wrapped, []byte("place"))
					for _, err := range []error{werr, uerr} {
						if !errors.Is(err, want) {
							t.Errorf("%d %s: %v", a.status, a.body, err)
						}
						for _, secret := range []string{"SECRET", base64.StdEncoding.EncodeToString(root), string(root)} {
							if strings.Contains(fmt.Sprint(err), secret) {
								t.Errorf("%v shows a secret", err)
							}
						}
					}
				}
			}
			try(d.away, ErrUnavailable)
			try(d.no, ErrWrongKMS)
			if all := fmt.Sprintf("%v %+v %#v %s", d.kms, d.kms, d.kms, d.kms.Name()); strings.Contains(all, "SECRET") {
				t.Errorf("a print shows a secret: %s", all)
			}
		})
	}
}

// TestRingOverRemoteKMS: a ring over each door, with rotation, a start while the KMS is away, and a move from one to the other.
func TestRingOverRemoteKMS(t *testing.T) {
	for _, kind := range []string{"aws", "vault"} {
		t.Run(kind, func(t *testing.T) {
			d := openDoor(t, kind)
			store := kv.NewMemory()
			r := openRing(t, store, "secrets", d.kms, testWorld())
			if _, err := r.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
			sealed, _ := r.Seal([]byte("x"), nil)
			d.fake.say(503, "")
			if _, err := r.Open(sealed, nil); err != nil {
				t.Error(err)
			}
			door, opened := &gate{KMS: d.kms}, make(chan error, 1)
			go func() {
				late, err := OpenRing(t.Context(), store, "secrets", door, testWorld())
				if err == nil {
					late.Close()
				}
				opened <- err
			}()
			door.waitAsked(1) // the first answer was that it is away
			d.fake.say(0, "")
			if err := <-opened; err != nil {
				t.Fatal(err)
			}
			local := newKeyring(t)
			if n, err := Rewrap(t.Context(), store, d.kms, local); n != 2 || err != nil {
				t.Fatalf("rewrapped %d, %v", n, err)
			}
			if plain, err := openRing(t, store, "secrets", local, testWorld()).Open(sealed, nil); err != nil || string(plain) != "x" {
				t.Fatalf("%q, %v", plain, err)
			}
		})
	}
}

// TestVaultTokenFile: a token that somebody renews in a file is read for each call.
func TestVaultTokenFile(t *testing.T) {
	d := openDoor(t, "vault")
	t.Setenv("VAULT_TOKEN", "")
	fs := disk.NewMem()
	k, err := OpenKMS(t.Context(), d.kms.Name()+"&token-file=/token", fs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Wrap(t.Context(), []byte("x"), nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without the file: %v", err)
	}
	for token, want := range map[string]error{"old": ErrWrongKMS, secretToken + "\n": nil} {
		if err := fs.WriteFileAtomic("/token", []byte(token)); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Wrap(t.Context(), []byte("x"), nil); !errors.Is(err, want) {
			t.Errorf("with token %q: %v", token, err)
		}
	}
}
