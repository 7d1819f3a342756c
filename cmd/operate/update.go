package operate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"millrace/cmd/managed"
	"millrace/cmd/remote"
	"millrace/cmd/terminal"
)

// change is one operation that update asks for, and the flag that did.
type change struct {
	flag   string
	update managed.Update
}

func (a *verbs) clusterUpdate() *cobra.Command {
	var f remote.Flags
	var s settings
	var rebalancing string
	var public bool
	cmd := &cobra.Command{
		Use:   "update NAME",
		Short: "Change a provisioned cluster",
		Long: `Change a provisioned cluster while clients go on. Each flag is one operation; several
are done one after the other, in the order in which they stand below. One that fails is
undone, and those after it are not begun.

--auth is the whole list of logins: those that are not in it are turned off.`,
		Example: `  millrace cluster update orders --brokers 6
  millrace cluster update orders --type express.m7g.2xlarge --no-wait
  millrace cluster update orders --auth iam,scram --encryption TLS
  millrace cluster update orders --configuration quick:2`,
		Args:              terminal.ExactlyOne("the name of one cluster"),
		ValidArgsFunction: clusterNames(&f),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.check(); err != nil {
				return err
			}
			client := managed.New(f)
			changes, err := s.changes(cmd.Context(), client, cmd.Flags().Changed)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("public") {
				changes = append(changes, change{"public", managed.UpdatePublic(public)})
			}
			if rebalancing != "" {
				changes = append(changes, change{"rebalancing", managed.UpdateRebalancing(strings.ToUpper(rebalancing))})
			}
			switch {
			case len(changes) == 0:
				return fmt.Errorf("%w: nothing to change: give --brokers, --type, --configuration, --auth or another one", terminal.ErrUsage)
			case f.NoWait && len(changes) > 1:
				return fmt.Errorf("%w: --no-wait goes with one change: the next one has to wait for it", terminal.ErrUsage)
			}
			return a.change(cmd.Context(), client, f, args[0], changes)
		},
	}
	f.AddWait(cmd)
	s.addCommon(cmd, 0, "", "")
	cmd.Flags().BoolVar(&public, "public", false, "listeners for everybody; --public=false closes them")
	cmd.Flags().StringVar(&rebalancing, "rebalancing", "", "whether partitions are evened out: ACTIVE or PAUSED")
	return cmd
}

// changes are the operations that flags ask for.
func (s *settings) changes(ctx context.Context, client *managed.Client, changed func(flag string) bool) (list []change, err error) {
	add := func(flag string, u managed.Update) { list = append(list, change{flag, u}) }
	if changed("brokers") {
		add("brokers", managed.UpdateCount(s.brokers))
	}
	if changed("type") {
		add("type", managed.UpdateType(s.instance))
	}
	if changed("configuration") {
		r, err := client.Revision(ctx, s.configuration)
		if err != nil {
			return nil, err
		}
		add("configuration", managed.UpdateConfiguration(r))
	}
	if changed("kafka-version") {
		add("kafka-version", managed.UpdateVersion(s.version))
	}
	if changed("auth") || changed("encryption") {
		add("auth", managed.UpdateSecurity(s.logins, strings.ToUpper(s.encryption)))
	}
	if changed("monitoring") {
		add("monitoring", managed.UpdateMonitoring(strings.ToUpper(s.monitoring), nil))
	}
	return list, nil
}

// change begins operations one after the other, and follows each to its end.
func (a *verbs) change(ctx context.Context, client *managed.Client, f remote.Flags, name string, changes []change) error {
	progress := managed.NewProgress(a.IO)
	done := make([]managed.Operation, 0, len(changes))
	for _, ch := range changes {
		c, err := client.Find(ctx, name) // anew: each operation is of the version that is current
		if err != nil {
			return err
		}
		began, err := client.Begin(ctx, c, ch.update)
		if err != nil {
			return fmt.Errorf("update cluster %s (--%s): %w%s", c.Name, ch.flag, err, a.busy(ctx, client, c))
		}
		if f.NoWait {
			op, err := client.Operation(ctx, began)
			if err != nil {
				return err
			}
			a.Say("%s of cluster %s has begun. `millrace cluster operations %s --follow` shows how it goes.", op.Type, c.Name, c.Name)
			done = append(done, op)
			continue
		}
		op, err := client.Done(ctx, began, progress)
		if err != nil {
			return goesOn(ctx, err, c.Name)
		}
		if _, err := client.Settle(ctx, c.ARN, progress); err != nil {
			return goesOn(ctx, err, c.Name)
		}
		done = append(done, op)
		a.Say("Done: %s of cluster %s.", op.Type, c.Name)
	}
	if a.Output == terminal.JSON {
		return a.PrintJSON(done)
	}
	return nil
}

// busy is the advice for a refusal by a cluster that something is done to already.
func (a *verbs) busy(ctx context.Context, client *managed.Client, c managed.Cluster) string {
	if now, err := client.Describe(ctx, c.ARN); err != nil || now.State == managed.Active {
		return ""
	}
	return fmt.Sprintf("\n`millrace cluster operations %s --follow` waits for what is done to it now", c.Name)
}

func (a *verbs) clusterReboot() *cobra.Command {
	var f remote.Flags
	var broker int
	cmd := &cobra.Command{
		Use:               "reboot NAME --broker ID",
		Short:             "Restart one broker of a provisioned cluster",
		Example:           "  millrace cluster reboot orders --broker 2",
		Args:              terminal.ExactlyOne("the name of one cluster"),
		ValidArgsFunction: clusterNames(&f),
		RunE: func(cmd *cobra.Command, args []string) error {
			if broker < 1 {
				return fmt.Errorf("%w: --broker is required; `millrace cluster nodes %s` lists them", terminal.ErrUsage, args[0])
			}
			return a.change(cmd.Context(), managed.New(f), f, args[0], []change{{"broker", managed.Reboot(fmt.Sprint(broker))}})
		},
	}
	f.AddWait(cmd)
	cmd.Flags().IntVar(&broker, "broker", 0, "id of the broker; required")
	return cmd
}

func (a *verbs) clusterTag() *cobra.Command {
	var f remote.Flags
	var remove []string
	cmd := &cobra.Command{
		Use:               "tag NAME [KEY=VALUE...]",
		Short:             "Set and remove tags of a cluster",
		Example:           "  millrace cluster tag orders team=shop stage=test\n  millrace cluster tag orders --remove stage",
		Args:              terminal.OneOrMore("the name of a cluster, and tags"),
		ValidArgsFunction: clusterNames(&f),
		RunE: func(cmd *cobra.Command, args []string) error {
			set := map[string]string{}
			for _, pair := range args[1:] {
				k, v, ok := strings.Cut(pair, "=")
				if !ok || k == "" || slices.Contains(remove, k) {
					return fmt.Errorf("%w: tag %q: use KEY=VALUE, and no KEY that --remove names", terminal.ErrUsage, pair)
				}
				set[k] = v
			}
			if len(set)+len(remove) == 0 {
				return fmt.Errorf("%w: nothing to change: give KEY=VALUE or --remove KEY", terminal.ErrUsage)
			}
			client := managed.New(f)
			c, err := client.Find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := client.Tag(cmd.Context(), c.ARN, set, remove); err != nil {
				return fmt.Errorf("tag cluster %s: %w", c.Name, err)
			}
			if c, err = client.Describe(cmd.Context(), c.ARN); err != nil {
				return err
			}
			a.Say("Cluster %s has tags: %s", c.Name, tagText(c.Tags))
			if a.Output == terminal.JSON {
				return a.PrintJSON(c.Tags)
			}
			return nil
		},
	}
	f.Add(cmd)
	cmd.Flags().StringSliceVar(&remove, "remove", nil, "key of a tag to take away; may be repeated")
	return cmd
}
