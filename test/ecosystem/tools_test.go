package ecosystem

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// TestTools runs the tools that are programs of their own.
func TestTools(t *testing.T) {
	harness.Long(t, "make ecosystem")
	t.Parallel()
	engines(t, func(t *testing.T, s *server) {
		t.Run("verifiable", func(t *testing.T) { verifyConsumers(t, s) })
		t.Run("copier", func(t *testing.T) { copyMessages(t, s) })
		t.Run("replicas", func(t *testing.T) { verifyReplicas(t, s) })
	})
}

// TestCommands runs the command line tools, and compares what they say with what they say on Apache Kafka.
func TestCommands(t *testing.T) {
	harness.Long(t, "make ecosystem")
	t.Parallel()
	engines(t, func(t *testing.T, s *server) {
		b := openToolbox(t, s)
		for _, chapter := range []struct {
			name string
			body func(*testing.T, *toolbox)
		}{
			{"groups", toolsOnGroups},
			{"share-groups", toolsOnShareGroups},
			{"transactions", toolsOnTransactions},
			{"quotas", toolsOnQuotas},
			{"partitions", toolsOnPartitions},
			{"cluster", toolsOnCluster},
			{"performance", toolsOnPerformance},
		} {
			t.Run(chapter.name, func(t *testing.T) {
				b.transcript.Reset()
				chapter.body(t, b)
				b.compare(t, chapter.name)
			})
		}
	})
}

// fill writes records of one size to each partition of a new topic.
func (s *server) fill(t *testing.T, topic string, each int) {
	t.Helper()
	s.createTopics(t, topic)
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var records []*kgo.Record
	for partition := range int32(partitions) {
		for number := range each {
			records = append(records, &kgo.Record{Topic: topic, Partition: partition, Value: fmt.Appendf(nil, "%06d", number)})
		}
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// toolsOnGroups looks at groups of both protocols with members and without, and moves, deletes and forgets their offsets.
func toolsOnGroups(t *testing.T, b *toolbox) {
	b.fill(t, "grouped", 10)
	for _, protocol := range []string{"classic", "consumer"} {
		group := "tool-" + protocol
		member := startProgram(t, group, tool(t, verifiableConsumer, "--bootstrap-server", b.Bootstrap, "--topic", "grouped",
			"--group-id", group, "--group-protocol", protocol))
		b.settles(t, consumerGroupCommand, "--describe --group "+group, `grouped\s+2\s+10\s+10\s+0`, `grouped\s+1\s+10\s+10\s+0`, `grouped\s+0\s+10\s+10\s+0`)
		b.run(t, consumerGroupCommand, "--list --state")
		b.run(t, consumerGroupCommand, "--list --type")
		b.run(t, consumerGroupCommand, "--describe --group "+group+" --state --verbose")
		b.run(t, consumerGroupCommand, "--describe --group "+group+" --members --verbose")
		b.run(t, consumerGroupCommand, "--describe --group "+group+" --offsets --verbose")
		b.run(t, consumerGroupCommand, "--reset-offsets --group "+group+" --to-earliest --topic grouped --execute")
		b.run(t, consumerGroupCommand, "--delete --group "+group)
		member.Stop(t)
		b.settles(t, consumerGroupCommand, "--describe --state --group "+group, "Empty")
		b.run(t, consumerGroupCommand, "--describe --group "+group+" --state")
		for _, to := range []string{"--to-earliest", "--shift-by 3", "--to-latest", "--to-offset 4", "--to-offset 99", "--by-duration PT0S"} {
			b.run(t, consumerGroupCommand, "--reset-offsets --group "+group+" "+to+" --topic grouped:1 --execute")
		}
		b.run(t, consumerGroupCommand, "--reset-offsets --group "+group+" --to-current --all-topics --dry-run --export")
		b.run(t, consumerGroupCommand, "--delete-offsets --group "+group+" --topic grouped:0")
		b.run(t, consumerGroupCommand, "--delete-offsets --group "+group+" --topic grouped:9")
		b.run(t, consumerGroupCommand, "--describe --group "+group)
		b.run(t, groupsCommand, "--list")
		b.run(t, consumerGroupCommand, "--delete --group "+group)
		b.run(t, consumerGroupCommand, "--describe --group "+group)
		b.run(t, consumerGroupCommand, "--delete --group "+group)
	}
	b.run(t, consumerGroupCommand, "--reset-offsets --group tool-new --to-latest --topic grouped --execute")
	b.run(t, consumerGroupCommand, "--describe --group tool-new")
	b.run(t, consumerGroupCommand, "--delete --group tool-new")
	b.run(t, groupsCommand, "--list")
	b.run(t, streamsGroupCommand, "--list")
}

// toolsOnShareGroups does the same with a share group.
func toolsOnShareGroups(t *testing.T, b *toolbox) {
	b.fill(t, "shared", 10)
	member := startProgram(t, "share group member", tool(t, verifiableShareConsumer, "--bootstrap-server", b.Bootstrap,
		"--topic", "shared", "--group-id", "tool-share", "--offset-reset-strategy", "earliest"))
	b.settles(t, shareGroupCommand, "--describe --group tool-share", `shared\s+0\s+\d+\s+0\n`, `shared\s+1\s+\d+\s+0\n`, `shared\s+2\s+\d+\s+0\n`)
	b.run(t, shareGroupCommand, "--list --state")
	b.run(t, shareGroupCommand, "--describe --group tool-share --state --verbose")
	b.run(t, shareGroupCommand, "--describe --group tool-share --members --verbose")
	b.run(t, shareGroupCommand, "--reset-offsets --group tool-share --to-earliest --topic shared --execute")
	b.run(t, shareGroupCommand, "--delete --group tool-share")
	member.Stop(t)
	b.settles(t, shareGroupCommand, "--describe --state --group tool-share", "Empty")
	b.run(t, shareGroupCommand, "--describe --group tool-share")
	b.run(t, shareGroupCommand, "--describe --group tool-share --state")
	b.run(t, shareGroupCommand, "--reset-offsets --group tool-share --to-earliest --topic shared:1 --execute")
	b.run(t, shareGroupCommand, "--describe --group tool-share")
	b.run(t, shareGroupCommand, "--delete-offsets --group tool-share --topic shared")
	b.run(t, shareGroupCommand, "--describe --group tool-share")
	b.run(t, groupsCommand, "--list")
	b.run(t, shareGroupCommand, "--delete --group tool-share")
	b.run(t, shareGroupCommand, "--describe --group tool-share")
	b.run(t, shareGroupCommand, "--delete --group tool-share")
}

// toolsOnTransactions looks at transactions before, while and after they are open, and ends two from outside.
func toolsOnTransactions(t *testing.T, b *toolbox) {
	b.createTopics(t, "transacted")
	b.run(t, transactionsCommand, "list")
	b.run(t, transactionsCommand, "describe --transactional-id none")
	b.run(t, transactionsCommand, "describe-producers --topic transacted --partition 0")
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("tool"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	open := func() {
		t.Helper()
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for partition := range int32(2) {
			one := &kgo.Record{Topic: "transacted", Partition: partition, Value: []byte("x")}
			if err := client.ProduceSync(t.Context(), one).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	look := func() {
		t.Helper()
		b.run(t, transactionsCommand, "list")
		b.run(t, transactionsCommand, "describe --transactional-id tool")
		b.run(t, transactionsCommand, "describe-producers --topic transacted --partition 0")
		b.run(t, transactionsCommand, "find-hanging --broker-id 1")
	}
	open()
	look()
	if err := client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	b.settles(t, transactionsCommand, "list", "CompleteCommit")
	look()
	open()
	// The abort of one partition ends the transaction there, behind the back of its coordinator.
	b.run(t, transactionsCommand, "abort --topic transacted --partition 0 --start-offset 2")
	b.run(t, transactionsCommand, "abort --topic transacted --partition 0 --start-offset 2")
	look()
	b.run(t, transactionsCommand, "forceTerminateTransaction --transactionalId tool")
	b.settles(t, transactionsCommand, "list", `tool\s+1\s+\d+\s+Empty`)
	look()
	if err := client.EndTransaction(t.Context(), kgo.TryCommit); err == nil {
		t.Error("a transaction was committed that had been aborted from outside")
	}
	read := startReader(t, b.server, "transacted")
	harness.Eventually(t, waitLimit, "the end", func(ctx context.Context) error { return read.atEnd(ctx, "transacted") })
	if n, _ := read.count("transacted"); n != 2 {
		t.Errorf("%d records are committed, want 2", n)
	}
}

// toolsOnQuotas sets and takes away quotas of all kinds of entities. It leaves none behind, and none is so low that it is felt.
func toolsOnQuotas(t *testing.T, b *toolbox) {
	entities := []string{
		"--entity-type users --entity-name alice", "--entity-type users --entity-default",
		"--entity-type clients --entity-name sensor", "--entity-type clients --entity-default",
		"--entity-type users --entity-name alice --entity-type clients --entity-name sensor",
		"--entity-type users --entity-name alice --entity-type clients --entity-default",
		"--entity-type users --entity-default --entity-type clients --entity-default",
		"--entity-type ips --entity-name 10.1.2.3", "--entity-type ips --entity-default",
	}
	values := func(entity string) string {
		if strings.Contains(entity, "ips") {
			return "connection_creation_rate=7000"
		}
		return "producer_byte_rate=1000000,consumer_byte_rate=2000000,request_percentage=5000,controller_mutation_rate=1000"
	}
	for _, entity := range entities {
		b.run(t, configCommand, "--alter "+entity+" --add-config "+values(entity))
		b.after(t, "rate=", configCommand, "--describe "+entity)
	}
	b.run(t, configCommand, "--alter "+entities[0]+" --add-config producer_byte_rate=-1")
	b.run(t, configCommand, "--alter "+entities[0]+" --add-config producer_byte_rate=1.5")
	b.run(t, configCommand, "--alter "+entities[0]+" --add-config nonsense_rate=1")
	b.run(t, configCommand, "--alter --entity-type ips --entity-name not-an-address --add-config connection_creation_rate=1")
	b.run(t, configCommand, "--alter "+entities[0]+" --delete-config consumer_byte_rate")
	b.after(t, "!consumer", configCommand, "--describe "+entities[0])
	b.run(t, configCommand, "--alter "+entities[0]+" --add-config consumer_byte_rate=1")
	b.settles(t, configCommand, "--describe "+entities[0], "consumer")
	for _, entity := range entities {
		var names []string
		for one := range strings.SplitSeq(values(entity), ",") {
			name, _, _ := strings.Cut(one, "=")
			names = append(names, name)
		}
		b.run(t, configCommand, "--alter "+entity+" --delete-config "+strings.Join(names, ","))
		b.after(t, `^\s*$`, configCommand, "--describe "+entity)
	}
}

// toolsOnPartitions elects leaders and moves replicas: with one broker all are where they have to be already.
func toolsOnPartitions(t *testing.T, b *toolbox) {
	b.fill(t, "placed", 10)
	b.run(t, electionCommand, "--election-type preferred --all-topic-partitions")
	b.run(t, electionCommand, "--election-type preferred --topic placed --partition 1")
	b.run(t, electionCommand, "--election-type unclean --topic placed --partition 1")
	b.run(t, electionCommand, "--election-type preferred --topic placed --partition 9")
	topics := b.file(t, "topics.json", `{"version":1,"topics":[{"topic":"placed"}]}`)
	b.run(t, reassignCommand, "--generate --broker-list 1 --topics-to-move-json-file "+topics)
	moves := func(name, replicas string) string {
		const one = `{"topic":"placed","partition":%d,"replicas":[%s]}`
		return b.file(t, name, `{"version":1,"partitions":[`+fmt.Sprintf(one, 0, replicas)+","+fmt.Sprintf(one, 1, replicas)+`]}`)
	}
	same, elsewhere := moves("same.json", "1"), moves("elsewhere.json", "7")
	b.run(t, reassignCommand, "--execute --reassignment-json-file "+same)
	b.after(t, "-1 is completed", reassignCommand, "--verify --reassignment-json-file "+same)
	b.run(t, reassignCommand, "--list")
	b.run(t, reassignCommand, "--cancel --reassignment-json-file "+same)
	b.run(t, reassignCommand, "--execute --reassignment-json-file "+elsewhere)
	b.run(t, logDirsCommand, "--describe --topic-list placed --broker-list 1")
	b.run(t, topicCommand, "--describe --topic placed")
	b.run(t, topicCommand, "--describe --under-replicated-partitions")
	b.run(t, offsetShell, "--topic placed")
	b.run(t, offsetShell, "--topic placed --time earliest")
	b.run(t, offsetShell, "--topic placed --time max-timestamp --partitions 0")
}

// toolsOnCluster asks what the cluster is and can do.
func toolsOnCluster(t *testing.T, b *toolbox) {
	b.run(t, clusterTool, "cluster-id @")
	b.run(t, clusterTool, "list-endpoints @")
	b.run(t, featureCommand, "describe")
	b.run(t, featureCommand, "upgrade --feature transaction.version=2 --dry-run")
	b.run(t, featureCommand, "upgrade --feature transaction.version=9 --dry-run")
	b.run(t, quorumCommand, "describe --status")
	b.run(t, clientMetricsCommand, "--alter --name tool --metrics org.apache.kafka. --interval 1000 --match client_id=none")
	b.after(t, "tool", clientMetricsCommand, "--list")
	b.after(t, "interval", clientMetricsCommand, "--describe")
	b.run(t, clientMetricsCommand, "--delete --name tool")
	b.after(t, `^\s*$`, clientMetricsCommand, "--list")
	if exit, out := b.call(t, versionsCommand, b.words("")...); exit != 0 || !strings.Contains(out, "usable: ") {
		t.Errorf("exit code %d, no API is usable: %s", exit, out)
	}
}

// toolsOnPerformance runs the tools that measure. What they measure is nothing to compare; that they come to their end is.
func toolsOnPerformance(t *testing.T, b *toolbox) {
	const records = 20000
	b.createTopics(t, "measured", "echoed")
	for _, options := range []string{
		"", "--print-metrics", "--transactional-id measured --transaction-duration-ms 20",
		"--command-property compression.type=zstd enable.idempotence=false acks=1",
	} {
		exit, out := b.call(t, producerPerformance, b.words(
			fmt.Sprintf("--topic measured --num-records %d --throughput -1 --record-size 100 %s", records/4, options))...)
		if exit != 0 || !strings.Contains(out, fmt.Sprint(records/4, " records sent")) {
			t.Errorf("ProducerPerformance %s: exit code %d: %s", options, exit, out)
		}
	}
	for class, args := range map[string]string{
		consumerPerformance: "--topic measured --group measured --num-records %d --timeout 60000",
		sharePerformance:    "--topic measured --group measured-share --num-records %d --timeout 60000",
	} {
		if class == sharePerformance {
			b.call(t, configCommand, b.words("--alter --entity-type groups --entity-name measured-share --add-config share.auto.offset.reset=earliest")...)
		}
		exit, out := b.call(t, class, b.words(fmt.Sprintf(args, records))...)
		if exit != 0 || strings.Contains(out, "WARNING") || !strings.Contains(out, fmt.Sprint(records)) {
			t.Errorf("%s: exit code %d: %s", class, exit, out)
		}
	}
	exit, out := b.call(t, endToEndLatency, b.words("--topic echoed --num-records 50 --producer-acks all --record-size 100")...)
	if exit != 0 || !strings.Contains(out, "Percentiles") {
		t.Errorf("EndToEndLatency: exit code %d: %s", exit, out)
	}
	checkCommitted(t, b.server, "measured", "measured")
}

// verifyReplicas lets the replica verification tool look at a topic until it has seen no lag. It ends only by a signal.
func verifyReplicas(t *testing.T, s *server) {
	s.fill(t, "replicated", 10)
	p := startProgram(t, "replica verification", tool(t, "org.apache.kafka.tools.ReplicaVerificationTool",
		"--broker-list", s.Bootstrap, "--topics-include", "replicated", "--time", "-2", "--report-interval-ms", "200"))
	p.awaitLine(t, "max lag is 0 for partition replicated-")
	p.Stop(t)
}
