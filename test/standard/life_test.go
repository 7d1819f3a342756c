package standard

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"millrace/base/proc"
	"millrace/engine"
	"millrace/standard/node"
	"millrace/test/harness"
)

// TestLife is a cluster's from its first spec to the last file of it: it takes records, loses a broker to SIGKILL, a controller too, is adopted by the
// next agent, stops in good order, comes back with all that was acknowledged, and leaves nothing.
func TestLife(t *testing.T) {
	harness.Long(t, "make suite SUITE=standard")
	c := newCluster(t, "4.3.x", 3)
	c.awaitAll()
	c.create("topic")
	c.produce("topic", 0, 1)
	t.Logf("first ack after %v", time.Since(c.began).Round(10*time.Millisecond))
	c.produce("topic", 1, 50)

	for _, id := range []int32{2, least + 1} {
		killed := c.await(id, "ready", ready)
		began := time.Now()
		must(t, syscall.Kill(killed.PID, syscall.SIGKILL))
		c.await(id, "ready again", func(s engine.NodeStatus) bool { return ready(s) && s.PID != killed.PID })
		t.Logf("node %d was back after %v", id, time.Since(began).Round(10*time.Millisecond))
	}
	c.produce("topic", 50, 60)

	// Another agent adopts what an agent that was killed has left.
	before := map[int32]engine.NodeStatus{}
	for id := range c.specs {
		before[id] = c.await(id, "ready", ready)
	}
	must(t, c.agent.Kill())
	<-c.agent.Done()
	c.startAgent()
	for id, was := range before {
		now := c.await(id, "adopted", func(s engine.NodeStatus) bool { return ready(s) && s.Changed.After(was.Changed) })
		if now.PID != was.PID || now.Began != was.Began {
			t.Errorf("node %d is process %d, which was %d", id, now.PID, was.PID)
		}
	}

	// The agent stops: brokers give their leaders away, then the controllers end.
	began := time.Now()
	must(t, c.agent.Signal(syscall.SIGTERM))
	<-c.agent.Done()
	t.Logf("all was stopped after %v", time.Since(began).Round(10*time.Millisecond))
	for id, was := range before {
		if _, err := proc.Adopt(was.PID, was.Began); !errors.Is(err, proc.ErrGone) {
			t.Errorf("node %d runs on: %v", id, err)
		}
		clean := filepath.Join(node.Dir(c.folder, "c", id), "data", ".kafka_cleanshutdown")
		if _, err := os.Stat(clean); id < least && err != nil {
			t.Errorf("broker %d did not end in good order: %v", id, err)
		}
	}
	c.began = time.Now()
	c.startAgent()
	c.awaitAll()
	c.consume("topic", 60)
	c.remove()
}

// TestReleases runs the other releases that there are to begin with: those that clusters are upgraded from.
func TestReleases(t *testing.T) {
	harness.Long(t, "make suite SUITE=standard")
	for _, version := range []string{"3.9.x", "4.1.x"} {
		t.Run(version, func(t *testing.T) {
			c := newCluster(t, version, 1)
			c.awaitAll()
			c.create("topic")
			c.produce("topic", 0, 5)
			t.Logf("first acks after %v", time.Since(c.began).Round(10*time.Millisecond))
			c.consume("topic", 5)
			c.remove()
		})
	}
}

// remove has all nodes deleted, brokers first, and looks whether anything is left of them.
func (c *cluster) remove() {
	c.t.Helper()
	for _, controllers := range []bool{false, true} {
		for id, s := range c.specs {
			if (id > least) == controllers {
				s.Stopped, s.Remove = true, true
				c.put(s)
			}
		}
		for id := range c.specs {
			if (id > least) == controllers {
				c.await(id, "removed", func(s engine.NodeStatus) bool { return s.State == engine.Removed })
			}
		}
	}
	harness.Eventually(c.t, workLimit, "nothing is left", func(context.Context) error {
		for _, below := range []string{"standard", "logs"} {
			left, err := os.ReadDir(filepath.Join(c.folder, below))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			if len(left) > 0 {
				return errors.New("there is " + filepath.Join(below, left[0].Name()))
			}
		}
		return nil
	})
}
