package ecosystem

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
)

const (
	verifiableProducer      = "org.apache.kafka.tools.VerifiableProducer"
	verifiableConsumer      = "org.apache.kafka.tools.VerifiableConsumer"
	verifiableShareConsumer = "org.apache.kafka.tools.VerifiableShareConsumer"
)

// verifiedMessages is the number of records of a verifiable producer.
const verifiedMessages = 2000

// verifyConsumers has the verifiable producer fill a topic, and reads it with the verifiable consumer of each protocol and of
// share groups. All three read each acknowledged record once, and leave the offsets of all of them.
func verifyConsumers(t *testing.T, s *server) {
	const topic = "verified"
	s.createTopics(t, topic)
	acked := verifyProducer(t, s, topic)
	t.Run("group", func(t *testing.T) {
		for _, protocol := range []string{"classic", "consumer"} {
			t.Run(protocol, func(t *testing.T) {
				t.Parallel()
				verifyGroup(t, s, topic, protocol, acked)
			})
		}
		t.Run("share", func(t *testing.T) {
			t.Parallel()
			verifyShare(t, s, topic, acked)
		})
	})
}

// verifyProducer returns the acknowledged values with their offsets, by partition.
func verifyProducer(t *testing.T, s *server, topic string) map[string]place {
	t.Helper()
	p := startProgram(t, "verifiable producer", tool(t, verifiableProducer, "--bootstrap-server", s.Bootstrap, "--topic", topic,
		"--max-messages", strconv.Itoa(verifiedMessages), "--repeating-keys", "50", "--acks", "-1"))
	if code := p.finish(t); code != 0 {
		t.Fatalf("the producer ended with exit code %d", code)
	}
	acked := make(map[string]place)
	for _, e := range p.events("producer_send_success") {
		acked[e.text("value")] = place{topic, int32(e.number(t, "partition"))}
	}
	if failed := p.events("producer_send_error"); len(failed) > 0 {
		t.Errorf("%d errors, for instance %v", len(failed), failed[0])
	}
	data := p.awaitEvent(t, "tool_data")
	if sent, got := data.number(t, "sent"), data.number(t, "acked"); len(acked) != verifiedMessages || sent != got || got != len(acked) {
		t.Fatalf("sent %d, acked %d, %d different values; want %d of each", sent, got, len(acked), verifiedMessages)
	}
	return acked
}

// verifyGroup reads all with two members of one consumer group, of which the second comes later.
func verifyGroup(t *testing.T, s *server, topic, protocol string, acked map[string]place) {
	group := "verified-" + protocol
	start := func(name string) *program {
		return startProgram(t, name, tool(t, verifiableConsumer, "--bootstrap-server", s.Bootstrap, "--topic", topic,
			"--group-id", group, "--group-protocol", protocol, "--verbose"))
	}
	first := start("first member of " + group)
	first.awaitEvent(t, "partitions_assigned")
	second := start("second member of " + group)
	second.awaitEvent(t, "partitions_assigned")
	members := []*program{first, second}
	seen := make(map[string]int)
	first.await(t, "the last record", func(context.Context) error {
		clear(seen)
		for _, member := range members {
			countValues(seen, member)
		}
		if len(seen) < len(acked) {
			return fmt.Errorf("%d of %d values were read", len(seen), len(acked))
		}
		return nil
	})
	for _, member := range members {
		if code := member.Stop(t); code != javaTerminated && code != 0 {
			t.Errorf("%s ended with exit code %d", member.name, code)
		}
		for _, e := range member.events("offsets_committed") {
			if e["success"] != true {
				t.Errorf("%s: a commit failed: %v", member.name, e)
			}
		}
	}
	compareValues(t, seen, acked)
	checkCommitted(t, s, group, topic)
}

// countValues counts the values of the records that a verifiable consumer was given.
func countValues(seen map[string]int, p *program) {
	for _, e := range p.events("record_data") {
		seen[e.text("value")]++
	}
}

// compareValues wants each acknowledged value once.
func compareValues(t *testing.T, seen map[string]int, acked map[string]place) {
	t.Helper()
	for value := range acked {
		if seen[value] != 1 {
			t.Errorf("value %s was read %d times", value, seen[value])
		}
	}
	for value := range maps.Keys(seen) {
		if _, known := acked[value]; !known {
			t.Errorf("value %s was never acknowledged", value)
		}
	}
}

// checkCommitted wants the offsets of the group at the ends of the topic.
func checkCommitted(t *testing.T, s *server, group, topic string) {
	t.Helper()
	admin := s.admin(t)
	ends, err := admin.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	committed, err := admin.FetchOffsets(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(end kadm.ListedOffset) {
		if got, ok := committed.Lookup(topic, end.Partition); !ok || got.At != end.Offset {
			t.Errorf("%s of %s-%d committed %d, want %d", group, topic, end.Partition, got.At, end.Offset)
		}
	})
}

// verifyShare reads all with two members of one share group.
func verifyShare(t *testing.T, s *server, topic string, acked map[string]place) {
	const group = "verified-share"
	start := func(name, mode string) *program {
		return startProgram(t, name, tool(t, verifiableShareConsumer, "--bootstrap-server", s.Bootstrap, "--topic", topic,
			"--group-id", group, "--verbose", "--acknowledgement-mode", mode, "--offset-reset-strategy", "earliest"))
	}
	members := []*program{start("first member of "+group, "sync"), start("second member of "+group, "async")}
	seen := make(map[string]int)
	members[0].await(t, "the last acknowledgement", func(context.Context) error {
		clear(seen)
		acknowledged := 0
		for _, member := range members {
			countValues(seen, member)
			for _, e := range member.events("offsets_acknowledged") {
				acknowledged += e.number(t, "count")
			}
		}
		if acknowledged < len(acked) {
			return fmt.Errorf("%d of %d records were acknowledged", acknowledged, len(acked))
		}
		return nil
	})
	for _, member := range members {
		if code := member.Stop(t); code != javaTerminated && code != 0 {
			t.Errorf("%s ended with exit code %d", member.name, code)
		}
		for _, e := range member.events("offsets_acknowledged") {
			if e["success"] != true {
				t.Errorf("%s: an acknowledgement failed: %v", member.name, e)
			}
		}
	}
	compareValues(t, seen, acked)
	out := runTool(t, shareGroupCommand, "--bootstrap-server", s.Bootstrap, "--describe", "--group", group)
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		const columns = 5 // GROUP TOPIC PARTITION START-OFFSET LAG
		if len(fields) == columns && fields[1] == topic && fields[4] != "0" {
			t.Errorf("the group has a lag: %s", line)
		}
	}
}
