package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"millrace/base/disk"
	"millrace/cmd/parts"
	"millrace/cmd/remote"
	"millrace/cmd/security"
	"millrace/cmd/terminal"
	"millrace/secure/trail"
)

func (a *app) trailVerify() *cobra.Command {
	var data string
	var kms string
	var etcd parts.Etcd
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that nobody changed the audit trail",
		Long: `Read the audit trail of this host and compare it with its anchors in etcd. A line that was changed, taken out, put
in or moved, a file that is missing, and an end that was cut off or rewritten are found, if they are older than the last
anchor (some seconds).

The exit status is 0 when all is as it was written, 1 otherwise.`,
		Example: "  millrace audit verify\n  millrace audit verify --data /var/lib/millrace --etcd https://10.0.0.1:2379",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := etcd.Validate("--etcd"); err != nil {
				return fmt.Errorf("%w:\n%w", terminal.ErrUsage, err)
			}
			return a.verifyTrail(cmd.Context(), data, etcd, kms)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&data, "data", remote.DefaultData(), "directory of millrace serve, or of millrace agent (also from MILLRACE_DATA)")
	flags.StringVar(&etcd.URLs, "etcd", "", "URLs of an etcd cluster, separated by commas; empty: the one in --data")
	etcd.TLSFlags(flags)
	parts.KMSFlag(flags, &kms)
	return cmd
}

func (a *app) verifyTrail(ctx context.Context, data string, cfg parts.Etcd, kms string) error {
	files, log := disk.OS(""), slog.New(slog.NewTextHandler(a.ErrOut, &slog.HandlerOptions{Level: slog.LevelError}))
	data, err := filepath.Abs(data)
	if err != nil {
		return err
	}
	stores, err := openEtcd(ctx, data, cfg, files, log)
	if err != nil {
		return err
	}
	defer func() { _ = stores.close() }() // nothing was written
	ring, err := parts.OpenRing(ctx, "", kms, data, false, stores.kv, files, log)
	if err != nil {
		return err
	}
	defer ring.Close()
	report, err := trail.Verify(ctx, files, remote.TrailDir(data), trail.NewAnchors(stores.kv, ring), nil, cfg.URLs == "")
	if err != nil {
		return err
	}
	if a.Output == terminal.JSON {
		if err := a.PrintJSON(report); err != nil {
			return err
		}
	} else {
		a.printVerified(report)
	}
	if n := len(report.Findings); n > 0 {
		return fmt.Errorf("%w: %d finding(s)", security.ErrTampered, n)
	}
	return nil
}

func (a *app) printVerified(report trail.Report) {
	var rows []table.Row
	for _, c := range report.Chains {
		rows = append(rows, table.Row{c.Writer, c.First, c.Last, c.Anchored, c.Newest.Local().Format(time.DateTime)})
	}
	_ = a.Print(report.Chains, table.Row{"Writer", "First line", "Last line", "Anchored", "Newest"}, rows) // a table does not fail
	for _, f := range report.Findings {
		where := f.Writer
		if f.File != "" {
			where += "/" + f.File
		}
		a.Say("%s: %s", where, f.What)
	}
	if len(report.Findings) == 0 {
		a.Say("All %d trail(s) are as they were written.", len(report.Chains))
	}
}
