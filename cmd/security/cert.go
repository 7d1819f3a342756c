package security

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"millrace/cmd/api"
	"millrace/cmd/remote"
	"millrace/cmd/terminal"
	"millrace/secure/cert"
)

func (a *verbs) certCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cert",
		Short: "Issue, list and revoke certificates",
		Long: `Work with the certificate authority of an installation that runs with TLS. Brokers,
agents and the API get their certificates by themselves and renew them without a
restart; these verbs are for the certificates of clients.`,
	}
	cmd.AddCommand(a.certIssue(), a.certList(), a.certShow(), a.certRevoke(), a.certCA(), a.certGateway())
	return cmd
}

func (a *verbs) certIssue() *cobra.Command {
	var f remote.Flags
	var ask cert.ClientRequest
	var days int
	var out, passwordFile string
	cmd := &cobra.Command{
		Use:   "issue --name NAME",
		Short: "Make a key and a certificate for a client",
		Long: `Make a private key on this machine and have the authority sign a certificate for it;
the key is sent nowhere. The folder gets:

  client.pem, client.key, ca.pem       for librdkafka, Go, Python, Node.js
  client.p12, truststore.p12           for Java
  client.properties                    for Kafka's own tools: --command-config

The client's principal is "User:CN=NAME", with ",OU=UNIT" and ",O=ORGANIZATION" behind
where those are given, unless the cluster maps names by rules of its own.`,
		Example: `  millrace cert issue --name alice
  millrace cert issue --name billing --unit payments --days 30 --out /etc/billing/kafka`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if strings.TrimSpace(ask.Name) == "" || days < 0 {
				return fmt.Errorf("%w: give --name, and --days from 1 on", terminal.ErrUsage)
			}
			ask.Life = time.Duration(days) * 24 * time.Hour
			if out == "" {
				out = folderName(ask.Name)
			}
			return a.issueCert(cmd.Context(), f, ask, out, passwordFile)
		},
	}
	f.Add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&ask.Name, "name", "", "who the client is; required")
	flags.StringVar(&ask.Unit, "unit", "", "organizational unit (OU) of its name")
	flags.StringVar(&ask.Organization, "organization", "", "organization (O) of its name")
	flags.IntVar(&days, "days", 0, "how long the certificate lives; 0: 90 days")
	flags.StringVar(&out, "out", "", "folder for the files, made if need be; empty: one with the client's name, here")
	flags.StringVar(&passwordFile, "password-file", "", "file whose first line is the password of the .p12 files; empty: one is made up, it stands in client.properties")
	return cmd
}

func (a *verbs) issueCert(ctx context.Context, f remote.Flags, ask cert.ClientRequest, out, passwordFile string) error {
	password, err := bundlePassword(passwordFile)
	if err != nil {
		return err
	}
	key, err := newBundle(out)
	if err != nil {
		return err
	}
	if ask.CSR, err = key.request(); err != nil {
		return errors.Join(err, key.abandon())
	}
	var issued cert.Issued
	if err := f.Ask(ctx, http.MethodPost, api.Certificates, ask, &issued); err != nil {
		return errors.Join(err, key.abandon())
	}
	if err := key.write(issued, password); err != nil {
		return fmt.Errorf("certificate %s was issued but cannot be kept; revoke it, or try again: %w", issued.Serial, err)
	}
	if a.Output == terminal.JSON {
		return a.PrintJSON(map[string]any{"certificate": issued.Certificate, "folder": key.dir})
	}
	a.Say("Certificate %s for %s, until %s, is in %s.", issued.Serial, issued.Subject, issued.Ends.Local().Format(time.DateOnly), key.dir)
	a.Say("Kafka's own tools take it with --command-config %s.", key.path("client.properties"))
	return nil
}

func (a *verbs) certificates(ctx context.Context, f remote.Flags) ([]cert.Certificate, error) {
	var answer struct {
		Certificates []cert.Certificate `json:"certificates"`
	}
	err := f.Ask(ctx, http.MethodGet, api.Certificates, nil, &answer)
	return answer.Certificates, err
}

func (a *verbs) certList() *cobra.Command {
	var f remote.Flags
	var all bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List certificates",
		Long:    "List the certificates that count, those of clients and of brokers, agents and the API. --all adds the revoked and the ended.",
		Example: "  millrace cert list\n  millrace cert list --all --output json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := a.certificates(cmd.Context(), f)
			if err != nil {
				return err
			}
			shown := make([]cert.Certificate, 0, len(found))
			for _, c := range found {
				if all || c.State == cert.Valid {
					shown = append(shown, c)
				}
			}
			return a.printCerts(shown)
		},
	}
	f.Add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "show revoked and ended ones too")
	return cmd
}

func (a *verbs) printCerts(list []cert.Certificate) error {
	var rows []table.Row
	for _, c := range list {
		ends := ""
		if !c.Ends.IsZero() {
			ends = c.Ends.Local().Format(time.DateTime)
		}
		rows = append(rows, table.Row{c.Serial, c.Kind, c.Name, ends, c.State, c.Reason})
	}
	return a.Print(list, table.Row{"Serial", "Of a", "Name", "Ends", "State", "Reason"}, rows)
}

func (a *verbs) certShow() *cobra.Command {
	var f remote.Flags
	cmd := &cobra.Command{
		Use:     "show SERIAL|NAME",
		Short:   "Show all that is on record of a certificate",
		Example: "  millrace cert show alice",
		Args:    terminal.ExactlyOne("serial number or name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := a.certificates(cmd.Context(), f)
			if err != nil {
				return err
			}
			var shown []cert.Certificate
			serial := strings.ToLower(strings.ReplaceAll(args[0], ":", ""))
			for _, c := range found {
				if c.Name == args[0] || strings.TrimLeft(c.Serial, "0") == strings.TrimLeft(serial, "0") {
					shown = append(shown, c)
				}
			}
			if len(shown) == 0 {
				return fmt.Errorf("%w: %s (`millrace cert list --all` shows what there is)", cert.ErrUnknown, args[0])
			}
			if a.Output == terminal.JSON {
				return a.PrintJSON(shown)
			}
			for _, c := range shown {
				a.sayCert(c)
			}
			return nil
		},
	}
	f.Add(cmd)
	return cmd
}

func (a *verbs) sayCert(c cert.Certificate) {
	for _, line := range []struct{ what, text string }{
		{"Serial", c.Serial}, {"Of a", string(c.Kind)}, {"Name", c.Name}, {"Subject", c.Subject}, {"Names", c.Names}, {"Fingerprint", c.Fingerprint},
		{"Authority", c.Issuer}, {"Issued", when(c.Issued)}, {"Ends", when(c.Ends)}, {"State", string(c.State)}, {"Revoked", when(c.Revoked)}, {"Reason", c.Reason},
	} {
		if line.text != "" {
			a.Say("%-12s %s", line.what, line.text)
		}
	}
	a.Say("")
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

func (a *verbs) certRevoke() *cobra.Command {
	var f remote.Flags
	var ask cert.RevokeRequest
	cmd := &cobra.Command{
		Use:   "revoke SERIAL | --name NAME",
		Short: "Make certificates count no more, for good",
		Long: `From now on whoever shows the certificate is refused, and connections that were opened
with it are closed. A broker or agent whose certificate is revoked gets another by
itself. With --name all certificates of a client are revoked.`,
		Example: "  millrace cert revoke --name alice --reason 'laptop stolen'\n  millrace cert revoke 1f4c09...",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				ask.Serial = args[0]
			}
			if (ask.Serial == "") == (ask.Name == "") {
				return fmt.Errorf("%w: give a serial number or --name", terminal.ErrUsage)
			}
			var answer struct {
				Certificates []cert.Certificate `json:"certificates"`
			}
			if err := f.Ask(cmd.Context(), http.MethodPost, api.Certificates+"/revoke", ask, &answer); err != nil {
				return err
			}
			return a.printCerts(answer.Certificates)
		},
	}
	f.Add(cmd)
	cmd.Flags().StringVar(&ask.Name, "name", "", "revoke all certificates of this client or node")
	cmd.Flags().StringVar(&ask.Reason, "reason", "", "why, for those who look later")
	cmd.Flags().BoolVar(&ask.Foreign, "foreign", false, "the serial number may be of a certificate that was not issued here, by an authority that was given")
	return cmd
}

func (a *verbs) certCA() *cobra.Command {
	var f remote.Flags
	var out string
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Show the certificate authority that clients have to trust",
		Long: `Print what clients have to trust, as PEM, or write it to a file with --out. With
--output json all that is known of the authority is shown.`,
		Example: "  millrace cert ca --out ca.pem\n  millrace cert ca --output json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var ca cert.CA
			if err := f.Ask(cmd.Context(), http.MethodGet, api.Certificates+"/ca", nil, &ca); err != nil {
				return err
			}
			switch {
			case a.Output == terminal.JSON:
				return a.PrintJSON(ca)
			case out != "":
				return os.WriteFile(out, []byte(ca.PEM), 0o644)
			}
			_, err := fmt.Fprint(a.Out, ca.PEM)
			return err
		},
	}
	f.Add(cmd)
	cmd.Flags().StringVar(&out, "out", "", "file to write to")
	cmd.AddCommand(a.certReplace(), a.certDistrust())
	return cmd
}

func (a *verbs) certReplace() *cobra.Command {
	var f remote.Flags
	cmd := &cobra.Command{
		Use:   "replace",
		Short: "Make a new certificate authority",
		Long: `Make a new authority in the place of the present one. Brokers, agents and the API get
new certificates by themselves, without a restart. The former authority stays trusted
until it ends or "millrace cert ca distrust" ends that; clients that trust only the
former one go on.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.changeCA(cmd.Context(), f, "/ca/replace", struct{}{})
		},
	}
	f.Add(cmd)
	return cmd
}

func (a *verbs) certDistrust() *cobra.Command {
	var f remote.Flags
	cmd := &cobra.Command{
		Use:   "distrust FINGERPRINT",
		Short: "End the trust in a former authority",
		Long: `From now on whatever that authority has signed is refused, and connections that were
opened with it are closed. "millrace cert ca --output json" shows the fingerprints.`,
		Args: terminal.ExactlyOne("fingerprint"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeCA(cmd.Context(), f, "/ca/distrust", api.Distrust{Fingerprint: strings.ToLower(args[0])})
		},
	}
	f.Add(cmd)
	return cmd
}

func (a *verbs) changeCA(ctx context.Context, f remote.Flags, path string, ask any) error {
	var ca cert.CA
	if err := f.Ask(ctx, http.MethodPost, api.Certificates+path, ask, &ca); err != nil {
		return err
	}
	var rows []table.Row
	for n, t := range ca.Trusted {
		role := "former"
		if n == 0 {
			role = "present"
		}
		rows = append(rows, table.Row{role, t.Subject, t.Fingerprint, t.Ends.Local().Format(time.DateOnly)})
	}
	return a.Print(ca, table.Row{"Trusted", "Authority", "Fingerprint", "Ends"}, rows)
}
