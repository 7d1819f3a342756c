package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// A client carries out operations of clients/README.md against the cluster it was made for. One call at a time.
type client interface {
	about() hello
	// call carries out r and decodes its result into out, unless out is nil. An error of the broker is a *clientError.
	call(ctx context.Context, r request, out any) error
}

// hello says what a client is and offers.
type hello struct {
	Client     string
	Version    string
	Operations []string
	Codecs     []string
	Features   []string
}

func (h hello) offers(operation string) bool { return slices.Contains(h.Operations, operation) }
func (h hello) has(feature string) bool      { return slices.Contains(h.Features, feature) }

// request is one operation; its fields are told in clients/README.md.
type request struct {
	Op          string            `json:"op"`
	Seconds     int               `json:"seconds"`
	Topic       string            `json:"topic,omitempty"`
	Topics      []string          `json:"topics,omitempty"`
	Partition   int32             `json:"partition"`
	Partitions  int32             `json:"partitions"`
	Configs     map[string]string `json:"configs,omitempty"`
	Names       []string          `json:"names,omitempty"`
	Compression string            `json:"compression,omitempty"`
	Idempotent  bool              `json:"idempotent"`
	Records     []record          `json:"records,omitempty"`
	Count       int               `json:"count"`
	Timestamp   int64             `json:"timestamp"`
	Before      int64             `json:"before"`
	Group       string            `json:"group,omitempty"`
	Member      string            `json:"member,omitempty"`
	Protocol    string            `json:"protocol,omitempty"`
	File        string            `json:"file,omitempty"`
	Isolation   string            `json:"isolation,omitempty"`
	Producer    string            `json:"producer,omitempty"`
	ID          string            `json:"id,omitempty"`
	TimeoutMS   int               `json:"timeout_ms,omitempty"`
	Commit      bool              `json:"commit"`
	Release     []int64           `json:"release,omitempty"`
	Reject      []int64           `json:"reject,omitempty"`
	Hold        bool              `json:"hold"`
}

// operationSeconds bounds an operation whose request does not say otherwise.
const operationSeconds = 30

// clientError is an error that a client reported.
type clientError struct {
	Code    int16 // Kafka's error number, or localError
	Message string
	Kind    string // what the client calls an error without a code
}

// localError is the code of errors that no broker sent.
const localError = -1000

func (e *clientError) Error() string { return e.name() + ": " + e.Message }

// name is Kafka's name of the error; one that no broker sent, or whose number the client keeps to itself, has none.
func (e *clientError) name() string {
	if e.Code == localError {
		return "an error without a code"
	}
	if known := kerr.TypedErrorForCode(e.Code); known != nil {
		return known.Message
	}
	return fmt.Sprintf("ERROR_%d", e.Code)
}

// errClientGone is returned by call once the client's program has ended or was given up.
var errClientGone = errors.New("the client program has ended")

// programClient is a client program that speaks the line protocol.
type programClient struct {
	hello   hello
	in      io.WriteCloser
	answers chan []byte // closed when the program's output ends
	command *exec.Cmd
	stderr  *bytes.Buffer
}

// startProgram starts a client program and reads its hello. The program ends with the test.
func startProgram(t *testing.T, name string, environment []string, program string, args ...string) client {
	t.Helper()
	command := exec.Command(program, args...)
	command.Env = append(os.Environ(), environment...)
	p := &programClient{command: command, stderr: new(bytes.Buffer), answers: make(chan []byte)}
	command.Stderr = p.stderr
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	p.in = in
	go p.readAnswers(out)
	t.Cleanup(func() { p.stop(t, name) })
	line, err := p.next(operationSeconds * time.Second)
	if err == nil {
		err = json.Unmarshal(line, &p.hello)
	}
	if err != nil {
		t.Fatalf("%s does not start: %v", name, err)
	}
	return p
}

func (p *programClient) readAnswers(out io.Reader) {
	defer close(p.answers)
	reader := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			return
		}
		p.answers <- line
	}
}

// next returns the next line of the program's output. A program that does not answer in time is killed.
func (p *programClient) next(limit time.Duration) ([]byte, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case line, ok := <-p.answers:
		if !ok {
			return nil, errClientGone
		}
		return line, nil
	case <-timer.C:
	}
	_ = p.command.Process.Kill()
	return nil, fmt.Errorf("no answer in %v: %w", limit, errClientGone)
}

func (p *programClient) stop(t *testing.T, name string) {
	p.in.Close()
	const patience = 5 * time.Second
	timer := time.AfterFunc(patience, func() { _ = p.command.Process.Kill() })
	for range p.answers { // until the output ends, so that the program is never stuck writing
	}
	err := p.command.Wait()
	timer.Stop()
	if t.Failed() && p.stderr.Len() > 0 {
		t.Logf("%s (%v) said:\n%s", name, err, tail(p.stderr.String()))
	}
}

func (p *programClient) about() hello { return p.hello }

// call waits for the answer even past the end of ctx: a program whose answer was not taken would be a step behind for ever.
func (p *programClient) call(ctx context.Context, r request, out any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.Seconds == 0 {
		r.Seconds = operationSeconds
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("%w: %w", errClientGone, err)
	}
	const grace = 15 * time.Second // the program itself gives up after r.Seconds and says what it waited for
	line, err = p.next(time.Duration(r.Seconds)*time.Second + grace)
	if err != nil {
		return fmt.Errorf("%s: %w", r.Op, err)
	}
	var answer struct {
		Result json.RawMessage
		Error  *clientError
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return fmt.Errorf("%s: %w in %q", r.Op, err, line)
	}
	if answer.Error != nil {
		return answer.Error
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer.Result, out)
}

// tail returns the end of a long text.
func tail(text string) string {
	const shown = 4000
	return text[max(0, len(text)-shown):]
}
