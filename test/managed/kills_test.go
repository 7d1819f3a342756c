package managed

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kafka"
	"github.com/aws/aws-sdk-go-v2/service/kafka/types"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

const (
	// killsVariable is the environment variable that says at which moments serve is killed: "all", or the seed of a run that takes a few.
	killsVariable = "MILLRACE_KILLS"
	// killsOrdinary is of how many kinds of changes an ordinary run takes a moment.
	killsOrdinary = 2
)

// work is a kind of operation.
type work struct {
	name    string
	begin   func(ctx context.Context, v *victim, arn *string) error
	deletes bool
}

// pair is a kind of operation and what takes it back, so that it can be done again and again.
type pair struct{ there, back work }

// killPlan says at which moments of an operation serve is killed.
type killPlan struct {
	all    bool
	random *rand.Rand
}

func newKillPlan(t *testing.T) killPlan {
	t.Helper()
	text := os.Getenv(killsVariable)
	if text == "all" {
		return killPlan{all: true}
	}
	seed := rand.Uint64()
	if text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", killsVariable, err)
		}
	}
	t.Logf("MILLRACE_TEST_REQUIRE=all %s=%d go test ./test/managed -run '^%s$'", killsVariable, seed, t.Name())
	return killPlan{random: rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // it chooses tests
}

// of chooses from the moments at which an operation was saved.
func (p killPlan) of(moments []string) []string {
	if p.all {
		return moments
	}
	return []string{moments[p.random.IntN(len(moments))]}
}

// TestKilledDuringChanges kills serve at the moments at which changes of a cluster are saved. Each change ends as if undisturbed, and clients
// notice nothing of it.
func TestKilledDuringChanges(t *testing.T) {
	harness.Long(t, "make managed")
	plan := newKillPlan(t)
	v := startVictim(t)
	configured := v.configurations()
	v.do(creation(configured), "")
	at, err := v.provider.api.GetBootstrapBrokers(t.Context(), &kafka.GetBootstrapBrokersInput{ClusterArn: v.arn()})
	v.provider.must(err)
	tr := startTraffic(t, "kept", 6, kgo.SeedBrokers(strings.Split(*at.BootstrapBrokerString, ",")...))
	tr.goesOn(t)
	pairs := changes(configured)
	if !plan.all {
		plan.random.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
		pairs = pairs[:killsOrdinary]
	}
	for _, p := range pairs {
		if v.killedDuring(p, plan, tr); t.Failed() {
			return
		}
	}
	tr.stop(t)
}

// killedDuring does a change and takes it back, undisturbed, and then with a kill at each moment that the plan says, of both.
func (v *victim) killedDuring(p pair, plan killPlan, tr *traffic) {
	v.Helper()
	there := v.do(p.there, "")
	changed := v.picture()
	back := v.do(p.back, "")
	before := v.picture()
	thereAt, backAt := plan.of(there), plan.of(back)
	for i := range max(len(thereAt), len(backAt)) {
		one, other := thereAt[i%len(thereAt)], backAt[i%len(backAt)]
		v.killedAt(p.there, one, changed, tr)
		v.killedAt(p.back, other, before, tr)
		if v.Failed() {
			return
		}
	}
}

func (v *victim) killedAt(w work, moment, want string, tr *traffic) {
	v.Helper()
	v.do(w, moment)
	what := fmt.Sprintf("%s, killed when %s", w.name, moment)
	v.settles(what, want)
	v.Logf("%s: longest time without acks %v", what, tr.goesOn(v.T))
}

// TestKilledDuringLives kills serve at the moments at which the making of a cluster, the change of its version, which cannot be taken back, and
// its end are saved.
func TestKilledDuringLives(t *testing.T) {
	harness.Long(t, "make managed")
	plan := newKillPlan(t)
	v := startVictim(t)
	configured := v.configurations()
	life := []work{creation(configured), newer(), deletion()}
	var moments [][]string
	var pictures []string
	for _, w := range life {
		all := v.do(w, "")
		moments = append(moments, plan.of(all))
		pictures = append(pictures, v.picture())
	}
	lives := 0
	for _, m := range moments {
		lives = max(lives, len(m))
	}
	for k := range lives {
		for i, w := range life {
			moment := moments[i][k%len(moments[i])]
			v.do(w, moment)
			v.settles(fmt.Sprintf("%s, killed when %s", w.name, moment), pictures[i])
			if t.Logf("%s, killed when %s", w.name, moment); t.Failed() {
				return
			}
		}
	}
}

// configurations makes those that the changes are between: two revisions of one that brokers take while they run, and one that needs a start.
func (v *victim) configurations() (arns [2]*string) {
	v.Helper()
	for i, text := range []string{"log.retention.ms=3600000\n", "log.retention.ms=3600000\nmax.connections=2000\n"} {
		made, err := v.provider.api.CreateConfiguration(v.Context(), &kafka.CreateConfigurationInput{
			Name: aws.String(fmt.Sprintf("kept-%d", i)), ServerProperties: []byte(text)})
		v.provider.must(err)
		arns[i] = made.Arn
	}
	_, err := v.provider.api.UpdateConfiguration(v.Context(), &kafka.UpdateConfigurationInput{Arn: arns[0], ServerProperties: []byte("log.retention.ms=7200000\n")})
	v.provider.must(err)
	return arns
}

func creation(configured [2]*string) work {
	return work{name: "create", begin: func(ctx context.Context, v *victim, _ *string) error {
		_, err := v.provider.api.CreateClusterV2(ctx, &kafka.CreateClusterV2Input{ClusterName: aws.String(victimName), Provisioned: &types.ProvisionedRequest{
			BrokerNodeGroupInfo: &nodes, KafkaVersion: aws.String("3.8.x"), NumberOfBrokerNodes: aws.Int32(3),
			ConfigurationInfo:    &types.ConfigurationInfo{Arn: configured[0], Revision: aws.Int64(1)},
			ClientAuthentication: logins(&types.Sasl{Iam: &types.Iam{Enabled: aws.Bool(true)}}),
			EncryptionInfo:       &types.EncryptionInfo{EncryptionInTransit: &types.EncryptionInTransit{ClientBroker: types.ClientBrokerTlsPlaintext}},
		}}, once)
		return err
	}}
}

func deletion() work {
	return work{name: "delete", deletes: true, begin: func(ctx context.Context, v *victim, arn *string) error {
		_, err := v.provider.api.DeleteCluster(ctx, &kafka.DeleteClusterInput{ClusterArn: arn}, once)
		return err
	}}
}

func newer() work {
	return work{name: "version", begin: func(ctx context.Context, v *victim, arn *string) error {
		_, err := v.provider.api.UpdateClusterKafkaVersion(ctx, &kafka.UpdateClusterKafkaVersionInput{
			ClusterArn: arn, CurrentVersion: v.version(ctx, arn), TargetKafkaVersion: aws.String("3.9.x")}, once)
		return err
	}}
}

// logins are those of a cluster at which clients may also come without.
func logins(sasl *types.Sasl) *types.ClientAuthentication {
	return &types.ClientAuthentication{Sasl: sasl, Unauthenticated: &types.Unauthenticated{Enabled: aws.Bool(true)}}
}

// changes are all kinds of changes that can be taken back.
func changes(configured [2]*string) []pair {
	reboot := work{name: "reboot", begin: func(ctx context.Context, v *victim, arn *string) error {
		_, err := v.provider.api.RebootBroker(ctx, &kafka.RebootBrokerInput{ClusterArn: arn, BrokerIds: []string{"2"}}, once)
		return err
	}}
	count := func(n int32) work {
		return work{name: fmt.Sprintf("%d brokers", n), begin: func(ctx context.Context, v *victim, arn *string) error {
			_, err := v.provider.api.UpdateBrokerCount(ctx, &kafka.UpdateBrokerCountInput{
				ClusterArn: arn, CurrentVersion: v.version(ctx, arn), TargetNumberOfBrokerNodes: aws.Int32(n)}, once)
			return err
		}}
	}
	size := func(name string) work {
		return work{name: "brokers of type " + name, begin: func(ctx context.Context, v *victim, arn *string) error {
			_, err := v.provider.api.UpdateBrokerType(ctx, &kafka.UpdateBrokerTypeInput{
				ClusterArn: arn, CurrentVersion: v.version(ctx, arn), TargetInstanceType: aws.String("express.m7g." + name)}, once)
			return err
		}}
	}
	configuration := func(name string, which int, revision int64) work {
		return work{name: "configuration " + name, begin: func(ctx context.Context, v *victim, arn *string) error {
			_, err := v.provider.api.UpdateClusterConfiguration(ctx, &kafka.UpdateClusterConfigurationInput{ClusterArn: arn, CurrentVersion: v.version(ctx, arn),
				ConfigurationInfo: &types.ConfigurationInfo{Arn: configured[which], Revision: aws.Int64(revision)}}, once)
			return err
		}}
	}
	security := func(name string, sasl *types.Sasl) work {
		return work{name: "login by " + name, begin: func(ctx context.Context, v *victim, arn *string) error {
			_, err := v.provider.api.UpdateSecurity(ctx, &kafka.UpdateSecurityInput{ClusterArn: arn, CurrentVersion: v.version(ctx, arn),
				ClientAuthentication: logins(sasl)}, once)
			return err
		}}
	}
	monitoring := func(level types.EnhancedMonitoring, exporters bool) work {
		return work{name: fmt.Sprintf("monitoring %s, exporters %v", level, exporters), begin: func(ctx context.Context, v *victim, arn *string) error {
			_, err := v.provider.api.UpdateMonitoring(ctx, &kafka.UpdateMonitoringInput{ClusterArn: arn, CurrentVersion: v.version(ctx, arn),
				EnhancedMonitoring: level, OpenMonitoring: &types.OpenMonitoringInfo{Prometheus: &types.PrometheusInfo{
					JmxExporter:  &types.JmxExporterInfo{EnabledInBroker: aws.Bool(exporters)},
					NodeExporter: &types.NodeExporterInfo{EnabledInBroker: aws.Bool(false)}}}}, once)
			return err
		}}
	}
	sasl := func(iam, scram bool) *types.Sasl { // what is not said stays as it is
		return &types.Sasl{Iam: &types.Iam{Enabled: aws.Bool(iam)}, Scram: &types.Scram{Enabled: aws.Bool(scram)}}
	}
	return slices.Clip([]pair{
		{reboot, reboot},
		{count(6), count(3)},
		{size("xlarge"), size("large")},
		{configuration("that is live", 0, 2), configuration("as it was", 0, 1)},
		{configuration("that needs a start", 1, 1), configuration("as it was", 0, 1)},
		{security("IAM and SCRAM", sasl(true, true)), security("IAM", sasl(true, false))},
		{security("SCRAM", sasl(false, true)), security("IAM", sasl(true, false))},
		{monitoring(types.EnhancedMonitoringPerBroker, false), monitoring(types.EnhancedMonitoringDefault, false)},
		{monitoring(types.EnhancedMonitoringPerBroker, true), monitoring(types.EnhancedMonitoringDefault, false)},
	})
}
