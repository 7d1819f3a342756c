package robust

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"millrace/test/harness"
	"millrace/test/robust/traffic"
)

// TestDiskFull fills the brokers' file system under load until nothing is acknowledged any more, reads, and makes room
// again. Clients must be told to try again and nothing else; no acknowledged record may be lost. It needs the right to
// mount, which root has.
func TestDiskFull(t *testing.T) {
	harness.Long(t, "make soak")
	dir := filepath.Join(t.TempDir(), "data")
	brokers := filepath.Join(dir, "brokers")
	mountSmall(t, brokers)
	r := startWith(t, harness.MillraceOptions{Dir: dir}, traffic.Config{ValueSize: 2000})
	ballast := filepath.Join(brokers, "ballast")
	r.rounds(rounds(t, 0.2), func(int) {
		fill(t, ballast)
		r.stall()
		r.readSome()
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	})
	r.judge()
}

// mountSmall mounts a file system of its own at dir, a small one in memory.
func mountSmall(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1g"); err != nil {
		t.Skipf("needs the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
}

// fill takes all room that is left, with a file that is never written.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const most, least = 64 << 20, 4 << 10
	end := int64(0)
	for size := int64(most); size >= least; {
		switch err := syscall.Fallocate(int(file.Fd()), 0, end, size); {
		case err == nil:
			end += size
		case errors.Is(err, syscall.ENOSPC):
			size /= 2
		case !errors.Is(err, syscall.EINTR):
			t.Fatal(err)
		}
	}
}

// stall waits until no partition acknowledges any more.
func (r *run) stall() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), returnLimit)
	defer cancel()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	var before []int64
	for now := r.load.History().Acks(); !slices.Equal(before, now); now = r.load.History().Acks() {
		before = now
		select {
		case <-ticker.C:
		case <-ctx.Done():
			r.t.Fatal("the disk is full, and records are still acknowledged")
		}
	}
}

// readSome reads records from the beginning.
func (r *run) readSome() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), returnLimit)
	defer cancel()
	want := 100
	log, failed := r.load.Log(ctx)
	for range log {
		if want--; want == 0 {
			break
		}
	}
	if err := failed(); err != nil || want > 0 {
		r.t.Fatalf("read while the disk is full: %d records missing: %v", want, err)
	}
}
