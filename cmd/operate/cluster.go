package operate

import (
	"context"
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"millrace/cmd/remote"
	"millrace/cmd/terminal"
)

// Groups of the verbs below `millrace cluster`.
const (
	groupManaged = "managed"
	groupServe   = "serve"
)

func (a *verbs) clusterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Make, look at, change and delete clusters",
		Long: `Make, look at, change and delete managed clusters, serverless ones and those with
brokers of a size, as the MSK API has them. The verbs ask that API: the address and
the access key are those of "millrace env", or else of the data directory.

The cluster that "millrace serve" makes by itself is called "default". It can be
looked at like the others, and has verbs of its own below.`,
		Example: `  millrace cluster create orders --type express.m7g.large --brokers 3
  millrace cluster list
  millrace cluster bootstrap orders
  millrace cluster update orders --brokers 6
  millrace cluster usage orders
  millrace cluster delete orders`,
		Args: cobra.NoArgs,
	}
	cmd.AddGroup(&cobra.Group{ID: groupManaged, Title: "Managed clusters:"}, &cobra.Group{ID: groupServe, Title: "The cluster of serve:"})
	add := func(group string, subs ...*cobra.Command) {
		for _, sub := range subs {
			sub.GroupID = group
			cmd.AddCommand(sub)
		}
	}
	add(groupManaged, a.clusterCreate(), a.clusterList(), a.clusterDescribe(), a.clusterBootstrap(), a.clusterNodes(), a.clusterUpdate(), a.clusterReboot(),
		a.clusterTag(), a.clusterOperations(), a.clusterUsage(), a.clusterDelete())
	add(groupServe, a.clusterScale(), a.clusterRoll(), a.clusterUpgrade(), a.clusterHosts())
	return cmd
}

type clusterRow struct {
	ID         string      `json:"cluster_id"`
	Controller int32       `json:"controller"`
	Topics     int         `json:"topics"`
	Partitions int         `json:"partitions"`
	Brokers    []brokerRow `json:"brokers"`
}

type brokerRow struct {
	ID   int32  `json:"id"`
	Host string `json:"host"`
	Port int32  `json:"port"`
	Rack string `json:"rack,omitempty"`
}

func (a *verbs) clusterDescribe() *cobra.Command {
	var f remote.Flags
	cmd := &cobra.Command{
		Use:   "describe [NAME]",
		Short: "Show a cluster: its state, size, logins and tags",
		Long: `Show a managed cluster. Without a name: the id, brokers and size of the cluster at
--bootstrap, which may be any that speaks Kafka's protocol.`,
		Example:           "  millrace cluster describe orders\n  millrace cluster describe orders --output json\n  millrace cluster describe --bootstrap 127.0.0.1:9092",
		Args:              terminal.AtMostOne("the name of a cluster"),
		ValidArgsFunction: clusterNames(&f),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.describeManaged(cmd.Context(), f, args[0])
			}
			return a.describeAny(cmd.Context())
		},
	}
	f.Add(cmd)
	a.ClientFlags(cmd)
	return cmd
}

// describeAny shows what brokers tell of a cluster.
func (a *verbs) describeAny(ctx context.Context) error {
	return a.Admin(ctx, func(c *kadm.Client) error {
		m, err := c.Metadata(ctx)
		if err != nil {
			return fmt.Errorf("describe cluster: %w", err)
		}
		row := clusterRow{ID: m.Cluster, Controller: m.Controller, Topics: len(m.Topics)}
		for _, t := range m.Topics {
			row.Partitions += len(t.Partitions)
		}
		var lines []table.Row
		for _, b := range m.Brokers {
			r := brokerRow{ID: b.NodeID, Host: b.Host, Port: b.Port}
			if b.Rack != nil {
				r.Rack = *b.Rack
			}
			row.Brokers = append(row.Brokers, r)
			role := ""
			if b.NodeID == m.Controller {
				role = "controller"
			}
			lines = append(lines, table.Row{r.ID, fmt.Sprintf("%s:%d", r.Host, r.Port), r.Rack, role})
		}
		a.Say("Cluster %s: %d broker(s), %d topic(s), %d partition(s)", row.ID, len(row.Brokers), row.Topics, row.Partitions)
		return a.Print(row, table.Row{"Broker", "Address", "Zone", "Role"}, lines)
	})
}
