package operate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"millrace/base/clock"
	"millrace/cmd/remote"
	"millrace/cmd/terminal"
	"millrace/express/audit"
)

const (
	auditEvery = 200 * time.Millisecond // between looks at how far an audit is
	// auditSilence is how long a broker may say nothing about a pass that it was asked for.
	auditSilence = 20 * time.Second
)

// ErrFindings: the audit went well, what it looked at did not.
var ErrFindings = errors.New("the audit found faults")

// ErrUnchecked: something could not be looked at.
var ErrUnchecked = errors.New("not everything could be checked")

// Audit asks brokers for audits, and tells what came of them.
type Audit struct {
	*terminal.IO
	Flags remote.Flags
}

// Pace sets how fast brokers audit by themselves, in bytes per second; below 0: only when they are asked.
func (a Audit) Pace(ctx context.Context, pace int64) error {
	var answer struct{}
	if err := a.Flags.Call(ctx, http.MethodPost, "/audit/pace", audit.Pace{BytesPerSecond: pace}, &answer); err != nil {
		return err
	}
	if pace < 0 {
		a.Say("Brokers audit only when they are asked.")
	} else {
		a.Say("Brokers audit by themselves at %s/s each.", terminal.Size(pace))
	}
	return nil
}

// Last shows what the brokers said last, and asks them for nothing.
func (a Audit) Last(ctx context.Context) error {
	var answer audit.Answer
	if err := a.Flags.Call(ctx, http.MethodGet, "/audit", nil, &answer); err != nil {
		return err
	}
	var passes []*audit.Pass
	var silent []int32
	for _, b := range answer.Brokers {
		if b.Result != nil && b.Result.Last != nil {
			passes = append(passes, b.Result.Last)
		} else if b.Live {
			silent = append(silent, b.ID)
		}
	}
	return a.Tell(passes, silent, answer.Unserved)
}

// Ask has the brokers look at what they keep, rate bytes a second each, and shows what they found.
func (a Audit) Ask(ctx context.Context, rate int64) error {
	var asked audit.Request
	if err := a.Flags.Call(ctx, http.MethodPost, "/audit", audit.Request{BytesPerSecond: rate}, &asked); err != nil {
		return err
	}
	if a.Flags.NoWait {
		if a.Output == terminal.JSON {
			return a.PrintJSON(asked)
		}
		a.Say("The brokers were asked for audit %d. `millrace audit --last` shows what they found.", asked.Number)
		return nil
	}
	passes, silent, unserved, err := a.wait(ctx, asked.Number)
	if err != nil {
		return err
	}
	return a.Tell(passes, silent, unserved)
}

// wait follows an audit until each live broker has answered, or says nothing any more.
func (a Audit) wait(ctx context.Context, number int64) (passes []*audit.Pass, silent []int32, unserved int, err error) {
	line := a.StatusLine()
	defer line.Clear()
	heard := map[int32]time.Time{} // when a broker was heard last
	said := map[int32]string{}
	ticker := time.NewTicker(auditEvery)
	defer ticker.Stop()
	for {
		var answer audit.Answer
		if err := a.Flags.Call(ctx, http.MethodGet, "/audit", nil, &answer); err != nil {
			return nil, nil, 0, err
		}
		passes, silent = nil, nil
		waiting := false
		var done, of int
		var read int64
		for _, b := range answer.Brokers {
			pass, ended := b.Result.Answering(number)
			text := fmt.Sprint(pass)
			if before, ok := said[b.ID]; !ok || before != text {
				said[b.ID], heard[b.ID] = text, clock.System{}.Now()
			}
			switch {
			case ended:
				passes = append(passes, pass)
			case b.Live && clock.System{}.Now().Sub(heard[b.ID]) < auditSilence:
				waiting = true
			case b.Live:
				silent = append(silent, b.ID)
			}
			if pass != nil {
				done, of, read = done+pass.Checked+pass.Skipped, of+pass.Partitions, read+pass.Bytes
			}
		}
		if !waiting {
			return passes, silent, answer.Unserved, nil
		}
		line.Show("%d of %d partitions, %s read", done, of, terminal.Size(read))
		select {
		case <-ctx.Done():
			return nil, nil, 0, fmt.Errorf("audit %d goes on without us; `millrace audit --last` shows what it finds: %w", number, ctx.Err())
		case <-ticker.C:
		}
	}
}

// Tell prints what came of an audit; its error is nil only where everything was looked at and nothing was wrong.
func (a Audit) Tell(passes []*audit.Pass, silent []int32, unserved int) error {
	r := audit.Summarize(passes, silent, unserved)
	if a.Output == terminal.JSON {
		if err := a.PrintJSON(r); err != nil {
			return err
		}
	} else {
		a.print(r)
	}
	switch {
	case r.Total > 0:
		return fmt.Errorf("%w: %d", ErrFindings, r.Total)
	case !r.Clean:
		return ErrUnchecked
	}
	return nil
}

func (a Audit) print(r audit.Report) {
	if len(r.Findings) > 0 {
		var rows []table.Row
		for _, f := range r.Findings {
			name, offset := f.Topic, ""
			if name == "" {
				name = f.TopicID.String()
			}
			if f.Offset >= 0 {
				offset = strconv.FormatInt(f.Offset, 10)
			}
			rows = append(rows, table.Row{f.Kind, name, f.Partition, offset, f.Detail})
		}
		_ = a.Print(r.Findings, table.Row{"Fault", "Topic", "Partition", "Offset", "What is wrong"}, rows) // a table does not fail
		if more := r.Total - len(r.Findings); more > 0 {
			a.Say("... and %s more.", terminal.Count(int64(more)))
		}
	}
	for _, s := range r.Skips {
		if s.Partition < 0 {
			a.Say("Not checked: %s", s.Reason)
		} else {
			a.Say("Not checked: %s-%d: %s", s.Topic, s.Partition, s.Reason)
		}
	}
	for _, id := range r.Silent {
		a.Say("Not checked: broker %d has not answered.", id)
	}
	if r.Unserved > 0 {
		a.Say("Not checked: %d partition(s) whose broker does not run.", r.Unserved)
	}
	a.Say("%d of %d partitions checked, %s read: %d fault(s).", r.Checked, r.Partitions, terminal.Size(r.Bytes), r.Total)
	if r.Moved > 0 {
		a.Say("%d partition(s) moved between brokers meanwhile and may not have been looked at.", r.Moved)
	}
	if !r.Store && len(r.Findings) == 0 {
		a.Say("No broker was the controller at that time, so the store was not looked through for what nobody needs.")
	}
	if r.Waiting > 0 {
		a.Say("%s object(s) in the store are not needed any more; brokers delete them in due time.", terminal.Count(r.Waiting))
	}
}
