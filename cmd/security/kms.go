package security

import (
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"millrace/base/disk"
	"millrace/cmd/api"
	"millrace/cmd/remote"
	"millrace/secure/keys"
)

func (a *verbs) kmsCommand() *cobra.Command {
	v := &kmsVerbs{verbs: a}
	cmd := &cobra.Command{
		Use:   "kms",
		Short: "Data keys, and the KMS that wraps them",
		Long: `What a cluster that was made with --secure keeps, and the secrets of an installation,
are encrypted with data keys. These lie in etcd, wrapped by a KMS: a local key ring, AWS
KMS or Vault Transit, as --kms of "millrace serve" names it.

"rotate" makes new data keys, for what is written from then on. "rewrap" wraps the data
keys there are anew: by the newest key of a key ring, by the newest version of a key in
AWS KMS or Vault, or with --to by another KMS. Neither reads or writes records, and
clients notice nothing.

Requests are signed as for "millrace iam", and on record in the audit trail.`,
		Example: `  millrace kms status
  millrace kms rotate
  millrace kms keyring millrace-data/secure/keyring.json && millrace kms rewrap
  millrace kms rewrap --to 'aws-kms://alias/millrace?region=eu-central-1'`,
		Args: cobra.NoArgs,
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&v.f.API, "api", remote.DefaultAPI(), "the control plane, as --listen of millrace serve (also from MILLRACE_API)")
	flags.StringVar(&v.f.Data, "data", remote.DefaultData(), "directory of millrace serve, for the root key (also from MILLRACE_DATA)")
	cmd.AddCommand(v.status(), v.rotate(), v.rewrap(), v.keyring())
	return cmd
}

// kmsVerbs share where the control plane is.
type kmsVerbs struct {
	*verbs
	f remote.Signed
}

func (v *kmsVerbs) status() *cobra.Command {
	return verb("status", "List the data keys, with what wraps them", "  millrace kms status\n  millrace kms status --output json", func(cmd *cobra.Command, _ []string) error {
		var all api.DataKeyList
		if err := v.f.Call(cmd.Context(), http.MethodGet, api.DataKeys, nil, &all); err != nil {
			return err
		}
		newest := map[string]uint32{}
		for _, k := range all.Keys {
			newest[k.Purpose] = max(newest[k.Purpose], k.ID)
		}
		rows := make([]table.Row, 0, len(all.Keys))
		for _, k := range all.Keys {
			use := "to read"
			if k.ID == newest[k.Purpose] {
				use = "to write and read"
			}
			rows = append(rows, table.Row{k.Purpose, k.ID, k.Created.Local().Format(time.DateTime), use, k.KMS})
		}
		return v.Print(all, table.Row{"Purpose", "Key", "Created", "Used", "Wrapped by"}, rows)
	})
}

func (v *kmsVerbs) rotate() *cobra.Command {
	var asked api.Rotate
	cmd := verb("rotate", "Make new data keys for what is written from now on", "  millrace kms rotate\n  millrace kms rotate --purpose clusters/default",
		func(cmd *cobra.Command, _ []string) error {
			var done struct {
				Rotated []api.Rotated `json:"rotated"`
			}
			if err := v.f.Call(cmd.Context(), http.MethodPost, api.DataKeys+"/rotate", asked, &done); err != nil {
				return err
			}
			rows := make([]table.Row, 0, len(done.Rotated))
			for _, r := range done.Rotated {
				rows = append(rows, table.Row{r.Purpose, r.ID})
			}
			return v.Print(done.Rotated, table.Row{"Purpose", "New key"}, rows)
		})
	cmd.Flags().StringVar(&asked.Purpose, "purpose", "", "secrets or clusters/NAME; empty: all")
	return cmd
}

func (v *kmsVerbs) rewrap() *cobra.Command {
	var asked api.Rewrap
	cmd := verb("rewrap", "Wrap the data keys anew, by the same KMS or by another",
		"  millrace kms rewrap\n  millrace kms rewrap --to 'vault://millrace?addr=https://vault.example:8200'", func(cmd *cobra.Command, _ []string) error {
			var done api.Rewrapped
			if err := v.f.Call(cmd.Context(), http.MethodPost, api.DataKeys+"/rewrap", asked, &done); err != nil {
				return err
			}
			return v.tellRewrapped(done, asked.To != "")
		})
	cmd.Flags().StringVar(&asked.To, "to", "", "URL of the other KMS, as for --kms, as serve's host sees it; empty: the one that serve has")
	return cmd
}

func (v *kmsVerbs) tellRewrapped(done api.Rewrapped, moved bool) error {
	if err := v.Print(done, table.Row{"Data keys", "Wrapped by"}, []table.Row{{done.Keys, done.KMS}}); err != nil {
		return err
	}
	if moved {
		fmt.Fprintf(v.ErrOut, "Running brokers go on. Now start serve, agents and gateways anew with --kms '%s', then `millrace cluster roll`,\n"+
			"before the old KMS goes; until then `millrace kms rotate` refuses. Keep the old one as long as backups of before are to be read.\n", done.KMS)
	}
	return nil
}

func (v *kmsVerbs) keyring() *cobra.Command {
	return verb("keyring FILE", "Add a key to a local key ring, which is made where there is none",
		"  millrace kms keyring /etc/millrace/keyring.json\n  millrace kms keyring millrace-data/secure/keyring.json && millrace kms rewrap", func(_ *cobra.Command, args []string) error {
			file, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			n, err := keys.AddKey("keyring://"+file, disk.OS(""))
			if err != nil {
				return err
			}
			v.Say("%s has %d keys; the newest wraps. Copy it to the hosts of all agents and keep a copy: without it nothing can be read.", file, n)
			return nil
		})
}
