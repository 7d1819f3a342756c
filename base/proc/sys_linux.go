package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func setDeathSignal(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// Boot names the run of this machine since it was booted; no other machine and no other run has the same.
func Boot() (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(boot)), err
}

// startMark is the boot's id and the process's start time in ticks since then.
func startMark(pid int) (string, error) {
	boot, err := Boot()
	if err != nil {
		return "", err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	ticks, err := startTicks(stat)
	if err != nil {
		return "", err
	}
	return boot + "/" + ticks, nil
}

// startTicks takes field 22 out of /proc/pid/stat. The second field is the program's name in parentheses and
// may itself hold spaces and parentheses, so the count begins after the last one.
func startTicks(stat []byte) (string, error) {
	end := bytes.LastIndexByte(stat, ')')
	fields := bytes.Fields(stat[end+1:])
	const startTime = 22 - 3 // the first field after the name is the third
	if end < 0 || len(fields) <= startTime {
		return "", errors.New("malformed process status")
	}
	return string(fields[startTime]), nil
}

// watch is a pidfd: a handle on one process that is never reused, and is readable once the process has ended.
// It waits in the runtime's poller, not in a thread.
type watch struct {
	file *os.File
	raw  syscall.RawConn
}

func openWatch(pid int, _ string) (*watch, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("pidfd: %w", err)
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &watch{file, raw}, nil
}

// wait blocks until the process has ended; a child is then left to be reaped.
func (w *watch) wait() {
	_ = w.raw.Read(hasEnded) // fails only when the watch is closed
}

func (w *watch) alive() bool {
	ended := true // a closed watch is one whose process has ended
	_ = w.raw.Control(func(fd uintptr) { ended = hasEnded(fd) })
	return !ended
}

func (w *watch) close() { _ = w.file.Close() }

func hasEnded(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}
