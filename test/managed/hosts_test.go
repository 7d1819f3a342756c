package managed

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kafka"
	"github.com/aws/aws-sdk-go-v2/service/kafka/types"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// elsewhere is how long it may take until the brokers of a host that is gone run elsewhere.
const elsewhere = 30 * time.Second

// TestHostIsTakenAway cuts one of three hosts off, from etcd, the other hosts and the clients: its broker of a cluster that the API made runs
// elsewhere soon, clients go on, and the host does no harm when it is back, and is given brokers again.
func TestHostIsTakenAway(t *testing.T) {
	harness.Long(t, "make managed")
	n := harness.NewNetwork(t, 3)
	e := harness.StartEtcd(t, harness.EtcdOptions{TLS: true, Hosts: []harness.Host{{Address: n.Self}}})
	s := site{Cluster: harness.StartMillrace(t, harness.MillraceOptions{Host: n.Hosts[0], Etcd: e, KeepRebalanceDelay: true, Args: []string{
		"--no-default-cluster", "--wal", "object", "--store", "file://" + filepath.Join(t.TempDir(), "store"), "--zone", "z1"}})}
	var agents []*harness.Agent
	for k, h := range n.Hosts[1:] {
		agents = append(agents, harness.StartAgent(t, harness.AgentOptions{Host: h, Etcd: e, Zone: fmt.Sprint("z", k+2)}))
	}
	for _, assignment := range s.environment(t) {
		s.env = append(s.env, strings.Replace(assignment, "://0.0.0.0:", "://"+n.Hosts[0].Address+":", 1))
	}
	t.Parallel() // it waits most of the time
	p := s.provider(t)
	made, err := p.api.CreateClusterV2(t.Context(), &kafka.CreateClusterV2Input{ClusterName: aws.String("three"), Provisioned: &types.ProvisionedRequest{
		BrokerNodeGroupInfo: &nodes, KafkaVersion: aws.String("3.9.x"), NumberOfBrokerNodes: aws.Int32(3),
		ClientAuthentication: logins(nil), EncryptionInfo: &types.EncryptionInfo{EncryptionInTransit: &types.EncryptionInTransit{ClientBroker: types.ClientBrokerPlaintext}}}})
	p.must(err)
	p.active(made.ClusterArn)
	at := hosted{p, made.ClusterArn}
	at.spread(t, 1, n.Hosts...)
	tr := startTraffic(t, "t", 12, kgo.SeedBrokers(at.bootstrap()...))
	tr.goesOn(t)

	cut, left := n.Hosts[2], n.Hosts[:2]
	n.Isolate(t, cut.Address)
	began, limit := time.Now(), time.Minute
	if harness.Everything() {
		limit = elsewhere
	}
	harness.Eventually(t, limit, "three brokers elsewhere", func(ctx context.Context) error { return at.runs(ctx, 3, left...) })
	t.Logf("all brokers run elsewhere after %v", time.Since(began))
	t.Logf("longest time without acks %v", tr.goesOn(t))

	n.Rejoin(t, cut.Address)
	harness.Eventually(t, time.Minute, "nothing of the cluster at the host that is back", func(context.Context) error {
		folders, err := filepath.Glob(filepath.Join(agents[1].Dir, "brokers", "*"))
		if there := agents[1].Brokers(); len(there) > 0 || len(folders) > 0 || err != nil {
			return fmt.Errorf("brokers %v, folders %v (%w)", there, folders, err)
		}
		return nil
	})
	t.Logf("longest time without acks, as the host is back, %v", tr.goesOn(t))
	p.until("ACTIVE", []string{"HEALING", "UPDATING"}, p.clusterState(made.ClusterArn))
	info, err := p.api.DescribeClusterV2(t.Context(), &kafka.DescribeClusterV2Input{ClusterArn: made.ClusterArn})
	p.must(err)
	more, err := p.api.UpdateBrokerCount(t.Context(), &kafka.UpdateBrokerCountInput{
		ClusterArn: made.ClusterArn, CurrentVersion: info.ClusterInfo.CurrentVersion, TargetNumberOfBrokerNodes: aws.Int32(6)})
	p.must(err)
	p.updated(more.ClusterOperationArn)
	at.spread(t, 2, n.Hosts...)
	tr.stop(t)
}

// provider is newProvider for tests that run beside others, which may not set this process's environment.
func (s site) provider(t *testing.T) provider {
	return provider{t, kafka.New(kafka.Options{
		Region: s.variable("AWS_REGION"), BaseEndpoint: aws.String(s.variable("AWS_ENDPOINT_URL_KAFKA")),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: s.variable("AWS_ACCESS_KEY_ID"), SecretAccessKey: s.variable("AWS_SECRET_ACCESS_KEY")}, nil
		}),
	})}
}

// hosted is a cluster whose brokers are looked for at hosts.
type hosted struct {
	provider
	arn *string
}

func (h hosted) bootstrap() []string {
	h.Helper()
	out, err := h.api.GetBootstrapBrokers(h.Context(), &kafka.GetBootstrapBrokersInput{ClusterArn: h.arn})
	h.must(err)
	return strings.Split(aws.ToString(out.BootstrapBrokerString), ",")
}

// spread fails the test unless each of the hosts has so many brokers.
func (h hosted) spread(t *testing.T, each int, hosts ...harness.Host) {
	t.Helper()
	harness.Eventually(t, 10*time.Second, "brokers at all hosts", func(context.Context) error {
		all := h.bootstrap()
		for _, host := range hosts {
			there := slices.DeleteFunc(slices.Clone(all), func(a string) bool { return !strings.HasPrefix(a, host.Address+":") })
			if len(there) != each {
				return fmt.Errorf("host %s has %v of %v", host.Name, there, all)
			}
		}
		return nil
	})
}

// runs says what keeps the cluster from having so many brokers, all of which lead partitions, at these hosts and no others.
func (h hosted) runs(ctx context.Context, brokers int, hosts ...harness.Host) error {
	all := h.bootstrap()
	for _, address := range all {
		if !slices.ContainsFunc(hosts, func(host harness.Host) bool { return strings.HasPrefix(address, host.Address+":") }) {
			return fmt.Errorf("a broker is at %s", address)
		}
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(all...))
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	m, err := kadm.NewClient(c).Metadata(ctx)
	if err != nil {
		return err
	}
	leaders := map[int32]bool{}
	m.Topics.EachPartition(func(d kadm.PartitionDetail) { leaders[d.Leader] = true })
	if len(m.Brokers) != brokers || len(leaders) != brokers || leaders[-1] {
		return errors.Join(fmt.Errorf("brokers %v, leaders %v", m.Brokers.NodeIDs(), leaders))
	}
	return nil
}
