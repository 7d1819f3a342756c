// Command millrace is the whole product in one binary: `millrace serve` runs a
// cluster with its control plane, and the other verbs use one.
//
// The verbs of processes have their files here. Those that any Kafka cluster understands are in cmd/kafka, those that ask the control
// plane in cmd/operate and cmd/security; cmd/door answers them. wire.go joins the rooms into processes and is the only place that does. Exit status: 0 on success, 2 on bad usage or
// configuration, 1 otherwise; `millrace apply --plan` has 3 of its own.
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

	"millrace/cmd/apply"
	"millrace/cmd/gateway"
	"millrace/cmd/kafka"
	"millrace/cmd/operate"
	"millrace/cmd/rescue"
	"millrace/cmd/security"
	"millrace/cmd/terminal"
	"millrace/kafka/client"
)

// version is set by the linker for releases.
var version = "dev"

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main without the process around it.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{IO: terminal.IO{In: in, Out: out, ErrOut: errOut}}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	asked, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, apply.ErrPending): // the plan was shown
		return apply.ExitPending
	case errors.Is(err, apply.ErrFile):
		fmt.Fprintf(errOut, "millrace: %v\n", err)
		return exitUsage
	case errors.Is(err, terminal.ErrUsage) || errors.Is(err, client.ErrSecurity) || !a.began:
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

// app is what the verbs share.
type app struct {
	terminal.IO

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
			if a.Output != terminal.Table && a.Output != terminal.JSON {
				return fmt.Errorf("%w: --output %q: use %q or %q", terminal.ErrUsage, a.Output, terminal.Table, terminal.JSON)
			}
			a.began = true
			return nil
		},
	}
	flags := root.PersistentFlags()
	flags.StringVarP(&a.Output, "output", "o", terminal.Table, "how to print results: table or json")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return fmt.Errorf("%w: %w", terminal.ErrUsage, err)
	})
	root.AddCommand(a.serveCommand(), a.agentCommand(), a.brokerCommand(), gateway.Command(a.ErrOut))
	root.AddCommand(kafka.Commands(&a.IO)...)
	root.AddCommand(a.auditCommand(), a.versionCommand())
	root.AddCommand(rescue.Commands(&a.IO, rescueWorld())...)
	root.AddCommand(operate.Commands(&a.IO)...)
	root.AddCommand(apply.Command(&a.IO))
	root.AddCommand(security.Commands(&a.IO)...)
	return root
}
