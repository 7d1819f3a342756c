package hostile

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// rss returns the resident memory of a process, now and at its highest, in bytes.
func rss(t testing.TB, pid int) (now, peak int64) {
	t.Helper()
	return procStatus(t, pid, "VmRSS:"), procStatus(t, pid, "VmHWM:")
}

// procStatus returns a size out of /proc/PID/status in bytes; the test is skipped where there is no such file.
func procStatus(t testing.TB, pid int, field string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if os.IsNotExist(err) {
		t.Skip("memory is read from /proc")
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if rest, ok := strings.CutPrefix(line, field); ok {
			if _, err := fmt.Sscan(rest, &kib); err != nil {
				t.Fatalf("%s%s: %v", field, rest, err)
			}
			return kib << 10
		}
	}
	t.Fatalf("no %s in the status of process %d", field, pid)
	return 0
}
