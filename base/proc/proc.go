package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Spec says what to start.
type Spec struct {
	Path string   // of the executable; looked up in PATH when it has no slash
	Args []string // without the program's name
	Env  []string // key=value; nil: this process's environment
	Dir  string   // working directory; empty: this process's

	// Output gets each line that the child writes to its standard output and error, without the line
	// end and cut at 64 KiB. It is called from one goroutine, must not keep the slice, and while it
	// blocks the child's writes do. With a callback the child's writes fail once this process is
	// gone: a child that is to live on needs LogFile. Nil: see LogFile.
	Output func(line []byte)
	// LogFile is a file that the child's standard output and error are appended to; it is created with
	// mode 0600. Not together with Output. When both are unset the child inherits this process's
	// output, or nothing if Discard is set.
	LogFile string
	Discard bool

	// DieWithParent makes the kernel kill the child when this process ends, however it ends. It does
	// nothing on other systems than Linux. It costs an OS thread while the child runs.
	DieWithParent bool
}

// Status says how a process ended.
type Status struct {
	Known  bool           // false for an adopted process: only its parent learns the rest
	Code   int            // exit code; -1 when a signal ended it
	Signal syscall.Signal // that ended it; 0: it exited
}

// OK says that the process is known to have exited with code 0.
func (s Status) OK() bool { return s.Known && s.Code == 0 }

// String returns "exited with code N", "ended by SIGNAL" or "ended".
func (s Status) String() string {
	switch {
	case !s.Known:
		return "ended"
	case s.Signal != 0:
		return "ended by signal: " + s.Signal.String()
	default:
		return fmt.Sprintf("exited with code %d", s.Code)
	}
}

// Process is a process that was started or adopted.
type Process struct {
	pid     int
	started string
	watch   *watch        // how the end is noticed and signals are sent
	done    chan struct{} // closed after status is set
	status  Status
}

// outputGrace is how long a dead child's output may stay open, by descendants that have left its group.
const outputGrace = time.Second

// Start starts a child. ctx bounds nothing but the start itself; stop the child with Stop.
func Start(ctx context.Context, spec Spec) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Path, err)
	}
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Env = spec.Env
	cmd.Dir = spec.Dir
	cmd.WaitDelay = outputGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	closeOutput, err := connectOutput(cmd, spec)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Path, err)
	}
	p := &Process{done: make(chan struct{})}
	started := make(chan error)
	go p.run(cmd, spec.DieWithParent, started, closeOutput)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Path, err)
	}
	return p, nil
}

// run starts the child, waits for its end and sets the status. It stays on one thread when the child is to
// die with its parent: the kernel means the thread that has started it.
func (p *Process) run(cmd *exec.Cmd, dieWithParent bool, started chan<- error, closeOutput func()) {
	if dieWithParent {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		setDeathSignal(cmd.SysProcAttr)
	}
	err := p.begin(cmd)
	started <- err
	if err != nil {
		closeOutput()
		return
	}
	defer close(p.done)
	defer closeOutput()
	defer p.watch.close()
	p.watch.wait()
	// The child is dead but not reaped, so its number still names its group and no other.
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	_ = cmd.Wait() // the status says it all; other errors are about output that came too late
	p.status = statusOf(cmd.ProcessState)
}

func (p *Process) begin(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	p.pid = cmd.Process.Pid
	var err error
	if p.started, err = startMark(p.pid); err == nil {
		p.watch, err = openWatch(p.pid, p.started)
	}
	if err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	return nil
}

func statusOf(state *os.ProcessState) Status {
	s := Status{Known: true, Code: state.ExitCode()}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		s.Signal = ws.Signal()
	}
	return s
}

// PID returns the process's number, which is its group's number too.
func (p *Process) PID() int { return p.pid }

// Started returns a mark of when the process was started, opaque and never empty. PID and mark together name
// the process for ever, across reboots; Adopt takes them.
func (p *Process) Started() string { return p.started }

// Done is closed when the process has ended (P2).
func (p *Process) Done() <-chan struct{} { return p.done }

// Status says how the process ended. Before Done is closed it is the zero Status.
func (p *Process) Status() Status {
	select {
	case <-p.done:
		return p.status
	default:
		return Status{}
	}
}

// Self returns the path of the running executable, for starting it again.
func Self() (string, error) { return os.Executable() }
