package ecosystem

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"

	"millrace/test/harness"
)

// TestGateway runs a Connect worker, which writes its source's records exactly once, and a Streams application that is killed, against Apache
// Kafka behind `millrace gateway`. The broker behind is killed under the worker, not under the application. It is a long form: what always
// runs through the gateway is in test/gateway.
func TestGateway(t *testing.T) {
	if !full() {
		t.Skip("a long form: MILLRACE_ECOSYSTEM=full")
	}
	harness.Require(t, harness.Java)
	t.Run("connect", func(t *testing.T) {
		connectsExactlyOnce(t, behindGateway(t))
	})
	t.Run("streams", func(t *testing.T) {
		run := newStreams(t, behindGateway(t))
		want := run.killed(t, kills(t), func(int) bool { return false })
		run.reset(t, want)
	})
}

// behindGateway is Apache Kafka as it is reached through a gateway, which runs until the test ends.
func behindGateway(t *testing.T) *server {
	t.Helper()
	kafka := harness.StartKafka(t, kafkaOptions())
	const ports = 5 // the bootstrap port, brokers 0 to 2, /healthz
	first := harness.FreePorts(t, ports)
	listen, health := fmt.Sprintf("127.0.0.1:%d", first), fmt.Sprintf("127.0.0.1:%d", first+ports-1)
	command := exec.Command(harness.MillraceBinary(t), "gateway", "--upstream", kafka.Bootstrap, "--listen", listen, "--health", health)
	process := harness.StartProcess(t, "millrace gateway", filepath.Join(t.TempDir(), "gateway.log"), command)
	harness.Eventually(t, waitLimit, "the gateway is ready", func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+health+"/healthz", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", resp.StatusCode)
		}
		return nil
	})
	t.Cleanup(func() {
		if code := process.Stop(t); code != 0 {
			t.Errorf("the gateway stopped with exit code %d", code)
		}
	})
	return &server{Cluster: &harness.Cluster{Engine: harness.ApacheKafka, Bootstrap: listen, Dir: kafka.Dir}, behind: kafka}
}
