package proc

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
)

// maxLine is where a line without an end is cut.
const maxLine = 64 << 10

// connectOutput sets the child's output as the Spec says. The returned function is to be called when the
// child has ended.
func connectOutput(cmd *exec.Cmd, spec Spec) (ended func(), err error) {
	switch {
	case spec.Output != nil && spec.LogFile != "":
		return nil, errors.New("both Output and LogFile are set")
	case spec.Output != nil:
		w := &lineWriter{emit: spec.Output}
		cmd.Stdout, cmd.Stderr = w, w // one writer: os/exec then uses one pipe and one goroutine
		return w.flush, nil
	case spec.LogFile != "":
		f, err := os.OpenFile(spec.LogFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return nil, err
		}
		cmd.Stdout, cmd.Stderr = f, f
		return func() { _ = f.Close() }, nil
	case !spec.Discard:
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	}
	return func() {}, nil
}

// lineWriter cuts what is written into lines.
type lineWriter struct {
	emit func(line []byte)
	part []byte // of a line whose end has not come
}

func (w *lineWriter) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		room := maxLine - len(w.part)
		switch {
		case end >= 0 && end <= room:
			w.part = append(w.part, p[:end]...)
			p = p[end+1:]
			w.emit(bytes.TrimSuffix(w.part, []byte{'\r'}))
			w.part = w.part[:0]
		case len(p) >= room:
			w.part = append(w.part, p[:room]...)
			p = p[room:]
			w.flush()
		default:
			w.part = append(w.part, p...)
			p = nil
		}
	}
	return written, nil
}

// flush emits what has come without a line end.
func (w *lineWriter) flush() {
	if len(w.part) > 0 {
		w.emit(w.part)
		w.part = w.part[:0]
	}
}
