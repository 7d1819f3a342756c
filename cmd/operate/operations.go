package operate

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"millrace/cmd/managed"
	"millrace/cmd/remote"
	"millrace/cmd/terminal"
	"millrace/control"
)

func (a *verbs) clusterOperations() *cobra.Command {
	var f remote.Flags
	var follow bool
	cmd := &cobra.Command{
		Use:   "operations [NAME]",
		Short: "List what was and is done to a cluster",
		Long: `List what was and is done to a cluster, with --follow the steps of what is under way.
Without a name: to the cluster that "millrace serve" makes by itself, with the verbs
scale, roll and upgrade.`,
		Example:           "  millrace cluster operations orders\n  millrace cluster operations orders --follow\n  millrace cluster operations",
		Args:              terminal.AtMostOne("the name of a cluster"),
		ValidArgsFunction: clusterNames(&f),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.managedOperations(cmd.Context(), f, args[0], follow)
			}
			return a.ownOperations(cmd.Context(), f, follow)
		},
	}
	f.Add(cmd)
	cmd.Flags().BoolVar(&follow, "follow", false, "wait for the one under way, and show its steps")
	return cmd
}

// ownOperations are those of the cluster of serve.
func (a *verbs) ownOperations(ctx context.Context, f remote.Flags, follow bool) error {
	var list struct {
		Operations []control.Operation `json:"operations"`
	}
	if err := f.Call(ctx, http.MethodGet, "/operations", nil, &list); err != nil {
		return err
	}
	if n := len(list.Operations); follow && n > 0 && list.Operations[n-1].State == control.Running {
		return a.follow(ctx, f, list.Operations[n-1])
	}
	var rows []table.Row
	for _, op := range list.Operations {
		rows = append(rows, table.Row{op.Number, describe(op.Request), op.State, op.Began.Local().Format(time.DateTime), took(op.Began, op.Ended), op.Error})
	}
	return a.Print(list.Operations, table.Row{"Number", "Operation", "State", "Began", "Took", "Error"}, rows)
}

// managedOperations are those of a cluster as the MSK API tells them, the latest last.
func (a *verbs) managedOperations(ctx context.Context, f remote.Flags, name string, follow bool) error {
	client := managed.New(f)
	c, err := client.Find(ctx, name)
	if err != nil {
		return err
	}
	if follow && c.Operation != "" {
		op, err := client.Done(ctx, c.Operation, managed.NewProgress(a.IO))
		if err != nil {
			return goesOn(ctx, err, c.Name)
		}
		a.Say("Done: %s of cluster %s.", op.Type, c.Name)
		if a.Output == terminal.JSON {
			return a.PrintJSON([]managed.Operation{op})
		}
		return nil
	}
	list, err := client.Operations(ctx, c.ARN)
	if err != nil {
		return err
	}
	rows := make([]table.Row, 0, len(list))
	for _, op := range list {
		text := ""
		if op.Error != nil {
			text = op.Error.Text
		}
		began, _ := time.Parse(time.RFC3339, op.Created)
		ended, _ := time.Parse(time.RFC3339, op.Ended)
		rows = append(rows, table.Row{op.Type, strings.ToLower(strings.TrimPrefix(op.State, "UPDATE_")), localTime(op.Created), took(began, ended), text})
	}
	if list == nil {
		list = []managed.Operation{} // [] as JSON
	}
	return a.Print(list, table.Row{"Operation", "State", "Began", "Took", "Error"}, rows)
}
