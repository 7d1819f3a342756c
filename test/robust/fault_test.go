package robust

import (
	"bytes"
	"context"
	"crypto/rand"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace/test/harness"
	"millrace/test/robust/history"
)

// TestKillBroker kills the broker; the agent starts it again, and it recovers what it acknowledged. In every fourth round
// the new one is killed too, in the middle of its recovery.
func TestKillBroker(t *testing.T) {
	r := start(t)
	killed := 0
	kill := func() {
		killed = r.brokerPID(killed)
		r.signal(killed, syscall.SIGKILL)
	}
	r.rounds(rounds(t, 1), func(round int) {
		kill()
		if round%4 == 3 {
			kill()
		}
	})
	r.judge()
}

// TestKillAll kills serve and its broker at once, as a loss of power would (the page cache survives), and starts serve again.
func TestKillAll(t *testing.T) {
	harness.Long(t, "make soak")
	r := start(t)
	r.rounds(rounds(t, 0.2), func(int) {
		r.killAll()
		r.restart()
	})
	r.judge()
}

// TestTornTail kills everything and puts rubbish behind the end of the newest WAL file before the restart, as a crash can
// leave it behind what was synced. None of it was acknowledged, and none of it may show.
func TestTornTail(t *testing.T) {
	harness.Long(t, "make soak")
	noise := make([]byte, 3000)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	// A whole group behind the end is not among them: no crash makes one, so the log takes it for a sign that what
	// stood before it is damaged, and refuses to start.
	tails := []func(data []byte) []byte{
		func([]byte) []byte { return noise },
		func([]byte) []byte { return make([]byte, 64<<10) },
		func(data []byte) []byte { return slices.Concat(data[:min(len(data), 100)], noise) },   // begins as a file does
		func(data []byte) []byte { return slices.Concat(noise, data[max(0, len(data)-100):]) }, // ends as a group does
		func([]byte) []byte { return noise[:1] },
	}
	r := start(t)
	r.rounds(max(rounds(t, 0.2), len(tails)), func(round int) {
		r.killAll()
		r.editWAL(func(data []byte) []byte {
			return append(nextSector(data), tails[round%len(tails)](data)...)
		})
		r.restart()
	})
	r.judge()
}

// TestKillServe kills serve alone. Its broker may go on or end; the next serve has to take over either way, and no
// process may be left when that one has stopped.
func TestKillServe(t *testing.T) {
	harness.Long(t, "make soak")
	r := start(t)
	var brokers []int
	r.rounds(rounds(t, 0.2), func(int) {
		if pid, err := r.cluster.BrokerPID(); err == nil {
			brokers = append(brokers, pid)
		}
		r.cluster.Process().Kill()
		r.restart()
	})
	r.judge()
	r.cluster.Stop(t)
	for _, pid := range brokers {
		if runs(pid) {
			t.Errorf("broker %d outlived its cluster", pid)
			r.signal(pid, syscall.SIGKILL)
		}
	}
}

// runs reports whether the process is there and has not ended: one whose new parent does not ask for its exit code stays
// in the table, but does not run.
func runs(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err != nil || !bytes.Contains(stat, []byte(") Z "))
}

// TestPauseBroker stops the broker's clock for a while, as a suspended machine or a long stall does. Whoever else
// acts meanwhile, what the broker does when it wakes must be right.
func TestPauseBroker(t *testing.T) {
	harness.Long(t, "make soak")
	r := start(t)
	r.rounds(rounds(t, 0.2), func(round int) {
		pid := r.brokerPID(0)
		r.signal(pid, syscall.SIGSTOP)
		pause := time.NewTimer(time.Duration(200+400*round%4000) * time.Millisecond)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-t.Context().Done():
		}
		r.signal(pid, syscall.SIGCONT)
	})
	r.judge()
}

// TestPlantedLoss takes acknowledged data away behind the broker's back and wants it missed: a judge that finds nothing
// here would find nothing anywhere.
func TestPlantedLoss(t *testing.T) {
	harness.Long(t, "make soak")
	r := start(t)
	r.progress(acksBetween)
	r.drain()
	r.killAll()
	r.editWAL(func(data []byte) []byte { return data[:len(data)*9/10] })
	r.restart()
	harness.Eventually(t, returnLimit, "the broker listens", func(ctx context.Context) error {
		connection, err := new(net.Dialer).DialContext(ctx, "tcp", r.cluster.Bootstrap)
		if err != nil {
			return err
		}
		return connection.Close()
	})
	found := r.verify()
	lost := slices.ContainsFunc(found, func(v history.Violation) bool { return v.Kind == history.Lost })
	if !lost {
		t.Errorf("a tenth of the newest WAL file was cut off, and no record is missed; found: %v", found)
	}
}

// killAll kills serve first, so that it cannot start the broker again, and then the broker.
func (r *run) killAll() {
	r.t.Helper()
	pid := r.brokerPID(0)
	r.cluster.Process().Kill()
	r.signal(pid, syscall.SIGKILL)
}

// editWAL changes the WAL file that was written last. Edit gets what stands before the zeros of reserved space, and
// what it returns is written in its place; the file's size stays, unless that is too small.
func (r *run) editWAL(edit func(data []byte) []byte) {
	r.t.Helper()
	editFile(r.t, newestWAL(r.t, r.cluster.Dir), edit)
}

// editFile does that to one file.
func editFile(t *testing.T, path string, edit func(data []byte) []byte) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	edited := edit(bytes.TrimRight(slices.Clone(content), "\x00"))
	if missing := len(content) - len(edited); missing > 0 {
		edited = append(edited, make([]byte, missing)...)
	}
	if err := os.WriteFile(path, edited, 0); err != nil {
		t.Fatal(err)
	}
}

// nextSector pads data to the beginning of a sector in which nothing of it stands. Its own last bytes may be zeros, so
// a little more is left than meets the eye.
func nextSector(data []byte) []byte {
	const sector, margin = 512, 64
	return append(data, make([]byte, margin+sector-(len(data)+margin)%sector)...)
}

// newestWAL returns the file below a folder named wal of an express broker that was written last.
func newestWAL(t *testing.T, dir string) (newest string) {
	t.Helper()
	var modified time.Time
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || !strings.Contains(path, "/wal/") || strings.Contains(path, "/etcd/") {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Size() > 0 && info.ModTime().After(modified) {
			newest, modified = path, info.ModTime()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if newest == "" {
		t.Fatalf("no WAL file below %s", dir)
	}
	return newest
}
