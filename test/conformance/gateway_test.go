package conformance

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"millrace/test/harness"
)

// TestGateway runs clients against Apache Kafka behind `millrace gateway`: nobody notices that it is there. It takes minutes, so it runs only for
// the clients that -clients names; test/gateway has what always runs.
func TestGateway(t *testing.T) {
	if testing.Short() || *only == "" {
		t.Skip("runs for the clients that -clients names, see `make gateway`")
	}
	kafka := harness.StartKafka(t, harness.KafkaOptions{})
	suite(t, &harness.Cluster{Engine: harness.ApacheKafka, Bootstrap: startGateway(t, kafka.Bootstrap), Dir: kafka.Dir}, *only)
}

// startGateway runs the verb in front of a cluster until the test ends.
func startGateway(t *testing.T, upstream string) string {
	t.Helper()
	const ports = 5
	first := harness.FreePorts(t, ports)
	listen, health := fmt.Sprintf("127.0.0.1:%d", first), fmt.Sprintf("127.0.0.1:%d", first+ports-1)
	command := exec.Command(harness.MillraceBinary(t), "gateway", "--upstream", upstream, "--listen", listen, "--health", health)
	process := harness.StartProcess(t, "millrace gateway", filepath.Join(t.TempDir(), "gateway.log"), command)
	harness.Eventually(t, time.Minute, "the gateway is ready", func(ctx context.Context) error {
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
	return listen
}
