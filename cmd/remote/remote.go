// Package remote speaks to the HTTP API of the control plane for the verbs: where it is, with which key requests are signed, which authority
// is trusted, and what serve leaves below its data directory for verbs on the same host.
//
// Invariants:
//
//  1. A request is signed only where nobody can listen: over TLS, or to this host.
//  2. A signed request follows no redirect: a signature is for one place.
//  3. Secrets are printed by nothing but `millrace env` and what makes a key.
package remote

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"millrace/base/clock"
	"millrace/cmd/api"
	"millrace/cmd/terminal"
	"millrace/secure/sigv4"
)

// Credentials are what requests to the API are signed with. They are not printed but by `millrace env`.
type Credentials struct {
	ID, Secret, Token string
	Region            string
}

// String hides the secret.
func (c Credentials) String() string { return "access key " + c.ID }

// GoString hides the secret.
func (c Credentials) GoString() string { return c.String() }

// ErrNoCredentials: there is nothing to sign with.
var ErrNoCredentials = errors.New("no access key")

// FindCredentials takes the access key of the environment, or else that of root, where serve keeps it below its data directory.
func FindCredentials(data string) (Credentials, error) {
	region := os.Getenv("AWS_REGION")
	if region == "" {
		region = os.Getenv("AWS_DEFAULT_REGION")
	}
	if id, secret := os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"); id != "" && secret != "" {
		if region == "" {
			region = api.DefaultRegion
		}
		return Credentials{ID: id, Secret: secret, Token: os.Getenv("AWS_SESSION_TOKEN"), Region: region}, nil
	}
	root, err := ReadRoot(data)
	if err != nil {
		return Credentials{}, fmt.Errorf("%w: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name the directory of millrace serve with MILLRACE_DATA: %w", ErrNoCredentials, err)
	}
	return Credentials{ID: root.ID, Secret: root.Secret, Region: root.Region}, nil
}

// ReadRoot reads the root key that serve has written.
func ReadRoot(data string) (root RootKey, err error) {
	text, err := os.ReadFile(RootFile(data))
	if err != nil {
		return root, err
	}
	if err := json.Unmarshal(text, &root); err != nil || root.ID == "" {
		return root, fmt.Errorf("%s is not a root key", RootFile(data))
	}
	return root, nil
}

// DefaultData is where the directory of millrace serve is, as verbs on the same host are told.
func DefaultData() string {
	if dir := os.Getenv("MILLRACE_DATA"); dir != "" {
		return dir
	}
	return "millrace-data"
}

// apiTransport trusts the authority of ca, of MILLRACE_CA or of the data directory, beside those of the system.
func apiTransport(data, ca string) (http.RoundTripper, error) {
	name := cmp.Or(ca, os.Getenv("MILLRACE_CA"))
	asked := name != ""
	if !asked {
		name = CAFile(data)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		if asked {
			return nil, fmt.Errorf("%w: certificate authority of the API: %w", terminal.ErrUsage, err)
		}
		return http.DefaultTransport, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", name)
	}
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, Proxy: http.ProxyFromEnvironment}, nil
}

// Send sends a request to the control plane, signed where there is a key to do so and nobody can listen: over TLS, or on this host.
func Send(req *http.Request, body []byte, data, ca string) (*http.Response, error) {
	if c, err := FindCredentials(data); err == nil && (req.URL.Scheme == "https" || api.Loopback(req.URL.Hostname())) {
		if err := sigv4.Sign(req, body, c.ID, c.Secret, c.Token, c.Region, "kafka", clock.System{}.Now()); err != nil {
			return nil, err
		}
	}
	transport, err := apiTransport(data, ca)
	if err != nil {
		return nil, err
	}
	return (&http.Client{Transport: transport, CheckRedirect: noRedirect}).Do(req)
}

// noRedirect: a signature is for one place.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Signed are the flags of verbs about users, roles, policies and keys.
type Signed struct {
	API, Data string // URL; directory of millrace serve
}

// DefaultAPI is the API as the environment or serve's own file says.
func DefaultAPI() string {
	if api := cmp.Or(os.Getenv("MILLRACE_API"), os.Getenv("AWS_ENDPOINT_URL_KAFKA")); api != "" {
		return api
	}
	if e, err := ReadEndpoints(DefaultData()); err == nil && e.API != "" {
		return e.API
	}
	return "http://127.0.0.1:8480"
}

// Call asks the control plane below /millrace/v1/security.
func (f Signed) Call(ctx context.Context, method, path string, in, out any) error {
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	base := Flags{API: f.API}.Base()
	req, err := http.NewRequestWithContext(ctx, method, base+api.Security+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: --api %q: %w", terminal.ErrUsage, f.API, err)
	}
	if _, err := FindCredentials(f.Data); err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := Send(req, body, f.Data, "")
	if err != nil {
		return fmt.Errorf("%w at %s: %w\nIs `millrace serve --secure` running? --api or MILLRACE_API names where", ErrControl, f.API, err)
	}
	defer resp.Body.Close()
	const answerMost = 16 << 20
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerMost))
	if err != nil {
		return fmt.Errorf("%w at %s: %w", ErrControl, f.API, err)
	}
	return readAnswer(resp, answer, out)
}

// readAnswer reads what the API has said: out, or why not.
func readAnswer(resp *http.Response, answer []byte, out any) error {
	if resp.StatusCode >= http.StatusMultipleChoices {
		var fault struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(answer, &fault) != nil || fault.Error == "" {
			fault.Error = resp.Status
		}
		if resp.StatusCode == http.StatusNotFound && !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
			fault.Error = "it keeps no users: it was started without --secure and without a login by IAM"
		}
		return errors.New(fault.Error)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%w as millrace does: %w", ErrControl, err)
	}
	return nil
}

// Segment is a name as a part of a path.
func Segment(name string) string { return "/" + url.PathEscape(name) }

// hintOf says what to do about a request that was not answered.
func hintOf(err error) string {
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		return "The API's certificate is of an authority that is not known here: --api-ca FILE or MILLRACE_CA names it; it is secure/ca.pem below --data of millrace serve"
	}
	return "Is `millrace serve` running? --api or MILLRACE_API names where"
}

// unsigned is the advice for a refusal that may be for want of a key.
func unsigned(status int, base string) string {
	if _, err := FindCredentials(DefaultData()); err == nil || status != http.StatusForbidden || !strings.HasPrefix(base, "https:") {
		return ""
	}
	return "\nSet AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; `millrace env` does so"
}
