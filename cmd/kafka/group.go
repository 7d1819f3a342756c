package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/base/clock"
	"millrace/cmd/terminal"
	"millrace/kafka/client"
)

func (a *verbs) groupCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "group", Short: "List, describe, reset and delete consumer groups", Args: cobra.NoArgs}
	a.ClientFlags(cmd)
	cmd.AddCommand(a.groupList(), a.groupDescribe(), a.groupReset(), a.groupDelete())
	return cmd
}

// groupNames completes group names on the command line.
func (a *verbs) groupNames(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	err := a.Admin(cmd.Context(), func(c *kadm.Client) error {
		groups, err := c.ListGroups(cmd.Context())
		names = groups.Groups()
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

type groupRow struct {
	Group       string      `json:"group"`
	State       string      `json:"state"`
	Protocol    string      `json:"protocol,omitempty"`
	Type        string      `json:"protocol_type,omitempty"`
	Coordinator int32       `json:"coordinator"`
	Lag         int64       `json:"lag"`
	Members     []memberRow `json:"members,omitempty"`
	Offsets     []lagRow    `json:"offsets,omitempty"`
}

type memberRow struct {
	ID       string `json:"member_id"`
	Instance string `json:"instance_id,omitempty"`
	Client   string `json:"client_id"`
	Host     string `json:"host"`
}

type lagRow struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed int64  `json:"committed"` // -1: nothing committed
	End       int64  `json:"end"`
	Lag       int64  `json:"lag"` // -1: not known
	Member    string `json:"member_id,omitempty"`
}

func (a *verbs) groupList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List consumer groups",
		Aliases: []string{"ls"},
		Example: "  millrace group list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.Admin(cmd.Context(), func(c *kadm.Client) error {
				groups, err := client.Again(cmd.Context(), func(ctx context.Context) (kadm.ListedGroups, error) { return c.ListGroups(ctx) })
				if err != nil {
					return fmt.Errorf("list groups: %w", err)
				}
				rows := []groupRow{}
				var lines []table.Row
				for _, g := range groups.Sorted() {
					rows = append(rows, groupRow{Group: g.Group, State: g.State, Type: g.ProtocolType, Coordinator: g.Coordinator})
					lines = append(lines, table.Row{g.Group, g.State, g.ProtocolType, g.Coordinator})
				}
				return a.Print(rows, table.Row{"Group", "State", "Protocol type", "Coordinator"}, lines)
			})
		},
	}
}

func (a *verbs) groupDescribe() *cobra.Command {
	return &cobra.Command{
		Use:               "describe GROUP...",
		Short:             "Show members, committed offsets and lag of groups",
		Example:           "  millrace group describe billing",
		Args:              terminal.OneOrMore("the name of a group, or several"),
		ValidArgsFunction: a.groupNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.Admin(cmd.Context(), func(c *kadm.Client) error {
				lags, err := lagsOf(cmd.Context(), c, names)
				if err != nil {
					return fmt.Errorf("describe groups: %w", err)
				}
				rows := []groupRow{}
				for _, l := range lags.Sorted() {
					if err := l.Error(); err != nil {
						return fmt.Errorf("describe group %s: %w", l.Group, err)
					}
					rows = append(rows, describedGroup(l))
				}
				return a.printGroups(rows)
			})
		},
	}
}

// lagsOf asks again while a coordinator or a leader is away. What is wrong with a group in the end is with the group.
func lagsOf(ctx context.Context, c *kadm.Client, names []string) (lags kadm.DescribedGroupLags, fault error) {
	lags, _ = client.Again(ctx, func(ctx context.Context) (kadm.DescribedGroupLags, error) {
		lags, fault = c.Lag(ctx, names...)
		return lags, errors.Join(fault, lags.Error())
	})
	return lags, fault
}

// after lists the offsets of the first records at or after a time, in ms.
func after(c *kadm.Client, millis int64) func(context.Context, ...string) (kadm.ListedOffsets, error) {
	return func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
		return c.ListOffsetsAfterMilli(ctx, millis, topics...)
	}
}

func describedGroup(l kadm.DescribedGroupLag) groupRow {
	row := groupRow{Group: l.Group, State: l.State, Protocol: l.Protocol, Type: l.ProtocolType, Coordinator: l.Coordinator.NodeID, Lag: l.Lag.Total()}
	for _, m := range l.Members {
		r := memberRow{ID: m.MemberID, Client: m.ClientID, Host: m.ClientHost}
		if m.InstanceID != nil {
			r.Instance = *m.InstanceID
		}
		row.Members = append(row.Members, r)
	}
	for _, o := range l.Lag.Sorted() {
		r := lagRow{Topic: o.Topic, Partition: o.Partition, Committed: o.Commit.At, End: o.End.Offset, Lag: o.Lag}
		if o.Member != nil {
			r.Member = o.Member.MemberID
		}
		row.Offsets = append(row.Offsets, r)
	}
	return row
}

func (a *verbs) printGroups(rows []groupRow) error {
	if a.Output == terminal.JSON {
		return a.PrintJSON(rows)
	}
	for i, g := range rows {
		if i > 0 {
			a.Say("")
		}
		a.Say("Group %s: %s, %d member(s), lag %s, coordinator %d", g.Group, g.State, len(g.Members), terminal.Count(g.Lag), g.Coordinator)
		lines := make([]table.Row, 0, len(g.Offsets))
		for _, o := range g.Offsets {
			lines = append(lines, table.Row{o.Topic, o.Partition, orDash(o.Committed), o.End, orDash(o.Lag), o.Member})
		}
		if err := a.Print(nil, table.Row{"Topic", "Partition", "Committed", "End", "Lag", "Member"}, lines); err != nil {
			return err
		}
	}
	return nil
}

func orDash(n int64) string {
	if n < 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

func (a *verbs) groupReset() *cobra.Command {
	var topics []string
	var to string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "reset GROUP",
		Short: "Move a group's committed offsets",
		Long: `Move a group's committed offsets. The group must have no members.

--to takes: beginning, end, an offset (42), a time (2026-01-31T12:00:00Z), or how
long ago (-90m). Without --topic all topics are moved that the group has
committed to. --dry-run shows what would be done.`,
		Example: `  millrace group reset billing --to beginning --topic orders
  millrace group reset billing --to -1h --dry-run`,
		Args:              terminal.ExactlyOne("the name of one group"),
		ValidArgsFunction: a.groupNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			start, err := parseFrom("--to", to, clock.System{}.Now())
			if err != nil {
				return err
			}
			return a.Admin(cmd.Context(), func(c *kadm.Client) error {
				return a.resetGroup(cmd.Context(), c, args[0], topics, start, dryRun)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&topics, "topic", "t", nil, "topic, or TOPIC:PARTITION; may be repeated")
	flags.StringVar(&to, "to", "", "where to: beginning, end, an offset, a time, or how long ago")
	flags.BoolVar(&dryRun, "dry-run", false, "show the new offsets, change nothing")
	return cmd
}

type resetRow struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Before    int64  `json:"before"`
	After     int64  `json:"after"`
}

func (a *verbs) resetGroup(ctx context.Context, c *kadm.Client, group string, only []string, start kgo.Offset, dryRun bool) error {
	wanted, err := parseTopicPartitions(only)
	if err != nil {
		return err
	}
	committed, err := client.Again(ctx, func(ctx context.Context) (kadm.OffsetResponses, error) { return c.FetchOffsets(ctx, group) })
	if err != nil {
		return fmt.Errorf("read offsets of group %s: %w", group, err)
	}
	names := make([]string, 0, len(wanted))
	for name := range wanted {
		names = append(names, name)
	}
	if len(names) == 0 {
		for name := range committed {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("group %s has committed nothing yet: name the topics with --topic", group)
	}
	targets, err := resetTargets(ctx, c, names, start)
	if err != nil {
		return err
	}
	var rows []resetRow
	offsets := kadm.Offsets{}
	for _, t := range targets.Offsets().Sorted() {
		if ps := wanted[t.Topic]; len(ps) > 0 && !ps[t.Partition] {
			continue
		}
		before := int64(-1)
		if o, ok := committed.Lookup(t.Topic, t.Partition); ok {
			before = o.At
		}
		offsets.AddOffset(t.Topic, t.Partition, t.At, -1)
		rows = append(rows, resetRow{Topic: t.Topic, Partition: t.Partition, Before: before, After: t.At})
	}
	if !dryRun {
		if err := commitReset(ctx, c, group, offsets); err != nil {
			return err
		}
	}
	var lines []table.Row
	for _, r := range rows {
		lines = append(lines, table.Row{r.Topic, r.Partition, orDash(r.Before), r.After})
	}
	return a.Print(rows, table.Row{"Topic", "Partition", "Before", "After"}, lines)
}

func commitReset(ctx context.Context, c *kadm.Client, group string, offsets kadm.Offsets) error {
	described, err := client.Again(ctx, func(ctx context.Context) (kadm.DescribedGroups, error) { return c.DescribeGroups(ctx, group) })
	if err != nil {
		return fmt.Errorf("describe group %s: %w", group, err)
	}
	if g := described[group]; len(g.Members) > 0 {
		return fmt.Errorf("group %s has %d member(s); stop its consumers before its offsets are moved", group, len(g.Members))
	}
	done, err := c.CommitOffsets(ctx, group, offsets)
	if err == nil {
		err = done.Error()
	}
	if err != nil {
		return fmt.Errorf("commit offsets of group %s: %w", group, err)
	}
	return nil
}

// parseTopicPartitions reads TOPIC and TOPIC:PARTITION; an empty set of
// partitions means all.
func parseTopicPartitions(list []string) (map[string]map[int32]bool, error) {
	out := map[string]map[int32]bool{}
	for _, s := range list {
		name, part, ok := strings.Cut(s, ":")
		if out[name] == nil {
			out[name] = map[int32]bool{}
		}
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(part, 10, 32)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%w: --topic %q: use TOPIC or TOPIC:PARTITION", terminal.ErrUsage, s)
		}
		out[name][int32(n)] = true
	}
	return out, nil
}

// resetTargets gives the offset in each partition that start points at, kept
// between the partition's start and end.
func resetTargets(ctx context.Context, c *kadm.Client, topics []string, start kgo.Offset) (kadm.ListedOffsets, error) {
	o := start.EpochOffset()
	var listed kadm.ListedOffsets
	var err error
	switch {
	case start == kgo.NewOffset().AtStart():
		listed, err = client.Offsets(ctx, c.ListStartOffsets, topics...)
	case start == kgo.NewOffset().AtEnd():
		listed, err = client.Offsets(ctx, c.ListEndOffsets, topics...)
	case start == kgo.NewOffset().At(o.Offset):
		return clamped(ctx, c, topics, o.Offset)
	default:
		listed, err = client.Offsets(ctx, after(c, o.Offset), topics...)
	}
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list offsets: %w", err)
	}
	return listed, nil
}

func clamped(ctx context.Context, c *kadm.Client, topics []string, at int64) (kadm.ListedOffsets, error) {
	starts, err := client.Offsets(ctx, c.ListStartOffsets, topics...)
	ends, endErr := client.Offsets(ctx, c.ListEndOffsets, topics...)
	if err := errors.Join(err, endErr, starts.Error(), ends.Error()); err != nil {
		return nil, fmt.Errorf("list offsets: %w", err)
	}
	for topic, partitions := range starts {
		for p, o := range partitions {
			end, _ := ends.Lookup(topic, p)
			o.Offset = min(max(at, o.Offset), end.Offset)
			partitions[p] = o
		}
	}
	return starts, nil
}

func (a *verbs) groupDelete() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "delete GROUP...",
		Short:             "Delete consumer groups and their committed offsets",
		Long:              "Delete consumer groups and their committed offsets. They must have no members. On a terminal it asks first.",
		Aliases:           []string{"rm"},
		Example:           "  millrace group delete billing --yes",
		Args:              terminal.OneOrMore("the name of a group, or several"),
		ValidArgsFunction: a.groupNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			if !yes && terminal.IsTerminal(a.In) && !a.Confirm("Delete %s and the committed offsets?", strings.Join(names, ", ")) {
				return errors.New("not confirmed, nothing was deleted")
			}
			return a.Admin(cmd.Context(), func(c *kadm.Client) error {
				gone, err := c.DeleteGroups(cmd.Context(), names...)
				if err != nil {
					return fmt.Errorf("delete groups: %w", err)
				}
				var errs []error
				deleted := []string{}
				for _, g := range gone.Sorted() {
					if g.Err != nil {
						errs = append(errs, fmt.Errorf("delete group %s: %w", g.Group, g.Err))
						continue
					}
					deleted = append(deleted, g.Group)
					a.Say("Group %s deleted.", g.Group)
				}
				if a.Output == terminal.JSON {
					errs = append(errs, a.PrintJSON(map[string][]string{"deleted": deleted}))
				}
				return errors.Join(errs...)
			})
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}
