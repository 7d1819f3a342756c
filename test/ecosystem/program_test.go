package ecosystem

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"millrace/test/harness"
)

// errEnded says that a program that should run has ended.
var errEnded = errors.New("it has ended by itself")

// errNotYet is the answer of a check that has nothing else to say.
var errNotYet = errors.New("not yet")

// A program is a running child process whose output is kept, line by line.
type program struct {
	*harness.Process
	name string

	mu    sync.Mutex
	lines []string           // whole lines of standard output
	part  []byte             // the begun line behind them
	told  map[string][]event // what those lines tell that are events, by name
	said  bytes.Buffer
}

// startProgram starts a command and keeps what it says. The program ends with the test.
func startProgram(t *testing.T, name string, command *exec.Cmd) *program {
	t.Helper()
	p := &program{name: name, told: make(map[string][]event)}
	command.Stdout = writerFunc(p.takeOutput)
	command.Stderr = writerFunc(p.takeError)
	p.Process = harness.StartProcess(t, name, "", command)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s ended its output with:\n%s", name, p.tail())
		}
	})
	return p
}

// writerFunc is a function as a writer.
type writerFunc func([]byte)

func (w writerFunc) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}

func (p *program) takeOutput(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.part = append(p.part, b...)
	for {
		line, rest, whole := bytes.Cut(p.part, []byte{'\n'})
		if !whole {
			return
		}
		p.lines = append(p.lines, string(line))
		var e event
		if json.Unmarshal(line, &e) == nil {
			p.told[e.text("name")] = append(p.told[e.text("name")], e)
		}
		p.part = bytes.Clone(rest)
	}
}

func (p *program) takeError(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said.Write(b)
}

// output returns what the program wrote to standard output and what to standard error.
func (p *program) output() (stdout, stderr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(append(p.lines, string(p.part)), "\n"), p.said.String()
}

// tail returns the end of what the program said.
func (p *program) tail() string {
	const shown = 4000
	stdout, stderr := p.output()
	return stdout[max(0, len(stdout)-shown):] + "\n" + stderr[max(0, len(stderr)-shown):]
}

// alive is nil while the program runs.
func (p *program) alive() error {
	select {
	case <-p.Done():
		return fmt.Errorf("%s: %w with exit code %d", p.name, errEnded, p.ExitCode())
	default:
		return nil
	}
}

// await waits until check is nil, and fails at once when the program ends by itself (E5).
func (p *program) await(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	err := harness.Poll(ctx, func(ctx context.Context) error {
		err := check(ctx)
		if gone := p.alive(); err != nil && gone != nil {
			cancel()
			return gone
		}
		return err
	})
	if err != nil {
		t.Fatalf("%s: %s does not come: %v", p.name, what, err)
	}
}

// awaitLine waits for a line of standard output that holds text.
func (p *program) awaitLine(t *testing.T, text string) {
	t.Helper()
	p.await(t, fmt.Sprintf("a line with %q", text), func(context.Context) error {
		if stdout, _ := p.output(); !strings.Contains(stdout, text) {
			return errNotYet
		}
		return nil
	})
}

// finish waits for the end of the program, and returns its exit code.
func (p *program) finish(t *testing.T) int {
	t.Helper()
	p.Expect()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Kill()
		t.Fatalf("%s did not end: %v", p.name, ctx.Err())
	}
	return p.ExitCode()
}

// An event is one line of JSON of a verifiable tool.
type event map[string]any

func (e event) number(t *testing.T, name string) int {
	t.Helper()
	n, ok := e[name].(float64)
	if !ok {
		t.Fatalf("no number %q in %v", name, e)
	}
	return int(n)
}

func (e event) text(name string) string {
	text, _ := e[name].(string)
	return text
}

// events returns the events of that name so far.
func (p *program) events(name string) []event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clip(p.told[name])
}

// awaitEvent waits for the first event of that name.
func (p *program) awaitEvent(t *testing.T, name string) event {
	t.Helper()
	p.await(t, "the event "+name, func(context.Context) error {
		if len(p.events(name)) == 0 {
			return errNotYet
		}
		return nil
	})
	return p.events(name)[0]
}

// tool returns the command of a class of Apache Kafka.
func tool(t *testing.T, class string, args ...string) *exec.Cmd {
	t.Helper()
	return exec.Command("java", harness.JavaArgs(harness.Require(t, harness.Java), class, args...)...)
}

// runTool runs a class of Apache Kafka to its end, which must be good, and returns what it wrote to standard output. The tools
// print some errors and exit with 0, so what they print is searched too.
func runTool(t *testing.T, class string, args ...string) string {
	t.Helper()
	code, stdout, stderr := tryTool(t, class, args...)
	for _, bad := range []string{"Exception", "Error: ", "ERROR"} {
		if code == 0 && strings.Contains(stdout+stderr, bad) {
			t.Errorf("%s %v says %q", class, args, bad)
		}
	}
	if code != 0 || t.Failed() {
		t.Fatalf("%s %v: exit code %d:\n%s\n%s", class, args, code, stdout, stderr)
	}
	return stdout
}

// tryTool runs a class of Apache Kafka to whatever end.
func tryTool(t *testing.T, class string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	command := tool(t, class, args...)
	p := startProgram(t, class, command)
	code = p.finish(t)
	stdout, stderr = p.output()
	return code, stdout, stderr
}

// rocksLibrary returns a folder with RocksDB's native library. Left to itself each JVM unpacks a copy into a temporary file,
// which a kill leaves behind.
func rocksLibrary(t *testing.T) string {
	t.Helper()
	jars, err := filepath.Glob(filepath.Join(filepath.Dir(harness.Require(t, harness.Java)), "rocksdbjni-*.jar"))
	if err != nil || len(jars) != 1 {
		t.Fatalf("RocksDB's jar: %v, %v", jars, err)
	}
	dir, err := harness.Cached("rocksdb", []string{filepath.Base(jars[0])}, func(dir string) error {
		archive, err := zip.OpenReader(jars[0])
		if err != nil {
			return err
		}
		defer archive.Close()
		names := map[string]string{
			"linux/amd64":  "librocksdbjni-linux64.so",
			"linux/arm64":  "librocksdbjni-linux-aarch64.so",
			"darwin/arm64": "librocksdbjni-osx-arm64.jnilib",
		}
		for _, file := range archive.File {
			if file.Name == names[runtime.GOOS+"/"+runtime.GOARCH] {
				return unpack(file, filepath.Join(dir, file.Name))
			}
		}
		return nil // another platform: the JVM unpacks for itself
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func unpack(file *zip.File, path string) error {
	in, err := file.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
