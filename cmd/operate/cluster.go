package operate

import (
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

func (a *verbs) clusterCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "cluster", Short: "Look at a cluster and its hosts, scale, roll and upgrade it", Args: cobra.NoArgs}
	a.ClientFlags(cmd)
	cmd.AddCommand(a.clusterDescribe(), a.clusterScale(), a.clusterRoll(), a.clusterUpgrade(), a.clusterOperations(), a.clusterHosts())
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
	return &cobra.Command{
		Use:     "describe",
		Short:   "Show the cluster's id, brokers and size",
		Example: "  millrace cluster describe\n  millrace cluster describe --output json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.Admin(cmd.Context(), func(c *kadm.Client) error {
				m, err := c.Metadata(cmd.Context())
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
		},
	}
}
