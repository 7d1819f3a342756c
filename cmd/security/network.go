package security

import (
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"millrace/cmd/api"
	"millrace/cmd/remote"
	"millrace/cmd/terminal"
	"millrace/secure/network"
)

func (a *verbs) networkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "network",
		Short: "Say from where clients may connect, how fast, and open private ways in",
		Long: `Guard listeners by security groups, which are named lists of networks, bound new
connections, and manage private connections: listeners of their own for one client
network, which the cluster's owner accepts or rejects. Changes hold at once, without
a restart; connections that are no longer allowed are closed.`,
	}
	group := &cobra.Command{Use: "group", Short: "Manage security groups"}
	group.AddCommand(a.groupPut(true), a.groupPut(false), a.groupList(), a.groupDelete())
	connection := &cobra.Command{Use: "connection", Short: "Manage private connections"}
	connection.AddCommand(a.connectionRequest(), a.connectionMove("accept", "Have the brokers listen for a private connection"),
		a.connectionMove("reject", "Close a private connection, and cut who came in by it"), a.connectionDelete())
	cmd.AddCommand(group, connection, a.networkGuard(), a.networkLimits(), a.networkShow())
	return cmd
}

func (a *verbs) groupPut(create bool) *cobra.Command {
	var f remote.Flags
	var allow []string
	var description string
	name, short := "set", "Change which networks a security group lets in"
	if create {
		name, short = "create", "Make a security group"
	}
	cmd := &cobra.Command{
		Use: name + " NAME --allow NETWORK[,NETWORK...]", Short: short, Args: cobra.ExactArgs(1),
		Example: fmt.Sprintf("  millrace network group %s office --allow 10.1.0.0/16,192.0.2.7", name),
		RunE: func(cmd *cobra.Command, args []string) error {
			g := network.Group{Name: args[0], Description: description, Allow: []netip.Prefix{}}
			for _, text := range allow {
				p, err := network.ParseNetwork(text)
				if err != nil {
					return fmt.Errorf("%w: --allow: %w", terminal.ErrUsage, err)
				}
				g.Allow = append(g.Allow, p)
			}
			method, path := http.MethodPut, api.Groups+"/"+url.PathEscape(g.Name)
			if create {
				method, path = http.MethodPost, api.Groups
			}
			if err := f.Ask(cmd.Context(), method, path, g, &g); err != nil {
				return err
			}
			return a.printGroups([]network.Group{g})
		},
	}
	f.Add(cmd)
	cmd.Flags().StringSliceVar(&allow, "allow", nil, "networks and addresses that are let in; none: nobody is")
	cmd.Flags().StringVar(&description, "description", "", "what it is for")
	return cmd
}

func (a *verbs) groupList() *cobra.Command {
	var f remote.Flags
	cmd := &cobra.Command{
		Use: "list", Short: "List the security groups", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list struct {
				Groups []network.Group `json:"groups"`
			}
			if err := f.Ask(cmd.Context(), http.MethodGet, api.Groups, nil, &list); err != nil {
				return err
			}
			return a.printGroups(list.Groups)
		},
	}
	f.Add(cmd)
	return cmd
}

func (a *verbs) printGroups(groups []network.Group) error {
	var rows []table.Row
	for _, g := range groups {
		var allow []string
		for _, p := range g.Allow {
			allow = append(allow, p.String())
		}
		rows = append(rows, table.Row{g.Name, strings.Join(allow, "\n"), g.Description})
	}
	return a.Print(groups, table.Row{"Group", "Lets in", "Description"}, rows)
}

func (a *verbs) groupDelete() *cobra.Command {
	var f remote.Flags
	cmd := &cobra.Command{
		Use: "delete NAME", Short: "Delete a security group that guards nothing", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var none struct{}
			if err := f.Ask(cmd.Context(), http.MethodDelete, api.Groups+"/"+url.PathEscape(args[0]), nil, &none); err != nil {
				return err
			}
			a.Say("Group %s is deleted.", args[0])
			return nil
		},
	}
	f.Add(cmd)
	return cmd
}

func (a *verbs) networkGuard() *cobra.Command {
	var f remote.Flags
	var groups []string
	cmd := &cobra.Command{
		Use: "guard LISTENER --group NAME[,NAME...]", Short: "Let a listener take connections from the networks of some groups only", Args: cobra.ExactArgs(1),
		Example: "  millrace network guard CLIENT_IAM --group office,vpn\n  millrace network guard CLIENT_IAM      # it takes all again",
		RunE: func(cmd *cobra.Command, args []string) error {
			var n network.Network
			if err := f.Call(cmd.Context(), http.MethodPut, "/network/guards/"+url.PathEscape(args[0]), api.Guard{Groups: groups}, &n); err != nil {
				return err
			}
			return a.printNetwork(n)
		},
	}
	f.Add(cmd)
	cmd.Flags().StringSliceVar(&groups, "group", nil, "security groups; none: the listener takes all")
	return cmd
}

func (a *verbs) networkLimits() *cobra.Command {
	var f remote.Flags
	var limits network.Limits
	cmd := &cobra.Command{
		Use: "limits", Short: "Bound the new connections of each broker", Args: cobra.NoArgs,
		Example: "  millrace network limits --per-listener 100 --per-address 10",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var n network.Network
			if err := f.Call(cmd.Context(), http.MethodPut, "/network/limits", limits, &n); err != nil {
				return err
			}
			return a.printNetwork(n)
		},
	}
	f.Add(cmd)
	cmd.Flags().IntVar(&limits.PerListener, "per-listener", 0, "new connections a second at one listener; 0: no bound")
	cmd.Flags().IntVar(&limits.PerAddress, "per-address", 0, "new connections a second from one address; 0: no bound")
	return cmd
}

func (a *verbs) networkShow() *cobra.Command {
	var f remote.Flags
	cmd := &cobra.Command{
		Use: "show", Short: "Show what guards the listeners, the limits and the private connections", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var n network.Network
			if err := f.Call(cmd.Context(), http.MethodGet, "/network", nil, &n); err != nil {
				return err
			}
			return a.printNetwork(n)
		},
	}
	f.Add(cmd)
	return cmd
}

func (a *verbs) printNetwork(n network.Network) error {
	var rows []table.Row
	for _, l := range slices.Sorted(maps.Keys(n.Guards)) {
		rows = append(rows, table.Row{l, "", strings.Join(n.Guards[l], ", "), ""})
	}
	for _, c := range n.Connections {
		rows = append(rows, table.Row{c.ListenerName(), fmt.Sprintf("%d-%d", c.Port, c.Port+network.PortsEach-1), strings.Join(c.Groups, ", "), c.State})
	}
	if n.Limits != (network.Limits{}) {
		a.Say("New connections a second: %d at a listener, %d from an address (0: no bound)", n.Limits.PerListener, n.Limits.PerAddress)
	}
	return a.Print(n, table.Row{"Listener", "Ports", "Groups", "State"}, rows)
}

func (a *verbs) connectionRequest() *cobra.Command {
	var f remote.Flags
	var c network.Connection
	cmd := &cobra.Command{
		Use: "request NAME --listener LISTENER", Short: "Ask for a private connection", Args: cobra.ExactArgs(1),
		Long: `Ask for a private connection: a listener of its own at each broker, with the TLS and
logins of the listener that it stands for, ports of its own, and a host name of its
own that clients are told. Brokers listen for it once it is accepted.`,
		Example: "  millrace network connection request analytics --listener CLIENT_IAM --advertise kafka.analytics.internal --group analytics",
		RunE: func(cmd *cobra.Command, args []string) error {
			c.Name = args[0]
			var n network.Network
			if err := f.Call(cmd.Context(), http.MethodPost, "/network/connections", c, &n); err != nil {
				return err
			}
			return a.printNetwork(n)
		},
	}
	f.Add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&c.Listener, "listener", "", "whose TLS and logins it has: CLIENT_SECURE, CLIENT_SASL_SCRAM or CLIENT_IAM; required")
	flags.IntVar(&c.Port, "port", 0, "port of broker 1, the others follow; 0: the first free ones from 14001 on")
	flags.StringVar(&c.Advertise, "advertise", "", "host by which that network reaches the brokers; empty: the brokers' own")
	flags.StringSliceVar(&c.Groups, "group", nil, "security groups that guard it; none: it takes all")
	return cmd
}

func (a *verbs) connectionMove(verb, short string) *cobra.Command {
	var f remote.Flags
	cmd := &cobra.Command{
		Use: verb + " NAME", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var n network.Network
			if err := f.Call(cmd.Context(), http.MethodPost, "/network/connections/"+url.PathEscape(args[0])+"/"+verb, struct{}{}, &n); err != nil {
				return err
			}
			return a.printNetwork(n)
		},
	}
	f.Add(cmd)
	return cmd
}

func (a *verbs) connectionDelete() *cobra.Command {
	var f remote.Flags
	cmd := &cobra.Command{
		Use: "delete NAME", Short: "Delete a private connection, and cut who came in by it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var n network.Network
			if err := f.Call(cmd.Context(), http.MethodDelete, "/network/connections/"+url.PathEscape(args[0]), nil, &n); err != nil {
				return err
			}
			return a.printNetwork(n)
		},
	}
	f.Add(cmd)
	return cmd
}
