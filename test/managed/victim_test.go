package managed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kafka"
	"github.com/aws/aws-sdk-go-v2/service/kafka/types"

	"millrace/base/kv"
	"millrace/base/kv/etcd"
	"millrace/control"
	"millrace/test/harness"
)

// victimName is the cluster that operations are done on, and the word by which its keys are known.
const victimName = "victim"

// victim is an installation whose serve is killed while it does an operation, and started anew on the same folder and ports.
type victim struct {
	*testing.T
	site
	provider provider
	options  harness.MillraceOptions
	ports    [2]int // of brokers: from the first to before the second
}

func startVictim(t *testing.T) *victim {
	t.Helper()
	if testing.Short() {
		t.Skip("starts clusters: skipped with -short")
	}
	const ports = 128
	first := harness.FreePorts(t, ports)
	v := &victim{T: t, ports: [2]int{first, first + ports}, options: harness.MillraceOptions{
		Dir: filepath.Join(t.TempDir(), "data"), APIPort: harness.FreePorts(t, 1), KafkaPort: harness.FreePorts(t, 8), KeepRebalanceDelay: true,
		Args: []string{"--no-default-cluster", "--ports", fmt.Sprintf("%d-%d", first, first+ports-1)},
	}}
	v.site = site{Cluster: harness.StartMillrace(t, v.options)}
	v.env = v.environment(t)
	v.provider = newProvider(t, v.site)
	return v
}

// again starts serve anew after it was killed.
func (v *victim) again() {
	v.Helper()
	v.Cluster = harness.StartMillrace(v.T, v.options)
}

// once is the API without a second try: what serve is asked while it is killed is not asked again.
func once(o *kafka.Options) { o.RetryMaxAttempts = 1 }

// arn is that of the cluster; nil: there is none.
func (v *victim) arn() *string {
	v.Helper()
	out, err := v.provider.api.ListClustersV2(v.Context(), &kafka.ListClustersV2Input{ClusterNameFilter: aws.String(victimName)})
	v.provider.must(err)
	if len(out.ClusterInfoList) == 0 {
		return nil
	}
	return out.ClusterInfoList[0].ClusterArn
}

// version is what the API calls the cluster's.
func (v *victim) version(ctx context.Context, arn *string) *string {
	out, err := v.provider.api.DescribeClusterV2(ctx, &kafka.DescribeClusterV2Input{ClusterArn: arn}, once)
	if err != nil {
		return nil // serve is killed, and the change that the version is for cannot be asked for either
	}
	return out.ClusterInfo.CurrentVersion
}

// moments follows the record of the cluster's operation from now on, and tells of each state in which it is saved, until ctx ends or serve
// does. ready is closed when no state is missed any more.
func (v *victim) moments(ctx context.Context, ready chan<- struct{}, tell func(moment string)) {
	store := v.dial(v.T)
	defer store.Close()
	last := int64(0) // number of the latest operation
	reset := func(items []kv.Item, _ int64) error {
		for _, item := range items {
			last = max(last, operationOf(item).Number)
		}
		if ready != nil {
			close(ready)
			ready = nil
		}
		return nil
	}
	change := func(e kv.Event) error {
		if e.Type == kv.EventDelete {
			tell("erased")
			return nil
		}
		if op := operationOf(e.Item); op.Number > last {
			tell(momentOf(op))
		}
		return nil
	}
	if err := kv.Follow(ctx, store, "control/operations/"+victimName+"/", reset, change); err != nil && ctx.Err() == nil && ready != nil {
		v.Error(err)
		close(ready)
	}
}

func operationOf(item kv.Item) (op control.Operation) {
	_ = json.Unmarshal(item.Value, &op) // the zero value is of no operation
	return op
}

// momentOf names the state in which an operation was saved. What a step waits for is not part of it: that is another each time.
func momentOf(op control.Operation) string {
	at := fmt.Sprintf("%s begun", op.Request.Kind)
	for i, s := range op.Steps {
		if s.State != control.Pending {
			at = fmt.Sprintf("step %d, %s, is %s", i+1, s.Action, s.State)
		}
	}
	if !op.Ended.IsZero() {
		return "ended"
	}
	return at
}

// do has an operation done to its end, which has to be the good one, and returns the moments at which it was saved. At that of kill, serve is
// killed and started anew; "": it is not.
func (v *victim) do(w work, kill string) (seen []string) {
	v.Helper()
	arn := v.arn()
	ctx, cancel := context.WithCancel(v.Context())
	defer cancel()
	ready, done, serve := make(chan struct{}), make(chan struct{}), v.Process()
	go func() {
		defer close(done)
		v.moments(ctx, ready, func(moment string) {
			if ctx.Err() != nil || slices.Contains(seen, moment) {
				return
			}
			seen = append(seen, moment)
			if moment == kill {
				serve.Kill()
				cancel()
			}
			if moment == "ended" || moment == "erased" {
				cancel()
			}
		})
	}()
	<-ready
	if err := w.begin(ctx, v, arn); err != nil && kill == "" {
		v.Fatalf("%s: %v", w.name, err)
	}
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		cancel()
		<-done
		v.Fatalf("%s: it has come to %q", w.name, seen)
	}
	if kill != "" {
		if !slices.Contains(seen, kill) {
			v.Fatalf("%s: it was never %q: %q", w.name, kill, seen)
		}
		v.again()
	}
	v.ends(w)
	return seen
}

// ends waits until the cluster is at rest, and fails the test unless the operation came to a good end.
func (v *victim) ends(w work) {
	v.Helper()
	state := map[bool]string{false: "ACTIVE", true: ""}[w.deletes]
	harness.Eventually(v.T, 2*time.Minute, w.name, func(ctx context.Context) error {
		arn := v.arn()
		if arn == nil {
			if state != "" {
				v.Fatalf("%s: there is no cluster any more", w.name)
			}
			return nil
		}
		out, err := v.provider.api.DescribeClusterV2(ctx, &kafka.DescribeClusterV2Input{ClusterArn: arn})
		var gone *types.NotFoundException
		if errors.As(err, &gone) {
			return errors.New("it is just gone")
		}
		v.provider.must(err)
		if now := string(out.ClusterInfo.State); now != state {
			return fmt.Errorf("the cluster is %s", now)
		}
		return nil
	})
	arn := v.arn()
	if arn == nil {
		return
	}
	out, err := v.provider.api.ListClusterOperationsV2(v.Context(), &kafka.ListClusterOperationsV2Input{ClusterArn: arn})
	v.provider.must(err)
	for _, op := range out.ClusterOperationInfoList {
		if op.OperationState == nil || !strings.HasSuffix(*op.OperationState, "_COMPLETE") {
			v.Errorf("%s: operation %s is %s", w.name, aws.ToString(op.OperationType), aws.ToString(op.OperationState))
		}
	}
}

// picture is what there is of the cluster, for people to compare: its description, its brokers, and what lies about.
func (v *victim) picture() string {
	v.Helper()
	lines := append(v.traces(v.T, victimName), v.listening()...)
	if arn := v.arn(); arn != nil {
		lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "key control/operations/") }) // there are more and more
		ctx := v.Context()
		info, err := v.provider.api.DescribeClusterV2(ctx, &kafka.DescribeClusterV2Input{ClusterArn: arn})
		v.provider.must(err)
		brokers, err := v.provider.api.GetBootstrapBrokers(ctx, &kafka.GetBootstrapBrokersInput{ClusterArn: arn})
		v.provider.must(err)
		nodes, err := v.provider.api.ListNodes(ctx, &kafka.ListNodesInput{ClusterArn: arn})
		v.provider.must(err)
		c := info.ClusterInfo
		c.CurrentVersion, c.CreationTime, c.ActiveOperationArn = nil, nil, nil
		brokers.ResultMetadata, nodes.ResultMetadata = info.ResultMetadata, info.ResultMetadata
		for i := range nodes.NodeInfoList {
			nodes.NodeInfoList[i].AddedToClusterTime = nil
		}
		for _, part := range []any{c, brokers, nodes.NodeInfoList} {
			text, err := json.MarshalIndent(part, "", " ")
			v.provider.must(err)
			lines = append(lines, strings.Split(string(text), "\n")...)
		}
	}
	text := regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(-\d+)?`).ReplaceAllString(strings.Join(lines, "\n"), "ID")
	text = strings.ReplaceAll(text, v.Dir, "DIR")
	return text
}

// listening are the ports of brokers that somebody listens at.
func (v *victim) listening() (lines []string) {
	v.Helper()
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(name)
		if err != nil {
			v.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			const address, state, listens = 1, 3, "0A"
			fields := strings.Fields(line)
			if len(fields) <= state || fields[state] != listens {
				continue
			}
			_, text, _ := strings.Cut(fields[address], ":")
			port, err := strconv.ParseInt(text, 16, 32)
			if err == nil && int(port) >= v.ports[0] && int(port) < v.ports[1] {
				lines = append(lines, "listens at "+net.JoinHostPort("", strconv.Itoa(int(port))))
			}
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// settles waits until the picture is the wanted one, and fails the test with what differs where it does not become so.
func (v *victim) settles(what, want string) {
	v.Helper()
	harness.Eventually(v.T, 30*time.Second, what, func(context.Context) error {
		now := v.picture()
		if now == want {
			return nil
		}
		return fmt.Errorf("it differs from what is there when nothing is killed:\n%s", differs(want, now))
	})
}

// differs are the lines of each text that the other lacks.
func differs(want, got string) string {
	var b strings.Builder
	one, other := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, line := range one {
		if !slices.Contains(other, line) {
			fmt.Fprintln(&b, "-", line)
		}
	}
	for _, line := range other {
		if !slices.Contains(one, line) {
			fmt.Fprintln(&b, "+", line)
		}
	}
	if b.Len() == 0 {
		return "the same lines, in another number or order"
	}
	return b.String()
}

// dial opens the installation's etcd.
func (s site) dial(t *testing.T) kv.KV {
	t.Helper()
	endpoint, err := etcd.SocketURL(filepath.Join(s.Dir, "etcd"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := etcd.Dial(t.Context(), []string{endpoint}, etcd.Options{Prefix: "millrace/"})
	if err != nil {
		t.Fatal(err)
	}
	return store
}
