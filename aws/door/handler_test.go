package door

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"millrace/base/clock"
	"millrace/secure/iam"
	"millrace/secure/iam/policy"
	"millrace/secure/identity"
	"millrace/secure/login"
	"millrace/secure/sigv4"
	"millrace/secure/trail"
)

const (
	region   = "eu-west-1"
	aliceID  = "AKIAALICEALICEALICE1"
	secret   = "a secret of forty characters or about it"
	aliceARN = "arn:aws:iam::123456789012:user/alice"
	oneARN   = "arn:aws:kafka:eu-west-1:123456789012:cluster/one/0f3a9a6e-2f0b-4c3e-9d51-0a1b2c3d4e5f-1"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// keyring is a login.Keys with one key, and one of a session that is over.
type keyring struct{}

func (keyring) Key(_ context.Context, id, _ string) (login.Key, error) {
	switch id {
	case aliceID:
		who := identity.IAM{ARN: aliceARN, UserID: "AIDAALICE", AccessKey: id, Account: "123456789012"}
		return login.Key{ID: id, Secret: secret, Principal: "User:" + aliceARN, Identity: who}, nil
	case "ASIAOVER":
		return login.Key{}, fmt.Errorf("%w: %w", login.ErrUnknownKey, iam.ErrExpired)
	case "AKIALATER":
		return login.Key{}, iam.ErrNotReady
	}
	return login.Key{}, login.ErrUnknownKey
}

// rights are Policies: what stands here is refused.
type rights struct {
	mu      sync.Mutex
	refused map[string]bool
	asked   []policy.Request
	own     []*policy.Policy
}

func (p *rights) DecideOn(_ *identity.IAM, r *policy.Request, own *policy.Policy) (policy.Decision, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked, p.own = append(p.asked, *r), append(p.own, own)
	return policy.Decision{Allowed: !p.refused[r.Action]}, ""
}

type events struct {
	mu  sync.Mutex
	all []trail.Event
}

func (e *events) Record(v trail.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, v)
}

// take returns what was told since the last time.
func (e *events) take() []trail.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.all
	e.all = nil
	return all
}

type world struct {
	t      testing.TB
	h      *Handler
	clock  *clock.Manual
	events *events
	rights *rights
	log    *bytes.Buffer
	ran    []string
	last   *Call
	fail   error // what operations return
	crash  bool
}

func newWorld(t testing.TB, change func(*Config)) *world {
	t.Helper()
	w := &world{t: t, clock: clock.NewManual(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)), events: &events{}, rights: &rights{refused: map[string]bool{}}, log: &bytes.Buffer{}}
	log := slog.New(slog.NewTextHandler(w.log, nil))
	q, err := login.NewRequests(login.RequestsConfig{Region: region, Services: []string{"kafka", "sts", "secretsmanager", "iam"}, BodyBytes: 4096}, keyring{}, w.events, w.clock, log)
	must(t, err)
	cfg := Config{Services: w.services()}
	if change != nil {
		change(&cfg)
	}
	w.h, err = New(cfg, World{Signatures: q, Policies: w.rights, Trail: w.events, Clock: w.clock, Log: log})
	must(t, err)
	return w
}

func (w *world) services() []Service {
	handle := func(_ context.Context, c *Call) (any, error) {
		w.ran, w.last = append(w.ran, c.operation.Name), c
		switch {
		case w.crash:
			panic("the secret of the house")
		case w.fail != nil:
			return nil, w.fail
		case c.operation.Status == http.StatusNoContent:
			c.Changed(map[string]int{"a": 1}, map[string]int{"a": 2})
			return nil, nil
		}
		return struct {
			Name string `json:"clusterName" xml:"ClusterName"`
		}{"a<b"}, nil
	}
	onCluster := func(c *Call) string { return c.Params["clusterArn"] }
	told := func(err error) *Error {
		if errors.Is(err, io.ErrNoProgress) {
			return Conflict("clusterArn", "busy")
		}
		return nil
	}
	return []Service{
		{Name: "kafka", Error: told, Tags: func(_ context.Context, arn string) map[string]string {
			return map[string]string{"team": arn[len(arn)-1:]}
		}, Operations: []Operation{
			{Name: "ListClusters", Method: http.MethodGet, Path: "/v1/clusters", Action: "kafka:ListClusters", Reads: true, Handle: handle},
			{Name: "CreateCluster", Method: http.MethodPost, Path: "/v1/clusters", Action: "kafka:CreateCluster", Handle: handle,
				Tags: func(*Call) (map[string]string, []string) {
					return map[string]string{"Team": "a", "cost": "b"}, []string{"old"}
				},
				Needs: func(*Call) []Need { return []Need{{"kafka:TagResource", oneARN}} }},
			{Name: "DescribeCluster", Method: http.MethodGet, Path: "/v1/clusters/{clusterArn}", Action: "kafka:DescribeCluster", Resource: onCluster, Reads: true, Handle: handle},
			{Name: "DescribeTopic", Method: http.MethodGet, Path: "/v1/clusters/{clusterArn}/topics/{topicName}", Action: "kafka:X", Resource: onCluster, Reads: true, Handle: handle},
			{Name: "TagResource", Method: http.MethodPost, Path: "/v1/tags/{resourceArn}", Action: "kafka:TagResource", Status: http.StatusNoContent, Handle: handle},
		}},
		{Name: "secretsmanager", Protocol: JSON11, Target: "secretsmanager", Invalid: "InvalidParameterException", Operations: []Operation{
			{Name: "GetSecretValue", Action: "secretsmanager:GetSecretValue", Reads: true, Handle: handle},
		}},
		{Name: "sts", Protocol: Query, Version: "2011-06-15", Namespace: "https://sts.amazonaws.com/doc/2011-06-15/", Operations: []Operation{
			{Name: "GetCallerIdentity", Reads: true, Handle: handle},
		}},
	}
}

// ask is a request and how it is signed.
type ask struct {
	method, target, body, service string
	id, secret                    string
	region                        string
	header                        map[string]string
	off                           time.Duration
	change                        func(*http.Request)
}

func (w *world) request(a ask) *http.Request {
	w.t.Helper()
	r := httptest.NewRequestWithContext(context.Background(), a.method, "http://api:8480"+a.target, strings.NewReader(a.body))
	for k, v := range a.header {
		r.Header.Set(k, v)
	}
	if a.service == "" {
		a.service = "kafka"
	}
	if a.id == "" {
		a.id, a.secret = aliceID, secret
	}
	if a.region == "" {
		a.region = region
	}
	sum := sha256.Sum256([]byte(a.body))
	must(w.t, v4.NewSigner().SignHTTP(r.Context(), aws.Credentials{AccessKeyID: a.id, SecretAccessKey: a.secret}, r, hex.EncodeToString(sum[:]), a.service, a.region,
		w.clock.Now().Add(a.off)))
	if a.change != nil {
		a.change(r)
	}
	return r
}

func (w *world) do(a ask) *httptest.ResponseRecorder {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.h.ServeHTTP(rec, w.request(a))
	if rec.Header().Get(headerID) == "" {
		w.t.Errorf("%s %s: no request id", a.method, a.target)
	}
	return rec
}

func TestCalls(t *testing.T) {
	w := newWorld(t, nil)
	escaped := strings.NewReplacer(":", "%3A", "/", "%2F").Replace(oneARN)
	for _, f := range []struct {
		a      ask
		ran    string
		status int
		body   string
		params map[string]string
	}{
		{ask{method: "GET", target: "/v1/clusters"}, "ListClusters", 200, `{"clusterName":"a\u003cb"}`, nil},
		{ask{method: "GET", target: "/v1/clusters/" + escaped}, "DescribeCluster", 200, `{"clusterName":"a\u003cb"}`, map[string]string{"clusterArn": oneARN}},
		{ask{method: "GET", target: "/v1/clusters/" + strings.ReplaceAll(oneARN, "/", "%2F")}, "DescribeCluster", 200, `{"clusterName":"a\u003cb"}`, map[string]string{"clusterArn": oneARN}},
		{ask{method: "GET", target: "/v1/clusters/" + strings.ReplaceAll(escaped, "%", "%25")}, "DescribeCluster", 200, "", map[string]string{"clusterArn": escaped}},
		{ask{method: "GET", target: "/v1/clusters/" + escaped + "/topics/a%2Fb%20%C3%A4"}, "DescribeTopic", 200, "", map[string]string{"clusterArn": oneARN, "topicName": "a/b ä"}},
		{ask{method: "POST", target: "/v1/tags/" + escaped, body: `{"tags":{}}`, header: map[string]string{"Content-Type": "application/json; charset=utf-8"}}, "TagResource", 204, "", nil},
		{ask{method: "POST", target: "/", service: "secretsmanager", body: "{}", header: map[string]string{"X-Amz-Target": "secretsmanager.GetSecretValue", "Content-Type": "application/x-amz-json-1.1"}},
			"GetSecretValue", 200, `{"clusterName":"a\u003cb"}`, nil},
	} {
		w.ran = nil
		rec := w.do(f.a)
		if !slices.Equal(w.ran, []string{f.ran}) || rec.Code != f.status || f.body != "" && rec.Body.String() != f.body {
			t.Errorf("%s %s: %v, %d %s", f.a.method, f.a.target, w.ran, rec.Code, rec.Body)
		} else if f.params != nil && !maps.Equal(w.last.Params, f.params) {
			t.Errorf("%s: %v", f.a.target, w.last.Params)
		}
		if w.last.Caller.IAM.ARN != aliceARN || string(w.last.Body) != f.a.body || w.last.ID != rec.Header().Get(headerID) {
			t.Errorf("%s: %+v", f.a.target, w.last)
		}
	}
}

func TestQueryCalls(t *testing.T) {
	w := newWorld(t, nil)
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
	const input = "Action=GetCallerIdentity&Version=2011-06-15"
	for _, a := range []ask{{method: "POST", target: "/", body: input, header: form, service: "sts"}, {method: "GET", target: "/?" + input, service: "sts"}} {
		rec := w.do(a)
		var out struct {
			XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
			Name    string   `xml:"GetCallerIdentityResult>ClusterName"`
			ID      string   `xml:"ResponseMetadata>RequestId"`
		}
		must(t, xml.Unmarshal(rec.Body.Bytes(), &out))
		if rec.Code != 200 || out.Name != "a<b" || out.ID != rec.Header().Get(headerID) || rec.Header().Get("Content-Type") != "text/xml" {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
	}
	for body, code := range map[string]string{
		"": "MissingAction", "Action=Nothing": "InvalidAction", "Action=GetCallerIdentity&Version=2000-01-01": "InvalidAction", "Action=%zz": "MalformedInput", "a;b": "MalformedInput",
	} {
		rec := w.do(ask{method: "POST", target: "/", body: body, header: form, service: "sts"})
		if got := codeOf(t, rec, Query); got != code || rec.Code != 400 {
			t.Errorf("%s: %d %s", body, rec.Code, rec.Body)
		}
	}
}

// codeOf is the code of an error where SDKs look for it.
func codeOf(t *testing.T, rec *httptest.ResponseRecorder, p Protocol) string {
	t.Helper()
	if p == Query {
		var out struct {
			Code string `xml:"Error>Code"`
			ID   string `xml:"RequestId"`
		}
		must(t, xml.Unmarshal(rec.Body.Bytes(), &out))
		if out.ID != rec.Header().Get(headerID) {
			t.Errorf("request id %q", out.ID)
		}
		return out.Code
	}
	var out struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil || out.Message == "" {
		t.Errorf("%d %q: %v", rec.Code, rec.Body, err)
	}
	if p == JSON11 && out.Type != rec.Header().Get(headerError) {
		t.Errorf("__type %q", out.Type)
	}
	return rec.Header().Get(headerError)
}

// TestSignatures: nothing runs before the signature was verified, and what is wrong has AWS's code in each protocol (DO1).
func TestSignatures(t *testing.T) {
	w := newWorld(t, nil)
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	target := map[string]string{"X-Amz-Target": "secretsmanager.GetSecretValue", "Content-Type": "application/x-amz-json-1.1"}
	bases := map[Protocol]ask{
		RestJSON: {method: "POST", target: "/v1/clusters", body: "{}"}, JSON11: {method: "POST", target: "/", body: "{}", header: target, service: "secretsmanager"},
		Query: {method: "POST", target: "/", body: "Action=GetCallerIdentity", header: form, service: "sts"},
	}
	for name, f := range map[string]struct {
		change      func(*ask)
		rest, query string
		status      int
	}{
		"unsigned":   {func(a *ask) { a.change = func(r *http.Request) { r.Header.Del("Authorization") } }, "MissingAuthenticationTokenException", "MissingAuthenticationToken", 403},
		"stranger":   {func(a *ask) { a.id, a.secret = "AKIANOBODY", secret }, "UnrecognizedClientException", "InvalidClientTokenId", 403},
		"wrong":      {func(a *ask) { a.id, a.secret = aliceID, "wrong" }, "InvalidSignatureException", "SignatureDoesNotMatch", 403},
		"expired":    {func(a *ask) { a.id, a.secret = "ASIAOVER", secret }, "ExpiredTokenException", "ExpiredToken", 403},
		"old":        {func(a *ask) { a.off = -6 * time.Minute }, "InvalidSignatureException", "SignatureDoesNotMatch", 403},
		"early":      {func(a *ask) { a.off = 6 * time.Minute }, "InvalidSignatureException", "SignatureDoesNotMatch", 403},
		"elsewhere":  {func(a *ask) { a.region = "us-east-1" }, "InvalidSignatureException", "SignatureDoesNotMatch", 403},
		"malformed":  {func(a *ask) { a.change = func(r *http.Request) { r.Header.Set("Authorization", "Basic eDp5") } }, "IncompleteSignatureException", "IncompleteSignature", 403},
		"other body": {func(a *ask) { a.change = func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("{ }")) } }, "InvalidSignatureException", "SignatureDoesNotMatch", 403},
		"large":      {func(a *ask) { a.body = strings.Repeat(" ", 5000) }, "RequestEntityTooLargeException", "RequestEntityTooLarge", 413},
		"not ready":  {func(a *ask) { a.id, a.secret = "AKIALATER", secret }, "ServiceUnavailableException", "ServiceUnavailable", 503},
		"other path": {func(a *ask) {
			a.change = func(r *http.Request) { r.URL.Path, r.URL.RawPath = r.URL.Path+"%2F", r.URL.Path+"%252F" }
		}, "InvalidSignatureException", "SignatureDoesNotMatch", 403},
	} {
		for protocol, base := range bases {
			a := base
			f.change(&a)
			w.clock.Advance(time.Minute) // refusals are forgotten
			rec := w.do(a)
			want, status := f.rest, f.status
			switch {
			case protocol == Query:
				want = f.query
				if want == "IncompleteSignature" {
					status = 400
				}
			case protocol == JSON11 && status < 500:
				status = 400
			}
			if name == "other path" && protocol != RestJSON {
				w.events.take()
				continue
			}
			if got := codeOf(t, rec, protocol); got != want || rec.Code != status {
				t.Errorf("%s, protocol %d: %d %s, want %d %s: %s", name, protocol, rec.Code, got, status, want, rec.Body)
			}
			if told := w.events.take(); len(told) != 1 && name != "large" || len(told) == 1 && (told[0].Outcome != trail.Refused || told[0].Kind != trail.Login) {
				t.Errorf("%s: the trail has %+v", name, told)
			}
		}
	}
	if len(w.ran) != 0 || len(w.rights.asked) != 0 {
		t.Errorf("ran %v, asked %v", w.ran, w.rights.asked)
	}
	// A service that signatures may be for, and that is not served.
	if rec := w.do(ask{method: "GET", target: "/v1/clusters", service: "iam"}); codeOf(t, rec, RestJSON) != "InvalidSignatureException" || len(w.events.take()) != 1 {
		t.Errorf("iam: %d %s", rec.Code, rec.Body)
	}
}

func TestRoutesRefused(t *testing.T) {
	w := newWorld(t, nil)
	for _, f := range []struct {
		a      ask
		status int
		code   string
	}{
		{ask{method: "GET", target: "/v1/nothing"}, 404, "UnknownOperationException"},
		{ask{method: "GET", target: "/"}, 404, "UnknownOperationException"},
		{ask{method: "GET", target: "/v1/clusters/"}, 404, "UnknownOperationException"},
		{ask{method: "GET", target: "/v1//clusters"}, 404, "UnknownOperationException"},
		{ask{method: "GET", target: "/v1/clusters/a/b/c/d"}, 404, "UnknownOperationException"},
		{ask{method: "GET", target: "/v1/clusters/" + oneARN}, 404, "UnknownOperationException"},
		{ask{method: "GET", target: "/v1/%63lusters"}, 404, "UnknownOperationException"},
		{ask{method: "GET", target: "/v1/tags"}, 404, "UnknownOperationException"},
		{ask{method: "DELETE", target: "/v1/clusters"}, 405, "UnknownOperationException"},
		{ask{method: "GET", target: "/v1/clusters/%FF"}, 400, "BadRequestException"},
		{ask{method: "POST", target: "/v1/clusters", body: "{}", header: map[string]string{"Content-Type": "text/xml"}}, 415, "UnsupportedMediaTypeException"},
		{ask{method: "POST", target: "/", service: "secretsmanager", body: "{}"}, 400, "UnknownOperationException"},
		{ask{method: "POST", target: "/", service: "secretsmanager", body: "{}", header: map[string]string{"X-Amz-Target": "secretsmanager.Nothing"}}, 400, "UnknownOperationException"},
		{ask{method: "POST", target: "/", service: "secretsmanager", body: "{}", header: map[string]string{"X-Amz-Target": "secretsmanager.GetSecretValue", "Content-Type": "application/json"}}, 400, "UnsupportedMediaTypeException"},
	} {
		rec := w.do(f.a)
		if got := codeOf(t, rec, RestJSON); got != f.code || rec.Code != f.status {
			t.Errorf("%s %s: %d %s %s", f.a.method, f.a.target, rec.Code, got, rec.Body)
		}
		if told := w.events.take(); len(told) != 1 || told[0].Outcome != trail.Refused || told[0].Principal != "User:"+aliceARN {
			t.Errorf("%s: %+v", f.a.target, told)
		}
	}
	if len(w.ran) != 0 {
		t.Error(w.ran)
	}
}

// TestPermits: policies are asked for each permission with all that conditions can name, and a refusal reaches trail and client (DO1, DO4).
func TestPermits(t *testing.T) {
	w := newWorld(t, nil)
	w.do(ask{method: "POST", target: "/v1/clusters", body: "{}"})
	if len(w.rights.asked) != 2 || w.rights.asked[0].Action != "kafka:CreateCluster" || w.rights.asked[0].Resource != "*" || w.rights.asked[1].Resource != oneARN {
		t.Fatalf("%+v", w.rights.asked)
	}
	more := w.rights.asked[0].More
	if !slices.Equal(more["aws:tagkeys"], []string{"Team", "cost", "old"}) || more["aws:requesttag/team"][0] != "a" || w.rights.asked[1].ResourceTags["team"] != "1" || w.rights.asked[0].Source.String() != "192.0.2.1" {
		t.Errorf("%+v", w.rights.asked)
	}
	escaped := url.PathEscape(oneARN)
	for a, want := range map[*ask]map[string][]string{
		{method: "POST", target: "/v1/tags/" + escaped, body: `{"tags":{"Env":"prod","x":null}}`}: {"aws:requesttag/env": {"prod"}, "aws:tagkeys": {"Env"}},
		{method: "GET", target: "/v1/clusters?tagKeys=b&tagKeys=a"}:                               {"aws:tagkeys": {"a", "b"}},
		{method: "GET", target: "/v1/clusters"}:                                                   {},
	} {
		w.rights.asked = nil
		if rec := w.do(*a); rec.Code >= 300 || !reflect.DeepEqual(w.rights.asked[0].More, want) {
			t.Errorf("%s: %d %v", a.target, rec.Code, w.rights.asked)
		}
	}
	w.events.take()
	for _, action := range []string{"kafka:CreateCluster", "kafka:TagResource"} {
		w.rights.refused, w.ran = map[string]bool{action: true}, nil
		rec := w.do(ask{method: "POST", target: "/v1/clusters", body: "{}"})
		if codeOf(t, rec, RestJSON) != "AccessDeniedException" || rec.Code != 403 || !strings.Contains(rec.Body.String(), "User: "+aliceARN+" is not authorized to perform: "+action+" on resource: ") {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
		told := w.events.take()
		if len(w.ran) != 0 || len(told) != 1 || told[0].Kind != trail.Refusal || told[0].Action != action || told[0].Reason == "" || told[0].AccessKey != aliceID {
			t.Errorf("%v %+v", w.ran, told)
		}
	}
}

// TestResourcePolicies: the policy of what a call is about counts; one that cannot be read lets nobody through.
func TestResourcePolicies(t *testing.T) {
	document, failing := []byte(nil), error(nil)
	w := newWorld(t, func(cfg *Config) {
		cfg.Services[0].Policy = func(context.Context, string) ([]byte, error) { return document, failing }
	})
	target := "/v1/clusters/" + url.PathEscape(oneARN)
	document = []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"kafka:*","Resource":"*"}]}`)
	if rec := w.do(ask{method: "GET", target: target}); rec.Code != 200 || w.rights.own[0] == nil {
		t.Errorf("%d %v", rec.Code, w.rights.own)
	}
	for _, change := range []func(){func() { document = []byte("{") }, func() { failing = errors.New("etcd is away") }} {
		change()
		w.ran = nil
		if rec := w.do(ask{method: "GET", target: target}); rec.Code != 500 || len(w.ran) != 0 {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
	}
}

func TestTrail(t *testing.T) {
	w := newWorld(t, nil)
	w.do(ask{method: "GET", target: "/v1/clusters/" + url.PathEscape(oneARN)})
	w.do(ask{method: "POST", target: "/v1/tags/x", body: "{}"})
	w.fail = io.ErrNoProgress
	w.do(ask{method: "POST", target: "/v1/tags/x", body: "{}"})
	w.fail = Forbidden("", "no")
	w.do(ask{method: "POST", target: "/v1/tags/x", body: "{}"})
	told := w.events.take()
	if len(told) != 4 {
		t.Fatalf("%+v", told)
	}
	want := trail.Event{Time: w.clock.Now(), Kind: trail.Call, Action: "kafka:DescribeCluster", Outcome: trail.Accepted, Principal: "User:" + aliceARN, Mechanism: "AWS_MSK_IAM",
		AccessKey: aliceID, From: "192.0.2.1", Listener: "API", Cluster: "one", Resource: oneARN}
	if fmt.Sprint(told[0]) != fmt.Sprint(want) {
		t.Errorf("%+v", told[0])
	}
	if told[1].Kind != trail.Admin || told[1].Outcome != trail.Accepted || string(told[1].Before) != `{"a":1}` || string(told[1].After) != `{"a":2}` {
		t.Errorf("%+v", told[1])
	}
	if told[2].Outcome != trail.Failed || told[2].Kind != trail.Admin || told[3].Outcome != trail.Refused || told[3].Kind != trail.Refusal {
		t.Errorf("%+v", told[2:])
	}
}

// TestFaults: an error that is not for clients, and a panic, are told to the log and not to the client (DO3).
func TestFaults(t *testing.T) {
	w := newWorld(t, nil)
	w.fail = io.ErrNoProgress
	rec := w.do(ask{method: "GET", target: "/v1/clusters"})
	if codeOf(t, rec, RestJSON) != "ConflictException" || rec.Code != 409 || !strings.Contains(rec.Body.String(), `"invalidParameter":"clusterArn"`) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	w.fail = fmt.Errorf("wrapped: %w", NotFound("", "gone"))
	if rec = w.do(ask{method: "GET", target: "/v1/clusters"}); codeOf(t, rec, RestJSON) != "NotFoundException" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	target := map[string]string{"X-Amz-Target": "secretsmanager.GetSecretValue", "Content-Type": "application/x-amz-json-1.1"}
	w.fail = BadRequest("x", "bad")
	if rec = w.do(ask{method: "POST", target: "/", body: "{}", service: "secretsmanager", header: target}); codeOf(t, rec, JSON11) != "InvalidParameterException" || rec.Code != 400 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	for _, crash := range []bool{false, true} {
		w.crash, w.fail = crash, errors.New("the secret of the house")
		for _, a := range []ask{{method: "GET", target: "/v1/clusters"}, {method: "GET", target: "/?Action=GetCallerIdentity", service: "sts"}} {
			w.log.Reset()
			rec := w.do(a)
			code := rec.Header().Get(headerError)
			if a.service == "sts" {
				code = codeOf(t, rec, Query) + "ServerErrorException"
				code = strings.Replace(code, "InternalFailureServer", "InternalServer", 1)
			}
			if rec.Code != 500 || code != "InternalServerErrorException" || strings.Contains(rec.Body.String(), "secret") {
				t.Errorf("%d %s", rec.Code, rec.Body)
			}
			if !strings.Contains(w.log.String(), "the secret of the house") || !strings.Contains(w.log.String(), rec.Header().Get(headerID)) {
				t.Errorf("log: %s", w.log)
			}
		}
	}
}

// TestThrottle: reads and writes have a bucket each, of a principal; SDKs know the answer.
func TestThrottle(t *testing.T) {
	w := newWorld(t, func(cfg *Config) { cfg.Reads, cfg.Writes = Rate{1, 3}, Rate{0.5, 2} })
	write := func() int { return w.do(ask{method: "POST", target: "/v1/clusters", body: "{}"}).Code }
	read := func() *httptest.ResponseRecorder { return w.do(ask{method: "GET", target: "/v1/clusters"}) }
	for i, want := range []int{200, 200, 429, 429} {
		if got := write(); got != want {
			t.Errorf("write %d: %d", i, got)
		}
	}
	for i, want := range []int{200, 200, 200, 429} {
		if got := read(); got.Code != want {
			t.Errorf("read %d: %d", i, got.Code)
		}
	}
	if rec := read(); codeOf(t, rec, RestJSON) != "TooManyRequestsException" {
		t.Error(rec.Body)
	}
	rec := w.do(ask{method: "GET", target: "/?Action=GetCallerIdentity", service: "sts"})
	if codeOf(t, rec, Query) != "Throttling" || rec.Code != 400 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	w.clock.Advance(2 * time.Second)
	if got := []int{write(), write(), read().Code, read().Code, read().Code}; !slices.Equal(got, []int{200, 429, 200, 200, 429}) {
		t.Error(got)
	}
}

func TestBucketsAreBounded(t *testing.T) {
	b := newBuckets(clock.NewManual(time.Unix(0, 0)))
	for n := range 3 * bucketsMost {
		b.take(&identity.IAM{UserID: fmt.Sprint(n)}, true, Rate{1, 1})
	}
	if len(b.by) != bucketsMost || b.order.Len() != bucketsMost {
		t.Errorf("%d buckets, %d in order", len(b.by), b.order.Len())
	}
	who := &identity.IAM{UserID: "AROAX:one"}
	if !b.take(who, true, Rate{1, 1}) || b.take(&identity.IAM{UserID: "AROAX:two"}, true, Rate{1, 1}) {
		t.Error("two sessions of a role do not share its bucket")
	}
}

// TestBusy: more calls at a time than there may be are told to come again, and cost nothing.
func TestBusy(t *testing.T) {
	w := newWorld(t, func(cfg *Config) { cfg.Concurrent = 1 })
	entered, leave, ended := make(chan struct{}), make(chan struct{}), make(chan int)
	w.h.rooms[0].byName["ListClusters"].Handle = func(context.Context, *Call) (any, error) {
		close(entered)
		<-leave
		return nil, nil
	}
	r := w.request(ask{method: "GET", target: "/v1/clusters"})
	go func() {
		rec := httptest.NewRecorder()
		w.h.ServeHTTP(rec, r)
		ended <- rec.Code
	}()
	<-entered
	if rec := w.do(ask{method: "GET", target: "/v1/clusters/x"}); rec.Code != 503 || codeOf(t, rec, RestJSON) != "ServiceUnavailableException" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	close(leave)
	if code := <-ended; code != 200 {
		t.Error(code)
	}
	if rec := w.do(ask{method: "GET", target: "/v1/clusters/x"}); rec.Code != 200 {
		t.Error(rec.Code)
	}
}

func TestTakes(t *testing.T) {
	w := newWorld(t, nil)
	for target, want := range map[string]bool{
		"GET /v1/clusters": true, "GET /v1/nothing": true, "POST /": true, "GET /": false, "GET /millrace/v1/clusters/default": false, "GET /healthz": false, "GET /console/x": false,
	} {
		method, path, _ := strings.Cut(target, " ")
		if got := w.h.Takes(httptest.NewRequest(method, path, nil)); got != want {
			t.Errorf("%s: %v", target, got)
		}
	}
	if !w.h.Takes(w.request(ask{method: "GET", target: "/?Action=GetCallerIdentity", service: "sts"})) {
		t.Error("a signed GET of sts")
	}
	if w.h.Takes(w.request(ask{method: "GET", target: "/millrace/v1/clusters/default"})) {
		t.Error("the verbs' API, which is signed for the same service")
	}
}

func TestConfig(t *testing.T) {
	w := newWorld(t, nil)
	handle := func(context.Context, *Call) (any, error) { return nil, nil }
	for name, services := range map[string][]Service{
		"none": nil, "no name": {{}}, "twice": {{Name: "a", Protocol: Query}, {Name: "a", Protocol: Query}}, "no target": {{Name: "a", Protocol: JSON11}},
		"no handler": {{Name: "a", Operations: []Operation{{Name: "A", Method: "GET", Path: "/"}}}},
		"same route": {{Name: "a", Operations: []Operation{{Name: "A", Method: "GET", Path: "/{x}", Handle: handle}, {Name: "B", Method: "GET", Path: "/{y}", Handle: handle}}}},
		"same name":  {{Name: "a", Operations: []Operation{{Name: "A", Method: "GET", Path: "/x", Handle: handle}, {Name: "A", Method: "GET", Path: "/y", Handle: handle}}}},
	} {
		if _, err := New(Config{Services: services}, w.h.world); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(Config{Services: w.services()}, World{}); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
}

// FuzzHandler: whatever path, query and body are signed, there is an answer with an id, and no fault of ours.
func FuzzHandler(f *testing.F) {
	f.Add("GET", "/v1/clusters/arn%3Aaws", "a=b", "{}", "kafka", "")
	f.Add("POST", "/", "", "Action=GetCallerIdentity&Version=2011-06-15", "sts", "application/x-www-form-urlencoded")
	f.Add("POST", "/", "x=%zz", "{}", "secretsmanager", "application/x-amz-json-1.1")
	f.Add("GET", "/v1/clusters/%252F%2f/topics/%C3%28", "", "", "kafka", "")
	w := newWorld(f, nil)
	f.Fuzz(func(t *testing.T, method, path, query, body, service, kind string) {
		u, err := url.ParseRequestURI("/" + strings.TrimPrefix(path, "/"))
		if err != nil || strings.ContainsAny(method, " \r\n\x00") || method == "" {
			return
		}
		u.Scheme, u.Host, u.RawQuery = "http", "api:8480", query
		r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "http://api:8480/", strings.NewReader(body))
		r.Method, r.URL = method, u
		r.Header.Set("Content-Type", kind)
		r.Header.Set("X-Amz-Target", "secretsmanager."+kind)
		if err := sigv4.Sign(r, []byte(body), aliceID, secret, "", region, service, w.clock.Now()); err != nil {
			return
		}
		w.clock.Advance(time.Second)
		rec := httptest.NewRecorder()
		w.h.ServeHTTP(rec, r)
		if rec.Code >= 500 && rec.Code != 503 || rec.Header().Get(headerID) == "" {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		for name, value := range w.last.paramsOrNone() {
			if value == "" || name == "" {
				t.Fatalf("label %q is %q", name, value)
			}
		}
	})
}

func (c *Call) paramsOrNone() map[string]string {
	if c == nil {
		return nil
	}
	return c.Params
}
