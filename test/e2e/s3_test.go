package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// A cluster whose store is a bucket: what is compacted goes there, and is read from there, after a restart too.
func TestServeOverS3(t *testing.T) {
	bucket := harness.StartS3(t)
	options := harness.MillraceOptions{
		Dir: filepath.Join(t.TempDir(), "data"), Args: []string{"--store", bucket.URL("clusters", "")}, Env: bucket.Env(),
	}
	cluster := harness.StartMillrace(t, options)
	client := newClient(t, cluster)
	admin := kadm.NewClient(client)
	often := "100"
	hurry := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "log.cleaner.backoff.ms", Value: &often}, {Op: kadm.SetConfig, Name: "log.retention.check.interval.ms", Value: &often}}
	if _, err := admin.AlterBrokerConfigs(t.Context(), hurry); err != nil {
		t.Fatal(err)
	}
	compact, clean := "compact", "0"
	configs := map[string]*string{"cleanup.policy": &compact, "segment.ms": &often, "min.cleanable.dirty.ratio": &clean}
	if _, err := admin.CreateTopic(t.Context(), 1, 1, configs, "kept"); err != nil {
		t.Fatal(err)
	}
	const keys = 10
	write := func(round int) {
		t.Helper()
		for k := range keys {
			r := &kgo.Record{Topic: "kept", Key: fmt.Append(nil, k), Value: fmt.Appendf(nil, "%d of round %d", k, round)}
			if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(0)
	write(1)
	segments := filepath.Join(bucket.Dir, "clusters", "default", "segments")
	harness.Eventually(t, time.Minute, "a segment is in the bucket", func(ctx context.Context) error {
		found, err := filepath.Glob(filepath.Join(segments, "*", "*", "*", "*"))
		if err == nil && len(found) == 0 {
			err = os.ErrNotExist
		}
		return err
	})
	cluster.Stop(t)
	options.KafkaPort, options.APIPort = 0, 0
	again := harness.StartMillrace(t, options)
	latest := make(map[string]string)
	reader := newClient(t, again, kgo.ConsumeTopics("kept"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for len(latest) < keys || latest[fmt.Sprint(keys-1)] != fmt.Sprintf("%d of round 1", keys-1) {
		fetches := reader.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { latest[string(r.Key)] = string(r.Value) })
	}
	for k := range keys {
		if got, want := latest[fmt.Sprint(k)], fmt.Sprintf("%d of round 1", k); got != want {
			t.Errorf("key %d holds %q, want %q", k, got, want)
		}
	}
}
