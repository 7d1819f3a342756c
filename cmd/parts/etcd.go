package parts

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

// TLSFiles are PEM files. An empty ca stands for the system's; cert and key are both set or both empty.
type TLSFiles struct{ CA, Cert, Key string }

// Config is for https endpoints. The client's certificate is read anew for each connection, so it may be renewed in its place.
func (f TLSFiles) Config() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("CA: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA: %s holds no certificate in PEM form", f.CA)
		}
	}
	if f.Cert == "" && f.Key == "" {
		return cfg, nil
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		return &pair, err
	}
	if _, err := load(); err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return cfg, nil
}

// EtcdPrefix is before every key in etcd, which others may use too.
const EtcdPrefix = "millrace/"

// Etcd says how an etcd cluster is reached.
type Etcd struct {
	URLs  string // separated by commas; empty: none was given
	Files TLSFiles
}

// TLSFlags adds the files for https endpoints.
func (c *Etcd) TLSFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.Files.CA, "etcd-ca", "", "PEM file of the CA that etcd's certificates are from; empty: the system's CAs")
	flags.StringVar(&c.Files.Cert, "etcd-cert", "", "PEM file of the certificate to show to etcd; it may be renewed in its place")
	flags.StringVar(&c.Files.Key, "etcd-key", "", "PEM file of that certificate's key")
}

func (c *Etcd) endpoints() []string { return strings.Split(c.URLs, ",") }

// Secure says that the endpoints are https.
func (c *Etcd) Secure() bool { return strings.HasPrefix(c.URLs, "https://") }

// Validate names every fault; flag is the one that gave the URLs.
func (c *Etcd) Validate(flag string) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	schemes := map[string]bool{}
	if c.URLs != "" {
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
	if (c.Files.Cert == "") != (c.Files.Key == "") {
		fault("--etcd-cert and --etcd-key belong together")
	}
	if c.Files != (TLSFiles{}) && !schemes["https"] {
		fault("--etcd-ca, --etcd-cert and --etcd-key are for https:// URLs of %s", flag)
	} else if _, err := c.tls(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// tls is nil without https.
func (c *Etcd) tls() (*tls.Config, error) {
	if !c.Secure() {
		return nil, nil
	}
	cfg, err := c.Files.Config()
	if err != nil {
		err = fmt.Errorf("--etcd-ca, --etcd-cert, --etcd-key: %w", err)
	}
	return cfg, err
}

// Absolute makes the files' paths hold for child processes.
func (c *Etcd) Absolute() error {
	var errs []error
	for _, name := range []*string{&c.Files.CA, &c.Files.Cert, &c.Files.Key} {
		if *name != "" {
			path, err := filepath.Abs(*name)
			*name = path
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Dial returns a client, which may still have to connect.
func (c *Etcd) Dial(ctx context.Context) (*etcd.Client, error) {
	cfg, err := c.tls()
	if err != nil {
		return nil, err
	}
	return etcd.Dial(ctx, c.endpoints(), etcd.Options{Prefix: EtcdPrefix, TLS: cfg})
}

// Pauses of reach.
const (
	reachPause = time.Second
	reachSaid  = 5 * time.Second // between words about it
)

// Reach waits until etcd answers. It returns an error where the two sides refuse each other, which does not get better by itself.
func (c *Etcd) Reach(ctx context.Context, log *slog.Logger) error {
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
