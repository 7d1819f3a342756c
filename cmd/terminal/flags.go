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
}

// Client is how a verb reaches the cluster.
func (t *IO) Client() client.Config {
	return client.Config{Bootstrap: t.Bootstrap, ClientID: "millrace-cli"}
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
