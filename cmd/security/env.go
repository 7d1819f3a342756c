package security

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"millrace/cmd/api"
	"millrace/cmd/remote"
	"millrace/cmd/terminal"
	"millrace/secure/iam"
)

// The shells that `millrace env` writes for.
const (
	shellSH         = "sh"
	shellFish       = "fish"
	shellPowerShell = "powershell"
)

type envConfig struct {
	remote.Signed
	shell     string
	role      string
	session   string
	temporary bool
	listener  string
}

func (a *verbs) envCommand() *cobra.Command {
	var cfg envConfig
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print the environment of clients: addresses, region, access key",
		Long: `Print the variables that the AWS CLI, the AWS SDKs, Terraform, Kafka clients with
IAM login and the verbs of millrace read, as commands of a shell.

They are those of the "millrace serve" whose data directory is --data, with the root
key, which only its owner can read there. With --session the key is a temporary one of
root, with --role one of a role (which the key of the environment may assume).

The output has secrets in it: give it to a shell, do not keep it.`,
		Example: `  eval "$(millrace env)"
  millrace env --shell fish | source
  millrace env --shell powershell | Out-String | Invoke-Expression
  eval "$(millrace env --role producer)"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.shell == "" {
				cfg.shell = shellOf(os.Getenv("SHELL"))
			}
			if cfg.shell != shellSH && cfg.shell != shellFish && cfg.shell != shellPowerShell {
				return fmt.Errorf("%w: --shell %q: use sh, fish or powershell", terminal.ErrUsage, cfg.shell)
			}
			if cfg.role != "" && cfg.temporary {
				return fmt.Errorf("%w: --role and --session exclude each other", terminal.ErrUsage)
			}
			return a.env(cmd, &cfg)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.Data, "data", remote.DefaultData(), "directory of millrace serve (also from MILLRACE_DATA)")
	flags.StringVar(&cfg.shell, "shell", "", "sh, fish or powershell; empty: that of $SHELL")
	flags.StringVar(&cfg.role, "role", "", "name of a role to assume")
	flags.StringVar(&cfg.session, "session-name", "env", "name of the role's session")
	flags.BoolVar(&cfg.temporary, "session", false, "a temporary key, valid for an hour")
	flags.StringVar(&cfg.listener, "listener", "", "listener whose addresses are MILLRACE_BOOTSTRAP; empty: that for IAM, or the first")
	return cmd
}

func shellOf(path string) string {
	switch filepath.Base(path) {
	case "fish":
		return shellFish
	case "pwsh", "powershell":
		return shellPowerShell
	default:
		return shellSH
	}
}

// variable is one of the environment; an empty value unsets it.
type variable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (a *verbs) env(cmd *cobra.Command, cfg *envConfig) error {
	e, err := remote.ReadEndpoints(cfg.Data)
	if err != nil {
		return fmt.Errorf("%w\nHas `millrace serve` run here? --data names its directory", err)
	}
	vars := places(e, cfg.listener)
	if _, err := os.Stat(remote.RootFile(cfg.Data)); err == nil {
		cfg.API = e.API
		c, err := cfg.key(cmd)
		if err != nil {
			return err
		}
		vars = append(vars, logins(c, e)...)
	} else if cfg.role != "" || cfg.temporary {
		return fmt.Errorf("%w: %w", remote.ErrNoCredentials, err)
	}
	if a.Output == terminal.JSON {
		return a.PrintJSON(vars)
	}
	for _, v := range vars {
		fmt.Fprintln(a.Out, v.command(cfg.shell))
	}
	if terminal.IsTerminal(a.Out) {
		fmt.Fprintln(a.ErrOut, `# eval "$(millrace env)" sets them`)
	}
	return nil
}

// key is what the environment shall have: that of root, or a session.
func (cfg *envConfig) key(cmd *cobra.Command) (remote.Credentials, error) {
	if cfg.role == "" && !cfg.temporary {
		root, err := remote.ReadRoot(cfg.Data)
		return remote.Credentials{ID: root.ID, Secret: root.Secret, Region: root.Region}, err
	}
	c, err := remote.FindCredentials(cfg.Data)
	if err != nil {
		return c, err
	}
	var s iam.Session
	if cfg.temporary {
		err = cfg.Call(cmd.Context(), "POST", "/session", api.Assume{}, &s)
	} else {
		err = cfg.Call(cmd.Context(), "POST", "/assume-role", api.Assume{Role: cfg.role, Session: cfg.session}, &s)
	}
	return remote.Credentials{ID: s.ID, Secret: s.Secret, Token: s.Token, Region: c.Region}, err
}

// places are the variables that say where things are.
func places(e remote.Endpoints, listener string) []variable {
	vars := []variable{{"MILLRACE_API", e.API}}
	if listener == "" {
		for _, name := range []string{"CLIENT_IAM", "CLIENT", "CLIENT_SECURE", "CLIENT_SASL_SCRAM"} {
			if e.Bootstrap[name] != "" {
				listener = name
				break
			}
		}
	}
	if brokers := e.Bootstrap[listener]; brokers != "" {
		// What else the verbs need to come in there; the key is among the variables.
		sasl := ""
		if strings.HasPrefix(listener, "CLIENT_IAM") {
			sasl = "iam"
		}
		vars = append(vars, variable{"MILLRACE_BOOTSTRAP", brokers}, variable{"MILLRACE_SASL", sasl})
	}
	// Verbs speak TLS where they have an authority to trust, so it is not named where neither the API nor the listener does.
	https, plain := strings.HasPrefix(e.API, "https:"), listener == "CLIENT"
	trusted := e.CA
	if plain && !https {
		trusted = ""
	}
	vars = append(vars, variable{"MILLRACE_CA", trusted})
	if e.CA != "" && https {
		vars = append(vars, variable{"AWS_CA_BUNDLE", e.CA})
	}
	for _, service := range []string{"KAFKA", "KAFKACONNECT", "GLUE", "LAMBDA", "CLOUDWATCH", "IAM", "STS", "SECRETS_MANAGER"} {
		vars = append(vars, variable{"AWS_ENDPOINT_URL_" + service, e.API})
	}
	return vars
}

// logins are the variables that log in.
func logins(c remote.Credentials, e remote.Endpoints) []variable {
	region := c.Region
	if region == "" {
		region = e.Region
	}
	return []variable{
		{"AWS_REGION", region}, {"AWS_DEFAULT_REGION", region}, {"AWS_PROFILE", ""},
		{"AWS_ACCESS_KEY_ID", c.ID}, {"AWS_SECRET_ACCESS_KEY", c.Secret}, {"AWS_SESSION_TOKEN", c.Token},
	}
}

// command sets or unsets the variable in a shell.
func (v variable) command(shell string) string {
	switch {
	case shell == shellFish && v.Value == "":
		return "set -e " + v.Name + ";"
	case shell == shellFish:
		return "set -gx " + v.Name + " '" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(v.Value) + "';"
	case shell == shellPowerShell && v.Value == "":
		return "Remove-Item Env:" + v.Name + " -ErrorAction SilentlyContinue"
	case shell == shellPowerShell:
		return "$Env:" + v.Name + " = '" + strings.ReplaceAll(v.Value, "'", "''") + "'"
	case v.Value == "":
		return "unset " + v.Name
	default:
		return "export " + v.Name + "='" + strings.ReplaceAll(v.Value, "'", `'\''`) + "'"
	}
}
