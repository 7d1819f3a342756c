package security

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"millrace/cmd/api"
	"millrace/cmd/remote"
	"millrace/cmd/terminal"
	"millrace/secure/cert"
)

func (a *verbs) certGateway() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Say which gateways may have certificates, and for which addresses",
		Long: `A "millrace gateway --tls" gets its certificate from the installation's authority and
renews it by itself, once it is registered here, with the addresses at which clients
reach it: those of its --listen, --also and --advertise. It gets one for no other.`,
		Example: `  millrace cert gateway add gw1 --address gw1.example.org --address 10.0.0.5
  millrace cert gateway list
  millrace cert gateway remove gw1`,
	}
	cmd.AddCommand(a.gatewayAdd(), a.gatewayList(), a.gatewayRemove())
	return cmd
}

func (a *verbs) gatewayAdd() *cobra.Command {
	var f remote.Flags
	var ask cert.Registration
	cmd := &cobra.Command{
		Use:   "add NAME --address HOST",
		Short: "Let a gateway have certificates, or change for which addresses",
		Long: `Let a gateway have certificates for its addresses, in the place of those that it was
registered with before. Where it loses one, its certificate is revoked, and it gets
another by itself.`,
		Example: "  millrace cert gateway add gw1 --address gw1.example.org --address 10.0.0.5",
		Args:    terminal.ExactlyOne("name of a gateway"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ask.Name = args[0]
			if len(ask.Addresses) == 0 {
				return fmt.Errorf("%w: give --address, once for each host or IP at which clients reach the gateway", terminal.ErrUsage)
			}
			var made cert.Registration
			if err := f.Ask(cmd.Context(), http.MethodPost, api.Certificates+"/gateways", ask, &made); err != nil {
				return err
			}
			return a.printGateways([]cert.Registration{made})
		},
	}
	f.Add(cmd)
	cmd.Flags().StringArrayVar(&ask.Addresses, "address", nil, "host name or IP at which clients reach the gateway; may be given again")
	return cmd
}

func (a *verbs) gatewayList() *cobra.Command {
	var f remote.Flags
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the gateways that may have certificates",
		Example: "  millrace cert gateway list --output json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var all api.Gateways
			if err := f.Ask(cmd.Context(), http.MethodGet, api.Certificates+"/gateways", nil, &all); err != nil {
				return err
			}
			return a.printGateways(all.Gateways)
		},
	}
	f.Add(cmd)
	return cmd
}

func (a *verbs) printGateways(all []cert.Registration) error {
	rows := make([]table.Row, 0, len(all))
	for _, g := range all {
		rows = append(rows, table.Row{g.Name, strings.Join(g.Addresses, ", "), when(g.Registered)})
	}
	return a.Print(all, table.Row{"Gateway", "Addresses", "Registered"}, rows)
}

func (a *verbs) gatewayRemove() *cobra.Command {
	var f remote.Flags
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Let a gateway have no certificates any more, and revoke those that it has",
		Long: `From now on the gateway gets no certificate, and those that it has are revoked: what
asks the installation whether they count refuses them. Clients of the gateway do not
ask; stop it too.`,
		Example: "  millrace cert gateway remove gw1",
		Args:    terminal.ExactlyOne("name of a gateway"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var answer struct {
				Certificates []cert.Certificate `json:"certificates"`
			}
			if err := f.Ask(cmd.Context(), http.MethodDelete, api.Certificates+"/gateways/"+url.PathEscape(args[0]), nil, &answer); err != nil {
				return err
			}
			return a.printCerts(answer.Certificates)
		},
	}
	f.Add(cmd)
	return cmd
}
