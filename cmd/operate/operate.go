package operate

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"millrace/cmd/remote"
	"millrace/cmd/terminal"
	"millrace/control"
)

func (a *verbs) clusterScale() *cobra.Command {
	var f remote.Flags
	var brokers int
	cmd := &cobra.Command{
		Use:   "scale --brokers N",
		Short: "Change the number of brokers",
		Long: `Change the number of brokers of the cluster that "millrace serve" runs.

New brokers take their share of the partitions. Brokers that leave (those with the
highest ids) hand over what they have first; their data is deleted when they own
nothing. Ctrl-C leaves the operation running, and so does a stop of serve: it goes
on with the next start.`,
		Example: "  millrace cluster scale --brokers 3",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if brokers < 1 || brokers > control.MaxBrokers {
				return fmt.Errorf("%w: --brokers %d: use 1 to %d", terminal.ErrUsage, brokers, control.MaxBrokers)
			}
			return a.operate(cmd.Context(), f, control.Request{Kind: control.Scale, Brokers: brokers})
		},
	}
	f.AddWait(cmd)
	cmd.Flags().IntVar(&brokers, "brokers", 0, "brokers that there shall be, 1 to 15; required")
	return cmd
}

func (a *verbs) clusterRoll() *cobra.Command {
	var f remote.Flags
	cmd := &cobra.Command{
		Use:   "roll",
		Short: "Restart all brokers, one at a time",
		Long: `Restart the brokers one at a time. Each hands over its partitions first, and the
next follows when it serves again and the leaders are evened out.`,
		Example: "  millrace cluster roll\n  millrace cluster roll --output json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.operate(cmd.Context(), f, control.Request{Kind: control.Roll})
		},
	}
	f.AddWait(cmd)
	return cmd
}

func (a *verbs) clusterUpgrade() *cobra.Command {
	var f remote.Flags
	var binary string
	cmd := &cobra.Command{
		Use:   "upgrade [--binary PATH]",
		Short: "Move all brokers to another millrace program, one at a time",
		Long: `Restart the brokers one at a time with another program. If a broker does not serve
with it, it gets the former one back and the upgrade ends there.

The brokers keep that program until the next upgrade. Without --binary they go
back to the program that runs "millrace serve", as it lies on disk now.`,
		Example: "  millrace cluster upgrade --binary /opt/millrace-2/millrace",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := control.Request{Kind: control.Upgrade}
			if binary != "" {
				path, err := filepath.Abs(binary)
				if err != nil {
					return err
				}
				r.Binary = path
			}
			return a.operate(cmd.Context(), f, r)
		},
	}
	f.AddWait(cmd)
	cmd.Flags().StringVar(&binary, "binary", "", "the program; empty: that of millrace serve")
	return cmd
}

func (a *verbs) clusterHosts() *cobra.Command {
	var f remote.Flags
	cmd := &cobra.Command{
		Use:   "hosts",
		Short: "List the hosts, and which brokers run on them",
		Long: `List the hosts that have an agent ("millrace serve" has one of its own), and those that
had one and still have brokers: they are lost until an agent of that name is started.`,
		Example: "  millrace cluster hosts\n  millrace cluster hosts --output json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list struct {
				Hosts []control.HostState `json:"hosts"`
			}
			if err := f.Call(cmd.Context(), http.MethodGet, "/hosts", nil, &list); err != nil {
				return err
			}
			var rows []table.Row
			for _, h := range list.Hosts {
				state := "live"
				if h.Lost {
					state = "lost"
				}
				var brokers []string
				for _, n := range h.Nodes {
					brokers = append(brokers, fmt.Sprintf("%d %s %s", n.Spec.ID, n.Spec.Served()[0].Told(), strings.ToLower(string(n.Status.State))))
				}
				rows = append(rows, table.Row{h.Host.Name, state, h.Host.Zone, h.Host.Address, h.Host.Version, strings.Join(brokers, "\n")})
			}
			return a.Print(list.Hosts, table.Row{"Host", "State", "Zone", "Address", "Version", "Brokers"}, rows)
		},
	}
	f.Add(cmd)
	return cmd
}

func describe(r control.Request) string {
	text := strings.ToLower(string(r.Kind))
	switch r.Kind {
	case control.Scale:
		text += " to " + strconv.Itoa(r.Brokers)
	case control.Upgrade:
		if r.Binary != "" {
			text += " to " + r.Binary
		}
	}
	return text
}

func took(began, ended time.Time) string {
	if ended.IsZero() {
		return ""
	}
	return fmt.Sprintf("%.1f s", ended.Sub(began).Seconds())
}

// operate begins an operation and follows it to its end.
func (a *verbs) operate(ctx context.Context, f remote.Flags, r control.Request) error {
	var op control.Operation
	if err := f.Call(ctx, http.MethodPost, "/operations", r, &op); err != nil {
		return err
	}
	if f.NoWait && op.State == control.Running {
		if a.Output == terminal.JSON {
			return a.PrintJSON(op)
		}
		a.Say("Operation %d has begun: %s. `millrace cluster operations --follow` shows how it goes.", op.Number, describe(r))
		return nil
	}
	return a.follow(ctx, f, op)
}

// followEvery is between looks at an operation.
const followEvery = 200 * time.Millisecond

// follow shows the steps of an operation until it has ended.
func (a *verbs) follow(ctx context.Context, f remote.Flags, op control.Operation) error {
	p := progress{out: a.ErrOut, live: terminal.IsTerminal(a.ErrOut)}
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for p.show(op); op.State == control.Running; p.show(op) {
		select {
		case <-ctx.Done():
			p.clear()
			return fmt.Errorf("operation %d goes on without us; `millrace cluster operations --follow` shows it: %w", op.Number, ctx.Err())
		case <-ticker.C:
		}
		var now control.Operation // not op: what an answer leaves out would stay
		err := f.Call(ctx, http.MethodGet, "/operations/"+strconv.FormatInt(op.Number, 10), nil, &now)
		switch {
		case err == nil:
			op = now
		case ctx.Err() == nil:
			return err
		}
	}
	if a.Output == terminal.JSON {
		if err := a.PrintJSON(op); err != nil {
			return err
		}
	}
	switch {
	case op.State == control.Failed:
		return fmt.Errorf("operation %d failed: %s", op.Number, op.Error)
	case op.Number == 0:
		a.Say("Nothing to do: the cluster has %d broker(s).", op.Request.Brokers)
	default:
		a.Say("Done: %s, in %s.", describe(op.Request), took(op.Began, op.Ended))
	}
	return nil
}

// progress writes a line for each step that has ended and, on a terminal, what
// the one under way waits for.
type progress struct {
	out   io.Writer
	live  bool
	shown int // steps whose end was written
}

func (p *progress) clear() {
	if p.live {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

func (p *progress) show(op control.Operation) {
	p.clear()
	for i, step := range op.Steps {
		detail := ""
		if step.Detail != "" {
			detail = " (" + step.Detail + ")"
		}
		ended := step.State == control.Done || step.State == control.Failed
		switch {
		case ended && i >= p.shown:
			fmt.Fprintf(p.out, "%d/%d  %s%s  %s\n", i+1, len(op.Steps), step.Name, detail, took(step.Began, step.Ended))
			p.shown = i + 1
		case !ended && step.State == control.Running && p.live:
			fmt.Fprintf(p.out, "%d/%d  %s%s ...", i+1, len(op.Steps), step.Name, detail)
		}
	}
}
