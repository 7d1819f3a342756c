package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Errors of this package, to be tested with errors.Is. Their texts are for a trail, not for who sent the signature.
var (
	// ErrMalformed: it is not what it should be.
	ErrMalformed = errors.New("sigv4: malformed")
	// ErrScope: it is for another region, service, action or host.
	ErrScope = errors.New("sigv4: signed for something else")
	// ErrTime: it is expired, not yet valid, or lives too long.
	ErrTime = errors.New("sigv4: not valid at this time")
	// ErrSignature: the signature is not that of this key.
	ErrSignature = errors.New("sigv4: wrong signature")
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	timeLayout = "20060102T150405Z"
	maxLogin   = 16 << 10 // bytes of a login; a session token has some hundreds to a few thousand
	maxHeaders = 64 << 10 // bytes of what is signed of a request
	maxKeyID   = 128      // characters, as IAM has it
	emptyHash  = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// Signed is something that somebody has signed with an access key.
type Signed struct {
	KeyID   string        // of the access key
	Token   string        // session token; "" for a key that lasts
	Region  string        // of the scope
	Service string        // of the scope
	Action  string        // of a login; "" for a request
	Host    string        // whom it is for, as it was signed
	Time    time.Time     // when it was signed, in whole seconds
	Expires time.Duration // how long it lives from Time on; zero for a request, which says nothing of it

	date      string // of the scope
	canonical string // request that is signed
	signature []byte
}

// Digest tells this signature from all others, without showing it.
func (s *Signed) Digest() [sha256.Size]byte { return sha256.Sum256(s.signature) }

// String tells the key's id, the scope and the host.
func (s *Signed) String() string {
	return fmt.Sprintf("signed by %s for %s in %s at %s", s.KeyID, s.Service, s.Region, s.Host)
}

// GoString is String.
func (s *Signed) GoString() string { return s.String() }

// LogValue is String.
func (s *Signed) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Rules are what a Signed has to keep beside its signature.
type Rules struct {
	Region     string            // the only one that counts
	Service    string            // such as "kafka-cluster"
	Action     string            // of a login; "": none
	Host       func(string) bool // whether it is for us; nil: any
	MaxExpires time.Duration     // longest lifetime of a login
	Skew       time.Duration     // how far the clock of the signer may be off
}

// Check returns nil, or an error that matches ErrScope or ErrTime.
func (s *Signed) Check(r Rules, now time.Time) error {
	switch {
	case s.Region != r.Region:
		return fmt.Errorf("%w: region %q, here it is %q", ErrScope, clip(s.Region), r.Region)
	case s.Service != r.Service:
		return fmt.Errorf("%w: service %q, here it is %q", ErrScope, clip(s.Service), r.Service)
	case s.Action != r.Action:
		return fmt.Errorf("%w: action %q", ErrScope, clip(s.Action))
	case r.Host != nil && !r.Host(s.Host):
		return fmt.Errorf("%w: host %q", ErrScope, clip(s.Host))
	case s.date != s.Time.Format("20060102"):
		return fmt.Errorf("%w: the scope is of another day", ErrTime)
	case s.Expires > r.MaxExpires:
		return fmt.Errorf("%w: it lives for %v, at most %v", ErrTime, s.Expires, r.MaxExpires)
	case now.Before(s.Time.Add(-r.Skew)):
		return fmt.Errorf("%w: signed at %v, which is in the future", ErrTime, s.Time)
	case now.After(s.Time.Add(s.Expires + r.Skew)):
		return fmt.Errorf("%w: expired, signed at %v for %v", ErrTime, s.Time, s.Expires)
	}
	return nil
}

// Verify returns nil if the signature is that of the key with this secret, else ErrSignature.
func (s *Signed) Verify(secret string) error {
	if !hmac.Equal(s.sign(secret), s.signature) {
		return ErrSignature
	}
	return nil
}

// sign returns what the signature has to be.
func (s *Signed) sign(secret string) []byte {
	scope := strings.Join([]string{s.date, s.Region, s.Service, terminator}, "/")
	hash := sha256.Sum256([]byte(s.canonical))
	text := strings.Join([]string{algorithm, s.Time.Format(timeLayout), scope, hex.EncodeToString(hash[:])}, "\n")
	key := []byte("AWS4" + secret)
	for _, part := range []string{s.date, s.Region, s.Service, terminator, text} {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(part))
		key = h.Sum(nil)
	}
	return key
}

// setScope takes a credential apart: ID/yyyymmdd/region/service/aws4_request.
func (s *Signed) setScope(credential string) error {
	p := strings.Split(credential, "/")
	if len(p) != 5 || p[0] == "" || len(p[0]) > maxKeyID || p[2] == "" || p[3] == "" || p[4] != terminator {
		return fmt.Errorf("%w: credential scope", ErrMalformed)
	}
	for _, c := range p[0] {
		if c <= ' ' || c > '~' { // it is logged
			return fmt.Errorf("%w: key id", ErrMalformed)
		}
	}
	s.KeyID, s.date, s.Region, s.Service = p[0], p[1], p[2], p[3]
	return nil
}

func (s *Signed) setTime(text string) error {
	t, err := time.Parse(timeLayout, text)
	if err != nil {
		return fmt.Errorf("%w: date", ErrMalformed)
	}
	s.Time = t
	return nil
}

// setExpires takes seconds, which may have a fraction: the signer for JavaScript makes one.
func (s *Signed) setExpires(text string) error {
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds > 0 && seconds <= 7*24*3600) || strings.ContainsAny(text, "xXpP_") {
		return fmt.Errorf("%w: lifetime", ErrMalformed)
	}
	s.Expires = time.Duration(seconds * float64(time.Second))
	return nil
}

func (s *Signed) setSignature(text string) error {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != sha256.Size {
		return fmt.Errorf("%w: signature", ErrMalformed)
	}
	s.signature = b
	return nil
}

// clip shortens what is told of a stranger's words.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
