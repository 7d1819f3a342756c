package login

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"millrace/base/clock"
	"millrace/secure/identity"
	"millrace/secure/sigv4"
	"millrace/secure/trail"
)

// Errors of Requests.Verify beside those of sigv4 and ErrUnknownKey.
var (
	// ErrUnsigned: the request has no signature.
	ErrUnsigned = errors.New("login: request is not signed")
	// ErrGuessing: too many wrong signatures have come for this key from this address; come again in a moment.
	ErrGuessing = errors.New("login: too many refusals")
	// ErrExpired: the key was that of a session, which is over. It comes with ErrUnknownKey.
	ErrExpired = errors.New("login: session expired")
	// ErrBody: the body is larger than it may be, or could not be read.
	ErrBody = errors.New("login: body too large or not read")
)

// RequestsConfig is read once by NewRequests. A zero field takes its default.
type RequestsConfig struct {
	Region    string            // the only one that signatures may be for; required
	Services  []string          // that they may be for, "kafka", "sts"; required
	Host      func(string) bool // whether a Host header, with its port, is ours; nil: any
	BodyBytes int64             // largest body; default 1 MiB
	Addresses int               // addresses and keys whose refusals are remembered; default 16,384
}

// Requests verifies signed HTTP requests. Make one with NewRequests. Safe for concurrent use.
type Requests struct {
	cfg      RequestsConfig
	verifier verifier
	trail    trail.Recorder
	clock    clock.Clock
	refusals *refusals
}

// NewRequests returns a Requests, or ErrConfig.
func NewRequests(cfg RequestsConfig, keys Keys, t trail.Recorder, c clock.Clock, log *slog.Logger) (*Requests, error) {
	if cfg.BodyBytes == 0 {
		cfg.BodyBytes = 1 << 20
	}
	if cfg.Addresses == 0 {
		cfg.Addresses = 16_384
	}
	if cfg.Region == "" || len(cfg.Services) == 0 || cfg.BodyBytes < 0 || cfg.Addresses < 0 {
		return nil, fmt.Errorf("%w: a region and services are needed, and bounds above zero", ErrConfig)
	}
	return &Requests{cfg, verifier{keys, log}, t, c, newRefusals(cfg.Addresses, c)}, nil
}

// Verify returns who signed a request. It reads the body, which may be read again afterwards. The error matches ErrUnsigned, ErrUnknownKey,
// ErrGuessing, ErrBody, or an error of sigv4; who sent the request may be told which, but not the error's text. Refusals are told
// to the trail, acceptances are not: what the request does is.
func (q *Requests) Verify(r *http.Request) (identity.Identity, error) {
	if r.Header.Get("Authorization") == "" {
		return identity.Identity{}, ErrUnsigned
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, q.cfg.BodyBytes+1))
	if err != nil || int64(len(body)) > q.cfg.BodyBytes {
		return identity.Identity{}, fmt.Errorf("%w: at most %d bytes", ErrBody, q.cfg.BodyBytes)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var from netip.Addr
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		from = at.Addr().Unmap()
	}
	signed, err := sigv4.ParseRequest(r, body)
	if err != nil {
		q.refuse(from, "", trail.Event{Reason: err.Error()})
		return identity.Identity{}, err
	}
	if !q.refusals.may(from, signed.KeyID) {
		return identity.Identity{}, ErrGuessing
	}
	if !slices.Contains(q.cfg.Services, signed.Service) {
		err := fmt.Errorf("%w: service", sigv4.ErrScope)
		q.refuse(from, signed.KeyID, eventOf(signed.KeyID, "", err))
		return identity.Identity{}, err
	}
	rules := sigv4.Rules{Region: q.cfg.Region, Service: signed.Service, Host: q.cfg.Host, Skew: clockSkew}
	key, err := q.verifier.verify(r.Context(), signed, rules, q.clock.Now())
	if err != nil {
		q.refuse(from, signed.KeyID, eventOf(signed.KeyID, key.Principal, err))
		return identity.Identity{}, err
	}
	return key.who(identity.MSKIAM), nil
}

func (q *Requests) refuse(from netip.Addr, keyID string, e trail.Event) {
	q.refusals.add(from, keyID, time.Duration(0))
	e.Time, e.Kind, e.Action, e.Outcome, e.Mechanism = q.clock.Now(), trail.Login, "api:Authenticate", trail.Refused, "AWS4-HMAC-SHA256"
	if from.IsValid() {
		e.From = from.String()
	}
	q.trail.Record(e)
}
