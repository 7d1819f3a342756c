package ecosystem

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

const messageCopier = "org.apache.kafka.tools.TransactionalMessageCopier"

// copiedMessages is the number of messages in each partition.
const copiedMessages = 3000

// copierKills returns how often each copier is killed.
func copierKills() int {
	if full() {
		return 5
	}
	return 1
}

// copiers are the ways of the message copier: each copies one partition of the input.
func copiers() [][]string {
	return [][]string{
		{},
		{"--use-group-metadata"},
		{"--use-group-metadata", "--enable-random-aborts"},
	}
}

// copyMessages has the transactional message copier copy a topic, a partition each, and kills it now and then. A read_committed
// reader finds each partition copied record for record.
func copyMessages(t *testing.T, s *server) {
	s.createTopics(t, "copy.from", "copy.to")
	fillForCopy(t, s)
	t.Run("each", func(t *testing.T) {
		for partition, options := range copiers() {
			t.Run(fmt.Sprint(partition), func(t *testing.T) {
				t.Parallel()
				copyPartition(t, s, partition, options)
			})
		}
	})
	to := startReader(t, s, "copy.to")
	harness.Eventually(t, waitLimit, "the end of the copy", func(ctx context.Context) error { return to.atEnd(ctx, "copy.to") })
	for partition := range int32(partitions) {
		records := to.partition("copy.to", partition)
		for i, one := range records[:min(len(records), copiedMessages)] {
			if string(one.Value) != copied(partition, i) {
				t.Fatalf("record %d of partition %d is %q", i, partition, one.Value)
			}
		}
		if len(records) != copiedMessages {
			t.Errorf("%d records in partition %d, want %d", len(records), partition, copiedMessages)
		}
	}
}

func copied(partition int32, number int) string { return fmt.Sprintf("%d.%d", partition, number) }

func fillForCopy(t *testing.T, s *server) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var records []*kgo.Record
	for partition := range int32(partitions) {
		for number := range copiedMessages {
			records = append(records, &kgo.Record{Topic: "copy.from", Partition: partition, Value: []byte(copied(partition, number))})
		}
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// copyPartition runs one copier to the end of its partition; the kills before that come at random, in the middle of its work.
func copyPartition(t *testing.T, s *server, partition int, options []string) {
	start := func() *program {
		args := append([]string{
			"--broker-list", s.Bootstrap, "--input-topic", "copy.from", "--input-partition", strconv.Itoa(partition),
			"--output-topic", "copy.to", "--consumer-group", fmt.Sprint("copier-", partition),
			"--transactional-id", fmt.Sprint("copier-", partition), "--transaction-size", "50", "--transaction-timeout", "3000",
		}, options...)
		return startProgram(t, fmt.Sprint("copier of partition ", partition), tool(t, messageCopier, args...))
	}
	for range copierKills() {
		p := start()
		wanted := 1 + rand.IntN(copiedMessages/2/copierKills())
		p.await(t, "progress", func(context.Context) error {
			if done := processed(p); done < wanted {
				return fmt.Errorf("%d messages are copied, want %d", done, wanted)
			}
			return nil
		})
		p.Kill()
	}
	p := start()
	if code := p.finish(t); code != 0 {
		t.Errorf("the copier ended with exit code %d", code)
	}
}

// processed returns how many messages a copier has said to have copied.
func processed(p *program) (most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.lines {
		var said struct{ TotalProcessed int }
		if json.Unmarshal([]byte(line), &said) == nil {
			most = max(most, said.TotalProcessed)
		}
	}
	return most
}
