package proc_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"millrace/base/proc"
)

// roleEnv makes the test binary play a child instead of running tests.
const roleEnv = "PROC_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		play(role)
	}
	os.Exit(m.Run())
}

// play is the child's side; it does not return.
func play(role string) {
	switch role {
	case "exit":
		code, _ := strconv.Atoi(os.Args[1])
		os.Exit(code)
	case "print":
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
		fmt.Print(strings.Repeat("x", 100<<10) + "\r\nno end")
		os.Exit(0)
	case "where":
		dir, _ := os.Getwd()
		fmt.Println(dir, os.Getenv("EXTRA"), syscall.Getpgrp() == os.Getpid())
		os.Exit(0)
	case "polite": // ends on SIGTERM
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		fmt.Println("ready")
		<-term
		os.Exit(7)
	case "stubborn": // ignores SIGTERM
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		<-time.After(time.Minute) // an end, in case the test forgets it
	case "mother", "strict": // starts a child in a group of its own and, unless strict, ends
		p, err := proc.Start(context.Background(), proc.Spec{
			Path: os.Args[0], Env: env("stubborn"), LogFile: os.Args[1], DieWithParent: role == "strict",
		})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(p.PID(), p.Started())
		if role == "strict" {
			<-time.After(time.Minute) // an end, in case the test forgets it
		}
		os.Exit(0)
	case "shell": // starts a child in its own group
		child, err := os.StartProcess(os.Args[0], os.Args[:1], &os.ProcAttr{Env: env("stubborn"), Files: []*os.File{nil, os.Stdout}})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(child.Pid)
		<-time.After(time.Minute) // an end, in case the test forgets it
	}
	os.Exit(99)
}

func env(role string, more ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, roleEnv) })
	return append(append(env, roleEnv+"="+role), more...)
}

func TestStatus(t *testing.T) {
	for _, code := range []int{0, 3} {
		p := start(t, proc.Spec{Args: []string{fmt.Sprint(code)}, Env: env("exit")})
		wait(t, p)
		want := proc.Status{Known: true, Code: code}
		if got := p.Status(); got != want || got.OK() != (code == 0) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("signal to an ended process: %v", err)
		}
		if err := p.Stop(t.Context(), time.Second); err != nil {
			t.Errorf("stop of an ended process: %v", err)
		}
	}
}

func TestOutput(t *testing.T) {
	out := newLines()
	p := start(t, proc.Spec{Env: env("print"), Output: out.add})
	wait(t, p)
	got := out.all()
	slices.Sort(got)
	want := []string{"no end", "to stderr", "to stdout", strings.Repeat("x", 100<<10-64<<10), strings.Repeat("x", 64<<10)}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %d lines: %.80q", len(got), got)
	}
}

func TestLogFile(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	for range 2 {
		wait(t, start(t, proc.Spec{Env: env("print"), LogFile: log}))
	}
	data, err := os.ReadFile(log)
	if err != nil || strings.Count(string(data), "to stderr\n") != 2 {
		t.Errorf("the log has %d bytes, %v", len(data), err)
	}
}

func TestEnvironment(t *testing.T) {
	out := newLines()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	wait(t, start(t, proc.Spec{Env: env("where", "EXTRA=more"), Dir: dir, Output: out.add}))
	if got, want := strings.Join(out.all(), ""), dir+" more true"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStartFails(t *testing.T) {
	specs := map[string]proc.Spec{
		"no such program": {Path: filepath.Join(t.TempDir(), "none")},
		"two outputs":     {Path: os.Args[0], LogFile: "x", Output: func([]byte) {}},
		"no such log":     {Path: os.Args[0], LogFile: filepath.Join(t.TempDir(), "none", "log")},
	}
	for name, spec := range specs {
		if _, err := proc.Start(t.Context(), spec); err == nil {
			t.Errorf("%s: started", name)
		}
	}
}

func TestStop(t *testing.T) {
	tests := []struct {
		role  string
		grace time.Duration
		want  proc.Status
	}{
		{"polite", time.Minute, proc.Status{Known: true, Code: 7}},
		{"stubborn", 50 * time.Millisecond, proc.Status{Known: true, Code: -1, Signal: syscall.SIGKILL}},
	}
	for _, tt := range tests {
		p := startReady(t, tt.role)
		if err := p.Stop(t.Context(), tt.grace); err != nil {
			t.Fatal(err)
		}
		if got := p.Status(); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.role, got, tt.want)
		}
	}
}

func TestStopWithEndedContextKills(t *testing.T) {
	p := startReady(t, "stubborn")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := p.Stop(ctx, time.Hour); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
	wait(t, p)
	if got := p.Status().Signal; got != syscall.SIGKILL {
		t.Errorf("ended by %v", got)
	}
}

// TestGroupDies checks that a grandchild goes with the child, be that stopped or killed by somebody else (P2).
func TestGroupDies(t *testing.T) {
	for name, end := range map[string]func(p *proc.Process) error{
		"stopped": func(p *proc.Process) error { return p.Stop(t.Context(), 50*time.Millisecond) },
		"killed":  func(p *proc.Process) error { return p.Signal(syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			out := newLines()
			p := start(t, proc.Spec{Env: env("shell"), Output: out.add})
			said := []string{out.next(t), out.next(t)} // the grandchild's number and that it is ready
			slices.Sort(said)
			pid, err := strconv.Atoi(said[0])
			if err != nil || said[1] != "ready" {
				t.Fatalf("the family says %q", said)
			}
			if err := end(p); err != nil {
				t.Error(err)
			}
			wait(t, p)
			waitFor(t, "the grandchild's end", func() bool { return !runs(pid) })
		})
	}
}

// runs says whether a process exists and is no zombie: where nobody reaps orphans, they stay as zombies.
func runs(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

// TestAdopt starts a mother that starts a child and ends, then adopts the child, which is nobody's child here.
func TestAdopt(t *testing.T) {
	pid, mark, log := startOrphan(t)
	if _, err := proc.Adopt(pid, mark+"0"); !errors.Is(err, proc.ErrGone) {
		t.Errorf("adopt with another start mark: %v", err)
	}
	p, err := proc.Adopt(pid, mark)
	if err != nil {
		t.Fatal(err)
	}
	if p.PID() != pid || p.Started() != mark {
		t.Errorf("adopted %d %s", p.PID(), p.Started())
	}
	select {
	case <-p.Done():
		t.Fatal("the adopted process has ended")
	default:
	}
	waitFor(t, "the orphan's log", func() bool {
		data, err := os.ReadFile(log)
		return err == nil && string(data) == "ready\n"
	})
	if err := p.Stop(t.Context(), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	wait(t, p)
	if p.Status().Known {
		t.Errorf("the status of an adopted process is known: %+v", p.Status())
	}
	if _, err := proc.Adopt(pid, mark); !errors.Is(err, proc.ErrGone) {
		t.Errorf("adopt of an ended process: %v", err)
	}
}

func TestAdoptedProcessEndsByItself(t *testing.T) {
	pid, mark, _ := startOrphan(t)
	p, err := proc.Adopt(pid, mark)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wait(t, p)
	if err := p.Kill(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("kill of an ended process: %v", err)
	}
}

func TestDieWithParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux can do it")
	}
	log := filepath.Join(t.TempDir(), "log")
	out := newLines()
	mother := start(t, proc.Spec{Args: []string{log}, Env: env("strict"), Output: out.add})
	pid, mark := parse(t, out.next(t))
	child, err := proc.Adopt(pid, mark)
	if err != nil {
		t.Fatal(err)
	}
	if err := mother.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wait(t, mother)
	wait(t, child)
}

func TestAdoptNonsense(t *testing.T) {
	for _, pid := range []int{-1, 0, 1} {
		if _, err := proc.Adopt(pid, "x"); !errors.Is(err, proc.ErrGone) {
			t.Errorf("adopt of %d: %v", pid, err)
		}
	}
}

func TestSelf(t *testing.T) {
	path, err := proc.Self()
	if err != nil || !filepath.IsAbs(path) {
		t.Errorf("%q, %v", path, err)
	}
}

func start(t *testing.T, spec proc.Spec) *proc.Process {
	t.Helper()
	if spec.Path == "" {
		spec.Path = os.Args[0]
	}
	p, err := proc.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(context.WithoutCancel(t.Context()), 0); err != nil {
			t.Error(err)
		}
	})
	return p
}

// startReady starts a child that says when it is ready for signals.
func startReady(t *testing.T, role string) *proc.Process {
	t.Helper()
	out := newLines()
	p := start(t, proc.Spec{Env: env(role), Output: out.add})
	if got := out.next(t); got != "ready" {
		t.Fatalf("%s says %q", role, got)
	}
	return p
}

// startOrphan returns a stubborn process whose parent has ended.
func startOrphan(t *testing.T) (pid int, mark, log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "log")
	out := newLines()
	mother := start(t, proc.Spec{Args: []string{log}, Env: env("mother"), Output: out.add})
	wait(t, mother)
	pid, mark = parse(t, out.next(t))
	t.Cleanup(func() {
		if p, err := proc.Adopt(pid, mark); err == nil {
			_ = p.Kill()
			wait(t, p)
		}
	})
	return pid, mark, log
}

func parse(t *testing.T, line string) (pid int, mark string) {
	t.Helper()
	if _, err := fmt.Sscan(line, &pid, &mark); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return pid, mark
}

const patience = 20 * time.Second

func wait(t *testing.T, p *proc.Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience):
		t.Fatalf("process %d does not end", p.PID())
	}
}

func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); !cond(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s does not come", what)
		}
	}
}

// lines collects output.
type lines struct {
	mu   sync.Mutex
	got  []string
	more chan string
}

func newLines() *lines { return &lines{more: make(chan string, 100)} }

func (l *lines) add(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, string(line))
	l.more <- string(line)
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

func (l *lines) next(t *testing.T) string {
	t.Helper()
	select {
	case line := <-l.more:
		return line
	case <-time.After(patience):
		t.Fatal("no output")
	}
	return ""
}
