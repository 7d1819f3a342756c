package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"millrace/cmd/terminal"
	"millrace/kafka/client"
)

func (a *verbs) topicCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "topic", Short: "Create, list, describe, alter and delete topics", Args: cobra.NoArgs}
	a.ClientFlags(cmd)
	cmd.AddCommand(a.topicCreate(), a.topicList(), a.topicDescribe(), a.topicAlter(), a.topicDelete())
	return cmd
}

// topicNames completes topic names on the command line.
func (a *verbs) topicNames(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	err := a.Admin(cmd.Context(), func(c *kadm.Client) error {
		topics, err := c.ListTopics(cmd.Context())
		names = topics.Names()
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// parseConfigs reads KEY=VALUE pairs.
func parseConfigs(pairs []string) (map[string]*string, error) {
	configs := make(map[string]*string, len(pairs))
	for _, pair := range pairs {
		k, v, ok := strings.Cut(pair, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("%w: --config %q: use KEY=VALUE", terminal.ErrUsage, pair)
		}
		configs[k] = &v
	}
	return configs, nil
}

type topicRow struct {
	Name              string            `json:"name"`
	ID                string            `json:"id"`
	Partitions        int               `json:"partitions"`
	ReplicationFactor int               `json:"replication_factor"`
	Internal          bool              `json:"internal"`
	Configs           map[string]string `json:"configs,omitempty"`
	Detail            []partitionRow    `json:"partition_details,omitempty"`
}

type partitionRow struct {
	Partition   int32   `json:"partition"`
	Leader      int32   `json:"leader"`
	LeaderEpoch int32   `json:"leader_epoch"`
	Replicas    []int32 `json:"replicas"`
	ISR         []int32 `json:"isr"`
	Start       int64   `json:"start_offset"`
	End         int64   `json:"end_offset"`
}

func (a *verbs) topicCreate() *cobra.Command {
	var partitions int32
	var replication int16
	var pairs []string
	var ifNotExists, dryRun bool
	cmd := &cobra.Command{
		Use:   "create NAME...",
		Short: "Create topics",
		Example: `  millrace topic create orders
  millrace topic create orders --partitions 12 --config retention.ms=86400000
  millrace topic create users --config cleanup.policy=compact`,
		Args: terminal.OneOrMore("the name of a topic, or several"),
		RunE: func(cmd *cobra.Command, names []string) error {
			configs, err := parseConfigs(pairs)
			if err != nil {
				return err
			}
			return a.Admin(cmd.Context(), func(c *kadm.Client) error {
				create := c.CreateTopics
				if dryRun {
					create = c.ValidateCreateTopics
				}
				made, err := create(cmd.Context(), partitions, replication, configs, names...)
				if err != nil {
					return fmt.Errorf("create topics: %w", err)
				}
				return a.reportCreated(made, ifNotExists, dryRun)
			})
		},
	}
	flags := cmd.Flags()
	flags.Int32VarP(&partitions, "partitions", "p", -1, "number of partitions; -1: the cluster's default")
	flags.Int16VarP(&replication, "replication-factor", "r", -1, "replicas of each partition; -1: the cluster's default")
	flags.StringArrayVarP(&pairs, "config", "c", nil, "topic configuration, KEY=VALUE; may be repeated")
	flags.BoolVar(&ifNotExists, "if-not-exists", false, "an existing topic is not an error")
	flags.BoolVar(&dryRun, "dry-run", false, "only check whether it could be done")
	return cmd
}

func (a *verbs) reportCreated(made kadm.CreateTopicResponses, ifNotExists, dryRun bool) error {
	var errs []error
	var rows []topicRow
	for _, t := range made.Sorted() {
		switch {
		case errors.Is(t.Err, kerr.TopicAlreadyExists) && ifNotExists:
			a.Say("Topic %s exists already.", t.Topic)
		case t.Err != nil:
			errs = append(errs, topicError("create", t.Topic, t.Err, t.ErrMessage))
			continue
		case dryRun:
			a.Say("Topic %s can be created.", t.Topic)
		default:
			a.Say("Topic %s created: %d partition(s).", t.Topic, t.NumPartitions)
		}
		rows = append(rows, topicRow{Name: t.Topic, ID: t.ID.String(), Partitions: int(t.NumPartitions), ReplicationFactor: int(t.ReplicationFactor)})
	}
	if a.Output == terminal.JSON && len(errs) == 0 {
		errs = append(errs, a.PrintJSON(rows))
	}
	return errors.Join(errs...)
}

func topicError(verb, name string, err error, message string) error {
	var code *kerr.Error
	if message != "" && errors.As(err, &code) {
		err = brokerError{code: code, message: message}
	}
	return fmt.Errorf("%s topic %s: %w", verb, name, err)
}

// brokerError is an error code with the broker's own words, which say more than the code's description.
type brokerError struct {
	code    *kerr.Error
	message string
}

// Error is the code's name and the broker's message.
func (e brokerError) Error() string { return e.code.Message + ": " + e.message }

// Unwrap gives the code.
func (e brokerError) Unwrap() error { return e.code }

func (a *verbs) topicList() *cobra.Command {
	var internal bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List topics",
		Aliases: []string{"ls"},
		Example: "  millrace topic list\n  millrace topic list --internal --output json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.Admin(cmd.Context(), func(c *kadm.Client) error {
				list := c.ListTopics
				if internal {
					list = c.ListTopicsWithInternal
				}
				topics, err := list(cmd.Context())
				if err != nil {
					return fmt.Errorf("list topics: %w", err)
				}
				rows := make([]topicRow, 0, len(topics))
				var lines []table.Row
				for _, t := range topics.Sorted() {
					r := summary(t)
					rows = append(rows, r)
					lines = append(lines, table.Row{r.Name, r.Partitions, r.ReplicationFactor, r.ID})
				}
				return a.Print(rows, table.Row{"Topic", "Partitions", "Replicas", "ID"}, lines)
			})
		},
	}
	cmd.Flags().BoolVar(&internal, "internal", false, "show the cluster's own topics too")
	return cmd
}

func summary(t kadm.TopicDetail) topicRow {
	return topicRow{Name: t.Topic, ID: t.ID.String(), Partitions: len(t.Partitions), ReplicationFactor: t.Partitions.NumReplicas(), Internal: t.IsInternal}
}

func (a *verbs) topicDescribe() *cobra.Command {
	return &cobra.Command{
		Use:               "describe NAME...",
		Short:             "Show partitions, offsets and configuration of topics",
		Example:           "  millrace topic describe orders",
		Args:              terminal.OneOrMore("the name of a topic, or several"),
		ValidArgsFunction: a.topicNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.Admin(cmd.Context(), func(c *kadm.Client) error {
				rows, err := describeTopics(cmd.Context(), c, names)
				if err != nil {
					return err
				}
				return a.printTopics(rows)
			})
		},
	}
}

func describeTopics(ctx context.Context, c *kadm.Client, names []string) ([]topicRow, error) {
	topics, err := c.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	if err := topics.Error(); err != nil {
		for _, t := range topics.Sorted() {
			if t.Err != nil {
				return nil, topicError("describe", t.Topic, t.Err, "")
			}
		}
		return nil, err
	}
	starts, err := client.Offsets(ctx, c.ListStartOffsets, names...)
	if err != nil {
		return nil, fmt.Errorf("list start offsets: %w", err)
	}
	ends, err := client.Offsets(ctx, c.ListEndOffsets, names...)
	if err != nil {
		return nil, fmt.Errorf("list end offsets: %w", err)
	}
	configs, err := client.Again(ctx, func(ctx context.Context) (kadm.ResourceConfigs, error) { return c.DescribeTopicConfigs(ctx, names...) })
	if err != nil {
		return nil, fmt.Errorf("describe configuration: %w", err)
	}
	var rows []topicRow
	for _, t := range topics.Sorted() {
		row := summary(t)
		row.Configs = overrides(configs, t.Topic)
		for _, p := range t.Partitions.Sorted() {
			start, _ := starts.Lookup(t.Topic, p.Partition)
			end, _ := ends.Lookup(t.Topic, p.Partition)
			row.Detail = append(row.Detail, partitionRow{
				Partition: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, Replicas: p.Replicas, ISR: p.ISR,
				Start: start.Offset, End: end.Offset,
			})
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// overrides keeps what was set on the topic itself.
func overrides(configs kadm.ResourceConfigs, name string) map[string]string {
	set := map[string]string{}
	_, err := configs.On(name, func(r *kadm.ResourceConfig) error {
		for _, c := range r.Configs {
			if c.Source.String() == "DYNAMIC_TOPIC_CONFIG" {
				set[c.Key] = c.MaybeValue()
			}
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return set
}

func (a *verbs) printTopics(rows []topicRow) error {
	if a.Output == terminal.JSON {
		return a.PrintJSON(rows)
	}
	for i, t := range rows {
		if i > 0 {
			a.Say("")
		}
		a.Say("Topic %s, id %s, %d partition(s)", t.Name, t.ID, t.Partitions)
		for _, k := range slices.Sorted(maps.Keys(t.Configs)) {
			a.Say("  %s=%s", k, t.Configs[k])
		}
		lines := make([]table.Row, 0, len(t.Detail))
		for _, p := range t.Detail {
			lines = append(lines, table.Row{p.Partition, p.Leader, p.LeaderEpoch, ints(p.Replicas), ints(p.ISR), p.Start, p.End, terminal.Count(p.End - p.Start)})
		}
		if err := a.Print(nil, table.Row{"Partition", "Leader", "Epoch", "Replicas", "ISR", "Start", "End", "Records"}, lines); err != nil {
			return err
		}
	}
	return nil
}

func ints(v []int32) string { return strings.Trim(strings.ReplaceAll(fmt.Sprint(v), " ", ","), "[]") }

func (a *verbs) topicAlter() *cobra.Command {
	var partitions int
	var pairs, deleted []string
	cmd := &cobra.Command{
		Use:   "alter NAME",
		Short: "Change a topic's configuration or add partitions",
		Example: `  millrace topic alter orders --config retention.ms=3600000
  millrace topic alter orders --delete-config retention.ms
  millrace topic alter orders --partitions 24`,
		Args:              terminal.ExactlyOne("the name of one topic"),
		ValidArgsFunction: a.topicNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			configs, err := parseConfigs(pairs)
			if err != nil {
				return err
			}
			if len(configs) == 0 && len(deleted) == 0 && partitions == 0 {
				return fmt.Errorf("%w: nothing to change: give --config, --delete-config or --partitions", terminal.ErrUsage)
			}
			return a.Admin(cmd.Context(), func(c *kadm.Client) error {
				return a.alterTopic(cmd.Context(), c, args[0], configs, deleted, partitions)
			})
		},
	}
	flags := cmd.Flags()
	flags.IntVarP(&partitions, "partitions", "p", 0, "raise the number of partitions to this")
	flags.StringArrayVarP(&pairs, "config", "c", nil, "set KEY=VALUE; may be repeated")
	flags.StringArrayVar(&deleted, "delete-config", nil, "return KEY to its default; may be repeated")
	return cmd
}

func (a *verbs) alterTopic(ctx context.Context, c *kadm.Client, name string, configs map[string]*string, deleted []string, partitions int) error {
	if len(configs)+len(deleted) > 0 {
		var changes []kadm.AlterConfig
		for k, v := range configs {
			changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: v})
		}
		for _, k := range deleted {
			changes = append(changes, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: k})
		}
		done, err := c.AlterTopicConfigs(ctx, changes, name)
		if err != nil {
			return fmt.Errorf("alter topic %s: %w", name, err)
		}
		for _, r := range done {
			if r.Err != nil {
				return topicError("alter", name, r.Err, r.ErrMessage)
			}
		}
	}
	if partitions > 0 {
		done, err := c.UpdatePartitions(ctx, partitions, name)
		if err != nil {
			return fmt.Errorf("alter topic %s: %w", name, err)
		}
		for _, r := range done.Sorted() {
			if r.Err != nil {
				return topicError("alter", name, r.Err, r.ErrMessage)
			}
		}
	}
	a.Say("Topic %s altered.", name)
	if a.Output == terminal.JSON {
		return a.PrintJSON(map[string]string{"name": name, "result": "altered"})
	}
	return nil
}

func (a *verbs) topicDelete() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "delete NAME...",
		Short:             "Delete topics and all their records",
		Long:              "Delete topics and all their records. On a terminal it asks first.",
		Aliases:           []string{"rm"},
		Example:           "  millrace topic delete orders --yes",
		Args:              terminal.OneOrMore("the name of a topic, or several"),
		ValidArgsFunction: a.topicNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			if !yes && terminal.IsTerminal(a.In) && !a.Confirm("Delete %s and all records in it?", strings.Join(names, ", ")) {
				return errors.New("not confirmed, nothing was deleted")
			}
			return a.Admin(cmd.Context(), func(c *kadm.Client) error {
				gone, err := c.DeleteTopics(cmd.Context(), names...)
				if err != nil {
					return fmt.Errorf("delete topics: %w", err)
				}
				var errs []error
				deleted := []string{}
				for _, t := range gone.Sorted() {
					if t.Err != nil {
						errs = append(errs, topicError("delete", t.Topic, t.Err, t.ErrMessage))
						continue
					}
					deleted = append(deleted, t.Topic)
					a.Say("Topic %s deleted.", t.Topic)
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
