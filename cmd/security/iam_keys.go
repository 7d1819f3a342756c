package security

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"millrace/cmd/api"
	"millrace/cmd/remote"
	"millrace/cmd/terminal"
	"millrace/secure/iam"
	"millrace/secure/iam/policy"
)

func (v *iamVerbs) policies() *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "Policies that can be attached to many", Args: cobra.NoArgs}
	var description string
	create := verb("create NAME FILE", "Make a policy", "  millrace iam policy create orders orders.json", func(cmd *cobra.Command, args []string) error {
		doc, err := v.document(args[1], policy.Identity)
		if err != nil {
			return err
		}
		b := map[string]any{"name": args[0], "document": doc, "description": description}
		return v.change(cmd, http.MethodPost, "/policies", b, "Policy %s is made.", args[0])
	})
	create.Flags().StringVar(&description, "description", "", "what it is for")
	cmd.AddCommand(create,
		verb("set NAME FILE", "Change a policy, at once for all who have it", "", func(cmd *cobra.Command, args []string) error {
			doc, err := v.document(args[1], policy.Identity)
			if err != nil {
				return err
			}
			return v.change(cmd, http.MethodPut, "/policies"+remote.Segment(args[0]), api.Document{Document: doc}, "Policy %s is changed.", args[0])
		}),
		verb("list", "List all, those of Millrace too", "", func(cmd *cobra.Command, _ []string) error {
			var all struct {
				Policies []iam.Managed `json:"policies"`
			}
			if err := v.f.Call(cmd.Context(), http.MethodGet, "/policies", nil, &all); err != nil {
				return err
			}
			var rows []table.Row
			for _, p := range all.Policies {
				attached := any(p.Attachments)
				if p.ID == "" {
					attached = ""
				}
				rows = append(rows, table.Row{p.Name, attached, p.Description})
			}
			return v.Print(all.Policies, table.Row{"Name", "Attached", "What for"}, rows)
		}),
		verb("show NAME", "Show one", "", func(cmd *cobra.Command, args []string) error {
			var p iam.Managed
			if err := v.f.Call(cmd.Context(), http.MethodGet, "/policies"+remote.Segment(args[0]), nil, &p); err != nil {
				return err
			}
			if v.Output == terminal.JSON {
				return v.PrintJSON(p)
			}
			return v.PrintJSON(p.Document)
		}),
		verb("delete NAME", "Delete one that is attached to nobody", "", func(cmd *cobra.Command, args []string) error {
			return v.change(cmd, http.MethodDelete, "/policies"+remote.Segment(args[0]), nil, "Policy %s is deleted.", args[0])
		}),
		v.checkPolicy())
	return cmd
}

func (v *iamVerbs) checkPolicy() *cobra.Command {
	var kind string
	cmd := verb("check FILE", "Read a policy and say what is wrong with it; nothing is sent", "  millrace iam policy check orders.json", func(_ *cobra.Command, args []string) error {
		kinds := map[string]policy.Kind{"identity": policy.Identity, "session": policy.Session, "resource": policy.Resource, "trust": policy.Trust}
		if kinds[kind] == 0 {
			return fmt.Errorf("%w: --kind %q: use identity, session, resource or trust", terminal.ErrUsage, kind)
		}
		_, err := v.document(args[0], kinds[kind])
		if err == nil {
			v.Say("%s can be used.", args[0])
		}
		return err
	})
	cmd.Flags().StringVar(&kind, "kind", "identity", "what it shall be: identity, session, resource or trust")
	return cmd
}

func (v *iamVerbs) keys() *cobra.Command {
	cmd := &cobra.Command{Use: "key", Short: "Access keys: two at most for each user, so that one can be rotated", Args: cobra.NoArgs}
	state := func(use, short string, enabled bool) *cobra.Command {
		return verb(use+" ID", short, "", func(cmd *cobra.Command, args []string) error {
			return v.change(cmd, http.MethodPut, "/keys"+remote.Segment(args[0]), api.KeyState{Enabled: enabled}, "Access key %s is %sd.", args[0], use)
		})
	}
	cmd.AddCommand(v.createKey(), v.listKeys(), v.rotateKey(),
		state("enable", "Let a key in again", true), state("disable", "Let a key in no more; it can be enabled again", false),
		verb("delete ID", "Delete a key", "", func(cmd *cobra.Command, args []string) error {
			return v.change(cmd, http.MethodDelete, "/keys"+remote.Segment(args[0]), nil, "Access key %s is deleted.", args[0])
		}))
	return cmd
}

// makeKey makes a key of a user, or of root for "".
func (v *iamVerbs) makeKey(cmd *cobra.Command, user string) (k iam.NewKey, err error) {
	path := "/root/keys"
	if user != "" {
		path = "/users" + remote.Segment(user) + "/keys"
	}
	err = v.f.Call(cmd.Context(), http.MethodPost, path, nil, &k)
	return k, err
}

// tellKey prints a key, the only time.
func (v *iamVerbs) tellKey(k iam.NewKey) error {
	if v.Output == terminal.JSON {
		return v.PrintJSON(k)
	}
	v.Say("Access key ID      %s\nSecret access key  %s\n\nThe secret is not shown again.", k.ID, k.Secret)
	return nil
}

func (v *iamVerbs) createKey() *cobra.Command {
	var root bool
	cmd := verb("create [USER]", "Make a key; its secret is shown only now", "  millrace iam key create alice", func(cmd *cobra.Command, args []string) error {
		if (len(args) == 1) == root {
			return fmt.Errorf("%w: give the name of a user, or --root", terminal.ErrUsage)
		}
		k, err := v.makeKey(cmd, append(args, "")[0])
		if err != nil {
			return err
		}
		return v.tellKey(k)
	})
	cmd.Flags().BoolVar(&root, "root", false, "a key of root")
	return cmd
}

func (v *iamVerbs) listKeys() *cobra.Command {
	return verb("list [USER]", "List keys, with their last use", "  millrace iam key list\n  millrace iam key list alice", func(cmd *cobra.Command, args []string) error {
		keys, err := v.keysOf(cmd, append(args, "")[0])
		if err != nil {
			return err
		}
		var rows []table.Row
		for _, k := range keys {
			state, owner, used := "enabled", k.User, "never"
			if !k.Enabled {
				state = "disabled"
			}
			if owner == "" {
				owner = "(root)"
			}
			if k.Used != nil {
				used = fmt.Sprintf("%s, %s", k.Used.At.Local().Format(time.DateTime), k.Used.Service)
			}
			rows = append(rows, table.Row{k.ID, owner, state, k.Created.Local().Format(time.DateTime), used})
		}
		return v.Print(keys, table.Row{"Key", "User", "State", "Created", "Last used"}, rows)
	})
}

// keysOf are the keys of a user, or all for "".
func (v *iamVerbs) keysOf(cmd *cobra.Command, user string) ([]iam.Key, error) {
	path := "/keys"
	if user != "" {
		path = "/users" + remote.Segment(user) + "/keys"
	}
	var all struct {
		Keys []iam.Key `json:"keys"`
	}
	err := v.f.Call(cmd.Context(), http.MethodGet, path, nil, &all)
	return all.Keys, err
}

func (v *iamVerbs) rotateKey() *cobra.Command {
	var now bool
	cmd := verb("rotate ID", "Make a new key of the same user, to take the place of this one", "  millrace iam key rotate AKIA...\n  millrace iam key rotate AKIA... --now", func(cmd *cobra.Command, args []string) error {
		all, err := v.keysOf(cmd, "")
		if err != nil {
			return err
		}
		for _, old := range all {
			if old.ID != args[0] {
				continue
			}
			k, err := v.makeKey(cmd, old.User)
			if err != nil {
				return err
			}
			if now {
				if err := v.f.Call(cmd.Context(), http.MethodPut, "/keys"+remote.Segment(old.ID), api.KeyState{}, nil); err != nil {
					return errors.Join(v.tellKey(k), fmt.Errorf("the old key is not disabled: %w", err))
				}
			}
			if err := v.tellKey(k); err != nil {
				return err
			}
			if !now {
				v.Say("Key %s works on. When nobody uses it (`millrace iam key list`), disable and delete it.", old.ID)
			}
			return nil
		}
		return fmt.Errorf("access key %s: %w", args[0], iam.ErrNotFound)
	})
	cmd.Flags().BoolVar(&now, "now", false, "disable the old one at once")
	return cmd
}

func (v *iamVerbs) sessions() *cobra.Command {
	cmd := &cobra.Command{Use: "session", Short: "Temporary credentials", Args: cobra.NoArgs}
	var role, name, file, external string
	var duration time.Duration
	var tags []string
	create := verb("create", "Make a session of yourself, or of a role", "  millrace iam session create --duration 15m\n  millrace iam session create --role app --name build --policy bounds.json",
		func(cmd *cobra.Command, _ []string) error {
			b := api.Assume{Role: role, Session: name, Seconds: int(duration / time.Second), ExternalID: external}
			path := "/assume-role"
			var err error
			if role == "" {
				if path = "/session"; file != "" || external != "" || len(tags) > 0 {
					return fmt.Errorf("%w: --policy, --external-id and --tag go with --role", terminal.ErrUsage)
				}
			}
			if b.Tags, err = pairsOf(tags); err != nil {
				return err
			}
			if file != "" {
				if b.Policy, err = v.document(file, policy.Session); err != nil {
					return err
				}
			}
			var s iam.Session
			if err := v.f.Call(cmd.Context(), http.MethodPost, path, b, &s); err != nil {
				return err
			}
			if v.Output == terminal.JSON {
				return v.PrintJSON(s)
			}
			for _, one := range []variable{{"AWS_ACCESS_KEY_ID", s.ID}, {"AWS_SECRET_ACCESS_KEY", s.Secret}, {"AWS_SESSION_TOKEN", s.Token}} {
				v.Say("%s", one.command(shellSH))
			}
			v.Say("# %s, until %s", s.ARN, s.Expires.Local().Format(time.DateTime))
			return nil
		})
	flags := create.Flags()
	flags.StringVar(&role, "role", "", "name or ARN of the role; empty: a session of yourself")
	flags.StringVar(&name, "name", "session", "name of the role's session")
	flags.DurationVar(&duration, "duration", time.Hour, "how long it lasts, from 15m on")
	flags.StringVar(&file, "policy", "", "file with a policy that bounds the session")
	flags.StringVar(&external, "external-id", "", "external id, where the trust policy asks for one")
	flags.StringSliceVar(&tags, "tag", nil, "tag of the session KEY=VALUE; may be given again")
	cmd.AddCommand(create)
	return cmd
}

func (v *iamVerbs) simulate() *cobra.Command {
	var s api.Simulation
	cmd := verb("simulate", "Ask what would be answered, and by which statement",
		"  millrace iam simulate --user alice --action kafka-cluster:WriteData --resource arn:aws:kafka:us-east-1:123456789012:topic/default/ID/orders",
		func(cmd *cobra.Command, _ []string) error {
			if s.Action == "" || s.Resource == "" {
				return fmt.Errorf("%w: give --action and --resource", terminal.ErrUsage)
			}
			var answer api.Simulated
			if err := v.f.Call(cmd.Context(), http.MethodPost, "/simulate", s, &answer); err != nil {
				return err
			}
			return v.Print(answer, table.Row{"Principal", "Action", "Decision", "Why"}, []table.Row{{answer.Principal, answer.Action, answer.Decision, answer.Why}})
		})
	flags := cmd.Flags()
	flags.StringVar(&s.User, "user", "", "name of a user; without --user and --role it is you")
	flags.StringVar(&s.Role, "role", "", "name of a role")
	flags.StringVar(&s.Action, "action", "", "SERVICE:ACTION; required")
	flags.StringVar(&s.Resource, "resource", "", "an ARN; required")
	flags.StringVar(&s.From, "from", "", "address of the client; empty: this one")
	flags.BoolVar(&s.Plain, "plain", false, "over a connection without TLS")
	return cmd
}

func (v *iamVerbs) cluster() *cobra.Command {
	cmd := &cobra.Command{Use: "cluster-policy", Short: "The cluster's own policy, and its tags", Args: cobra.NoArgs}
	const at = "/clusters/" + api.DefaultCluster
	cmd.AddCommand(
		verb("show", "Show the policy", "", func(cmd *cobra.Command, _ []string) error {
			var b api.Document
			if err := v.f.Call(cmd.Context(), http.MethodGet, at+"/policy", nil, &b); err != nil {
				return err
			}
			return v.PrintJSON(b)
		}),
		verb("set FILE", "Set the policy", "", func(cmd *cobra.Command, args []string) error {
			doc, err := v.document(args[0], policy.Resource)
			if err != nil {
				return err
			}
			return v.change(cmd, http.MethodPut, at+"/policy", api.Document{Document: doc}, "The cluster's policy is set.")
		}),
		verb("delete", "Delete the policy", "", func(cmd *cobra.Command, _ []string) error {
			return v.change(cmd, http.MethodDelete, at+"/policy", nil, "The cluster's policy is deleted.")
		}),
		verb("tags [KEY=VALUE]...", "Replace the cluster's tags, or show them", "", func(cmd *cobra.Command, args []string) error {
			var b map[string]map[string]string
			if len(args) == 0 {
				if err := v.f.Call(cmd.Context(), http.MethodGet, at+"/tags", nil, &b); err != nil {
					return err
				}
				return v.PrintJSON(b["tags"])
			}
			set, err := pairsOf(args)
			if err != nil {
				return err
			}
			return v.change(cmd, http.MethodPut, at+"/tags", api.Tags{Set: set}, "The cluster's tags are set.")
		}))
	return cmd
}
