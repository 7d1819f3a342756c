package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"millrace/base/clock"
	"millrace/cmd/terminal"
	"millrace/express/audit"
)

const (
	auditEvery = 200 * time.Millisecond // between looks at how far an audit is
	// auditSilence is how long a broker may say nothing about a pass that it was asked for.
	auditSilence = 20 * time.Second
)

// errFindings: the audit went well, what it looked at did not.
var errFindings = errors.New("the audit found faults")

// errUnchecked: something could not be looked at.
var errUnchecked = errors.New("not everything could be checked")

// auditConfig is what `millrace audit` can be told.
type auditConfig struct {
	operateFlags
	rate, pace string
	last       bool
	offline    bool
	data       string
	etcd       string
	store      string
}

func (a *app) auditCommand() *cobra.Command {
	var cfg auditConfig
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Check that everything that was acknowledged is there, whole",
		Long: `Have the brokers read all that they keep: the log and the segments of each
partition, to the last byte, the manifests, and what the store holds besides. The
checksum of every batch is computed, offsets must follow each other, leader epochs
ascend and producers' sequences go on.

Brokers also audit by themselves, slowly (8 MiB/s, see --pace); --last shows what they
found without asking for another look.

With --offline no broker is asked: manifests and segments are read from etcd and the
store. The brokers' logs are not looked at then. With --data the etcd of "millrace
serve" is used, which may run or not.

The exit status is 0 when all is well, 1 when a fault was found or something could not
be checked, 2 on bad usage.`,
		Example: `  millrace audit
  millrace audit --last --output json
  millrace audit --rate 200MiB
  millrace audit --pace off
  millrace audit --offline --data millrace-data
  millrace audit --offline --etcd http://10.0.0.1:2379 --store s3://bucket/prefix`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rate, pace, err := cfg.validate()
			if err != nil {
				return err
			}
			switch {
			case cfg.offline:
				return a.auditOffline(cmd.Context(), cfg, rate, cmd.Flags().Changed("rate"))
			case cfg.pace != "":
				return a.auditPace(cmd.Context(), cfg, pace)
			}
			return a.auditOnline(cmd.Context(), cfg, rate)
		},
	}
	cfg.add(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&cfg.noWait, "no-wait", false, "return once the brokers were asked")
	flags.BoolVar(&cfg.last, "last", false, "show what the last audits found, and ask for none")
	flags.StringVar(&cfg.rate, "rate", "64MiB", "bytes that each broker reads in a second, such as 64MiB")
	flags.StringVar(&cfg.pace, "pace", "", "set how fast brokers audit by themselves from now on, in bytes per second, or off")
	flags.BoolVar(&cfg.offline, "offline", false, "ask no broker; read from etcd and the store")
	flags.StringVar(&cfg.data, "data", "", "with --offline: the directory of millrace serve")
	flags.StringVar(&cfg.etcd, "etcd", "", "with --offline: URLs of an etcd cluster, separated by commas; empty: the one in --data")
	flags.StringVar(&cfg.store, "store", "", "with --offline: the object store as for millrace serve; empty: the folder in --data")
	return cmd
}

func (c *auditConfig) validate() (rate, pace int64, err error) {
	var faults []error
	if rate, err = parseRate(c.rate); err != nil || rate < 0 {
		faults = append(faults, fmt.Errorf("--rate %q: use a number of bytes such as 64MiB", c.rate))
	}
	if pace, err = parseRate(c.pace); c.pace != "" && (err != nil || pace == 0) {
		faults = append(faults, fmt.Errorf("--pace %q: use a number of bytes such as 8MiB, or off", c.pace))
	}
	if c.offline {
		faults = append(faults, checkStores(c.data, c.etcd, c.store)...)
		if c.last || c.pace != "" || c.noWait {
			faults = append(faults, errors.New("--offline goes without --last, --pace and --no-wait"))
		}
	} else if c.data != "" || c.etcd != "" || c.store != "" {
		faults = append(faults, errors.New("--data, --etcd and --store are for --offline"))
	}
	if err := errors.Join(faults...); err != nil {
		return 0, 0, fmt.Errorf("%w:\n%w", terminal.ErrUsage, err)
	}
	return rate, pace, nil
}

// checkStores says what is missing to reach etcd and the store.
func checkStores(data, etcd, store string) (faults []error) {
	if data == "" && (etcd == "" || store == "") {
		faults = append(faults, errors.New("give --data, or --etcd and --store"))
	}
	if store != "" {
		if err := checkStore(store); err != nil {
			faults = append(faults, fmt.Errorf("--store %q: %w", store, err))
		}
	}
	return faults
}

// parseRate reads bytes per second: 1048576, 1MiB, 1MB; off is -1.
func parseRate(text string) (int64, error) {
	if text == "off" {
		return -1, nil
	}
	number, unit := text, int64(1)
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}} {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, unit = n, u.bytes
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil || n < 0 || n > 1<<40/unit {
		return 0, fmt.Errorf("%q is no number of bytes", text)
	}
	return n * unit, nil
}

func (a *app) auditPace(ctx context.Context, cfg auditConfig, pace int64) error {
	var answer struct{}
	if err := cfg.call(ctx, http.MethodPost, "/audit/pace", audit.Pace{BytesPerSecond: pace}, &answer); err != nil {
		return err
	}
	if pace < 0 {
		a.Say("Brokers audit only when they are asked.")
	} else {
		a.Say("Brokers audit by themselves at %s/s each.", terminal.Size(pace))
	}
	return nil
}

// auditOnline asks the brokers, unless it is only to show what they said last.
func (a *app) auditOnline(ctx context.Context, cfg auditConfig, rate int64) error {
	if cfg.last {
		var answer audit.Answer
		if err := cfg.call(ctx, http.MethodGet, "/audit", nil, &answer); err != nil {
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
		return a.auditTell(passes, silent, answer.Unserved)
	}
	var asked audit.Request
	if err := cfg.call(ctx, http.MethodPost, "/audit", audit.Request{BytesPerSecond: rate}, &asked); err != nil {
		return err
	}
	if cfg.noWait {
		if a.Output == terminal.JSON {
			return a.PrintJSON(asked)
		}
		a.Say("The brokers were asked for audit %d. `millrace audit --last` shows what they found.", asked.Number)
		return nil
	}
	passes, silent, unserved, err := a.auditWait(ctx, cfg, asked.Number)
	if err != nil {
		return err
	}
	return a.auditTell(passes, silent, unserved)
}

// auditWait follows an audit until each live broker has answered, or says nothing any more.
func (a *app) auditWait(ctx context.Context, cfg auditConfig, number int64) (passes []*audit.Pass, silent []int32, unserved int, err error) {
	line := &statusLine{out: a.ErrOut, live: terminal.IsTerminal(a.ErrOut)}
	defer line.clear()
	heard := map[int32]time.Time{} // when a broker was heard last
	said := map[int32]string{}
	ticker := time.NewTicker(auditEvery)
	defer ticker.Stop()
	for {
		var answer audit.Answer
		if err := cfg.call(ctx, http.MethodGet, "/audit", nil, &answer); err != nil {
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
		line.show("%d of %d partitions, %s read", done, of, terminal.Size(read))
		select {
		case <-ctx.Done():
			return nil, nil, 0, fmt.Errorf("audit %d goes on without us; `millrace audit --last` shows what it finds: %w", number, ctx.Err())
		case <-ticker.C:
		}
	}
}

// auditTell prints what came of an audit; its error is the exit status.
func (a *app) auditTell(passes []*audit.Pass, silent []int32, unserved int) error {
	r := audit.Summarize(passes, silent, unserved)
	if a.Output == terminal.JSON {
		if err := a.PrintJSON(r); err != nil {
			return err
		}
	} else {
		a.auditPrint(r)
	}
	switch {
	case r.Total > 0:
		return fmt.Errorf("%w: %d", errFindings, r.Total)
	case !r.Clean:
		return errUnchecked
	}
	return nil
}

func (a *app) auditPrint(r audit.Report) {
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
