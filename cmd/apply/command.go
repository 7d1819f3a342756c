package apply

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"millrace/cmd/managed"
	"millrace/cmd/remote"
	"millrace/cmd/terminal"
)

var (
	// ErrPending: --plan was asked for, and there is something to do.
	ErrPending = errors.New("there is something to do")
	// ErrUnconfirmed: nobody has said yes to the plan.
	ErrUnconfirmed = errors.New("not confirmed, nothing was changed")
)

// Exit statuses of the verb beside those that all verbs have.
const (
	ExitPending = 3 // of ErrPending
)

// verb is one run of the verb.
type verb struct {
	*terminal.IO
	flags     remote.Flags
	path      string
	planOnly  bool
	yes       bool
	deleteAll bool
}

// Command is the verb, which uses io while it runs.
func Command(io *terminal.IO) *cobra.Command {
	v := &verb{IO: io}
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Make, change or delete clusters as a file says",
		Long: `Make and change managed clusters, configurations, topics, tags and policies so that there
is what a file says. It shows what it would do and asks; --plan only shows it, --yes does
not ask. What the file leaves out stays as it is. examples/apply has a file with comments.

Applying the same file again does nothing. An apply that was interrupted is carried on by
the next one: nothing is kept but what there is. With --delete the clusters and the
configurations that the file names are deleted.

Exit status: 0 done, or nothing to do; 1 something failed (what was done stays done);
2 the command line or the file is wrong, or nobody could be asked; 3 --plan, and there is
something to do.`,
		Example: `  millrace apply -f cluster.yaml --plan
  millrace apply -f cluster.yaml
  cat cluster.yaml | millrace apply -f - --yes --output json
  millrace apply -f cluster.yaml --delete`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if v.path == "" {
				return fmt.Errorf("%w: -f FILE is missing", terminal.ErrUsage)
			}
			return v.run(cmd.Context())
		},
	}
	v.flags.Add(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&v.path, "file", "f", "", "the file; -: standard input. Required")
	flags.BoolVar(&v.planOnly, "plan", false, "only show what would be done")
	flags.BoolVarP(&v.yes, "yes", "y", false, "do not ask")
	flags.BoolVar(&v.deleteAll, "delete", false, "delete what the file names")
	cmd.MarkFlagsMutuallyExclusive("plan", "yes")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml") // the flag is there
	return cmd
}

func (v *verb) read() (*File, error) {
	if v.path == "-" {
		return Read(v.In, "standard input")
	}
	r, err := os.Open(v.path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	defer func() { _ = r.Close() }() // it was only read
	return Read(io.Reader(r), v.path)
}

// result is what the verb prints as JSON.
type result struct {
	Changes []Change `json:"changes"`
	Applied bool     `json:"applied"`
}

func (v *verb) run(ctx context.Context) error {
	f, err := v.read()
	if err != nil {
		return err
	}
	c := &carrier{IO: v.IO, api: managed.New(v.flags), file: f, progress: managed.NewProgress(v.IO)}
	now, err := look(ctx, c.api, f, c.progress)
	if err != nil {
		return err
	}
	var changes []Change
	if v.deleteAll {
		changes = planDelete(f, now)
	} else if changes, err = plan(f, now); err != nil {
		return err
	}
	v.show(changes)
	if err := v.confirm(changes); err != nil {
		return errors.Join(err, v.told(changes, false))
	}
	if err := c.carry(ctx, changes); err != nil {
		return err
	}
	if len(changes) > 0 {
		v.Say("Done: %s.", count(changes))
	}
	return v.told(changes, true)
}

// told prints what came of it, for programs.
func (v *verb) told(changes []Change, applied bool) error {
	if v.Output != terminal.JSON {
		return nil
	}
	if changes == nil {
		changes = []Change{} // [] as JSON
	}
	return v.PrintJSON(result{changes, applied})
}

// confirm is nil where the plan is to be carried out (Y2).
func (v *verb) confirm(changes []Change) error {
	switch {
	case len(changes) == 0 || v.yes:
		return nil
	case v.planOnly:
		return ErrPending
	case v.path == "-" || !terminal.IsTerminal(v.In):
		return fmt.Errorf("%w: nobody can be asked here: --yes carries the plan out, --plan only shows it", terminal.ErrUsage)
	}
	question := "Do this?"
	if v.deleteAll {
		question = "Delete all of this? Records cannot be brought back."
	}
	if !v.Confirm("%s", question) {
		return ErrUnconfirmed
	}
	return nil
}

// show shows a plan to people.
func (v *verb) show(changes []Change) {
	if len(changes) == 0 {
		v.Say("Nothing to do: there is what %s says.", v.path)
		return
	}
	v.Say("To do for %s:", v.path)
	marks := map[string]string{actionCreate: "+", actionUpdate: "~", actionDelete: "-"}
	for _, ch := range changes {
		v.Say("  %s %s %s  (line %d)", marks[ch.Action], ch.Kind, ch.Name, ch.Line)
		for _, d := range ch.Details {
			v.Say("      %s", d)
		}
	}
	v.Say("%s.", count(changes))
}

// count sums a plan up.
func count(changes []Change) string {
	number := map[string]int{}
	for _, ch := range changes {
		number[ch.Action]++
	}
	var parts []string
	for _, a := range []string{actionCreate, actionUpdate, actionDelete} {
		if n := number[a]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d to %s", n, a))
		}
	}
	return strings.Join(parts, ", ")
}
