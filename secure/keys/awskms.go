package keys

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

const (
	awsScheme = "aws-kms"
	// contextName is the key of the one pair in AWS's encryption context.
	contextName = "millrace"
)

// awsKMS is AWS KMS with one key.
type awsKMS struct {
	name   string
	key    string
	client *kms.Client
}

func openAWS(ctx context.Context, place string, query url.Values) (KMS, error) {
	if err := only(query, "region", "endpoint"); err != nil {
		return nil, err
	}
	if place == "" {
		return nil, fmt.Errorf("%w: aws-kms:// names no key", ErrBadURL)
	}
	var options []func(*config.LoadOptions) error
	if region := query.Get("region"); region != "" {
		options = append(options, config.WithRegion(region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return nil, fmt.Errorf("%w: aws-kms://%s has no region, and neither has the environment", ErrBadURL, place)
	}
	name := awsScheme + "://" + place
	if len(query) > 0 {
		name += "?" + query.Encode()
	}
	client := kms.NewFromConfig(cfg, func(o *kms.Options) {
		if endpoint := query.Get("endpoint"); endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})
	return &awsKMS{name: name, key: place, client: client}, nil
}

func (k *awsKMS) Name() string { return k.name }

// Format hides the client, which has credentials.
func (k *awsKMS) Format(s fmt.State, _ rune) { _, _ = fmt.Fprint(s, k.name) }

func (k *awsKMS) Wrap(ctx context.Context, plain, context []byte) ([]byte, error) {
	out, err := k.client.Encrypt(ctx, &kms.EncryptInput{
		KeyId: &k.key, Plaintext: plain, EncryptionContext: map[string]string{contextName: string(context)},
	})
	if err != nil {
		return nil, k.explain(err)
	}
	return out.CiphertextBlob, nil
}

func (k *awsKMS) Unwrap(ctx context.Context, wrapped, context []byte) ([]byte, error) {
	out, err := k.client.Decrypt(ctx, &kms.DecryptInput{
		KeyId: &k.key, CiphertextBlob: wrapped, EncryptionContext: map[string]string{contextName: string(context)},
	})
	if err != nil {
		return nil, k.explain(err)
	}
	return out.Plaintext, nil
}

// explain tells an answer that says no from one that says not now, and from none.
func (k *awsKMS) explain(err error) error {
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) && refuses(answer.HTTPStatusCode()) && !isThrottle(err) {
		return fmt.Errorf("%w: %s: %w", ErrWrongKMS, k.name, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, k.name, err)
}

// isThrottle says that AWS wants to be asked again, which it says with status 400 too.
func isThrottle(err error) bool {
	var coded interface{ ErrorCode() string }
	if !errors.As(err, &coded) {
		return false
	}
	switch coded.ErrorCode() {
	case "ThrottlingException", "LimitExceededException", "KMSInternalException", "DependencyTimeoutException", "KeyUnavailableException",
		"ExpiredTokenException", "RequestExpired":
		return true
	}
	return false
}

// refuses tells whether an HTTP status is an answer that a repetition will not change.
func refuses(status int) bool {
	return status >= 400 && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout
}
