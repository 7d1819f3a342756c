package kafka

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"millrace/cmd/terminal"
)

// iterations of the password's hash: the most that Kafka's tools take.
const iterations = 16384

func (a *verbs) userCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Make, list and delete users that log in by a password (SCRAM)",
		Args:  cobra.NoArgs,
	}
	a.ClientFlags(cmd)
	cmd.AddCommand(a.userCreate(), a.userList(), a.userDelete())
	return cmd
}

func (a *verbs) userCreate() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "create NAME --new-password-file FILE",
		Short: "Make a user, or give one another password",
		Long: `Make a user that logs in with SCRAM-SHA-512, or give one that is there another
password. The broker gets a salted hash of the password and keeps only keys made of it.`,
		Example: "  openssl rand -base64 24 > alice.password\n  millrace user create alice --new-password-file alice.password",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := os.ReadFile(file)
			if err != nil {
				return fmt.Errorf("%w: --new-password-file: %w", terminal.ErrUsage, err)
			}
			password := strings.TrimRight(string(text), "\r\n")
			if password == "" {
				return fmt.Errorf("%w: --new-password-file: %s has no password", terminal.ErrUsage, file)
			}
			return a.Admin(cmd.Context(), func(c *kadm.Client) error {
				change := kadm.UpsertSCRAM{User: args[0], Mechanism: kadm.ScramSha512, Iterations: iterations, Password: password}
				done, err := c.AlterUserSCRAMs(cmd.Context(), nil, []kadm.UpsertSCRAM{change})
				if err == nil {
					err = done.Error()
				}
				if err != nil {
					return fmt.Errorf("create user %s: %w", args[0], err)
				}
				a.Say("User %s can log in.", args[0])
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&file, "new-password-file", "", "file with the user's password; a line end at its end does not count; required")
	return cmd
}

type userRow struct {
	Name       string   `json:"name"`
	Mechanisms []string `json:"mechanisms"`
}

func (a *verbs) userList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the users and how they log in",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.Admin(cmd.Context(), func(c *kadm.Client) error {
				all, err := c.DescribeUserSCRAMs(cmd.Context())
				if err != nil {
					return fmt.Errorf("list users: %w", err)
				}
				users := []userRow{}
				var rows []table.Row
				for _, u := range all.Sorted() {
					row := userRow{Name: u.User}
					for _, info := range u.CredInfos {
						row.Mechanisms = append(row.Mechanisms, info.Mechanism.String())
					}
					slices.Sort(row.Mechanisms)
					users = append(users, row)
					rows = append(rows, table.Row{row.Name, strings.Join(row.Mechanisms, ", ")})
				}
				return a.Print(users, table.Row{"User", "Mechanisms"}, rows)
			})
		},
	}
}

func (a *verbs) userDelete() *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a user",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.Admin(cmd.Context(), func(c *kadm.Client) error {
				all, err := c.DescribeUserSCRAMs(cmd.Context(), args[0])
				if err != nil {
					return fmt.Errorf("delete user %s: %w", args[0], err)
				}
				var gone []kadm.DeleteSCRAM
				for _, info := range all[args[0]].CredInfos {
					gone = append(gone, kadm.DeleteSCRAM{User: args[0], Mechanism: info.Mechanism})
				}
				if len(gone) == 0 {
					return fmt.Errorf("there is no user %s", args[0])
				}
				done, err := c.AlterUserSCRAMs(cmd.Context(), gone, nil)
				if err == nil {
					err = done.Error()
				}
				if err != nil {
					return fmt.Errorf("delete user %s: %w", args[0], err)
				}
				a.Say("User %s is deleted.", args[0])
				return nil
			})
		},
	}
}
