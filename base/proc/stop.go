package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// Signal sends a signal to the process alone. It returns os.ErrProcessDone when the process has ended.
func (p *Process) Signal(sig syscall.Signal) error { return p.send(p.pid, sig) }

// Kill ends the process and its group at once. The end shows in Done. It returns os.ErrProcessDone when the
// process has ended already.
func (p *Process) Kill() error { return p.send(-p.pid, syscall.SIGKILL) }

// Stop asks the process group to end with SIGTERM, kills it when the process still runs after grace, and
// waits for the end. It returns nil when the process has ended, also if it had before. When ctx ends first it
// kills the group at once and returns ctx's error, without waiting.
func (p *Process) Stop(ctx context.Context, grace time.Duration) error {
	if err := p.send(-p.pid, syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop process %d: %w", p.pid, err)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill process %d: %w", p.pid, err)
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop process %d: %w", p.pid, ctx.Err())
	}
}

// send signals the process or, by its negative number, its group, if the process still runs.
func (p *Process) send(target int, sig syscall.Signal) error {
	select {
	case <-p.done:
		return os.ErrProcessDone
	default:
	}
	if !p.watch.alive() {
		return os.ErrProcessDone
	}
	err := syscall.Kill(target, sig)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}
