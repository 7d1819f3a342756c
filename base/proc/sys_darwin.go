package proc

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pollInterval is how often a process is looked at: Darwin has no handle on a process that is not a child.
const pollInterval = 100 * time.Millisecond

func setDeathSignal(*syscall.SysProcAttr) {}

// Boot names the run of this machine since it was booted; no other machine and no other run has the same.
func Boot() (string, error) { return unix.Sysctl("kern.bootsessionuuid") }

// startMark is the process's start time by the wall clock.
func startMark(pid int) (string, error) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return "", err
	}
	start := info.Proc.P_starttime
	return fmt.Sprintf("%d.%06d", start.Sec, start.Usec), nil
}

// watch looks at the process now and then.
type watch struct {
	pid     int
	started string
	closing sync.Once
	closed  chan struct{}
}

func openWatch(pid int, started string) (*watch, error) {
	return &watch{pid: pid, started: started, closed: make(chan struct{})}, nil
}

// wait blocks until the process has ended; a child is then left to be reaped.
func (w *watch) wait() {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for w.alive() {
		select {
		case <-tick.C:
		case <-w.closed:
			return
		}
	}
}

// stateZombie is SZOMB of sys/proc.h: ended, but not reaped.
const stateZombie = 5

func (w *watch) alive() bool {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", w.pid)
	if err != nil || info.Proc.P_stat == stateZombie {
		return false
	}
	mark, err := startMark(w.pid)
	return err == nil && mark == w.started
}

func (w *watch) close() { w.closing.Do(func() { close(w.closed) }) }
