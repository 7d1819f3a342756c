package dist

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"millrace/base/proc"
)

// Bounds of what is kept of a program's output.
const (
	keptLines = 40
	keptBytes = 400 // of one line
	endLimit  = 30 * time.Second
)

// program is one that runs to its end and is watched line by line.
type program struct {
	process *proc.Process
	mu      sync.Mutex
	lines   []string // the last ones
}

// begin starts a program; seen is called with each line that it prints, and may be nil.
func begin(ctx context.Context, path string, args []string, dir string, seen func(line string)) (*program, error) {
	p := &program{}
	process, err := proc.Start(ctx, proc.Spec{Path: path, Args: args, Dir: dir, DieWithParent: true, Output: func(line []byte) {
		text := string(line[:min(len(line), keptBytes)])
		p.mu.Lock()
		p.lines = append(p.lines, text)
		if len(p.lines) > keptLines {
			p.lines = p.lines[1:]
		}
		p.mu.Unlock()
		if seen != nil {
			seen(text)
		}
	}})
	p.process = process
	return p, err
}

// wait waits for the end, and makes it when ctx ends.
func (p *program) wait(ctx context.Context) error {
	select {
	case <-p.process.Done():
	case <-ctx.Done():
		_ = p.process.Kill() // it may have ended just now
		<-p.process.Done()
		return ctx.Err()
	}
	if s := p.process.Status(); !s.OK() {
		return fmt.Errorf("%s: %s", s, p.said())
	}
	return nil
}

// end asks the program to end, and waits.
func (p *program) end(ctx context.Context) error {
	_ = p.process.Signal(syscall.SIGTERM) // it may have ended just now
	ctx, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	select {
	case <-p.process.Done():
		return nil
	case <-ctx.Done():
		_ = p.process.Kill()
		<-p.process.Done()
		return ctx.Err()
	}
}

// said is the end of the output, on one line.
func (p *program) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	const most = 6
	var last []string
	for _, l := range p.lines[max(0, len(p.lines)-most):] {
		if l = strings.TrimSpace(l); l != "" {
			last = append(last, l)
		}
	}
	return strings.Join(last, " | ")
}

// run runs a program to its end and returns the end of what it printed.
func run(ctx context.Context, path string, args []string, dir string) (string, error) {
	p, err := begin(ctx, path, args, dir, nil)
	if err != nil {
		return "", err
	}
	err = p.wait(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n"), err
}
