package conformance

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"millrace/test/harness"
)

// streams runs a Kafka Streams word count: repartition topic, changelog, restart with state restored from the changelog.
func streams(t *testing.T, java client) {
	const in, out, application = "streams.in", "streams.out", "streams-word-count"
	do := func(r request) {
		t.Helper()
		if err := java.call(t.Context(), r, nil); err != nil {
			t.Fatalf("%s: %v", r.Op, err)
		}
	}
	for _, topic := range []string{in, out} {
		do(request{Op: "create_topic", Topic: topic, Partitions: 3})
	}
	lines := []string{"the quick brown fox", "the lazy dog", "quick quick fox", "dog", "the end"}
	want := make(map[string]int)
	written := 0
	// Two lives of the application: the second goes on counting where the first, whose local state is gone, left off.
	for range 2 {
		do(request{Op: "streams_start", Group: application, Topics: []string{in, out}})
		for partition := range int32(3) {
			var records []record
			for _, line := range lines {
				records = append(records, record{Key: []byte("line"), Value: []byte(line)})
				for word := range strings.FieldsSeq(line) {
					want[word]++
					written++
				}
			}
			do(request{Op: "produce", Topic: in, Partition: partition, Records: records})
		}
		harness.Eventually(t, 2*settleLimit, "the counts are right", func(ctx context.Context) error {
			return countsEqual(ctx, java, out, written, want)
		})
		do(request{Op: "streams_stop"})
	}
	var listed struct{ Names []string }
	if err := java.call(t.Context(), request{Op: "list_topics"}, &listed); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"-words-repartition", "-counts-changelog"} {
		checkInternalTopic(t, java, listed.Names, application+suffix)
	}
}

// countsEqual reads all updates: there is one for each word written, and the greatest of a word is its count.
func countsEqual(ctx context.Context, java client, topic string, written int, want map[string]int) error {
	var total int64
	for partition := range int32(3) {
		var bounds struct{ Latest int64 }
		if err := java.call(ctx, request{Op: "list_offsets", Topic: topic, Partition: partition}, &bounds); err != nil {
			return err
		}
		total += bounds.Latest
	}
	if total < int64(written) {
		return fmt.Errorf("%d updates of %d", total, written)
	}
	var read struct{ Records []record }
	if err := java.call(ctx, request{Op: "consume", Topics: []string{topic}, Count: int(total)}, &read); err != nil {
		return err
	}
	got := make(map[string]int)
	for _, one := range read.Records {
		count, err := strconv.Atoi(string(one.Value))
		if err != nil {
			return err
		}
		got[string(one.Key)] = max(got[string(one.Key)], count)
	}
	for word, count := range want {
		if got[word] != count {
			return fmt.Errorf("%q was counted %d times, want %d", word, got[word], count)
		}
	}
	return nil
}

// checkInternalTopic checks a topic that the application made for itself.
func checkInternalTopic(t *testing.T, java client, listed []string, topic string) {
	t.Helper()
	found := false
	for _, name := range listed {
		found = found || name == topic
	}
	if !found {
		t.Errorf("%s is not listed in %v", topic, listed)
		return
	}
	var configs struct{ Configs map[string]string }
	r := request{Op: "describe_configs", Topic: topic, Names: []string{"cleanup.policy"}}
	if err := java.call(t.Context(), r, &configs); err != nil {
		t.Fatal(err)
	}
	want := "delete"
	if strings.HasSuffix(topic, "-changelog") {
		want = "compact"
	}
	if got := configs.Configs["cleanup.policy"]; got != want {
		t.Errorf("%s has cleanup.policy %q, want %q", topic, got, want)
	}
}
