package secure

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuOf is the user and system time of all threads that the processes ever had.
func cpuOf(pids []int) (total time.Duration, err error) {
	// Linux makes the id of another process's clock of its pid: the pid's complement, and 2 for the scheduler's own count.
	const scheduled, shift = 2, 3
	for _, pid := range pids {
		var used unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<shift|scheduled), &used); err != nil {
			return 0, fmt.Errorf("cpu clock of process %d: %w", pid, err)
		}
		total += time.Duration(used.Nano())
	}
	return total, nil
}

// settle writes dirty pages and waits until the processes have used next to no CPU for a while, or until patience has run out: some never
// rest. It returns what they have used since they began.
func settle(ctx context.Context, pids []int, patience time.Duration) (time.Duration, error) {
	const (
		look    = 200 * time.Millisecond
		restful = look / 20 // CPU used between two looks
	)
	unix.Sync()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	before, err := cpuOf(pids)
	for range patience / look {
		if err != nil {
			return 0, err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-ticker.C:
		}
		now, err := cpuOf(pids)
		if err != nil || now-before <= restful {
			return now, err
		}
		before = now
	}
	return before, err
}

// loadAverage is that of the last minute.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
