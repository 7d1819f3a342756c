package bank

import (
	_ "embed" // the program of the foreign teller
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"

	"millrace/test/robust/ledger"
)

//go:embed librdkafka.py
var librdkafka string

// foreign is a teller in another process, whose client is librdkafka: it speaks the first version of the transaction
// protocol as another implementation understands it.
type foreign struct {
	command *exec.Cmd
	in      io.WriteCloser
	ask     *json.Encoder
	answers *json.Decoder
}

// request is one line to the other process; answer is what it says.
type request struct {
	Op        string          `json:"op"`
	ID        string          `json:"id,omitempty"`
	TimeoutMs int64           `json:"timeout_ms,omitempty"`
	Records   []foreignRecord `json:"records,omitempty"`
}

type foreignRecord struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Value     []byte `json:"value"`
}

type answer struct {
	Error   string  `json:"error"`
	Offsets []int64 `json:"offsets"`
}

// hire starts the other process.
func (b *Bank) hire() (*foreign, error) {
	f := &foreign{command: exec.CommandContext(b.gone, b.config.Python, "-c", librdkafka, b.config.Bootstrap)}
	in, err := f.command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := f.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	f.in, f.ask, f.answers = in, json.NewEncoder(in), json.NewDecoder(out)
	return f, f.command.Start()
}

func (f *foreign) call(r request) (answer, error) {
	var a answer
	if err := errors.Join(f.ask.Encode(r), f.answers.Decode(&a)); err != nil {
		return a, fmt.Errorf("the foreign teller does not answer: %w", err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// tellForeign is tell with a foreign client.
func (b *Bank) tellForeign(w *worker) {
	f, err := b.hire()
	if err != nil {
		b.fault(err)
		return
	}
	defer func() {
		_ = f.in.Close()
		_ = f.command.Wait() // it was killed, or it has done its work
	}()
	for generation := 0; !b.isClosing(); generation++ {
		if _, err := f.call(request{Op: "open", ID: w.now, TimeoutMs: b.config.Timeout.Milliseconds()}); err != nil {
			b.note("open", err)
			continue
		}
		for !b.isClosing() {
			plan := b.plan()
			if err := w.transactForeign(f, plan); err != nil {
				if plan == forsake {
					w.now = fmt.Sprintf("%s-%d", w.id, generation)
				}
				break
			}
		}
	}
}

// transactForeign is transact with a foreign client; it has no twin.
func (w *worker) transactForeign(f *foreign, plan plan) error {
	t := w.begin(plan, []ledger.Transfer{w.bank.transfer()})
	send := request{Op: "send"}
	for _, draft := range t.Drafts() {
		send.Records = append(send.Records, foreignRecord{Topic: legTopics[draft.Topic], Partition: draft.Partition, Value: draft.Value})
	}
	sent, err := f.call(send)
	for i, offset := range sent.Offsets {
		if offset >= 0 {
			t.Stands(i, offset)
		}
	}
	if err != nil {
		w.bank.note("produce", err)
		w.tell(t, "produce: %v", err)
	}
	switch {
	case err != nil || plan == abort:
		return w.endForeign(f, t, "abort")
	case plan == vanish || plan == forsake:
		return errLeft
	case plan == dawdle:
		w.bank.pause()
	}
	return w.endForeign(f, t, "commit")
}

// endForeign ends the transaction; an error makes the client one of no further use.
func (w *worker) endForeign(f *foreign, t *ledger.Transaction, how string) error {
	w.tell(t, "%s", how)
	if how == "commit" {
		t.Request()
	}
	_, err := f.call(request{Op: how})
	w.tell(t, "%s: %v", how, err)
	switch {
	case err != nil:
		w.bank.note(how, err)
		return err
	case how == "abort":
		t.Aborted()
	default:
		t.Committed()
		w.done.Add(1)
	}
	return nil
}
