package sigv4

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"pgregory.net/rapid"
)

const (
	keyID  = "AKIAIOSFODNN7EXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	token  = "IQoJb3JpZ2luX2VjE+a/b==session&token?of=some#length"
	region = "eu-west-9"
)

func at() time.Time { return time.Date(2026, 5, 4, 23, 59, 30, 0, time.UTC) }

func rules() Rules {
	return Rules{Region: region, Service: "kafka-cluster", Action: "kafka-cluster:Connect", MaxExpires: 15 * time.Minute, Skew: 5 * time.Minute}
}

// presign is what AWS's own library makes of a login: the oracle.
func presign(t testing.TB, host, session, expires string, when time.Time) *url.URL {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://"+host+"/?Action=kafka-cluster%3AConnect&X-Amz-Expires="+expires, nil)
	must(t, err)
	signed, _, err := v4.NewSigner().PresignHTTP(context.Background(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret, SessionToken: session}, r,
		emptyHash, "kafka-cluster", region, when)
	must(t, err)
	u, err := url.Parse(signed)
	must(t, err)
	return u
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// iamOf is the message of AWS_MSK_IAM with that URL.
func iamOf(t testing.TB, u *url.URL, change func(map[string]string)) []byte {
	t.Helper()
	m := map[string]string{"version": iamVersion, "host": u.Host, "user-agent": "some/1.0"}
	for k, v := range u.Query() {
		m[strings.ToLower(k)] = v[0]
	}
	if change != nil {
		change(m)
	}
	b, err := json.Marshal(m)
	must(t, err)
	return b
}

// bearerOf is the token of an MSK IAM signer with that URL.
func bearerOf(u string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(u + "&User-Agent=aws-msk-iam-sasl-signer-go%2F1.0.4"))
}

func check(s *Signed, now time.Time) error {
	if err := s.Check(rules(), now); err != nil {
		return err
	}
	return s.Verify(secret)
}

func TestLogins(t *testing.T) {
	for _, session := range []string{"", token} {
		for _, expires := range []string{"300", "899", "900", "512.344"} {
			for _, host := range []string{"b-1.demo.kafka.local", "127.0.0.1", "::1"} {
				u := presign(t, strings.NewReplacer("::1", "[::1]").Replace(host), session, expires, at())
				s, err := ParseIAM(iamOf(t, u, nil))
				must(t, err)
				must(t, check(s, at()))
				if s.KeyID != keyID || s.Token != session || s.Host != u.Host || s.Action != "kafka-cluster:Connect" || !s.Time.Equal(at()) {
					t.Errorf("%+v", *s)
				}
			}
			u := presign(t, BearerHost(region), session, expires, at())
			for _, text := range []string{u.String(), strings.Replace(u.String(), ".com/?", ".com?", 1)} {
				for _, padded := range []string{"", "=", "=="} {
					s, err := ParseBearer(bearerOf(text) + padded)
					must(t, err)
					must(t, check(s, at()))
					if s.Host != BearerHost(region) || s.Token != session {
						t.Errorf("%+v", *s)
					}
				}
			}
		}
	}
}

// Whatever is changed of what is signed, the signature does not fit any more.
func TestEveryFieldIsSigned(t *testing.T) {
	u := presign(t, "broker", token, "900", at())
	for _, name := range []string{"host", "action", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-security-token", "x-amz-signature"} {
		for _, change := range []func(string) string{
			func(v string) string { return v[:len(v)-1] },
			func(v string) string { return strings.Replace(v, "0", "1", 1) },
			func(v string) string { return strings.ToUpper(v) },
			func(string) string { return "" },
		} {
			same := false
			s, err := ParseIAM(iamOf(t, u, func(m map[string]string) {
				before := m[name]
				m[name] = change(before)
				same = m[name] == before || name == "x-amz-signature" && strings.EqualFold(m[name], before)
			}))
			if !same && err == nil && s.Verify(secret) == nil {
				t.Errorf("%s changed, and the signature still fits", name)
			}
		}
	}
	s, err := ParseIAM(iamOf(t, u, func(m map[string]string) { delete(m, "x-amz-security-token") }))
	must(t, err)
	if s.Verify(secret) == nil {
		t.Error("the session token can be taken away")
	}
	s, err = ParseIAM(iamOf(t, u, nil))
	must(t, err)
	if err := s.Verify(secret + "x"); !errors.Is(err, ErrSignature) {
		t.Errorf("another secret: %v", err)
	}
}

func TestRules(t *testing.T) {
	u := presign(t, "broker", "", "900", at())
	s, err := ParseIAM(iamOf(t, u, nil))
	must(t, err)
	for _, f := range []struct {
		name   string
		change func(*Rules)
		now    time.Duration
		want   error
	}{
		{"in time", nil, 0, nil},
		{"at its end", nil, 15 * time.Minute, nil},
		{"clock of the client is behind", nil, 20 * time.Minute, nil},
		{"expired", nil, 20*time.Minute + time.Second, ErrTime},
		{"clock of the client is ahead", nil, -5 * time.Minute, nil},
		{"not yet valid", nil, -5*time.Minute - time.Second, ErrTime},
		{"region", func(r *Rules) { r.Region = "us-east-1" }, 0, ErrScope},
		{"service", func(r *Rules) { r.Service = "kafka" }, 0, ErrScope},
		{"action", func(r *Rules) { r.Action = "" }, 0, ErrScope},
		{"host", func(r *Rules) { r.Host = func(h string) bool { return h != "broker" } }, 0, ErrScope},
		{"lives too long", func(r *Rules) { r.MaxExpires = 899 * time.Second }, 0, ErrTime},
	} {
		r := rules()
		if f.change != nil {
			f.change(&r)
		}
		if err := s.Check(r, at().Add(f.now)); !errors.Is(err, f.want) || f.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", f.name, err, f.want)
		}
	}
	other := *s
	other.date = "20260503"
	if err := other.Check(rules(), at()); !errors.Is(err, ErrTime) {
		t.Errorf("scope of another day: %v", err)
	}
}

func TestMalformedLogins(t *testing.T) {
	u := presign(t, "broker", "", "900", at())
	good := string(iamOf(t, u, nil))
	for name, payload := range map[string]string{
		"empty": "", "not an object": "[]", "number": `{"version":1}`, "nested": `{"version":{}}`, "twice": strings.Replace(good, `{`, `{"host":"x",`, 1),
		"more": good + "{}", "cut": good[:len(good)-1], "version": strings.Replace(good, iamVersion, "2021_01_01", 1),
		"headers":  strings.Replace(good, `"x-amz-signedheaders":"host"`, `"x-amz-signedheaders":"host;x"`, 1),
		"large":    `{"version":"` + strings.Repeat("x", maxLogin) + `"}`,
		"lifetime": strings.Replace(good, `"900"`, `"-900"`, 1), "nan": strings.Replace(good, `"900"`, `"NaN"`, 1), "hex": strings.Replace(good, `"900"`, `"0x10"`, 1),
		"ever": strings.Replace(good, `"900"`, `"1e300"`, 1), "scope": strings.Replace(good, "/aws4_request", "", 1), "no host": strings.Replace(good, `"broker"`, `""`, 1),
	} {
		if s, err := ParseIAM([]byte(payload)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v %v", name, s, err)
		}
	}
	url := presign(t, BearerHost(region), "", "900", at()).String()
	for name, text := range map[string]string{
		"empty": "", "http": strings.Replace(url, "https", "http", 1), "path": strings.Replace(url, "/?", "/x?", 1), "no query": "https://h/", "escape": url + "&x=%zz",
		"twice": url + "&X-Amz-Expires=1", "fragment": url + "#x", "action twice": url + "&Action=other", "signature twice": url + "&X-Amz-Signature=00",
	} {
		s, err := ParseBearer(bearerOf(text))
		if err == nil && s.Verify(secret) == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := ParseBearer("%%%"); !errors.Is(err, ErrMalformed) {
		t.Errorf("not base64: %v", err)
	}
}

// Nothing secret is shown (V3).
func TestNothingIsShown(t *testing.T) {
	u := presign(t, "broker", token, "900", at())
	s, err := ParseIAM(iamOf(t, u, nil))
	must(t, err)
	text := fmt.Sprintf("%v %+v %#v %s %v", s, s, s, s, s.Verify("x"))
	for _, hidden := range []string{token, hex.EncodeToString(s.signature), secret} {
		if strings.Contains(text, hidden) {
			t.Errorf("%q is in %q", hidden, text)
		}
	}
}

// request makes a request that AWS's own library has signed, as a server sees it.
func request(t testing.TB, method, target, body, session string, headers map[string]string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, "https://api.local:8480"+target, strings.NewReader(body))
	must(t, err)
	for k, v := range headers {
		r.Header.Set(k, v)
	}
	must(t, v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret, SessionToken: session}, r,
		hashOf([]byte(body)), "kafka", region, at()))
	return arrive(t, r)
}

// arrive sends a request through a real server.
func arrive(t testing.TB, r *http.Request) *http.Request {
	t.Helper()
	var wire bytes.Buffer
	must(t, r.Write(&wire))
	got := make(chan *http.Request, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, in *http.Request) { got <- in.Clone(context.Background()) }))
	defer srv.Close()
	u, err := url.Parse(srv.URL)
	must(t, err)
	conn, err := net.Dial("tcp", u.Host)
	must(t, err)
	defer func() { _ = conn.Close() }()
	_, err = conn.Write(wire.Bytes())
	must(t, err)
	select {
	case in := <-got:
		return in
	case <-time.After(10 * time.Second):
		t.Fatal("the request did not arrive")
		return nil
	}
}

func requestRules() Rules {
	return Rules{Region: region, Service: "kafka", Skew: 5 * time.Minute}
}

func TestRequests(t *testing.T) {
	arn := "/v1/clusters/" + strings.ReplaceAll(url.PathEscape("arn:aws:kafka:eu-west-9:1:cluster/a b/1"), ":", "%3A")
	for _, target := range []string{"/", "", "/v1/clusters", arn, "/v1/tags/x?tagKeys=b&tagKeys=a&tagKeys=", "/x?a=%2B+%20&A=~*'()", "/ä/%E4?q"} {
		for _, body := range []string{"", `{"a":1}`} {
			r := request(t, http.MethodPost, target, body, token, map[string]string{"Content-Type": "application/json", "X-Amz-Target": "a   b ", "Accept": "x"})
			s, err := ParseRequest(r, []byte(body))
			if err != nil {
				t.Errorf("%s: %v", target, err)
				continue
			}
			if err := errors.Join(s.Check(requestRules(), at()), s.Verify(secret)); err != nil {
				t.Errorf("%s: %v\n%s", target, err, s.canonical)
			}
			if s.Token != token || s.KeyID != keyID {
				t.Errorf("%+v", s)
			}
		}
	}
}

func TestRequestsChanged(t *testing.T) {
	const body = `{"a":1}`
	for name, change := range map[string]func(*http.Request){
		"method":       func(r *http.Request) { r.Method = http.MethodDelete },
		"path":         func(r *http.Request) { r.URL.Path = "/v1/other" },
		"query":        func(r *http.Request) { r.URL.RawQuery = "x=1" },
		"host":         func(r *http.Request) { r.Host = "elsewhere" },
		"date":         func(r *http.Request) { r.Header.Set(headerDate, "20260504T235931Z") },
		"token":        func(r *http.Request) { r.Header.Set(headerToken, "other") },
		"type":         func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
		"unsigned":     func(r *http.Request) { r.Header.Set("X-Amz-More", "x") },
		"hash":         func(r *http.Request) { r.Header.Set(headerHash, "UNSIGNED-PAYLOAD") },
		"two":          func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) },
		"gone":         func(r *http.Request) { r.Header.Del("Content-Type") },
		"no signature": func(r *http.Request) { r.Header.Del("Authorization") },
	} {
		r := request(t, http.MethodPost, "/v1/clusters", body, token, map[string]string{"Content-Type": "application/json"})
		s, err := ParseRequest(r, []byte(body))
		must(t, err)
		must(t, s.Verify(secret))
		change(r)
		if s, err = ParseRequest(r, []byte(body)); err == nil && s.Verify(secret) == nil {
			t.Errorf("%s changed, and the signature still fits", name)
		}
	}
	r := request(t, http.MethodPost, "/v1/clusters", body, "", nil)
	if s, err := ParseRequest(r, []byte(body+" ")); err == nil && s.Verify(secret) == nil {
		t.Error("the body changed, and the signature still fits")
	}
	for off, want := range map[time.Duration]error{0: nil, 5 * time.Minute: nil, -5 * time.Minute: nil, 301 * time.Second: ErrTime, -301 * time.Second: ErrTime} {
		s, err := ParseRequest(request(t, http.MethodPost, "/v1/clusters", body, "", nil), []byte(body))
		must(t, err)
		if err := s.Check(requestRules(), at().Add(off)); !errors.Is(err, want) {
			t.Errorf("off by %v: %v", off, err)
		}
	}
}

// A body that is not signed is taken over TLS only, and never instead of one that is (ServiceOf knows whom for, either way).
func TestUnsignedPayload(t *testing.T) {
	r := request(t, http.MethodPost, "/v1/clusters", "", "", nil)
	r.Header.Set(headerHash, unsigned)
	must(t, v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, r, unsigned, "kafka", region, at()))
	if s, err := ParseRequest(r, []byte("anything")); !errors.Is(err, ErrMalformed) {
		t.Errorf("without TLS: %v %v", s, err)
	}
	r.TLS = &tls.ConnectionState{}
	s, err := ParseRequest(r, []byte("anything"))
	must(t, err)
	must(t, s.Verify(secret))
	if ServiceOf(r) != "kafka" {
		t.Errorf("for %q", ServiceOf(r))
	}
	signed := request(t, http.MethodPost, "/v1/clusters", "body", "", nil)
	signed.TLS = r.TLS
	if s, err := ParseRequest(signed, []byte("other")); err == nil && s.Verify(secret) == nil {
		t.Error("a signed body was changed, and is taken")
	}
	for _, header := range []string{"", "Basic eDp5", "AWS4-HMAC-SHA256 x", "AWS4-HMAC-SHA256 Credential=a/b/c/d"} {
		r.Header.Set("Authorization", header)
		if got := ServiceOf(r); got != "" {
			t.Errorf("%q is for %q", header, got)
		}
	}
}

// What Sign makes is what AWS's library makes, and what ParseRequest reads.
func TestSign(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		path := rapid.StringMatching(`/[a-zA-Z0-9 :%+ä/=-]{0,30}`).Draw(rt, "path")
		query := url.Values{"k": rapid.SliceOfN(rapid.String(), 0, 3).Draw(rt, "values")}
		body := rapid.SliceOf(rapid.Byte()).Draw(rt, "body")
		session := rapid.SampledFrom([]string{"", token}).Draw(rt, "token")
		u := &url.URL{Scheme: "https", Host: "api:1", Path: path, RawQuery: query.Encode()}
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPut, u.String(), bytes.NewReader(body))
		if err != nil {
			rt.Skip(err)
		}
		r.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, "+", "%20") // as the SDKs write it
		if err := Sign(r, body, keyID, secret, session, region, "kafka", at()); err != nil {
			rt.Fatal(err)
		}
		s, err := ParseRequest(r, body)
		if err != nil {
			rt.Fatal(err)
		}
		if err := errors.Join(s.Check(requestRules(), at()), s.Verify(secret)); err != nil {
			rt.Fatalf("%v\n%s", err, s.canonical)
		}
		if s.Verify(secret[1:]) == nil {
			rt.Fatal("another secret fits")
		}
	})
}

func FuzzParseIAM(f *testing.F) {
	f.Add(iamOf(f, presign(f, "broker", token, "900", at()), nil))
	f.Add([]byte(`{"version":"2020_10_22","host":"h","x-amz-credential":"a/b/c/d/aws4_request"}`))
	f.Fuzz(func(t *testing.T, payload []byte) { fuzzed(t, payload, ParseIAM) })
}

func FuzzParseBearer(f *testing.F) {
	f.Add([]byte(bearerOf(presign(f, BearerHost(region), token, "900", at()).String())))
	f.Add([]byte(bearerOf("https://h?X-Amz-Credential=a/b/c/d/aws4_request")))
	f.Fuzz(func(t *testing.T, payload []byte) {
		fuzzed(t, payload, func(b []byte) (*Signed, error) { return ParseBearer(string(b)) })
	})
}

func FuzzParseRequest(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=a/20260504/eu/kafka/aws4_request, SignedHeaders=host;x-amz-date, Signature="+strings.Repeat("00", 32), "a=b&c", "/x y")
	f.Fuzz(func(t *testing.T, authorization, query, path string) {
		r := &http.Request{Method: http.MethodPost, Host: "h", URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{"Authorization": {authorization}, headerDate: {"20260504T235930Z"}}}
		fuzzed(t, nil, func(b []byte) (*Signed, error) { return ParseRequest(r, b) })
	})
}

func fuzzed(t *testing.T, payload []byte, parse func([]byte) (*Signed, error)) {
	s, err := parse(payload)
	if err != nil {
		if !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
		return
	}
	_ = s.Check(rules(), at())
	if s.Verify("a secret that the fuzzer does not know") == nil {
		t.Fatal("verified")
	}
}

func BenchmarkVerifyIAM(b *testing.B) {
	payload := iamOf(b, presign(b, "broker", token, "900", at()), nil)
	b.ReportAllocs()
	for b.Loop() {
		s, err := ParseIAM(payload)
		must(b, err)
		must(b, check(s, at()))
	}
}
