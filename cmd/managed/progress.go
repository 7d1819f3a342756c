package managed

import (
	"fmt"

	"millrace/cmd/terminal"
)

// States of operations and their steps.
const (
	operationDone   = "UPDATE_COMPLETE"
	operationFailed = "UPDATE_FAILED"
	stepDone        = "COMPLETED"
	stepFailed      = "FAILED"
	stepRunning     = "IN_PROGRESS"
)

// Progress shows people the steps of operations: a line for each that has ended and, on a terminal, the one under way. The zero value shows
// nothing. It is for one wait at a time.
type Progress struct {
	io    *terminal.IO
	line  *terminal.StatusLine
	of    string // the operation whose steps were shown
	shown int    // steps whose end was written
}

// NewProgress shows them on the error output of io.
func NewProgress(io *terminal.IO) *Progress { return &Progress{io: io, line: io.StatusLine()} }

// Say writes a line.
func (p *Progress) Say(format string, args ...any) {
	if p.io == nil {
		return
	}
	p.line.Clear()
	fmt.Fprintf(p.io.ErrOut, format+"\n", args...)
}

func (p *Progress) clear() {
	if p.io != nil {
		p.line.Clear()
	}
}

// waiting shows what a cluster is in, where nothing is known of steps.
func (p *Progress) waiting(c Cluster) {
	if p.io != nil {
		p.line.Show("%s: %s ...", c.Name, c.State)
	}
}

// show shows an operation.
func (p *Progress) show(op Operation) {
	if p.io == nil {
		return
	}
	p.line.Clear()
	if p.of != op.ARN {
		p.of, p.shown = op.ARN, 0
	}
	for i, s := range op.Steps {
		switch status := s.Info.Status; {
		case (status == stepDone || status == stepFailed) && i >= p.shown:
			mark := ""
			if status == stepFailed {
				mark = "  failed"
			}
			p.Say("%s  %d/%d  %s%s", Short(op.Cluster), i+1, len(op.Steps), s.Name, mark)
			p.shown = i + 1
		case status == stepRunning:
			p.line.Show("%s  %d/%d  %s ...", Short(op.Cluster), i+1, len(op.Steps), s.Name)
			return
		}
	}
}
