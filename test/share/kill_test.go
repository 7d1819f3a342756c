package share

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace/test/harness"
)

// deliveryLimit is how often a record is delivered at most.
const deliveryLimit = 5

// killed is what TestKill knows of the records.
type killed struct {
	asked      map[int64]bool // accepting it was asked for, and perhaps not answered
	done       map[int64]bool // the broker said that it is accepted
	deliveries map[int64]int  // the highest number of them that was seen
}

// TestKill kills the broker between reads and while it is acknowledging: nothing of which it said that it is accepted comes
// again, and nothing is done that nobody accepted and that was not worn out.
func TestKill(t *testing.T) {
	long(t)
	cluster := harness.StartMillrace(t, harness.MillraceOptions{})
	d := start(t, cluster)
	const n = 300
	d.topic("kill", 1)
	d.earliest("kill-g")
	d.produce("kill", 0, n, false)
	k := killed{asked: map[int64]bool{}, done: map[int64]bool{}, deliveries: map[int64]int{}}
	open := func() { d.want("ok", "open a kill-g kill explicit max.poll.records=20") }
	open()
	for round := 0; ; round++ {
		if round > 400 {
			t.Fatalf("%d of %d records are done", len(k.done), n)
		}
		got := d.poll("a", 3000)
		if len(got) == 0 && strings.HasSuffix(d.do("offsets kill-g"), "/0") {
			break
		}
		accepted := k.verdicts(d, round, got)
		if round%5 == 4 {
			revive(t, cluster, kill(t, cluster))
		}
		d.ask("commit a")
		if round%5 == 2 {
			<-time.After(time.Duration(round%8) * time.Millisecond) // another moment of the commit each time
			revive(t, cluster, kill(t, cluster))
		}
		if d.answer("commit a") == "committed 0=ok" {
			for _, o := range accepted {
				k.done[o] = true
			}
		} else if len(got) > 0 { // a new session: what is held is let go of
			d.do("close a")
			open()
		}
	}
	for o := range int64(n) {
		if !k.asked[o] && k.deliveries[o] < deliveryLimit {
			t.Errorf("%d is done, and nobody accepted it in %d deliveries", o, k.deliveries[o])
		}
	}
	d.want("ok", "close a")
}

// verdicts acknowledges what was read, most of it accepted, and returns what was.
func (k *killed) verdicts(d *driver, round int, got []record) (accepted []int64) {
	d.Helper()
	for i, r := range got {
		if k.done[r.offset] {
			d.Fatalf("round %d: %d was accepted and came again", round, r.offset)
		}
		k.deliveries[r.offset] = max(k.deliveries[r.offset], r.deliveries)
		kind := "ACCEPT"
		if i%5 == 4 {
			kind = "RELEASE"
		} else {
			k.asked[r.offset], accepted = true, append(accepted, r.offset)
		}
		d.want("ok", "ack a 0 %d %d %s", r.offset, r.offset, kind)
	}
	return accepted
}

// kill kills the broker and returns which it was.
func kill(t *testing.T, cluster *harness.Cluster) (pid int) {
	t.Helper()
	pid, err := cluster.BrokerPID()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	return pid
}

// revive waits until there is another broker than the one that was killed.
func revive(t *testing.T, cluster *harness.Cluster, killed int) {
	t.Helper()
	harness.Eventually(t, stepLimit, "another broker is there", func(context.Context) error {
		now, err := cluster.BrokerPID()
		if err == nil && now == killed {
			err = fmt.Errorf("broker %d is still there", killed)
		}
		return err
	})
}
