package harness

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// stopLimit is how long a process has to end after SIGTERM before it is killed.
const stopLimit = 20 * time.Second

// errNoChild is returned by FindChild where the process has no such child.
var errNoChild = errors.New("harness: no such child process")

// A Process is a running server with its output in a log file. It is ended by its id, never by name.
type Process struct {
	name     string
	command  *exec.Cmd
	logPath  string
	done     chan struct{} // closed once the process was waited for
	err      error         // what Wait said; read only after done
	expected atomic.Bool   // its end was asked for
}

// StartProcess runs command with its output appended to logPath, whose end is shown if the test fails. With an empty logPath
// the output goes where command says. The process is ended when the test ends.
func StartProcess(t testing.TB, name, logPath string, command *exec.Cmd) *Process {
	t.Helper()
	if logPath != "" {
		log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		command.Stdout, command.Stderr = log, log
	}
	command.SysProcAttr = childAttributes()
	if err := command.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	p := &Process{name: name, command: command, logPath: logPath, done: make(chan struct{})}
	go func() {
		p.err = command.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		if !p.expected.Load() {
			p.Stop(t)
		}
		if t.Failed() && p.logPath != "" {
			p.dumpLog(t)
		}
	})
	return p
}

// PID returns the process id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Log is the file that the process's output goes to; "" where it was started with none.
func (p *Process) Log() string { return p.logPath }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Kill sends SIGKILL and waits for the end. Children of the process are left alone.
func (p *Process) Kill() {
	p.expected.Store(true)
	_ = p.command.Process.Kill()
	<-p.done
}

// ExitCode returns the code with which the process ended by itself; call it after Done. It is -1 where a signal ended it.
func (p *Process) ExitCode() int { return p.command.ProcessState.ExitCode() }

// Expect says that the process may end by itself: cleanup does not ask it to.
func (p *Process) Expect() { p.expected.Store(true) }

// Stop asks with SIGTERM and waits; it returns the exit code, or -1 where the process had to be killed, which fails the test.
func (p *Process) Stop(t testing.TB) int {
	t.Helper()
	p.expected.Store(true)
	_ = p.command.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(stopLimit)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		children := descendants(p.PID())
		_ = p.command.Process.Kill()
		<-p.done
		for _, pid := range children {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		t.Errorf("%s (pid %d) did not stop within %v of SIGTERM and was killed", p.name, p.PID(), stopLimit)
		return -1
	}
	return p.command.ProcessState.ExitCode()
}

// dumpLog copies the end of the process's log into the test's output.
func (p *Process) dumpLog(t testing.TB) {
	t.Helper()
	const shown = 16 << 10
	file, err := os.Open(p.logPath)
	if err != nil {
		return
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > shown {
		_, _ = file.Seek(-shown, io.SeekEnd)
	}
	tail, _ := io.ReadAll(file)
	t.Logf("end of the log of %s (%s):\n%s", p.name, filepath.Base(p.logPath), tail)
}

// running says why a process that should be up is not; it is nil while the process runs.
func (p *Process) running() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended: %w", p.name, errors.Join(p.err, errors.New(p.command.ProcessState.String())))
	default:
		return nil
	}
}

// FindChild returns the id of a direct child of pid whose command line has word as one of its arguments (for the broker of
// a serve: "broker"). It reads /proc, or asks ps where there is none. A child that was started a moment ago may have no arguments
// yet, and is not found then.
func FindChild(pid int, word string) (int, error) { return findChild(pid, word) }

// findChild looks for words that follow one another; the first may stand apart from the others.
func findChild(pid int, word string, more ...string) (int, error) {
	for child, process := range processes() {
		if process.parent == pid && slices.Contains(process.arguments, word) && follow(process.arguments, more) {
			return child, nil
		}
	}
	return 0, fmt.Errorf("%w: %q below %d", errNoChild, append([]string{word}, more...), pid)
}

// follow says that words stand in arguments, one after the other.
func follow(arguments, words []string) bool {
	for i := range arguments {
		if i+len(words) <= len(arguments) && slices.Equal(arguments[i:i+len(words)], words) {
			return true
		}
	}
	return false
}

// descendants returns the ids of all processes below pid.
func descendants(pid int) []int {
	table := processes()
	var found []int
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		for child, process := range table {
			if process.parent == queue[0] {
				found = append(found, child)
				queue = append(queue, child)
			}
		}
	}
	return found
}

type processInfo struct {
	parent    int
	arguments []string
}

func processes() map[int]processInfo {
	if _, err := os.Stat("/proc/self/stat"); err == nil {
		return procProcesses()
	}
	table := make(map[int]processInfo)
	output, err := exec.Command("ps", "-A", "-o", "pid=,ppid=,args=").Output()
	if err != nil {
		return table
	}
	for line := range strings.Lines(string(output)) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		pid, _ := strconv.Atoi(fields[0])
		parent, _ := strconv.Atoi(fields[1])
		table[pid] = processInfo{parent: parent, arguments: fields[2:]}
	}
	return table
}

func procProcesses() map[int]processInfo {
	table := make(map[int]processInfo)
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return table
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "stat"))
		if err != nil {
			continue // it ended meanwhile
		}
		// The program's name stands in parentheses and may hold spaces; state and parent follow it.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 2 {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		cmdline, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		arguments := strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
		table[pid] = processInfo{parent: parent, arguments: arguments}
	}
	return table
}
