package sigv4

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// ParseBearer reads the token of an MSK IAM signer: a presigned URL in base64, without padding or with it. The parameter User-Agent is added
// to it after it was signed. The error matches ErrMalformed.
func ParseBearer(token string) (*Signed, error) {
	if len(token) > maxLogin {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(token), maxLogin)
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(token, "="))
	if err != nil {
		return nil, fmt.Errorf("%w: not base64", ErrMalformed)
	}
	rest, ok := strings.CutPrefix(string(raw), "https://")
	address, query, found := strings.Cut(rest, "?")
	if !ok || !found || strings.ContainsAny(query, "#") {
		return nil, fmt.Errorf("%w: not a presigned URL", ErrMalformed)
	}
	host, path, _ := strings.Cut(address, "/") // the signer for Java writes no slash
	if path != "" || host == "" {
		return nil, fmt.Errorf("%w: the URL has a path or no host", ErrMalformed)
	}
	all, err := parseQuery(query)
	if err != nil {
		return nil, err
	}
	var signed []parameter
	signature := ""
	for _, p := range all {
		switch {
		case p.name == "X-Amz-Signature" && signature == "":
			signature = p.value
		case p.name == "User-Agent": // not signed, and not used
		default:
			signed = append(signed, p)
		}
	}
	return login(host, signed, signature)
}

// BearerHost is what the signers sign for, whatever the cluster: a token is not bound to one.
func BearerHost(region string) string { return "kafka." + region + ".amazonaws.com" }
