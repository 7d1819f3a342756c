package logins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/sasl/aws"

	"millrace/secure/iam"
	"millrace/test/harness"
)

// heard is a login by AWS_MSK_IAM, which is one message.
func heard(message []byte) captured { return captured{"AWS_MSK_IAM", [][]byte{message}} }

// TestStolen sends messages of AWS_MSK_IAM that somebody has captured, or that are for another time, host, region or installation.
func TestStolen(t *testing.T) {
	harness.Long(t, "make suite SUITE=security/logins")
	s := openSite(t)
	_, err := s.store.CreateUser(s.deadline(), "everybody", nil)
	must(t, err)
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kafka-cluster:*","Resource":"*"}]}`
	must(t, s.store.PutInline(s.deadline(), iam.Owner{Name: "everybody"}, "own", []byte(policy)))
	key, err := s.store.CreateKey(s.deadline(), "everybody")
	must(t, err)
	for i, to := range s.targets() {
		t.Run(to.name, func(t *testing.T) {
			source := func(n int) string { return fmt.Sprintf("127.3.%d.%d", i, n) }
			_, message, err := aws.Auth{AccessKey: key.ID, SecretKey: key.Secret}.AsManagedStreamingIAMMechanism().Authenticate(t.Context(), to.auth)
			must(t, err)
			must(t, s.enter(t, to.auth, heard(message), source(1)))
			n := 10
			harness.Eventually(t, patience, "the captured message is refused from another address", func(context.Context) error {
				n++
				if err := s.enter(t, to.auth, heard(message), source(n)); !errors.Is(err, kerr.SaslAuthenticationFailed) {
					return fmt.Errorf("it is answered with %w", err)
				}
				return nil
			})
			must(t, s.enter(t, to.auth, heard(message), source(1))) // whose it is may still use it
			now := time.Now()
			host, _, _ := strings.Cut(to.auth, ":")
			must(t, s.enter(t, to.auth, heard(message), source(1)))
			must(t, s.enter(t, to.auth, heard(signed(t, key, host, region, now)), source(2)))
			stranger := iam.NewKey{ID: "AKIAIOSFODNN7EXAMPLE", Secret: key.Secret}
			for what, bad := range map[string][]byte{
				"expired":                    signed(t, key, host, region, now.Add(-time.Hour)),
				"not yet":                    signed(t, key, host, region, now.Add(time.Hour)),
				"of another host":            signed(t, key, "b-1.elsewhere.example", region, now),
				"of another region":          signed(t, key, host, "eu-west-1", now),
				"of another installation":    signed(t, stranger, host, region, now),
				"with another's access key":  []byte(strings.ReplaceAll(string(message), key.ID, s.root.ID)),
				"with a signature cut short": []byte(strings.Replace(string(message), `"x-amz-signature":"`, `"x-amz-signature":"0`, 1)),
			} {
				n++
				if err := s.enter(t, to.auth, heard(bad), source(n)); !errors.Is(err, kerr.SaslAuthenticationFailed) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// signed is the message of AWS_MSK_IAM that AWS's own library makes, at any time.
func signed(t testing.TB, key iam.NewKey, host, in string, at time.Time) []byte {
	t.Helper()
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	url := "https://" + host + "/?Action=kafka-cluster%3AConnect&X-Amz-Expires=900"
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	must(t, err)
	text, _, err := v4.NewSigner().PresignHTTP(context.Background(), sdk.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret}, request, empty, "kafka-cluster", in, at)
	must(t, err)
	request, err = http.NewRequestWithContext(context.Background(), http.MethodGet, text, nil)
	must(t, err)
	all := map[string]string{"version": "2020_10_22", "host": host, "user-agent": "x"}
	for k, v := range request.URL.Query() {
		all[strings.ToLower(k)] = v[0]
	}
	message, err := json.Marshal(all)
	must(t, err)
	return message
}
