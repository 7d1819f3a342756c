package sts_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"millrace/aws/door"
	"millrace/aws/sts"
	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/secure/iam"
	"millrace/secure/login"
	"millrace/secure/trail"
)

type sealer struct{ cipher.AEAD }

func (s sealer) Seal(plain, context []byte) ([]byte, error) {
	return s.AEAD.Seal(nil, nil, plain, context), nil
}
func (s sealer) Open(sealed, context []byte) ([]byte, error) {
	return s.AEAD.Open(nil, nil, sealed, context)
}

// keys are the access keys of a view.
type keys struct{ view *iam.View }

func (k keys) Key(ctx context.Context, id, token string) (login.Key, error) {
	c, err := k.view.Key(ctx, id, token)
	if errors.Is(err, iam.ErrKey) {
		err = fmt.Errorf("%w: %w", login.ErrUnknownKey, err)
	}
	return login.Key{ID: c.ID, Secret: c.Secret, Principal: c.Principal, Identity: c.Identity, Expires: c.Expires}, err
}

type world struct {
	t     testing.TB
	h     http.Handler
	view  *iam.View
	store *iam.Store
	clock *clock.Manual
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWorld(t testing.TB) *world {
	t.Helper()
	block, err := aes.NewCipher(make([]byte, 32))
	must(t, err)
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	must(t, err)
	etcd, log := kv.NewMemory(), slog.New(slog.DiscardHandler)
	t.Cleanup(func() { _ = etcd.Close() })
	w := &world{t: t, clock: clock.NewManual(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC))}
	w.view = iam.NewView(etcd, sealer{gcm}, w.clock, log, iam.ViewConfig{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.view.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	<-w.view.Ready()
	w.store = iam.NewStore(etcd, sealer{gcm}, w.clock, w.view)
	_, err = w.store.OpenAccount(context.Background())
	must(t, err)
	q, err := login.NewRequests(login.RequestsConfig{Region: "eu-west-1", Services: []string{"sts"}}, keys{w.view}, trail.Discard{}, w.clock, log)
	must(t, err)
	w.h, err = door.New(door.Config{Services: []door.Service{sts.Service(w.view)}},
		door.World{Signatures: q, Policies: w.view, Trail: trail.Discard{}, Clock: w.clock, Log: log})
	must(t, err)
	return w
}

// user makes a user with a key.
func (w *world) user(name string) iam.NewKey {
	w.t.Helper()
	_, err := w.store.CreateUser(context.Background(), name, nil)
	must(w.t, err)
	k, err := w.store.CreateKey(context.Background(), name)
	must(w.t, err)
	return k
}

// credentials are those of an answer.
type credentials struct {
	ID      string `xml:"AccessKeyId"`
	Secret  string `xml:"SecretAccessKey"`
	Token   string `xml:"SessionToken"`
	Expires string `xml:"Expiration"`
}

// answer is all that an answer may have.
type answer struct {
	XMLName xml.Name
	Code    string      `xml:"Error>Code"`
	Message string      `xml:"Error>Message"`
	Who     []string    `xml:"GetCallerIdentityResult>Arn"`
	UserID  string      `xml:"GetCallerIdentityResult>UserId"`
	Account string      `xml:"GetCallerIdentityResult>Account"`
	Role    credentials `xml:"AssumeRoleResult>Credentials"`
	RoleARN string      `xml:"AssumeRoleResult>AssumedRoleUser>Arn"`
	RoleID  string      `xml:"AssumeRoleResult>AssumedRoleUser>AssumedRoleId"`
	Packed  int         `xml:"AssumeRoleResult>PackedPolicySize"`
	Session credentials `xml:"GetSessionTokenResult>Credentials"`
}

// ask asks as the SDKs do.
func (w *world) ask(as credentials, action string, form url.Values) (int, answer) {
	w.t.Helper()
	form.Set("Action", action)
	form.Set("Version", "2011-06-15")
	body := form.Encode()
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "http://sts:1/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sum := sha256.Sum256([]byte(body))
	must(w.t, v4.NewSigner().SignHTTP(r.Context(), aws.Credentials{AccessKeyID: as.ID, SecretAccessKey: as.Secret, SessionToken: as.Token}, r,
		hex.EncodeToString(sum[:]), "sts", "eu-west-1", w.clock.Now()))
	rec := httptest.NewRecorder()
	w.h.ServeHTTP(rec, r)
	var out answer
	if err := xml.Unmarshal(rec.Body.Bytes(), &out); err != nil || rec.Code == http.StatusOK && out.XMLName.Local != action+"Response" {
		w.t.Errorf("%s: %d %s: %v", action, rec.Code, rec.Body, err)
	}
	return rec.Code, out
}

func (w *world) role(name, trusted string) string {
	w.t.Helper()
	_, err := w.store.CreateRole(context.Background(), iam.NewRole{Name: name, Trust: []byte(
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + trusted + `"},"Action":["sts:AssumeRole","sts:TagSession"]}}`)})
	must(w.t, err)
	return "arn:aws:iam::" + w.view.Account() + ":role/" + name
}

func TestSessions(t *testing.T) {
	w := newWorld(t)
	key := w.user("alice")
	alice := credentials{ID: key.ID, Secret: key.Secret}
	me := "arn:aws:iam::" + w.view.Account() + ":user/alice"
	status, got := w.ask(alice, "GetCallerIdentity", url.Values{})
	if status != 200 || len(got.Who) != 1 || got.Who[0] != me || got.Account != w.view.Account() || !strings.HasPrefix(got.UserID, "AIDA") {
		t.Errorf("%d %+v", status, got)
	}
	role := w.role("reader", me)
	form := url.Values{"RoleArn": {role}, "RoleSessionName": {"one"}, "DurationSeconds": {"900"}, "Policy": {`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`},
		"Tags.member.1.Key": {"team"}, "Tags.member.1.Value": {"a"}, "ExternalId": {"xyz"}}
	status, got = w.ask(alice, "AssumeRole", form)
	arn := strings.Replace(strings.Replace(role, ":iam:", ":sts:", 1), ":role/", ":assumed-role/", 1) + "/one"
	if status != 200 || got.RoleARN != arn || !strings.HasSuffix(got.RoleID, ":one") || got.Role.Expires != "2026-05-04T12:15:00Z" || got.Packed < 1 {
		t.Fatalf("%d %+v", status, got)
	}
	session := got.Role
	if status, got = w.ask(session, "GetCallerIdentity", url.Values{}); status != 200 || got.Who[0] != arn || got.UserID == "" {
		t.Errorf("%d %+v", status, got)
	}
	if status, got = w.ask(session, "GetSessionToken", url.Values{}); status != 403 || got.Code != "AccessDenied" {
		t.Errorf("a session of a session: %d %+v", status, got)
	}
	status, got = w.ask(alice, "GetSessionToken", url.Values{"DurationSeconds": {"1000"}})
	if status != 200 || got.Session.Token == "" {
		t.Errorf("%d %+v", status, got)
	}
	if status, got = w.ask(got.Session, "GetCallerIdentity", url.Values{}); status != 200 || got.Who[0] != me {
		t.Errorf("%d %+v", status, got)
	}
	w.clock.Advance(15 * time.Minute)
	if status, got = w.ask(session, "GetCallerIdentity", url.Values{}); status != 403 || got.Code != "ExpiredToken" {
		t.Errorf("a session that is over: %d %+v", status, got)
	}
}

// TestRefused: what is wrong has AWS's code; what would bound a session and is not known is not ignored (ST2); who may not assume a role does
// not learn whether there is one (ST3).
func TestRefused(t *testing.T) {
	w := newWorld(t)
	key, other := w.user("alice"), w.user("bob")
	as := credentials{ID: key.ID, Secret: key.Secret}
	role := w.role("reader", "arn:aws:iam::"+w.view.Account()+":user/alice")
	for name, f := range map[string]struct {
		set    map[string]string
		status int
		code   string
	}{
		"no role":          {map[string]string{"RoleArn": ""}, 400, "ValidationError"},
		"no session":       {map[string]string{"RoleSessionName": ""}, 400, "ValidationError"},
		"role's name":      {map[string]string{"RoleArn": "reader"}, 400, "ValidationError"},
		"user's ARN":       {map[string]string{"RoleArn": "arn:aws:iam::123456789012:user/alice"}, 400, "ValidationError"},
		"another account":  {map[string]string{"RoleArn": "arn:aws:iam::123456789012:role/reader"}, 403, "AccessDenied"},
		"no such role":     {map[string]string{"RoleArn": role + "x"}, 403, "AccessDenied"},
		"session's name":   {map[string]string{"RoleSessionName": "a b"}, 400, "ValidationError"},
		"too short":        {map[string]string{"DurationSeconds": "899"}, 400, "ValidationError"},
		"longer than role": {map[string]string{"DurationSeconds": "3601"}, 400, "ValidationError"},
		"no number":        {map[string]string{"DurationSeconds": "1h"}, 400, "ValidationError"},
		"policy":           {map[string]string{"Policy": "{"}, 400, "MalformedPolicyDocument"},
		"policies":         {map[string]string{"PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}, 400, "ValidationError"},
		"source":           {map[string]string{"SourceIdentity": "me"}, 400, "ValidationError"},
		"mfa":              {map[string]string{"SerialNumber": "arn:aws:iam::1:mfa/x", "TokenCode": "123456"}, 400, "ValidationError"},
		"transitive":       {map[string]string{"TransitiveTagKeys.member.1": "a"}, 400, "ValidationError"},
		"tag's value":      {map[string]string{"Tags.member.1.Key": "a"}, 400, "ValidationError"},
		"tags from 2 on":   {map[string]string{"Tags.member.2.Key": "a", "Tags.member.2.Value": "a"}, 400, "ValidationError"},
		"tags twice":       {map[string]string{"Tags.member.1.Key": "a", "Tags.member.1.Value": "a", "Tags.member.2.Key": "a", "Tags.member.2.Value": "b"}, 400, "ValidationError"},
		"tag of AWS":       {map[string]string{"Tags.member.1.Key": "aws:a", "Tags.member.1.Value": "a"}, 400, "ValidationError"},
	} {
		form := url.Values{"RoleArn": {role}, "RoleSessionName": {"one"}}
		for k, v := range f.set {
			form.Set(k, v)
		}
		if status, got := w.ask(as, "AssumeRole", form); status != f.status || got.Code != f.code || got.Message == "" || got.Role.ID != "" {
			t.Errorf("%s: %d %+v", name, status, got)
		}
	}
	var told []string
	for _, asked := range []string{role, role + "x"} {
		_, got := w.ask(credentials{ID: other.ID, Secret: other.Secret}, "AssumeRole", url.Values{"RoleArn": {asked}, "RoleSessionName": {"one"}})
		told = append(told, got.Code+strings.ReplaceAll(got.Message, asked, "ROLE"))
	}
	if told[0] != told[1] {
		t.Errorf("%q", told)
	}
}

func FuzzQuery(f *testing.F) {
	w := newWorld(f)
	key := w.user("alice")
	f.Add("RoleArn=arn:aws:iam::123456789012:role/a&RoleSessionName=one&Tags.member.1.Key=a&Tags.member.1.Value=b", "AssumeRole")
	f.Add("DurationSeconds=900", "GetSessionToken")
	f.Add("Tags.member.0.Key=%zz", "GetCallerIdentity")
	f.Fuzz(func(t *testing.T, query, action string) {
		form, _ := url.ParseQuery(query)
		w.t = t
		w.clock.Advance(time.Second)
		status, got := w.ask(credentials{ID: key.ID, Secret: key.Secret}, action, form)
		if status >= 500 || status != 200 && got.Code == "" {
			t.Fatalf("%d %+v", status, got)
		}
	})
}
