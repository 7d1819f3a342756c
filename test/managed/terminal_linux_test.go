package managed

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminalPair opens a terminal: what is written to ours is typed on theirs.
func terminalPair(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err = os.OpenFile(filepath.Join("/dev/pts", strconv.Itoa(number)), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = theirs.Close() })
	return ours, theirs
}

// answered runs a verb at a terminal where somebody types an answer.
func (s site) answered(t *testing.T, answer string, args ...string) (out string, status int) {
	t.Helper()
	ours, theirs := terminalPair(t)
	if _, err := io.WriteString(ours, answer+"\n"); err != nil {
		t.Fatal(err)
	}
	cmd := s.verbCommand(t.Context(), t, args...)
	cmd.Stdin = theirs
	text, _ := cmd.CombinedOutput() // the status says more than the error
	return string(text), cmd.ProcessState.ExitCode()
}

// TestPeopleAreAsked: at a terminal nothing is made or deleted without a yes.
func TestPeopleAreAsked(t *testing.T) {
	s := start(t)
	f := file(t, "clusters:\n  - name: asked\n    serverless: {clientSubnets: [a]}\n")
	out, status := s.answered(t, "n", "apply", "-f", f)
	contains(t, out, "Do this? [y/N]", "not confirmed, nothing was changed")
	if status != exitFailed {
		t.Errorf("status %d", status)
	}
	s.want(t, exitPending, "apply", "-f", f, "--plan")
	if out, status = s.answered(t, "y", "apply", "-f", f); status != exitOK {
		t.Fatalf("status %d: %s", status, out)
	}
	if out, status = s.answered(t, "", "cluster", "delete", "asked"); status != exitFailed || !strings.Contains(out, "nothing was deleted") {
		t.Errorf("status %d: %s", status, out)
	}
	if out, status = s.answered(t, "no", "apply", "-f", f, "--delete"); status != exitFailed {
		t.Errorf("status %d: %s", status, out)
	}
	s.want(t, exitOK, "apply", "-f", f, "--plan") // it is there
	if out, status = s.answered(t, "yes", "apply", "-f", f, "--delete"); status != exitOK {
		t.Errorf("status %d: %s", status, out)
	}
}
