package terminal

import (
	"fmt"
	"io"
	"log/slog"
)

// StatusLine shows on a terminal how far something is.
type StatusLine struct {
	out  io.Writer
	live bool // it is a terminal
}

// StatusLine returns one on the error output: it shows nothing where that is no terminal.
func (t *IO) StatusLine() *StatusLine { return &StatusLine{out: t.ErrOut, live: IsTerminal(t.ErrOut)} }

// Show replaces what the line says.
func (l *StatusLine) Show(format string, args ...any) {
	if l.live {
		fmt.Fprintf(l.out, "\r\x1b[K"+format, args...)
	}
}

// Clear takes the line away.
func (l *StatusLine) Clear() {
	if l.live {
		fmt.Fprint(l.out, "\r\x1b[K")
	}
}

// QuietLogger is for verbs that tell by themselves how they do.
func (t *IO) QuietLogger() *slog.Logger {
	return slog.New(slog.NewTextHandler(t.ErrOut, &slog.HandlerOptions{Level: slog.LevelError}))
}
