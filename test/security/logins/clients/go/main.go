// Command login logs in as each case on its input says, with franz-go and sarama and the Go signer of AWS.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-msk-iam-sasl-signer-go/signer"
	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// testCase is one line of the input; see README.md.
type testCase struct {
	ID           string `json:"id"`
	Client       string `json:"client"`
	Bootstrap    string `json:"bootstrap"`
	CA           string `json:"ca"`
	Method       string `json:"method"`
	Cert         string `json:"cert"`
	Key          string `json:"key"`
	User         string `json:"user"`
	Password     string `json:"password"`
	AccessKey    string `json:"access_key"`
	SecretKey    string `json:"secret_key"`
	SessionToken string `json:"session_token"`
	Region       string `json:"region"`
	Token        string `json:"token"`
	Topic        string `json:"topic"`
	Value        string `json:"value"`
	TimeoutMS    int    `json:"timeout_ms"`
}

var errNoReturn = errors.New("the record did not come back in time")

// tls is nil where the case names no CA.
func (c testCase) tls() (*tls.Config, error) {
	if c.CA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{RootCAs: x509.NewCertPool()}
	cfg.RootCAs.AppendCertsFromPEM(pem)
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

func (c testCase) token(ctx context.Context) (string, error) {
	if c.Method == "token" {
		return c.Token, nil
	}
	given := awssdk.NewCredentialsCache(credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey, c.SessionToken))
	token, _, err := signer.GenerateAuthTokenFromCredentialsProvider(ctx, c.Region, given)
	return token, err
}

func main() {
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var c testCase
		err := json.Unmarshal(in.Bytes(), &c)
		consumed := []string{}
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Duration(c.TimeoutMS)*time.Millisecond)
			switch c.Client {
			case "franz":
				consumed, err = franz(ctx, c)
			case "sarama":
				consumed, err = saramaClient(ctx, c)
			default:
				err = fmt.Errorf("no client %q", c.Client)
			}
			cancel()
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		if consumed == nil {
			consumed = []string{}
		}
		_ = out.Encode(map[string]any{"id": c.ID, "consumed": consumed, "error": text})
	}
}
