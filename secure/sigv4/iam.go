package sigv4

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// iamVersion is of the message that AWS_MSK_IAM sends and gets.
const iamVersion = "2020_10_22"

// ParseIAM reads what a client sends by AWS_MSK_IAM: a JSON object of strings. The error matches ErrMalformed.
func ParseIAM(payload []byte) (*Signed, error) {
	fields, err := parseObject(payload)
	if err != nil {
		return nil, err
	}
	if fields["version"] != iamVersion {
		return nil, fmt.Errorf("%w: version of the message", ErrMalformed)
	}
	var query []parameter
	for _, name := range []parameter{
		{"action", "Action"}, {"x-amz-algorithm", "X-Amz-Algorithm"}, {"x-amz-credential", "X-Amz-Credential"}, {"x-amz-date", "X-Amz-Date"},
		{"x-amz-expires", "X-Amz-Expires"}, {"x-amz-security-token", "X-Amz-Security-Token"}, {"x-amz-signedheaders", "X-Amz-SignedHeaders"},
	} {
		if v, ok := fields[name.name]; ok {
			query = append(query, parameter{name.value, v})
		}
	}
	return login(fields["host"], query, fields["x-amz-signature"])
}

// IAMReply is the answer to a login by AWS_MSK_IAM that succeeded.
func IAMReply(requestID string) []byte {
	b, err := json.Marshal(struct {
		Version   string `json:"version"`
		RequestID string `json:"request-id"`
	}{iamVersion, requestID})
	if err != nil {
		return nil // two strings always encode
	}
	return b
}

// login puts together what both kinds of logins have. query is all that is signed.
func login(host string, query []parameter, signature string) (*Signed, error) {
	s := &Signed{Host: host, canonical: canonicalLogin(host, query)}
	p := make(map[string]string, len(query))
	for _, q := range query {
		if _, again := p[q.name]; again {
			return nil, fmt.Errorf("%w: a parameter comes twice", ErrMalformed)
		}
		p[q.name] = q.value
	}
	if p["X-Amz-Algorithm"] != algorithm || p["X-Amz-SignedHeaders"] != "host" || host == "" {
		return nil, fmt.Errorf("%w: algorithm, signed headers or host", ErrMalformed)
	}
	s.Action, s.Token = p["Action"], p["X-Amz-Security-Token"]
	err := errors.Join(s.setScope(p["X-Amz-Credential"]), s.setTime(p["X-Amz-Date"]), s.setExpires(p["X-Amz-Expires"]), s.setSignature(signature))
	if err != nil {
		return nil, err
	}
	return s, nil
}

// parseObject reads a JSON object of strings, and refuses a name that comes twice: encoding/json would take the last.
func parseObject(payload []byte) (map[string]string, error) {
	if len(payload) > maxLogin {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(payload), maxLogin)
	}
	malformed := fmt.Errorf("%w: not a JSON object of strings", ErrMalformed)
	d := json.NewDecoder(bytes.NewReader(payload))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, malformed
	}
	out := make(map[string]string)
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, malformed
		}
		value, err := d.Token()
		if err != nil {
			return nil, malformed
		}
		n, okName := name.(string)
		v, okValue := value.(string)
		if _, again := out[n]; again || !okName || !okValue {
			return nil, malformed
		}
		out[n] = v
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') {
		return nil, malformed
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed
	}
	return out, nil
}
