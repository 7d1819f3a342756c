package harness

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// TestCachedBuildsOnce shows that of many that ask at a time one builds (H1), that another stamp is another folder, and
// that what a failed build left is not taken for a whole.
func TestCachedBuildsOnce(t *testing.T) {
	t.Setenv("MILLRACE_TEST_CACHE", t.TempDir())
	var builds atomic.Int32
	build := func(dir string) error {
		builds.Add(1)
		return os.WriteFile(filepath.Join(dir, "made"), nil, 0o644)
	}
	var askers sync.WaitGroup
	for range 8 {
		askers.Go(func() {
			dir, err := Cached("tool", []string{"1"}, build)
			if err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(dir, "made")); err != nil {
				t.Error(err)
			}
		})
	}
	askers.Wait()
	if builds.Load() != 1 {
		t.Errorf("%d builds, want 1", builds.Load())
	}
	if _, err := Cached("tool", []string{"2"}, build); err != nil || builds.Load() != 2 {
		t.Errorf("another stamp: %d builds, want 2; %v", builds.Load(), err)
	}
	fault := errors.New("no network")
	if _, err := Cached("tool", []string{"3"}, func(string) error { return fault }); !errors.Is(err, fault) {
		t.Errorf("a failed build gives %v", err)
	}
	if _, err := Cached("tool", []string{"3"}, build); err != nil || builds.Load() != 3 {
		t.Errorf("after a failed build: %d builds, want 3; %v", builds.Load(), err)
	}
}

func TestFindChild(t *testing.T) {
	command := exec.Command("cat", "-")
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Skip(err)
	}
	defer func() {
		in.Close()
		_ = command.Wait()
	}()
	// Start returns when the child has closed what it must not inherit; its arguments are there only a little later. Once it
	// has answered, its program runs.
	const word = "word"
	if _, err := io.WriteString(in, word); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len(word))); err != nil {
		t.Fatal(err)
	}
	if pid, err := FindChild(os.Getpid(), "-"); err != nil || pid != command.Process.Pid {
		t.Errorf("found %d, %v; want %d", pid, err, command.Process.Pid)
	}
	if _, err := FindChild(os.Getpid(), "no such argument"); !errors.Is(err, errNoChild) {
		t.Errorf("a child that is not there gives %v", err)
	}
}
