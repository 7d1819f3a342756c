package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Names of headers.
const (
	headerDate  = "X-Amz-Date"
	headerToken = "X-Amz-Security-Token"
	headerHash  = "X-Amz-Content-Sha256"
)

// unsigned stands for the hash of a body that is not signed.
const unsigned = "UNSIGNED-PAYLOAD"

// ParseRequest reads a request that has an Authorization header of Signature Version 4. body is the whole of its body: it is signed, but for
// a client that says "unsigned payload" over TLS, where nobody on the way can change it. The error matches ErrMalformed.
func ParseRequest(r *http.Request, body []byte) (*Signed, error) {
	fields, err := authorization(r)
	if err != nil {
		return nil, err
	}
	s := &Signed{Host: r.Host, Token: r.Header.Get(headerToken)}
	err = errors.Join(s.setScope(fields["Credential"]), s.setTime(r.Header.Get(headerDate)), s.setSignature(fields["Signature"]))
	if err != nil {
		return nil, err
	}
	names := strings.Split(fields["SignedHeaders"], ";")
	if err := checkSignedHeaders(r, names); err != nil {
		return nil, err
	}
	hash := hashOf(body)
	if said := r.Header.Get(headerHash); said == unsigned && r.TLS != nil {
		hash = unsigned
	} else if said != "" && said != hash {
		return nil, fmt.Errorf("%w: the body is not the one that was signed", ErrMalformed)
	}
	s.canonical, err = canonicalRequest(r, names, hash)
	return s, err
}

// authorization takes the Authorization header apart.
func authorization(r *http.Request) (map[string]string, error) {
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), algorithm+" ")
	if !ok || len(r.Header.Values("Authorization")) != 1 {
		return nil, fmt.Errorf("%w: no authorization by %s", ErrMalformed, algorithm)
	}
	fields := make(map[string]string, 3)
	for part := range strings.SplitSeq(rest, ",") {
		name, value, found := strings.Cut(strings.TrimSpace(part), "=")
		if _, again := fields[name]; again || !found {
			return nil, fmt.Errorf("%w: authorization", ErrMalformed)
		}
		fields[name] = value
	}
	return fields, nil
}

// ServiceOf is the service that a request says it is signed for, before anything was verified; "": it does not say.
func ServiceOf(r *http.Request) string {
	fields, err := authorization(r)
	s := &Signed{}
	if err != nil || s.setScope(fields["Credential"]) != nil {
		return ""
	}
	return s.Service
}

// checkSignedHeaders wants host signed, and all headers that AWS gives a meaning to.
func checkSignedHeaders(r *http.Request, names []string) error {
	if !slices.IsSorted(names) || !slices.Contains(names, "host") {
		return fmt.Errorf("%w: signed headers", ErrMalformed)
	}
	for name, values := range r.Header {
		lower := strings.ToLower(name)
		if !strings.HasPrefix(lower, "x-amz-") {
			continue
		}
		if len(values) != 1 || !slices.Contains(names, lower) {
			return fmt.Errorf("%w: header %s is not signed, or comes twice", ErrMalformed, clip(name))
		}
	}
	return nil
}

func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// canonicalRequest is what the signature of r is of. The path is encoded a second time, as all services but S3 have it.
func canonicalRequest(r *http.Request, names []string, hash string) (string, error) {
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	var headers strings.Builder
	for i, name := range names {
		if i > 0 && names[i-1] == name {
			return "", fmt.Errorf("%w: a signed header comes twice", ErrMalformed)
		}
		value, err := headerOf(r, name)
		if err != nil {
			return "", err
		}
		headers.WriteString(name + ":" + value + "\n")
	}
	out := strings.Join([]string{r.Method, escape(path, true), canonicalQuery(query), headers.String(), strings.Join(names, ";"), hash}, "\n")
	if len(out) > maxHeaders {
		return "", fmt.Errorf("%w: %d bytes are signed, at most %d", ErrMalformed, len(out), maxHeaders)
	}
	return out, nil
}

// headerOf returns the value of a signed header in canonical form. net/http keeps some headers elsewhere.
func headerOf(r *http.Request, name string) (string, error) {
	values := r.Header.Values(name)
	switch {
	case name == "host":
		values = []string{r.Host}
	case name == "content-length" && len(values) == 0:
		values = []string{strconv.FormatInt(max(r.ContentLength, 0), 10)}
	case name == "transfer-encoding" && len(values) == 0:
		values = r.TransferEncoding
	}
	if len(values) == 0 {
		return "", fmt.Errorf("%w: header %s is signed, and not there", ErrMalformed, clip(name))
	}
	trimmed := make([]string, len(values))
	for i, v := range values {
		trimmed[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(trimmed, ","), nil
}

// Sign signs r as a client does: it sets X-Amz-Date, the token's header if there is a token, and Authorization. body is what the request is
// sent with. r.Host has to be what will be sent, and may be empty if r.URL has it.
func Sign(r *http.Request, body []byte, keyID, secret, token, region, service string, now time.Time) error {
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	now = now.UTC().Truncate(time.Second)
	s := &Signed{KeyID: keyID, Region: region, Service: service, Host: r.Host, Time: now, date: now.Format("20060102")}
	r.Header.Set(headerDate, now.Format(timeLayout))
	r.Header.Set(headerHash, hashOf(body))
	names := []string{"host", strings.ToLower(headerHash), strings.ToLower(headerDate)}
	if token != "" {
		r.Header.Set(headerToken, token)
		names = append(names, strings.ToLower(headerToken))
	}
	slices.Sort(names)
	var err error
	if s.canonical, err = canonicalRequest(r, names, hashOf(body)); err != nil {
		return err
	}
	r.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s/%s/%s/%s/%s, SignedHeaders=%s, Signature=%s", algorithm,
		keyID, s.date, region, service, terminator, strings.Join(names, ";"), hex.EncodeToString(s.sign(secret))))
	return nil
}
