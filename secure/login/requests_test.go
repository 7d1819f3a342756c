package login

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"millrace/secure/identity"
	"millrace/secure/sigv4"
)

func TestRequests(t *testing.T) {
	keys, tr, c := &keyring{keys: map[string]Key{}}, &trailer{}, &shiftClock{}
	c.freeze()
	keys.set("", Key{ID: aliceID, Secret: aliceSecret, Principal: "User:" + aliceARN, Identity: identity.IAM{ARN: aliceARN, AccessKey: aliceID}})
	log := slog.New(slog.DiscardHandler)
	if _, err := NewRequests(RequestsConfig{}, keys, tr, c, log); !errors.Is(err, ErrConfig) {
		t.Errorf("without a region: %v", err)
	}
	q, err := NewRequests(RequestsConfig{Region: region, Services: []string{"kafka", "sts"}, BodyBytes: 100, Host: func(h string) bool { return h == "api:8480" }}, keys, tr, c, log)
	must(t, err)
	verify := func(id, secret, service, body string, when time.Time, change func(*http.Request)) (identity.Identity, error) {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "https://api:8480/v1/clusters", strings.NewReader(body))
		must(t, err)
		r.RemoteAddr = "192.0.2.1:5000"
		must(t, sigv4.Sign(r, []byte(body), id, secret, "", region, service, when))
		if change != nil {
			change(r)
		}
		who, err := q.Verify(r)
		if err == nil {
			if got, err := io.ReadAll(r.Body); err != nil || string(got) != body {
				t.Errorf("the body is %q after it was verified: %v", got, err)
			}
		}
		return who, err
	}
	now := c.Now()
	for _, service := range []string{"kafka", "sts"} {
		who, err := verify(aliceID, aliceSecret, service, "body", now, nil)
		if err != nil || who.Principal != "User:"+aliceARN || who.IAM.ARN != aliceARN {
			t.Errorf("%s: %+v %v", service, who, err)
		}
	}
	if len(tr.all()) != 0 {
		t.Errorf("trail: %+v", tr.all())
	}
	for what, f := range map[string]struct {
		err  error
		want error
	}{
		"unsigned":     {second(verify(aliceID, aliceSecret, "kafka", "", now, func(r *http.Request) { r.Header.Del("Authorization") })), ErrUnsigned},
		"unknown key":  {second(verify("AKIANOBODYNOBODYNOBO", aliceSecret, "kafka", "", now, nil)), ErrUnknownKey},
		"wrong secret": {second(verify(aliceID, "wrong-password", "kafka", "", now, nil)), sigv4.ErrSignature},
		"old":          {second(verify(aliceID, aliceSecret, "kafka", "", now.Add(-6*time.Minute), nil)), sigv4.ErrTime},
		"ahead":        {second(verify(aliceID, aliceSecret, "kafka", "", now.Add(6*time.Minute), nil)), sigv4.ErrTime},
		"service":      {second(verify(aliceID, aliceSecret, "s3", "", now, nil)), sigv4.ErrScope},
		"host":         {second(verify(aliceID, aliceSecret, "kafka", "", now, func(r *http.Request) { r.Host = "other" })), sigv4.ErrSignature},
		"large":        {second(verify(aliceID, aliceSecret, "kafka", strings.Repeat("x", 101), now, nil)), ErrBody},
		"no scheme":    {second(verify(aliceID, aliceSecret, "kafka", "", now, func(r *http.Request) { r.Header.Set("Authorization", "Basic eDp5") })), sigv4.ErrMalformed},
	} {
		if !errors.Is(f.err, f.want) {
			t.Errorf("%s: %v, want %v", what, f.err, f.want)
		}
	}
	for _, e := range tr.all() {
		if e.From != "192.0.2.1" || e.Reason == "" || e.Action != "api:Authenticate" {
			t.Errorf("trail: %+v", e)
		}
	}
	for range guessesMost {
		_, _ = verify(aliceID, "wrong-password", "kafka", "", now, nil)
	}
	if _, err := verify(aliceID, aliceSecret, "kafka", "", now, nil); !errors.Is(err, ErrGuessing) {
		t.Errorf("after too many guesses: %v", err)
	}
	c.advance(10 * time.Second)
	if _, err := verify(aliceID, aliceSecret, "kafka", "", now, nil); err != nil {
		t.Errorf("a while later: %v", err)
	}
}

func second(_ identity.Identity, err error) error { return err }
