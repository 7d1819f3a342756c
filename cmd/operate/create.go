package operate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"millrace/cmd/managed"
	"millrace/cmd/remote"
	"millrace/cmd/terminal"
)

// defaultVersion and defaultType are what a cluster is made with where nothing is said.
const (
	defaultVersion = "3.9.x"
	defaultType    = "express.m7g.large"
)

// settings are the flags by which clusters are made and changed.
type settings struct {
	brokers       int
	instance      string
	version       string
	configuration string
	logins        []string
	encryption    string
	monitoring    string
	subnets       []string
	groups        []string
	tags          map[string]string
}

// addCommon adds the flags that create and update have.
func (s *settings) addCommon(cmd *cobra.Command, brokers int, instance, version string) {
	flags := cmd.Flags()
	flags.IntVar(&s.brokers, "brokers", brokers, "number of brokers, 1 to 15; a multiple of that of the subnets")
	flags.StringVar(&s.instance, "type", instance, "size of the brokers: express.m7g.large to express.m7g.16xlarge; or of Apache Kafka itself: kafka.t3.small, kafka.m5.large to kafka.m5.24xlarge, kafka.m7g.large to kafka.m7g.16xlarge")
	flags.StringVar(&s.version, "kafka-version", version, "version of Apache Kafka that the cluster is like, or runs")
	flags.StringVar(&s.configuration, "configuration", "", "configuration, NAME for its latest revision or NAME:REVISION")
	flags.StringSliceVar(&s.logins, "auth", nil, "how clients log in, several with commas: iam, scram, tls, unauthenticated")
	flags.StringVar(&s.encryption, "encryption", "", "what clients speak: TLS, TLS_PLAINTEXT or PLAINTEXT")
	flags.StringVar(&s.monitoring, "monitoring", "", "level of metrics: DEFAULT, PER_BROKER, PER_TOPIC_PER_BROKER or PER_TOPIC_PER_PARTITION")
	complete := func(name string, values ...string) {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	}
	complete("auth", managed.LoginNames()...)
	complete("encryption", "TLS", "TLS_PLAINTEXT", "PLAINTEXT")
	complete("monitoring", "DEFAULT", "PER_BROKER", "PER_TOPIC_PER_BROKER", "PER_TOPIC_PER_PARTITION")
}

// check refuses logins that there are not, before anything is asked.
func (s *settings) check() error {
	for _, login := range s.logins {
		if !slices.Contains(managed.LoginNames(), login) {
			return fmt.Errorf("%w: --auth %q: use %s", terminal.ErrUsage, login, strings.Join(managed.LoginNames(), ", "))
		}
	}
	return nil
}

func (a *verbs) clusterCreate() *cobra.Command {
	var f remote.Flags
	var s settings
	var serverless bool
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a cluster",
		Long: `Make a cluster with brokers of a size, or with --serverless one whose brokers follow
its load. It waits until the cluster is ACTIVE; --no-wait does not, and Ctrl-C leaves
the making to the control plane.

Without --auth anybody may come in to a provisioned cluster; a serverless one wants a
login by IAM.`,
		Example: `  millrace cluster create orders
  millrace cluster create orders --type express.m7g.xlarge --brokers 6 --auth iam,scram --tag team=shop
  millrace cluster create bursts --serverless`,
		Args: terminal.ExactlyOne("the name of the new cluster"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.check(); err != nil {
				return err
			}
			if serverless {
				for _, name := range []string{"brokers", "type", "kafka-version", "configuration", "auth", "encryption", "monitoring"} {
					if cmd.Flags().Changed(name) {
						return fmt.Errorf("%w: --%s is not for serverless clusters: what it says is looked after", terminal.ErrUsage, name)
					}
				}
			}
			return a.createCluster(cmd.Context(), f, args[0], s, serverless)
		},
	}
	f.AddWait(cmd)
	s.addCommon(cmd, 3, defaultType, defaultVersion)
	flags := cmd.Flags()
	flags.BoolVar(&serverless, "serverless", false, "brokers follow the load")
	flags.StringSliceVar(&s.subnets, "subnet", []string{"subnet-local"}, "names of subnets; may be repeated. They are kept, and not looked up")
	flags.StringSliceVar(&s.groups, "security-group", nil, "security groups of `millrace network group`; may be repeated")
	flags.StringToStringVar(&s.tags, "tag", nil, "tag, KEY=VALUE; may be repeated")
	return cmd
}

func (a *verbs) createCluster(ctx context.Context, f remote.Flags, name string, s settings, serverless bool) error {
	client := managed.New(f)
	c := managed.Cluster{Name: name, Tags: s.tags}
	if serverless {
		c.Serverless = &managed.Serverless{VPCs: []managed.VPC{{Subnets: s.subnets, SecurityGroups: s.groups}}}
	} else {
		p := &managed.Provisioned{
			Nodes:   managed.NodeGroup{InstanceType: s.instance, ClientSubnets: s.subnets, SecurityGroups: s.groups},
			Brokers: s.brokers, KafkaVersion: s.version, Monitoring: strings.ToUpper(s.monitoring),
		}
		if len(s.logins) > 0 {
			p.Authentication = managed.AuthenticationOf(s.logins)
		}
		if s.encryption != "" {
			p.Encryption = &managed.Encryption{Transit: &managed.Transit{ClientBroker: strings.ToUpper(s.encryption)}}
		}
		if s.configuration != "" {
			r, err := client.Revision(ctx, s.configuration)
			if err != nil {
				return err
			}
			p.Configuration = &r
		}
		c.Provisioned = p
	}
	arn, err := client.Create(ctx, c)
	if err != nil {
		return fmt.Errorf("create cluster %s: %w", name, err)
	}
	made, err := client.Describe(ctx, arn)
	if err == nil && !f.NoWait {
		made, err = client.Settle(ctx, arn, managed.NewProgress(a.IO))
	}
	if err != nil {
		return goesOn(ctx, err, name)
	}
	if a.Output == terminal.JSON {
		return a.PrintJSON(made)
	}
	if f.NoWait {
		a.Say("Cluster %s is being made. `millrace cluster operations %s --follow` shows how it goes.", name, name)
	} else {
		a.Say("Cluster %s is ACTIVE: %s. `millrace cluster bootstrap %s` shows where clients connect.", name, size(made), name)
	}
	return nil
}
