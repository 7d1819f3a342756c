package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"millrace/base/kv/etcd"
)

// tlsFiles are PEM files. An empty ca stands for the system's; cert and key are both set or both empty.
type tlsFiles struct{ ca, cert, key string }

// config is for https endpoints. The client's certificate is read anew for each connection, so it may be renewed in its place.
func (f tlsFiles) config() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, fmt.Errorf("CA: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA: %s holds no certificate in PEM form", f.ca)
		}
	}
	if f.cert == "" && f.key == "" {
		return cfg, nil
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		return &pair, err
	}
	if _, err := load(); err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return cfg, nil
}

// etcdConfig says how an etcd cluster is reached.
type etcdConfig struct {
	urls  string // separated by commas; empty: none was given
	files tlsFiles
}

// tlsFlags adds the files for https endpoints.
func (c *etcdConfig) tlsFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.files.ca, "etcd-ca", "", "PEM file of the CA that etcd's certificates are from; empty: the system's CAs")
	flags.StringVar(&c.files.cert, "etcd-cert", "", "PEM file of the certificate to show to etcd; it may be renewed in its place")
	flags.StringVar(&c.files.key, "etcd-key", "", "PEM file of that certificate's key")
}

func (c *etcdConfig) endpoints() []string { return strings.Split(c.urls, ",") }

// secure says that the endpoints are https.
func (c *etcdConfig) secure() bool { return strings.HasPrefix(c.urls, "https://") }

// validate names every fault; flag is the one that gave the URLs.
func (c *etcdConfig) validate(flag string) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	schemes := map[string]bool{}
	if c.urls != "" {
		for _, e := range c.endpoints() {
			u, err := url.Parse(e)
			switch {
			case err != nil || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "unix" || u.Host == "" && u.Scheme != "unix":
				fault("%s %q: use http://HOST:PORT or https://HOST:PORT, separated by commas", flag, e)
			case u.Scheme != "unix" && u.Port() == "":
				fault("%s %q: name the port; etcd's own is 2379", flag, e)
			default:
				schemes[u.Scheme] = true
			}
		}
	}
	if len(schemes) > 1 {
		fault("%s: use one of http:// and https:// for all", flag)
	}
	if (c.files.cert == "") != (c.files.key == "") {
		fault("--etcd-cert and --etcd-key belong together")
	}
	if c.files != (tlsFiles{}) && !schemes["https"] {
		fault("--etcd-ca, --etcd-cert and --etcd-key are for https:// URLs of %s", flag)
	} else if _, err := c.tls(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// tls is nil without https.
func (c *etcdConfig) tls() (*tls.Config, error) {
	if !c.secure() {
		return nil, nil
	}
	cfg, err := c.files.config()
	if err != nil {
		err = fmt.Errorf("--etcd-ca, --etcd-cert, --etcd-key: %w", err)
	}
	return cfg, err
}

// absolute makes the files' paths hold for child processes.
func (c *etcdConfig) absolute() error {
	var errs []error
	for _, name := range []*string{&c.files.ca, &c.files.cert, &c.files.key} {
		if *name != "" {
			path, err := filepath.Abs(*name)
			*name = path
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// dial returns a client, which may still have to connect.
func (c *etcdConfig) dial(ctx context.Context) (*etcd.Client, error) {
	cfg, err := c.tls()
	if err != nil {
		return nil, err
	}
	return etcd.Dial(ctx, c.endpoints(), etcd.Options{Prefix: etcdPrefix, TLS: cfg})
}

// Pauses of reach.
const (
	reachPause = time.Second
	reachSaid  = 5 * time.Second // between words about it
)

// reach waits until etcd answers. It returns an error where the two sides refuse each other, which does not get better by itself.
func (c *etcdConfig) reach(ctx context.Context, log *slog.Logger) error {
	cfg, err := c.tls()
	if err != nil {
		return err
	}
	quiet := time.NewTimer(0)
	defer quiet.Stop()
	for {
		err := etcd.Reach(ctx, c.endpoints(), cfg)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, etcd.ErrRefused) {
			return fmt.Errorf("connect to etcd: %w", err)
		}
		select {
		case <-quiet.C:
			log.Warn("etcd cannot be reached, trying again", "err", err)
			quiet.Reset(reachSaid)
		default:
		}
		select {
		case <-ctx.Done():
		case <-time.After(reachPause):
		}
	}
}
