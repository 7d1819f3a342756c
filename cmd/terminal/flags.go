package terminal

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"millrace/kafka/client"
)

// ErrUsage marks errors that are the caller's to mend in the command line.
var ErrUsage = errors.New("usage")

// ClientFlags adds the flags of verbs that talk to a cluster.
func (t *IO) ClientFlags(cmd *cobra.Command) {
	def := os.Getenv("MILLRACE_BOOTSTRAP")
	if def == "" {
		def = "127.0.0.1:9092"
	}
	cmd.PersistentFlags().StringSliceVarP(&t.Bootstrap, "bootstrap", "b", []string{def}, "brokers to ask first, HOST:PORT (also from MILLRACE_BOOTSTRAP)")
	s, flags := &t.Security, cmd.PersistentFlags()
	flags.BoolVar(&s.TLS, "tls", false, "talk TLS, and trust what the system trusts")
	flags.StringVar(&s.CAFile, "tls-ca", os.Getenv("MILLRACE_CA"), "talk TLS, and trust the authority in this file alone (also from MILLRACE_CA)")
	flags.StringVar(&s.CertFile, "tls-cert", os.Getenv("MILLRACE_CERT"), "client certificate, PEM (also from MILLRACE_CERT)")
	flags.StringVar(&s.KeyFile, "tls-key", os.Getenv("MILLRACE_KEY"), "its key, PEM (also from MILLRACE_KEY)")
	flags.StringVar(&s.SASL, "sasl", os.Getenv("MILLRACE_SASL"), "log in by scram, scram-256 or iam, which takes AWS_ACCESS_KEY_ID and its like (also from MILLRACE_SASL)")
	flags.StringVar(&s.User, "user", os.Getenv("MILLRACE_USER"), "user of --sasl scram (also from MILLRACE_USER)")
	flags.StringVar(&s.PasswordFile, "password-file", os.Getenv("MILLRACE_PASSWORD_FILE"), "file with the password of --user (also from MILLRACE_PASSWORD_FILE)")
}

// Client is how a verb reaches the cluster.
func (t *IO) Client() client.Config {
	security := t.Security
	security.ReadFile, security.Getenv = os.ReadFile, os.Getenv
	return client.Config{Bootstrap: t.Bootstrap, ClientID: "millrace-cli", Security: security}
}

// ExactlyOne wants one name on the command line, and says what it is the name of.
func ExactlyOne(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%w: give %s, not %d arguments", ErrUsage, what, len(args))
		}
		return nil
	}
}

// AtMostOne takes one name on the command line, or none.
func AtMostOne(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > 1 {
			return fmt.Errorf("%w: give %s or nothing, not %d arguments", ErrUsage, what, len(args))
		}
		return nil
	}
}

// OneOrMore wants names on the command line.
func OneOrMore(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%w: give %s", ErrUsage, what)
		}
		return nil
	}
}

// Admin runs f with an admin client.
func (t *IO) Admin(ctx context.Context, f func(*kadm.Client) error) error {
	c, err := client.NewAdmin(ctx, t.Client())
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c)
}
