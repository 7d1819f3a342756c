package operate

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"millrace/base/clock"
	"millrace/cmd/api"
	"millrace/cmd/remote"
	"millrace/cmd/terminal"
	"millrace/express/meter"
)

// usageFlags say of which time and how the usage of a cluster is shown.
type usageFlags struct {
	from, to string
	last     time.Duration
	topic    string
	hourly   bool
}

func (a *verbs) clusterUsage() *cobra.Command {
	var f remote.Flags
	var u usageFlags
	cmd := &cobra.Command{
		Use:   "usage [NAME]",
		Short: "Show what clients used of a cluster",
		Long: `Show what clients used of a cluster, by topic: bytes that they produced and fetched,
gigabyte-hours stored, and hours of partitions; and the hours of brokers of all topics
together. Without a name: of the cluster "default".

It is reckoned by whole hours (UTC), the one that runs among them. Brokers record once
a minute, so the last minute is not in it yet.`,
		Example: `  millrace cluster usage orders
  millrace cluster usage orders --last 168h --topic payments
  millrace cluster usage orders --from 2026-03-01 --to 2026-04-01 --output json`,
		Args:              terminal.AtMostOne("the name of a cluster"),
		ValidArgsFunction: clusterNames(&f),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, to, err := u.times(clock.System{}.Now())
			if err != nil {
				return err
			}
			return a.usage(cmd.Context(), f, cmp.Or(strings.Join(args, ""), api.DefaultCluster), u, from, to)
		},
	}
	f.Add(cmd)
	flags := cmd.Flags()
	flags.DurationVar(&u.last, "last", 24*time.Hour, "how far back, where --from is not given; at most 768h")
	flags.StringVar(&u.from, "from", "", "the first hour: 2026-03-01 or 2026-03-01T10:00:00Z")
	flags.StringVar(&u.to, "to", "", "the end, likewise; empty: now")
	flags.StringVar(&u.topic, "topic", "", "only this topic")
	flags.BoolVar(&u.hourly, "hourly", false, "a line for each hour of a topic")
	return cmd
}

// times are what the flags say, as whole hours.
func (u usageFlags) times(now time.Time) (from, to time.Time, err error) {
	to = now.UTC().Truncate(time.Hour).Add(time.Hour)
	if u.to != "" {
		if to, err = parseTime("to", u.to); err != nil {
			return from, to, err
		}
	}
	from = to.Add(-u.last)
	if u.from != "" {
		if from, err = parseTime("from", u.from); err != nil {
			return from, to, err
		}
	}
	if from = from.UTC().Truncate(time.Hour); !from.Before(to) || to.Sub(from) > meter.RangeMost {
		return from, to, fmt.Errorf("%w: from %s to %s: ask for an hour to %d days", terminal.ErrUsage, from.Format(time.RFC3339), to.Format(time.RFC3339),
			meter.RangeMost/(24*time.Hour))
	}
	return from, to, nil
}

func parseTime(flag, text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%w: --%s %q: use 2026-03-01 or 2026-03-01T10:00:00Z", terminal.ErrUsage, flag, text)
}

// usageTable is what the verb prints as JSON.
type usageTable struct {
	Name string    `json:"name"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	meter.Usage
	Total meter.Row `json:"total"`
}

func (a *verbs) usage(ctx context.Context, f remote.Flags, name string, u usageFlags, from, to time.Time) error {
	query := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}}
	if u.topic != "" {
		query.Set("topic", u.topic)
	}
	var used meter.Usage
	path := api.Root + "/clusters" + remote.Segment(name) + "/usage?" + query.Encode()
	if err := f.Ask(ctx, http.MethodGet, path, nil, &used); err != nil {
		return err
	}
	total := used.Total()
	if !u.hourly {
		used.Rows = byTopic(used.Rows)
	}
	if a.Output == terminal.JSON {
		return a.PrintJSON(usageTable{name, from, to, used, total})
	}
	a.Say("Cluster %s from %s to %s", name, from.Local().Format(time.DateTime), to.Local().Format(time.DateTime))
	if used.Cluster == "" {
		a.Say("Nothing was recorded.")
		return nil
	}
	header := table.Row{"Topic", "In", "Out", "Stored GB-hours", "Partition-hours"}
	line := func(r meter.Row, name string) table.Row {
		return table.Row{name, terminal.Count(r.In), terminal.Count(r.Out), fmt.Sprintf("%.3f", r.StoredGBHours), fmt.Sprintf("%.2f", r.PartitionHours)}
	}
	var rows []table.Row
	for _, r := range used.Rows {
		row := line(r, r.Topic)
		if u.hourly {
			row = append(table.Row{r.Hour.Local().Format(time.DateTime)}, row...)
		}
		rows = append(rows, row)
	}
	sum := line(total, "(all)")
	if u.hourly {
		header, sum = append(table.Row{"Hour"}, header...), append(table.Row{""}, sum...)
	}
	if err := a.Print(nil, header, append(rows, sum)); err != nil {
		return err
	}
	a.Say("Bytes as clients sent and got them. Brokers ran for %.2f broker-hours.", used.BrokerHours)
	return nil
}

// byTopic sums hours, by name and id; the hour of a sum is the first.
func byTopic(rows []meter.Row) (sums []meter.Row) {
	for _, r := range rows {
		i := slices.IndexFunc(sums, func(s meter.Row) bool { return s.ID == r.ID })
		if i < 0 {
			sums = append(sums, r)
			continue
		}
		s := &sums[i]
		s.In, s.Out = s.In+r.In, s.Out+r.Out
		s.StoredGBHours, s.PartitionHours = s.StoredGBHours+r.StoredGBHours, s.PartitionHours+r.PartitionHours
	}
	slices.SortStableFunc(sums, func(a, b meter.Row) int { return cmp.Compare(a.Topic, b.Topic) })
	return sums
}
