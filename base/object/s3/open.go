package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	"github.com/google/uuid"

	"millrace/base/clock"
	"millrace/base/object"
)

var (
	// ErrURL: the URL does not name a bucket in a way that Parse understands; the message says what is wrong.
	ErrURL = errors.New("s3: bad store URL")
	// ErrUnconditional: the store overwrites an object although it was told not to.
	ErrUnconditional = errors.New("s3: the store ignores If-None-Match, so that brokers could not be fenced; use Amazon S3, or a server that supports conditional writes")
)

// Config names a bucket and how it is reached. Credentials come from where the AWS SDKs look for them: the environment, the
// shared files, or the role of the host.
type Config struct {
	Bucket    string // name; required
	Prefix    string // of all keys; empty, or ends with a slash
	Region    string // empty: from the environment
	Endpoint  string // URL of a server other than Amazon's; empty: Amazon S3
	PathStyle bool   // the bucket is part of the path instead of the host's name
}

// Parse reads s3://BUCKET[/PREFIX][?region=R&endpoint=URL&path_style=BOOL]. With an endpoint path_style is true unless it is given.
// It returns ErrURL for anything else.
func Parse(text string) (Config, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Config{}, fmt.Errorf("%w: %w", ErrURL, err)
	}
	if u.Scheme != "s3" || u.Host == "" || u.User != nil || u.Fragment != "" || u.Port() != "" {
		return Config{}, fmt.Errorf("%w: %q, want s3://BUCKET[/PREFIX][?region=…&endpoint=…]", ErrURL, text)
	}
	cfg := Config{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	if cfg.Prefix != "" {
		if err := object.ValidKey(cfg.Prefix); err != nil {
			return Config{}, fmt.Errorf("%w: prefix: %w", ErrURL, err)
		}
		cfg.Prefix += "/"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Config{}, fmt.Errorf("%w: %w", ErrURL, err)
	}
	for name, values := range query {
		if err := cfg.set(name, values[len(values)-1]); err != nil {
			return Config{}, fmt.Errorf("%w: %s: %w", ErrURL, name, err)
		}
	}
	if cfg.Endpoint != "" && !query.Has("path_style") {
		cfg.PathStyle = true
	}
	return cfg, nil
}

var (
	errOption   = errors.New("there is no such option")
	errEndpoint = errors.New("want http://HOST[:PORT] or https://HOST[:PORT]")
)

// set takes one option of a store URL.
func (c *Config) set(name, value string) (err error) {
	switch name {
	case "region":
		c.Region = value
	case "path_style":
		c.PathStyle, err = strconv.ParseBool(value)
	case "endpoint":
		c.Endpoint = value
		u, err := url.Parse(value)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return errEndpoint
		}
	default:
		err = errOption
	}
	return err
}

// String is the URL that Parse reads.
func (c Config) String() string {
	query := make(url.Values)
	if c.Region != "" {
		query.Set("region", c.Region)
	}
	if c.Endpoint != "" {
		query.Set("endpoint", c.Endpoint)
	}
	if c.PathStyle != (c.Endpoint != "") {
		query.Set("path_style", strconv.FormatBool(c.PathStyle))
	}
	u := url.URL{Scheme: "s3", Host: c.Bucket, Path: "/" + strings.TrimSuffix(c.Prefix, "/"), RawQuery: query.Encode()}
	if c.Prefix == "" {
		u.Path = ""
	}
	return u.String()
}

// How requests are made.
const (
	attempts       = 5               // of one request
	longestPause   = 2 * time.Second // between two attempts
	dialTimeout    = 3 * time.Second
	headerTimeout  = 15 * time.Second // from the end of a request to the first bytes of its answer
	idleConns      = 64
	idleTimeout    = 90 * time.Second
	probeDirectory = "probe/"
)

// Open makes a Store of the bucket and probes it with one small object, which it deletes again. It returns ErrUnconditional where the
// store ignores conditions, and the store's error where it cannot be reached or written to.
func Open(ctx context.Context, cfg Config, clk clock.Clock) (*Store, error) {
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(newHTTPClient()),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts, o.MaxBackoff = attempts, longestPause
				o.RateLimiter = noLimit{} // the budget of retries is per call: one slow prefix must not starve the others
				// Two conditional writes of one key met; neither is decided.
				conflicts := map[string]struct{}{"ConditionalRequestConflict": {}, "OperationAborted": {}}
				o.Retryables = append(o.Retryables, retry.RetryableErrorCode{Codes: conflicts})
			})
		}),
	}
	if cfg.Region != "" {
		options = append(options, config.WithRegion(cfg.Region))
	}
	sdk, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", cfg, err)
	}
	if sdk.Region == "" {
		sdk.Region = "us-east-1"
	}
	client := s3.NewFromConfig(sdk, func(o *s3.Options) {
		o.UsePathStyle = cfg.PathStyle
		// Objects carry checksums of their own, in a form that every store keeps.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		if cfg.Endpoint != "" {
			o.BaseEndpoint = aws.String(cfg.Endpoint)
		}
		if !strings.HasPrefix(cfg.Endpoint, "http:") {
			// TLS protects the body already; hashing it again would cost more CPU than the encryption.
			o.APIOptions = append(o.APIOptions, unsigned)
		}
	})
	s := &Store{client: client, bucket: cfg.Bucket, prefix: cfg.Prefix, clock: clk, hedge: newHedge(clk)}
	if err := s.probe(ctx); err != nil {
		return nil, fmt.Errorf("open %s: %w", cfg, err)
	}
	return s, nil
}

// unsigned leaves bodies out of the signatures, where a body is signed at all.
func unsigned(stack *middleware.Stack) error {
	if _, ok := stack.Finalize.Get("ComputePayloadHash"); !ok {
		return nil
	}
	return v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware(stack)
}

// newHTTPClient is the SDK's own kind of client, which knows the certificates that AWS_CA_BUNDLE names.
func newHTTPClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.TLSHandshakeTimeout, t.ResponseHeaderTimeout = dialTimeout, headerTimeout
			t.MaxIdleConnsPerHost, t.IdleConnTimeout, t.DisableCompression = idleConns, idleTimeout, true
		})
}

// noLimit lets every retry through.
type noLimit struct{}

// GetToken implements ratelimit's limiter of the SDK.
func (noLimit) GetToken(context.Context, uint) (func() error, error) {
	return func() error { return nil }, nil
}

// AddTokens implements ratelimit's limiter of the SDK.
func (noLimit) AddTokens(uint) error { return nil }

// probe creates an object twice: the second time has to be refused.
func (s *Store) probe(ctx context.Context) (err error) {
	key := probeDirectory + uuid.NewString()
	once := object.PutOptions{IfAbsent: true}
	if err := s.Put(ctx, key, [][]byte{[]byte("first")}, once); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Delete(ctx, key)) }()
	err = s.Put(ctx, key, [][]byte{[]byte("second")}, once)
	switch {
	case err == nil:
		return ErrUnconditional
	case !errors.Is(err, object.ErrExists):
		return err
	}
	found := make([]byte, len("first"))
	if _, err := s.ReadAt(ctx, key, found, 0); err != nil {
		return err
	}
	if string(found) != "first" {
		return ErrUnconditional
	}
	return nil
}
