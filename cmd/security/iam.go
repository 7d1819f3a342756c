package security

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"millrace/cmd/api"
	"millrace/cmd/remote"
	"millrace/cmd/terminal"
	"millrace/secure/iam"
	"millrace/secure/iam/policy"
)

func (a *verbs) iamCommand() *cobra.Command {
	v := &iamVerbs{verbs: a}
	cmd := &cobra.Command{
		Use:   "iam",
		Short: "Users, roles, policies, access keys and sessions",
		Long: `Say who may do what: users and roles with policies in the JSON of AWS IAM, access keys
to log in with, and sessions, which end by themselves.

Requests are signed with the key of the environment (AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), or else with the root key below --data.`,
		Example: `  millrace iam user create alice --attach MillraceProducer
  millrace iam key create alice
  millrace iam policy create orders orders.json
  millrace iam simulate --user alice --action kafka-cluster:WriteData --resource '*'`,
		Args: cobra.NoArgs,
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&v.f.API, "api", remote.DefaultAPI(), "the control plane, as --listen of millrace serve (also from MILLRACE_API)")
	flags.StringVar(&v.f.Data, "data", remote.DefaultData(), "directory of millrace serve, for the root key (also from MILLRACE_DATA)")
	cmd.AddCommand(v.whoami(), v.owners("user"), v.owners("role"), v.policies(), v.keys(), v.sessions(), v.simulate(), v.cluster())
	return cmd
}

// iamVerbs share where the control plane is.
type iamVerbs struct {
	*verbs
	f remote.Signed
}

// verb makes a command; the words after its name in use say what its arguments are.
func verb(use, short, example string, do func(cmd *cobra.Command, args []string) error) *cobra.Command {
	want := strings.Fields(use)[1:]
	least := len(want)
	if i := slices.IndexFunc(want, func(w string) bool { return strings.HasPrefix(w, "[") }); i >= 0 {
		least = i
	}
	many := strings.HasSuffix(use, "...")
	return &cobra.Command{
		Use: use, Short: short, Example: example, RunE: do,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < least || len(args) > len(want) && !many {
				return fmt.Errorf("%w: give %s", terminal.ErrUsage, strings.Join(want, " "))
			}
			return nil
		},
	}
}

// change asks for a change and says that it is done.
func (v *iamVerbs) change(cmd *cobra.Command, method, path string, in any, format string, args ...any) error {
	var answer any
	if err := v.f.Call(cmd.Context(), method, path, in, &answer); err != nil {
		return err
	}
	if v.Output == terminal.JSON {
		return v.PrintJSON(answer)
	}
	v.Say(format, args...)
	return nil
}

// pairsOf reads KEY=VALUE.
func pairsOf(words []string) (map[string]string, error) {
	all := map[string]string{}
	for _, w := range words {
		k, value, ok := strings.Cut(w, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("%w: %q: write KEY=VALUE", terminal.ErrUsage, w)
		}
		all[k] = value
	}
	return all, nil
}

// document reads a policy from a file, or for - from the standard input, and checks it before it is sent.
func (v *iamVerbs) document(name string, kind policy.Kind) (json.RawMessage, error) {
	var text []byte
	var err error
	const most = 64 << 10
	if name == "-" {
		text, err = io.ReadAll(io.LimitReader(v.In, most+1))
	} else {
		text, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, err
	}
	p, err := policy.Parse(text, kind, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, w := range p.Warnings() {
		fmt.Fprintf(v.ErrOut, "%s: warning: %s\n", name, w)
	}
	return text, nil
}

func (v *iamVerbs) whoami() *cobra.Command {
	return verb("whoami", "Show whose key requests are signed with", "  millrace iam whoami", func(cmd *cobra.Command, _ []string) error {
		var w api.Whoami
		if err := v.f.Call(cmd.Context(), http.MethodGet, "/whoami", nil, &w); err != nil {
			return err
		}
		return v.Print(w, table.Row{"Account", "ARN", "Access key"}, []table.Row{{w.Account, w.ARN, w.AccessKey}})
	})
}

// owners are the verbs of users or of roles.
func (v *iamVerbs) owners(kind string) *cobra.Command {
	path := "/" + kind + "s"
	cmd := &cobra.Command{Use: kind, Short: strings.ToUpper(kind[:1]) + kind[1:] + "s: create, list, give them policies", Args: cobra.NoArgs}
	edit := func(use, short, method, sub, said string) *cobra.Command {
		return verb(use+" NAME POLICY", short, "", func(cmd *cobra.Command, args []string) error {
			return v.change(cmd, method, path+remote.Segment(args[0])+sub+remote.Segment(args[1]), nil, said, args[1], kind, args[0])
		})
	}
	create := v.createUser()
	if kind == "role" {
		create = v.createRole()
		cmd.AddCommand(verb("trust NAME FILE", "Change who may assume a role", "", func(cmd *cobra.Command, args []string) error {
			doc, err := v.document(args[1], policy.Trust)
			if err != nil {
				return err
			}
			return v.change(cmd, http.MethodPut, path+remote.Segment(args[0])+"/trust", api.Document{Document: doc}, "Who may assume role %s was changed.", args[0])
		}))
	}
	cmd.AddCommand(create, v.listOwners(kind), v.showOwner(kind), v.deleteOwner(kind), v.tagOwner(kind),
		edit("attach", "Give it a policy", http.MethodPut, "/attached", "Policy %s is attached to %s %s."),
		edit("detach", "Take a policy away", http.MethodDelete, "/attached", "Policy %s is detached from %s %s."),
		edit("delete-policy", "Delete a policy of its own", http.MethodDelete, "/inline", "Policy %s of %s %s is deleted."),
		verb("put-policy NAME POLICY FILE", "Give it a policy of its own, or change it", "", func(cmd *cobra.Command, args []string) error {
			doc, err := v.document(args[2], policy.Identity)
			if err != nil {
				return err
			}
			return v.change(cmd, http.MethodPut, path+remote.Segment(args[0])+"/inline"+remote.Segment(args[1]), api.Document{Document: doc}, "Policy %s of %s %s is set.", args[1], kind, args[0])
		}))
	return cmd
}

// attachAll gives what was just made its policies.
func (v *iamVerbs) attachAll(cmd *cobra.Command, path string, policies []string) error {
	for _, p := range policies {
		if err := v.f.Call(cmd.Context(), http.MethodPut, path+"/attached"+remote.Segment(p), nil, nil); err != nil {
			return fmt.Errorf("it was made, but policy %s is not attached: %w", p, err)
		}
	}
	return nil
}

func (v *iamVerbs) createUser() *cobra.Command {
	var tags, attach []string
	cmd := verb("create NAME", "Make a user", "  millrace iam user create alice --attach MillraceProducer --tag team=red", func(cmd *cobra.Command, args []string) error {
		pairs, err := pairsOf(tags)
		if err != nil {
			return err
		}
		var u iam.User
		if err := v.f.Call(cmd.Context(), http.MethodPost, "/users", api.NewOwner{Name: args[0], Tags: pairs}, &u); err != nil {
			return err
		}
		if err := v.attachAll(cmd, "/users"+remote.Segment(args[0]), attach); err != nil {
			return err
		}
		if v.Output == terminal.JSON {
			u.Attached = attach
			return v.PrintJSON(u)
		}
		v.Say("User %s is made. `millrace iam key create %s` makes an access key.", args[0], args[0])
		return nil
	})
	cmd.Flags().StringSliceVar(&tags, "tag", nil, "tag KEY=VALUE; may be given again")
	cmd.Flags().StringSliceVar(&attach, "attach", nil, "name of a policy to attach; may be given again")
	return cmd
}

func (v *iamVerbs) createRole() *cobra.Command {
	var tags, attach, users []string
	var trust, description string
	var longest time.Duration
	cmd := verb("create NAME", "Make a role", "  millrace iam role create app --trust-user alice --attach MillraceConsumer\n  millrace iam role create app --trust trust.json",
		func(cmd *cobra.Command, args []string) error {
			pairs, err := pairsOf(tags)
			if err != nil {
				return err
			}
			doc, err := v.trustOf(cmd, trust, users)
			if err != nil {
				return err
			}
			b := api.NewOwner{Name: args[0], Tags: pairs, Description: description, Trust: doc, MaxSession: int(longest / time.Second)}
			var r iam.Role
			if err := v.f.Call(cmd.Context(), http.MethodPost, "/roles", b, &r); err != nil {
				return err
			}
			if err := v.attachAll(cmd, "/roles"+remote.Segment(args[0]), attach); err != nil {
				return err
			}
			if v.Output == terminal.JSON {
				r.Attached = attach
				return v.PrintJSON(r)
			}
			v.Say("Role %s is made. `millrace iam session create --role %s` makes a session of it.", args[0], args[0])
			return nil
		})
	flags := cmd.Flags()
	flags.StringSliceVar(&tags, "tag", nil, "tag KEY=VALUE; may be given again")
	flags.StringSliceVar(&attach, "attach", nil, "name of a policy to attach; may be given again")
	flags.StringVar(&trust, "trust", "", "file with the trust policy, or -")
	flags.StringSliceVar(&users, "trust-user", nil, "user that may assume it; may be given again")
	flags.StringVar(&description, "description", "", "what it is for")
	flags.DurationVar(&longest, "max-session", time.Hour, "longest session, 1h to 12h")
	return cmd
}

// trustOf is the trust policy: that of a file, or one for users.
func (v *iamVerbs) trustOf(cmd *cobra.Command, file string, users []string) (json.RawMessage, error) {
	if (file == "") == (len(users) == 0) {
		return nil, fmt.Errorf("%w: say who may assume the role, with --trust FILE or --trust-user NAME", terminal.ErrUsage)
	}
	if file != "" {
		return v.document(file, policy.Trust)
	}
	var w api.Whoami
	if err := v.f.Call(cmd.Context(), http.MethodGet, "/whoami", nil, &w); err != nil {
		return nil, err
	}
	var arns []string
	for _, u := range users {
		arns = append(arns, "arn:aws:iam::"+w.Account+":user/"+u)
	}
	return json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Allow", "Principal": map[string]any{"AWS": arns}, "Action": "sts:AssumeRole",
	}}})
}

// ownerRow is a user or a role as the API tells of it.
type ownerRow struct {
	iam.Permissions
	Keys        []string        `json:"keys,omitempty"`
	Description string          `json:"description,omitempty"`
	Trust       json.RawMessage `json:"trust,omitempty"`
	MaxSession  int             `json:"max_session,omitempty"`
}

func (o ownerRow) row() table.Row {
	var own, tags []string
	for name := range o.Inline {
		own = append(own, name)
	}
	for k, t := range o.Tags {
		tags = append(tags, k+"="+t)
	}
	slices.Sort(own)
	slices.Sort(tags)
	return table.Row{o.Name, strings.Join(o.Attached, "\n"), strings.Join(own, "\n"), len(o.Keys), strings.Join(tags, "\n"), o.Created.Local().Format(time.DateTime)}
}

func (v *iamVerbs) listOwners(kind string) *cobra.Command {
	return verb("list", "List all", "", func(cmd *cobra.Command, _ []string) error {
		var all map[string][]ownerRow
		if err := v.f.Call(cmd.Context(), http.MethodGet, "/"+kind+"s", nil, &all); err != nil {
			return err
		}
		var rows []table.Row
		for _, o := range all[kind+"s"] {
			rows = append(rows, o.row())
		}
		return v.Print(all[kind+"s"], table.Row{"Name", "Policies", "Its own", "Keys", "Tags", "Created"}, rows)
	})
}

func (v *iamVerbs) showOwner(kind string) *cobra.Command {
	return verb("show NAME", "Show one, with its own policies as they are", "", func(cmd *cobra.Command, args []string) error {
		var o ownerRow
		if err := v.f.Call(cmd.Context(), http.MethodGet, "/"+kind+"s"+remote.Segment(args[0]), nil, &o); err != nil {
			return err
		}
		return v.PrintJSON(o)
	})
}

func (v *iamVerbs) deleteOwner(kind string) *cobra.Command {
	var force bool
	cmd := verb("delete NAME", "Delete one that has neither keys nor policies", "", func(cmd *cobra.Command, args []string) error {
		at := "/" + kind + "s" + remote.Segment(args[0])
		if force {
			if err := v.strip(cmd, at); err != nil {
				return err
			}
		}
		return v.change(cmd, http.MethodDelete, at, nil, "%s %s is deleted.", strings.ToUpper(kind[:1])+kind[1:], args[0])
	})
	cmd.Flags().BoolVar(&force, "force", false, "delete its keys and its own policies, and detach the others, first")
	return cmd
}

// strip takes everything away from a user or a role.
func (v *iamVerbs) strip(cmd *cobra.Command, at string) error {
	var o ownerRow
	if err := v.f.Call(cmd.Context(), http.MethodGet, at, nil, &o); err != nil {
		return err
	}
	var paths []string
	for _, id := range o.Keys {
		paths = append(paths, "/keys"+remote.Segment(id))
	}
	for _, p := range o.Attached {
		paths = append(paths, at+"/attached"+remote.Segment(p))
	}
	for p := range o.Inline {
		paths = append(paths, at+"/inline"+remote.Segment(p))
	}
	for _, p := range paths {
		if err := v.f.Call(cmd.Context(), http.MethodDelete, p, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

func (v *iamVerbs) tagOwner(kind string) *cobra.Command {
	var remove []string
	cmd := verb("tag NAME [KEY=VALUE]...", "Set tags", "", func(cmd *cobra.Command, args []string) error {
		set, err := pairsOf(args[1:])
		if err != nil {
			return err
		}
		return v.change(cmd, http.MethodPost, "/"+kind+"s"+remote.Segment(args[0])+"/tags", api.Tags{Set: set, Remove: remove}, "Tags of %s %s are set.", kind, args[0])
	})
	cmd.Flags().StringSliceVar(&remove, "remove", nil, "key of a tag to take away; may be given again")
	return cmd
}
