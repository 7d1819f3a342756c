package security

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/cmd/remote"
	"millrace/cmd/terminal"
	"millrace/secure/trail"
	"millrace/secure/watch"
)

// ErrTampered: a trail is not as it was written.
var ErrTampered = errors.New("the audit trail is not as it was written")

// trailFlags say which lines of the trail are wanted.
type trailFlags struct {
	data                                               string
	since, until                                       string
	kind, outcome, writer, principal, action, resource string
	from                                               string
	follow                                             bool
	last                                               int
}

func (f *trailFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.data, "data", remote.DefaultData(), "directory of millrace serve, or of millrace agent (also from MILLRACE_DATA)")
	flags.StringVar(&f.since, "since", "", "from this time on: 2006-01-02T15:04:05Z, or 24h for the last day")
	flags.IntVar(&f.last, "last", 0, "only so many, the newest; 0: all")
}

// time reads a moment, or how long ago it was.
func (f *trailFlags) time(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s %q: use a time such as 2006-01-02T15:04:05Z, or how long ago, such as 24h", flag, text)
}

// filter names every fault of the flags.
func (f *trailFlags) filter(now time.Time) (trail.Filter, error) {
	since, err1 := f.time("--since", f.since, now)
	until, err2 := f.time("--until", f.until, now)
	faults := []error{err1, err2}
	var kinds []trail.Kind
	for _, kind := range strings.FieldsFunc(f.kind, func(r rune) bool { return r == ',' }) {
		switch k := trail.Kind(kind); k {
		case trail.Login, trail.Refusal, trail.Admin, trail.Call, trail.System:
			kinds = append(kinds, k)
		default:
			faults = append(faults, fmt.Errorf("--kind %q: use login, refusal, admin, call or system, separated by commas", kind))
		}
	}
	switch trail.Outcome(f.outcome) {
	case "", trail.Accepted, trail.Refused, trail.Failed:
	default:
		faults = append(faults, fmt.Errorf("--outcome %q: use accepted, refused or failed", f.outcome))
	}
	if f.last < 0 {
		faults = append(faults, fmt.Errorf("--last %d: use a number from 0 on", f.last))
	}
	if err := errors.Join(faults...); err != nil {
		return trail.Filter{}, fmt.Errorf("%w:\n%w", terminal.ErrUsage, err)
	}
	return trail.Filter{
		Since: since, Until: until, Kinds: kinds, Outcome: trail.Outcome(f.outcome), Writer: f.writer,
		Principal: f.principal, Action: f.action, Resource: f.resource, From: f.from,
	}, nil
}

func (a *verbs) trailLog() *cobra.Command {
	var f trailFlags
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Show who did what: logins, refusals and administrative calls",
		Long: `Show the audit trail of this host: every login, refused or accepted, every refusal of a
request, and every administrative call with the state before and after it.

It is read from the files below --data, so its owner can read it, whether serve runs or not. Refusals that are
alike within some seconds are one line with a count. With --output json each line has its number and hash.`,
		Example: `  millrace audit log --since 24h
  millrace audit log --kind login --outcome refused --follow
  millrace audit log --principal alice --action 'kafka:*'
  millrace audit log --resource topic/orders --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := f.filter(clock.System{}.Now())
			if err != nil {
				return err
			}
			return a.showTrail(cmd.Context(), f, filter)
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.until, "until", "", "before this time, as --since")
	flags.StringVar(&f.kind, "kind", "", "only these kinds: login, refusal, admin, call, system")
	flags.StringVar(&f.outcome, "outcome", "", "only accepted, refused or failed")
	flags.StringVar(&f.writer, "writer", "", "only the trail of this process, such as default-1")
	flags.StringVar(&f.principal, "principal", "", "only of this principal, with or without User:")
	flags.StringVar(&f.action, "action", "", "only this action, such as kafka:CreateTopics, or kafka:* for all that begin so")
	flags.StringVar(&f.resource, "resource", "", "only on this resource, such as topic/orders, or topic/* for all that begin so")
	flags.StringVar(&f.from, "from", "", "only from this address")
	flags.BoolVar(&f.follow, "follow", false, "go on with what comes, until Ctrl-C")
	return cmd
}

// trailPause is between looks at a trail that is followed.
const trailPause = 300 * time.Millisecond

func (a *verbs) showTrail(ctx context.Context, f trailFlags, filter trail.Filter) error {
	fs := disk.OS("")
	root := remote.TrailDir(f.data)
	if _, err := fs.Stat(root); err != nil {
		return fmt.Errorf("audit trail: %w\n--data names the directory of millrace serve, or of millrace agent", err)
	}
	reader := trail.NewReader(fs, root, filter)
	defer func() { _ = reader.Close() }() // it only reads
	var entries []trail.Entry
	gather := func(e trail.Entry) error {
		entries = append(entries, e)
		if f.last > 0 && len(entries) > f.last {
			entries = entries[1:]
		}
		return nil
	}
	if err := reader.Next(ctx, gather); err != nil {
		return err
	}
	if err := a.printTrail(entries, !f.follow); err != nil {
		return err
	}
	for f.follow {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(trailPause):
		}
		err := reader.Next(ctx, func(e trail.Entry) error { return a.printTrail([]trail.Entry{e}, false) })
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	if err := reader.Damaged(); err != nil {
		return fmt.Errorf("%w: %w\n`millrace audit verify` says where", ErrTampered, err)
	}
	return nil
}

// printTrail writes entries: whole as one table or list, otherwise line by line.
func (a *verbs) printTrail(entries []trail.Entry, whole bool) error {
	if !whole {
		for _, e := range entries {
			if a.Output == terminal.JSON {
				if err := a.PrintJSON(e); err != nil {
					return err
				}
				continue
			}
			a.Say("%s", strings.Join(trailTexts(e), "  "))
		}
		return nil
	}
	var rows []table.Row
	for _, e := range entries {
		row := table.Row{}
		for _, text := range trailTexts(e) {
			row = append(row, text)
		}
		rows = append(rows, row)
	}
	if entries == nil {
		entries = []trail.Entry{}
	}
	return a.Print(entries, table.Row{"Time", "Kind", "Outcome", "Action", "Principal", "From", "Resource", "Reason"}, rows)
}

func trailTexts(e trail.Entry) []string {
	reason := e.Reason
	if e.Count > 1 {
		reason = strings.TrimSpace(fmt.Sprintf("%s (%s times)", reason, terminal.Count(e.Count)))
	}
	return []string{
		e.Time.Local().Format(time.DateTime), string(e.Kind), string(e.Outcome), e.Action,
		strings.TrimPrefix(e.Principal, "User:"), e.From, e.Resource, reason,
	}
}

func (a *verbs) trailAlerts() *cobra.Command {
	var f trailFlags
	cmd := &cobra.Command{
		Use:   "alerts",
		Short: "Show what the watch over the audit trail found",
		Long: `Show the alerts that the rules on the audit trail raised: repeated refusals, logins that succeeded after
many refusals, logins from a new network, principals that read far more than they are used to, policies that were
widened, protections that were turned off, and trails that are not whole.

Each names the lines of the trail that show it, as WRITER:NUMBER.`,
		Example: "  millrace audit alerts --since 168h\n  millrace audit alerts --output json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := f.filter(clock.System{}.Now())
			if err != nil {
				return err
			}
			filter.Action = watch.Action
			return a.showAlerts(cmd.Context(), f, filter)
		},
	}
	f.add(cmd)
	return cmd
}

func (a *verbs) showAlerts(ctx context.Context, f trailFlags, filter trail.Filter) error {
	reader := trail.NewReader(disk.OS(""), remote.TrailDir(f.data), filter)
	defer func() { _ = reader.Close() }() // it only reads
	alerts := []watch.Alert{}
	err := reader.Next(ctx, func(e trail.Entry) error {
		if alert, ok := watch.FromEvent(e.Event); ok {
			alerts = append(alerts, alert)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if f.last > 0 {
		alerts = alerts[max(0, len(alerts)-f.last):]
	}
	var rows []table.Row
	for _, alert := range alerts {
		var lines []string
		for _, l := range alert.Evidence {
			lines = append(lines, fmt.Sprintf("%s:%d", l.Writer, l.N))
		}
		rows = append(rows, table.Row{
			alert.Time.Local().Format(time.DateTime), alert.Severity, alert.Rule, alert.What + "\n" + alert.Advice, strings.Join(lines, "\n"),
		})
	}
	return a.Print(alerts, table.Row{"Time", "Severity", "Rule", "What", "Evidence"}, rows)
}
