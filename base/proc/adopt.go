package proc

import (
	"errors"
	"fmt"
)

// ErrGone is returned by Adopt when the process has ended, or its number belongs to another one.
var ErrGone = errors.New("proc: process is gone")

// Adopt returns a Process for one that runs already and is not our child, by the PID and the start mark that
// its Process had in the program that started it. Its Status will not be known, and its output stays where
// it goes.
func Adopt(pid int, started string) (*Process, error) {
	if pid <= 1 {
		return nil, fmt.Errorf("adopt process %d: %w", pid, ErrGone)
	}
	w, err := openWatch(pid, started)
	if err != nil {
		return nil, fmt.Errorf("adopt process %d: %w", pid, err)
	}
	// Checked after the watch is open: from here on the watch stands for this process.
	if mark, err := startMark(pid); err != nil || mark != started || !w.alive() {
		w.close()
		return nil, fmt.Errorf("adopt process %d: %w", pid, ErrGone)
	}
	p := &Process{pid: pid, started: started, watch: w, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer w.close()
		w.wait()
	}()
	return p, nil
}
