package operate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"millrace/cmd/managed"
	"millrace/cmd/remote"
	"millrace/cmd/terminal"
)

// clusterNames completes names of clusters on the command line.
func clusterNames(f *remote.Flags) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		known, err := managed.New(*f).Clusters(cmd.Context(), begun, "")
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		for _, c := range known {
			if !slices.Contains(args, c.Name) {
				names = append(names, c.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// size is what a cluster has of brokers, for people.
func size(c managed.Cluster) string {
	if p := c.Provisioned; p != nil {
		return fmt.Sprintf("%d × %s", p.Brokers, p.Nodes.InstanceType)
	}
	return "as its load asks"
}

// logins are those of a cluster, for people.
func logins(c managed.Cluster) string {
	switch {
	case c.Provisioned != nil:
		return strings.Join(c.Provisioned.Authentication.Names(), ", ")
	case c.Serverless != nil:
		return strings.Join(c.Serverless.Authentication.Names(), ", ")
	}
	return ""
}

func tagText(tags map[string]string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, k+"="+tags[k])
	}
	return strings.Join(all, ", ")
}

func (a *verbs) clusterList() *cobra.Command {
	var f remote.Flags
	var kind string
	cmd := &cobra.Command{
		Use:     "list [PREFIX]",
		Short:   "List clusters",
		Aliases: []string{"ls"},
		Example: "  millrace cluster list\n  millrace cluster list orders- --kind serverless --output json",
		Args:    terminal.AtMostOne("what the names begin with"),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind = strings.ToUpper(kind)
			if kind != "" && kind != managed.TypeProvisioned && kind != managed.TypeServerless {
				return fmt.Errorf("%w: --kind %q: use provisioned or serverless", terminal.ErrUsage, kind)
			}
			found, err := managed.New(f).Clusters(cmd.Context(), strings.Join(args, ""), kind)
			if err != nil {
				return err
			}
			rows := make([]table.Row, 0, len(found))
			for _, c := range found {
				rows = append(rows, table.Row{c.Name, strings.ToLower(c.Type), c.State, size(c), logins(c), tagText(c.Tags)})
			}
			if found == nil {
				found = []managed.Cluster{} // [] as JSON
			}
			if len(found) == 0 && a.Output != terminal.JSON {
				a.Say("No clusters. `millrace cluster create NAME` makes one.")
				return nil
			}
			return a.Print(found, table.Row{"Cluster", "Kind", "State", "Brokers", "Logins", "Tags"}, rows)
		},
	}
	f.Add(cmd)
	cmd.Flags().StringVar(&kind, "kind", "", "only provisioned or serverless")
	return cmd
}

// describeManaged shows one cluster.
func (a *verbs) describeManaged(ctx context.Context, f remote.Flags, name string) error {
	client := managed.New(f)
	c, err := client.Find(ctx, name)
	if err != nil {
		return err
	}
	if a.Output == terminal.JSON {
		return a.PrintJSON(c)
	}
	rows := []table.Row{{"Name", c.Name}, {"ARN", c.ARN}, {"Kind", strings.ToLower(c.Type)}, {"State", c.State}}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, table.Row{name, value})
		}
	}
	add("Why", c.StateInfo.Message)
	add("Made", localTime(c.Created))
	add("Brokers", size(c))
	add("Logins", logins(c))
	if p := c.Provisioned; p != nil {
		add("Clients speak", p.Encryption.ClientBroker())
		add("Kafka version", p.Software.KafkaVersion)
		if p.Software.Configuration != "" {
			add("Configuration", fmt.Sprintf("%s, revision %d", managed.Short(p.Software.Configuration), p.Software.Revision))
		}
		add("Subnets", strings.Join(p.Nodes.ClientSubnets, ", "))
		add("Security groups", strings.Join(p.Nodes.SecurityGroups, ", "))
		add("Monitoring", p.Monitoring)
	}
	add("Tags", tagText(c.Tags))
	if c.Operation != "" {
		if op, err := client.Operation(ctx, c.Operation); err == nil {
			add("Under way", fmt.Sprintf("%s; `millrace cluster operations %s --follow` shows its steps", op.Type, c.Name))
		}
	}
	return a.Print(nil, table.Row{"Property", "Value"}, rows)
}

// localTime shows a time of the API to people.
func localTime(text string) string {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return text
	}
	return t.Local().Format(time.DateTime)
}

// words are what bootstrap strings are called on the command line, by the API's words.
func words() map[string]string {
	return map[string]string{"": "plaintext", "Tls": "tls", "SaslScram": "scram", "SaslIam": "iam"}
}

// listener is the name of a bootstrap string on the command line: "iam", "public-iam".
func listener(word string) string {
	for _, prefix := range []struct{ word, name string }{{"Public", "public-"}, {"VpcConnectivity", "vpc-"}} {
		if rest, ok := strings.CutPrefix(word, prefix.word); ok && words()[rest] != "" {
			return prefix.name + words()[rest]
		}
	}
	if name := words()[word]; name != "" {
		return name
	}
	return word
}

func (a *verbs) clusterBootstrap() *cobra.Command {
	var f remote.Flags
	var only string
	cmd := &cobra.Command{
		Use:   "bootstrap NAME",
		Short: "Show where clients connect",
		Long: `Show the addresses of all brokers for each way to log in. With --login only the one
string, for the bootstrap.servers of a client.`,
		Example: `  millrace cluster bootstrap orders
  millrace topic list --sasl iam --tls-ca millrace-data/secure/ca.pem --bootstrap "$(millrace cluster bootstrap orders --login iam)"`,
		Args:              terminal.ExactlyOne("the name of one cluster"),
		ValidArgsFunction: clusterNames(&f),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := managed.New(f)
			c, err := client.Find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			found, err := client.Bootstrap(cmd.Context(), c.ARN)
			if err != nil {
				return err
			}
			named := make(map[string]string, len(found))
			for word, brokers := range found {
				named[listener(word)] = brokers
			}
			if only == "" {
				var rows []table.Row
				for _, name := range slices.Sorted(maps.Keys(named)) {
					rows = append(rows, table.Row{name, strings.ReplaceAll(named[name], ",", ",\n")})
				}
				return a.Print(named, table.Row{"Login", "Brokers"}, rows)
			}
			if named[only] == "" {
				return fmt.Errorf("%w: --login %q: cluster %s has %s", terminal.ErrUsage, only, c.Name, strings.Join(slices.Sorted(maps.Keys(named)), ", "))
			}
			if a.Output == terminal.JSON {
				return a.PrintJSON(map[string]string{only: named[only]})
			}
			a.Say("%s", named[only])
			return nil
		},
	}
	f.Add(cmd)
	cmd.Flags().StringVar(&only, "login", "", "only this one: plaintext, tls, scram, iam, or one with public- or vpc- before it")
	return cmd
}

func (a *verbs) clusterNodes() *cobra.Command {
	var f remote.Flags
	cmd := &cobra.Command{
		Use:               "nodes NAME",
		Short:             "List the brokers of a provisioned cluster, and the controllers of Apache Kafka",
		Example:           "  millrace cluster nodes orders",
		Args:              terminal.ExactlyOne("the name of one cluster"),
		ValidArgsFunction: clusterNames(&f),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := managed.New(f)
			c, err := client.Find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			nodes, err := client.Nodes(cmd.Context(), c.ARN)
			if err != nil {
				return err
			}
			rows := make([]table.Row, 0, len(nodes))
			for _, n := range nodes {
				if n.Controller != nil {
					rows = append(rows, table.Row{"controller", "", strings.Join(n.Controller.Endpoints, ", "), "", ""})
					continue
				}
				rows = append(rows, table.Row{int(n.Broker.ID), n.Type, strings.Join(n.Broker.Endpoints, ", "), n.Broker.Subnet, n.Broker.Software.KafkaVersion})
			}
			return a.Print(nodes, table.Row{"Broker", "Type", "Address", "Subnet", "Kafka version"}, rows)
		},
	}
	f.Add(cmd)
	return cmd
}

// deletion is what came of deleting one cluster.
type deletion struct {
	Name   string `json:"name"`
	Result string `json:"result"` // deleted, or deleting
}

func (a *verbs) clusterDelete() *cobra.Command {
	var f remote.Flags
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete NAME...",
		Short: "Delete clusters and all their records",
		Long: `Delete clusters with their topics, records, users and tags. On a terminal it asks
first; elsewhere it wants --yes.`,
		Aliases:           []string{"rm"},
		Example:           "  millrace cluster delete orders\n  millrace cluster delete orders bursts --yes",
		Args:              terminal.OneOrMore("the name of a cluster, or several"),
		ValidArgsFunction: clusterNames(&f),
		RunE: func(cmd *cobra.Command, names []string) error {
			client := managed.New(f)
			var found []managed.Cluster
			for _, name := range names {
				c, err := client.Find(cmd.Context(), name)
				if err != nil {
					return err
				}
				found = append(found, c)
			}
			if !yes && !terminal.IsTerminal(a.In) {
				return fmt.Errorf("%w: nobody can be asked here: --yes deletes all records of %s", terminal.ErrUsage, strings.Join(names, ", "))
			}
			if !yes && !a.Confirm("Delete %s and all records in it?", strings.Join(names, ", ")) {
				return errors.New("not confirmed, nothing was deleted")
			}
			return a.deleteClusters(cmd.Context(), client, f, found)
		},
	}
	f.AddWait(cmd)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (a *verbs) deleteClusters(ctx context.Context, client *managed.Client, f remote.Flags, found []managed.Cluster) error {
	progress := managed.NewProgress(a.IO)
	result := make([]deletion, 0, len(found))
	for _, c := range found {
		if err := client.Delete(ctx, c.ARN, ""); err != nil {
			return fmt.Errorf("delete cluster %s: %w", c.Name, err)
		}
		result = append(result, deletion{c.Name, "deleting"})
	}
	for i, c := range found {
		if f.NoWait {
			a.Say("Cluster %s is being deleted.", c.Name)
			continue
		}
		if err := client.Gone(ctx, c.ARN, progress); err != nil {
			return goesOn(ctx, err, c.Name)
		}
		result[i].Result = "deleted"
		a.Say("Cluster %s deleted.", c.Name)
	}
	if a.Output == terminal.JSON {
		return a.PrintJSON(result)
	}
	return nil
}

// goesOn says of a wait that was broken off that what was waited for is not.
func goesOn(ctx context.Context, err error, name string) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return fmt.Errorf("it goes on without us; `millrace cluster operations %s --follow` shows it: %w", name, err)
	}
	return err
}
