package first

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is the unit of times in /proc/PID/stat: USER_HZ, which is 100 on every Linux that Go runs on.
const ticksPerSecond = 100

// errProc is returned for a file below /proc that does not look as it should.
var errProc = errors.New("cannot be understood")

// usage is what one process has used since it began.
type usage struct {
	cpu       time.Duration // user and system time, all threads
	rss       int64         // bytes resident now
	rssPeak   int64         // most bytes ever resident
	sinceBoot time.Duration // when the process began
}

// usageOf reads the figures of a process.
func usageOf(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	// The program's name stands in parentheses and may hold anything; the third field follows it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const user, system, start = 14 - 3, 15 - 3, 22 - 3
	if len(fields) <= start {
		return usage{}, fmt.Errorf("/proc/%d/stat %w", pid, errProc)
	}
	ticks := func(field int) time.Duration {
		n, parseErr := strconv.ParseInt(string(fields[field]), 10, 64)
		err = errors.Join(err, parseErr)
		return time.Duration(n) * time.Second / ticksPerSecond
	}
	u := usage{cpu: ticks(user) + ticks(system), sinceBoot: ticks(start)}
	status, readErr := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err = errors.Join(err, readErr); err != nil {
		return usage{}, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "VmRSS":
			u.rss, err = kibibytes(value)
		case "VmHWM":
			u.rssPeak, err = kibibytes(value)
		}
		if err != nil {
			return usage{}, fmt.Errorf("/proc/%d/status %w: %w", pid, errProc, err)
		}
	}
	return u, nil
}

func kibibytes(text string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 10, 64)
	return n << 10, err
}

// sinceBoot is the clock in which usageOf tells when a process began; both have a hundredth of a second.
func sinceBoot() (time.Duration, error) {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0, err
	}
	seconds, err := strconv.ParseFloat(string(bytes.Fields(text)[0]), 64)
	if err != nil {
		return 0, fmt.Errorf("/proc/uptime %w: %w", errProc, err)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// settle writes dirty pages, and waits until the processes have used next to no CPU for a while, or until patience has
// run out: some never rest. It returns what each has used since it began.
func settle(ctx context.Context, pids []int, patience time.Duration) ([]usage, error) {
	const (
		look    = 500 * time.Millisecond
		restful = look / 20 // CPU used between two looks
	)
	unix.Sync()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	cpu := func(u usage) time.Duration { return u.cpu }
	before, err := usageOfAll(pids)
	for range patience / look {
		if err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
		var now []usage
		now, err = usageOfAll(pids)
		if err == nil && sum(now, cpu)-sum(before, cpu) <= restful {
			return now, nil
		}
		before = now
	}
	return before, err
}

func usageOfAll(pids []int) ([]usage, error) {
	all := make([]usage, len(pids))
	for i, pid := range pids {
		u, err := usageOf(pid)
		if err != nil {
			return nil, err
		}
		all[i] = u
	}
	return all, nil
}
