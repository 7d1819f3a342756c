// Command millrace is the whole product in one binary: `millrace serve` runs a
// cluster with its control plane, and the other verbs use one.
//
// Each verb has its file here; wire.go joins the rooms into processes and is the
// only place that does. Exit status: 0 on success, 2 on bad usage or
// configuration, 1 otherwise.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"millrace/kafka/client"
)

// version is set by the linker for releases.
var version = "dev"

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// errUsage marks errors that are the caller's to mend in the command line.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main without the process around it.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{in: in, out: out, errOut: errOut}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	asked, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errUsage) || !a.began:
		fmt.Fprintf(errOut, "millrace: %v\n", err)
		fmt.Fprintf(errOut, "See `%s --help`.\n", asked.CommandPath())
		return exitUsage
	default:
		fmt.Fprintf(errOut, "millrace: %v\n", err)
		if hint := client.Hint(err); hint != "" {
			fmt.Fprintln(errOut, hint)
		}
		return exitFailed
	}
}

// app is what the verbs share: where to read and write, and the global flags.
type app struct {
	in          io.Reader
	out, errOut io.Writer

	output    string
	bootstrap []string

	began bool // flags and arguments were right; the verb itself runs
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "millrace",
		Short: "Managed streaming for Apache Kafka that you run yourself",
		Long: `Millrace runs Kafka-compatible clusters: one command on a laptop, the same
binary for a company.

Start a cluster with "millrace serve", then use it with any Kafka client, or
with the verbs below.`,
		Example: `  millrace serve
  millrace topic create orders --partitions 3
  echo 'k1:hello' | millrace produce orders --key-separator :
  millrace consume orders`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.output != outputTable && a.output != outputJSON {
				return fmt.Errorf("%w: --output %q: use %q or %q", errUsage, a.output, outputTable, outputJSON)
			}
			a.began = true
			return nil
		},
	}
	flags := root.PersistentFlags()
	flags.StringVarP(&a.output, "output", "o", outputTable, "how to print results: table or json")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return fmt.Errorf("%w: %w", errUsage, err)
	})
	root.AddCommand(a.serveCommand(), a.brokerCommand(), a.topicCommand(), a.produceCommand(), a.consumeCommand(), a.groupCommand(), a.clusterCommand(), a.versionCommand())
	return root
}

// clientFlags adds the flags of verbs that talk to a cluster.
func (a *app) clientFlags(cmd *cobra.Command) {
	def := os.Getenv("MILLRACE_BOOTSTRAP")
	if def == "" {
		def = "127.0.0.1:9092"
	}
	cmd.PersistentFlags().StringSliceVarP(&a.bootstrap, "bootstrap", "b", []string{def}, "brokers to ask first, HOST:PORT (also from MILLRACE_BOOTSTRAP)")
}

func (a *app) client() client.Config {
	return client.Config{Bootstrap: a.bootstrap, ClientID: "millrace-cli"}
}

// exactlyOne and oneOrMore check how many names stand on the command line, and say which are missing.
func exactlyOne(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%w: give %s, not %d arguments", errUsage, what, len(args))
		}
		return nil
	}
}

func oneOrMore(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%w: give %s", errUsage, what)
		}
		return nil
	}
}
