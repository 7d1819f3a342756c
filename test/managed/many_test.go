package managed

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kafka"
	"github.com/aws/aws-sdk-go-v2/service/kafka/types"

	"millrace/test/harness"
)

const (
	// manyVariable is the environment variable that says how long clusters come and go.
	manyVariable = "MILLRACE_CLUSTERS"
	// manyLength is that of an ordinary run.
	manyLength = 10 * time.Second
	// workers make, change and delete a cluster each, at a time.
	workers = 6
)

// TestManyClusters has clusters made, changed and deleted at random, and then looks for what is left of them: brokers' processes, folders, objects,
// keys, ports.
func TestManyClusters(t *testing.T) {
	harness.Long(t, "make suite SUITE=managed")
	length := manyLength
	if text := os.Getenv(manyVariable); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", manyVariable, err)
		}
	}
	s := start(t)
	p := newProvider(t, s)
	clean := s.traces(t, "many-")
	var made atomic.Int64
	var work sync.WaitGroup
	end := time.Now().Add(length)
	for w := range workers {
		work.Go(func() {
			for k := 0; time.Now().Before(end) && !t.Failed(); k++ {
				if err := p.oneLife(fmt.Sprintf("many-%d-%d", w, k%3)); err != nil {
					t.Error(err)
					return
				}
				made.Add(1)
			}
		})
	}
	work.Wait()
	left := s.traces(t, "many-")
	for deadline := time.Now().Add(30 * time.Second); !slices.Equal(left, clean) && time.Now().Before(deadline); left = s.traces(t, "many-") {
		wait(t.Context())
	}
	for _, trace := range left {
		if !slices.Contains(clean, trace) {
			t.Errorf("left: %s", trace)
		}
	}
	t.Logf("%d clusters", made.Load())
}

// oneLife makes a cluster, changes it or not, and deletes it at any moment.
func (p provider) oneLife(name string) error {
	ctx := p.Context()
	request := &types.ProvisionedRequest{BrokerNodeGroupInfo: &nodes, KafkaVersion: aws.String("3.9.x"), NumberOfBrokerNodes: aws.Int32(int32(3 * (1 + rand.IntN(2))))}
	made, err := p.api.CreateClusterV2(ctx, &kafka.CreateClusterV2Input{ClusterName: aws.String(name), Provisioned: request})
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	if rand.IntN(5) > 0 { // else it is deleted while it is made, as far as that is allowed
		if err := p.becomes(made.ClusterArn, "ACTIVE"); err != nil {
			return err
		}
		for range rand.IntN(3) {
			if err := p.change(made.ClusterArn); err != nil {
				return err
			}
		}
	}
	for {
		_, err := p.api.DeleteCluster(ctx, &kafka.DeleteClusterInput{ClusterArn: made.ClusterArn})
		if err == nil {
			break
		}
		var busy *types.BadRequestException // while something else is done with it, as MSK says it
		if !errors.As(err, &busy) {
			return fmt.Errorf("delete %s: %w", name, err)
		}
		wait(ctx)
	}
	return p.becomes(made.ClusterArn, "")
}

// change begins an update, and may not wait for its end.
func (p provider) change(arn *string) error {
	ctx := p.Context()
	info, err := p.api.DescribeCluster(ctx, &kafka.DescribeClusterInput{ClusterArn: arn})
	if err != nil {
		return err
	}
	version := info.ClusterInfo.CurrentVersion
	switch rand.IntN(3) {
	case 0:
		count := int32(3 + 3*rand.IntN(2))
		_, err = p.api.UpdateBrokerCount(ctx, &kafka.UpdateBrokerCountInput{ClusterArn: arn, CurrentVersion: version, TargetNumberOfBrokerNodes: aws.Int32(count)})
	case 1:
		_, err = p.api.UpdateMonitoring(ctx, &kafka.UpdateMonitoringInput{ClusterArn: arn, CurrentVersion: version, EnhancedMonitoring: types.EnhancedMonitoringPerBroker})
	case 2:
		_, err = p.api.RebootBroker(ctx, &kafka.RebootBrokerInput{ClusterArn: arn, BrokerIds: []string{"1"}})
	}
	var refused *types.BadRequestException // it is as asked for already
	if err != nil && !errors.As(err, &refused) {
		return fmt.Errorf("change %s: %w", *arn, err)
	}
	if rand.IntN(2) == 0 {
		return p.becomes(arn, "ACTIVE")
	}
	return nil
}

// becomes waits until the cluster is in a state; "": gone.
func (p provider) becomes(arn *string, state string) error {
	ask := p.clusterState(arn)
	for deadline := time.Now().Add(2 * time.Minute); ; {
		now, err := ask()
		var missing *types.NotFoundException
		if errors.As(err, &missing) {
			now, err = "", nil
		}
		switch {
		case err != nil:
			return fmt.Errorf("describe %s: %w", *arn, err)
		case now == state:
			return nil
		case now == "FAILED", time.Now().After(deadline):
			return fmt.Errorf("%s is %q, want %q", *arn, now, state)
		}
		wait(p.Context())
	}
}

// traces are what clusters leave: processes of brokers, folders and files of brokers and objects, keys in etcd that do not tell of operations
// or accounts. word is in the names of the clusters.
func (s site) traces(t *testing.T, word string) (all []string) {
	t.Helper()
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range commands {
		text, err := os.ReadFile(file)
		if words := strings.Split(string(text), "\x00"); err == nil && len(words) > 1 && words[1] == "broker" && strings.Contains(string(text), s.Dir) {
			all = append(all, "process "+words[2]+" "+words[3])
		}
	}
	for _, pattern := range []string{"brokers/*", "logs/*", "store/clusters/*", "store/*"} {
		found, err := filepath.Glob(filepath.Join(s.Dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	all = append(all, s.keys(t, word)...)
	slices.Sort(all)
	return slices.Compact(all)
}

func (s site) keys(t *testing.T, word string) (names []string) {
	t.Helper()
	store := s.dial(t)
	defer store.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	items, _, err := store.List(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range items {
		if strings.Contains(item.Key, word) && !strings.HasPrefix(item.Key, "security/trail/") { // what is on record outlives what it is about
			names = append(names, "key "+item.Key)
		}
	}
	return names
}
