package conformance

import (
	"sync"
	"testing"
)

// matrix lets every client read what every client wrote: with every codec that the writer has, and in transactions that were
// committed and aborted. written holds the topics.
func matrix(t *testing.T, all []client, written *sync.Map) {
	for _, reader := range all {
		about := reader.about()
		if !about.offers("consume") {
			continue
		}
		t.Run(about.Client, func(t *testing.T) {
			t.Parallel()
			readAll(t, reader, all, written)
			readTransactions(t, reader, all, written)
		})
	}
}

func readAll(t *testing.T, reader client, writers []client, written *sync.Map) {
	about := reader.about()
	want := make(map[string][]record)
	var names []string
	count := 0
	for i, writer := range writers {
		codecs := writer.about().Codecs
		if about.has("slow") {
			codecs = codecs[i%len(codecs):][:1] // a process for each topic: one codec of each writer, in rotation
		}
		for _, codec := range codecs {
			topic := codecTopic(writer.about(), codec)
			if _, ok := written.Load(topic); !ok {
				continue // its writer has failed already
			}
			names = append(names, topic)
			want[topic] = sample(writer.about(), sampleSize)
			count += sampleSize
		}
	}
	var read struct{ Records []record }
	r := request{Op: "consume", Topics: names, Count: count, Seconds: 2 * operationSeconds}
	if err := reader.call(t.Context(), r, &read); err != nil {
		t.Fatal(err)
	}
	got := make(map[string][]record)
	for _, one := range read.Records {
		got[one.Topic] = append(got[one.Topic], one)
	}
	for _, topic := range names {
		if err := compareLog(about, got[topic], want[topic], 0); err != nil {
			t.Errorf("%s: %v", topic, err)
		}
	}
}

// readTransactions reads what all the writers' transactions left: with a client that can, no more than what was committed.
func readTransactions(t *testing.T, reader client, writers []client, written *sync.Map) {
	isolation := readUncommitted
	if reader.about().has("read_committed") {
		isolation = readCommitted
	}
	var logs []*partitionLog
	for _, writer := range writers {
		left, ok := written.Load(txnTopic(writer.about()))
		if !ok || reader.about().has("slow") && len(logs) > 0 { // a process for each topic: one of them
			continue
		}
		logs = append(logs, left.([]*partitionLog)...)
	}
	if len(logs) == 0 {
		return
	}
	if err := readLogs(t.Context(), reader, logs, isolation); err != nil {
		t.Error(err)
	}
}
