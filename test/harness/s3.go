package harness

import (
	"context"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// s3StartLimit is how long the S3 server may take to answer; it needs a fraction of a second.
const s3StartLimit = 60 * time.Second

// Credentials and bucket of every S3 server that the harness starts.
const (
	s3AccessKey = "millrace"
	s3SecretKey = "millrace-secret"
	s3Region    = "us-east-1"
	s3Bucket    = "millrace"
)

// S3 is a running S3 server with one empty bucket.
type S3 struct {
	Endpoint string // URL
	Dir      string // in which the bucket's objects are files
	process  *Process
}

// StartS3 starts an S3 server on a free loopback port and waits until it answers. Its data is in the test's temporary folder.
func StartS3(t testing.TB) *S3 {
	t.Helper()
	program := Require(t, S3Server)
	dir := t.TempDir()
	bucket := filepath.Join(dir, "data", s3Bucket)
	if err := os.MkdirAll(bucket, 0o755); err != nil {
		t.Fatal(err)
	}
	address := loopback(FreePorts(t, 1))
	command := exec.Command(program, "--port", address, "--access", s3AccessKey, "--secret", s3SecretKey, "--region", s3Region,
		"--keep-alive", "--quiet", "posix", filepath.Join(dir, "data"))
	s := &S3{Endpoint: "http://" + address, Dir: bucket}
	s.process = StartProcess(t, "S3 server", filepath.Join(dir, "s3.log"), command)
	t.Cleanup(s.process.Kill) // asked to end, it waits for its idle connections
	waitReady(t, s.process, s3StartLimit, func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return s
}

// URL is the bucket's, as --store takes it, with a prefix for all keys; endpoint "" is the server itself.
func (s *S3) URL(prefix, endpoint string) string {
	if endpoint == "" {
		endpoint = s.Endpoint
	}
	query := url.Values{"endpoint": {endpoint}, "region": {s3Region}}
	return "s3://" + s3Bucket + "/" + prefix + "?" + query.Encode()
}

// Env is the environment in which the AWS SDKs find the credentials, as NAME=VALUE.
func (s *S3) Env() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + s3AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3SecretKey, "AWS_EC2_METADATA_DISABLED=true"}
}

// setUpS3Server builds the server of the module tools/s3server.
func setUpS3Server() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "tools", "s3server")
	stamp, err := hashTree(module)
	if err != nil {
		return "", err
	}
	version, err := run(module, "go", "version")
	if err != nil {
		return "", err
	}
	dir, err := Cached("s3server", []string{stamp, version}, func(dir string) error {
		_, err := run(module, "go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "versitygw"), "github.com/versity/versitygw/cmd/versitygw")
		return err
	})
	return filepath.Join(dir, "versitygw"), err
}
