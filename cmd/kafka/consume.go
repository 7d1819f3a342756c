package kafka

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/base/clock"
	"millrace/cmd/terminal"
	"millrace/kafka/client"
)

type consumeFlags struct {
	topic      string
	from       string
	group      string
	partitions []int32
	count      int64
	follow     bool
	format     string
	committed  bool
}

func (a *verbs) consumeCommand() *cobra.Command {
	var f consumeFlags
	cmd := &cobra.Command{
		Use:   "consume [TOPIC]",
		Short: "Read records and print them",
		Long: `Read records and print them, by default from the beginning to the end that the
topic has now. --follow goes on and waits for more; --count ends after so many
records, waiting for them where need be.

With --group the members of the group share the partitions, reading goes on
where the group has committed, and what was printed is committed at the end.

--from takes: beginning, end, an offset (42), a time (2026-01-31T12:00:00Z), or
how long ago (-90m).

--format prints each record by a pattern: %v value, %k key, %t topic,
%p partition, %o offset, %d time, %h{%k=%v } headers; \n and \t as usual.`,
		Example: `  millrace consume orders
  millrace consume orders --follow --from end --format '%p@%o %k: %v\n'
  millrace consume orders --group billing --count 100
  millrace consume orders --from -15m --output json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.topicNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if f.topic, err = oneTopic(args, f.topic); err != nil {
				return err
			}
			if f.group != "" && len(f.partitions) > 0 {
				return fmt.Errorf("%w: --partition and --group exclude each other: a group gives out the partitions", terminal.ErrUsage)
			}
			if f.count < 0 {
				return fmt.Errorf("%w: --count %d: use a number from 0 on; 0 is no limit", terminal.ErrUsage, f.count)
			}
			start, err := parseFrom("--from", f.from, clock.System{}.Now())
			if err != nil {
				return err
			}
			print, err := a.recordPrinter(f.format)
			if err != nil {
				return err
			}
			return a.consume(cmd.Context(), f, start, print)
		},
	}
	a.ClientFlags(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&f.topic, "topic", "t", "", "topic to read (or as the argument)")
	flags.StringVar(&f.from, "from", "beginning", "where to start: beginning, end, an offset, a time, or how long ago")
	flags.StringVarP(&f.group, "group", "g", "", "consumer group to join")
	flags.Int32SliceVarP(&f.partitions, "partition", "p", nil, "only these partitions")
	flags.Int64VarP(&f.count, "count", "n", 0, "end after so many records; 0: no limit")
	flags.BoolVarP(&f.follow, "follow", "f", false, "wait for new records when the end is reached")
	flags.StringVar(&f.format, "format", `%v\n`, "how to print a record")
	flags.BoolVar(&f.committed, "read-committed", false, "skip what transactions have not committed")
	return cmd
}

// parseFrom turns the value of a flag like --from into an offset to start at.
func parseFrom(flag, from string, now time.Time) (kgo.Offset, error) {
	switch from {
	case "beginning":
		return kgo.NewOffset().AtStart(), nil
	case "end":
		return kgo.NewOffset().AtEnd(), nil
	}
	if n, err := strconv.ParseInt(from, 10, 64); err == nil && n >= 0 {
		return kgo.NewOffset().At(n), nil
	}
	if d, err := time.ParseDuration(from); err == nil && d < 0 {
		return kgo.NewOffset().AfterMilli(now.Add(d).UnixMilli()), nil
	}
	if t, err := time.Parse(time.RFC3339, from); err == nil {
		return kgo.NewOffset().AfterMilli(t.UnixMilli()), nil
	}
	return kgo.Offset{}, fmt.Errorf("%w: %s %q: use beginning, end, an offset (42), a time (2026-01-31T12:00:00Z) or how long ago (-90m)", terminal.ErrUsage, flag, from)
}

type recordRow struct {
	Topic     string            `json:"topic"`
	Partition int32             `json:"partition"`
	Offset    int64             `json:"offset"`
	Timestamp time.Time         `json:"timestamp"`
	Key       *string           `json:"key"`
	Value     *string           `json:"value"`
	Base64    bool              `json:"base64,omitempty"` // key, value and headers are not text
	Headers   map[string]string `json:"headers,omitempty"`
}

// recordPrinter gives what prints one record into a buffer.
func (a *verbs) recordPrinter(format string) (func([]byte, *kgo.Record) ([]byte, error), error) {
	if a.Output == terminal.JSON {
		return func(b []byte, r *kgo.Record) ([]byte, error) {
			line, err := json.Marshal(row(r))
			return append(append(b, line...), '\n'), err
		}, nil
	}
	f, err := kgo.NewRecordFormatter(format)
	if err != nil {
		return nil, fmt.Errorf("%w: --format %q: %w", terminal.ErrUsage, format, err)
	}
	return func(b []byte, r *kgo.Record) ([]byte, error) { return f.AppendRecord(b, r), nil }, nil
}

func row(r *kgo.Record) recordRow {
	out := recordRow{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UTC()}
	out.Base64 = !utf8.Valid(r.Key) || !utf8.Valid(r.Value)
	text := func(b []byte) *string {
		if b == nil {
			return nil
		}
		s := string(b)
		if out.Base64 {
			s = base64.StdEncoding.EncodeToString(b)
		}
		return &s
	}
	out.Key, out.Value = text(r.Key), text(r.Value)
	for _, h := range r.Headers {
		if out.Headers == nil {
			out.Headers = map[string]string{}
		}
		out.Headers[h.Key] = string(h.Value)
	}
	return out
}

func (a *verbs) consume(ctx context.Context, f consumeFlags, start kgo.Offset, print func([]byte, *kgo.Record) ([]byte, error)) (err error) {
	admin, err := client.NewAdmin(ctx, a.Client())
	if err != nil {
		return err
	}
	defer admin.Close()
	goal, err := newGoal(ctx, admin, f)
	if err != nil {
		return err
	}
	opts := []kgo.Opt{kgo.ConsumeResetOffset(start), kgo.FetchMaxBytes(16 << 20)}
	if f.committed {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	switch {
	case f.group != "":
		opts = append(opts, kgo.ConsumerGroup(f.group), kgo.ConsumeTopics(f.topic), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
			kgo.OnPartitionsAssigned(goal.assigned), kgo.OnPartitionsRevoked(goal.revoked), kgo.OnPartitionsLost(goal.lost))
	default:
		at := map[int32]kgo.Offset{}
		for p := range goal.ends {
			at[p] = start
		}
		opts = append(opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{f.topic: at}))
	}
	c, err := client.New(ctx, a.Client(), opts...)
	if err != nil {
		return err
	}
	defer c.CloseAllowingRebalance()
	if f.group == "" {
		if err := goal.assignAll(ctx, f.from); err != nil {
			return err
		}
	}
	return a.pollRecords(ctx, c, f, goal, print)
}

func (a *verbs) pollRecords(ctx context.Context, c *kgo.Client, f consumeFlags, goal *goal, print func([]byte, *kgo.Record) ([]byte, error)) error {
	out := bufio.NewWriterSize(a.Out, 256<<10)
	var buf []byte
	var printed int64
	for !f.done(goal, printed) {
		fetches := c.PollRecords(pollContext(ctx, goal), f.batch(printed))
		if err := fetchError(ctx, fetches); err != nil {
			return errors.Join(fmt.Errorf("consume %s: %w", f.topic, err), out.Flush())
		}
		if ctx.Err() != nil {
			break // interrupted: what was printed is committed below
		}
		var err error
		fetches.EachRecord(func(r *kgo.Record) {
			if err != nil {
				return
			}
			buf, err = print(buf[:0], r)
			if err == nil {
				_, err = out.Write(buf)
			}
			printed++
			goal.reached(r)
		})
		if err = errors.Join(err, out.Flush()); err != nil {
			return fmt.Errorf("print records: %w", err)
		}
		if f.group != "" && printed > 0 {
			if err := c.CommitUncommittedOffsets(context.WithoutCancel(ctx)); err != nil {
				return fmt.Errorf("commit offsets of group %s: %w", f.group, err)
			}
		}
		c.AllowRebalance()
	}
	return out.Flush()
}

func (f consumeFlags) done(g *goal, printed int64) bool {
	if f.count > 0 {
		return printed >= f.count
	}
	return !f.follow && g.met()
}

// batch is how many records to take at most.
func (f consumeFlags) batch(printed int64) int {
	const most = 10_000
	if f.count > 0 {
		return int(min(f.count-printed, most))
	}
	return most
}

// pollContext lets a poll end early when the goal is met without a record, as
// when a group has nothing left to read.
func pollContext(ctx context.Context, g *goal) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	g.onChange(cancel)
	return ctx
}

func fetchError(ctx context.Context, fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		if errors.Is(e.Err, context.Canceled) || ctx.Err() != nil {
			continue
		}
		return e.Err
	}
	return nil
}

// goal knows where the topic ended when the command began, and so when reading
// without --follow is done. Group callbacks and the poll loop share it.
type goal struct {
	admin *kadm.Client
	topic string
	group string

	mu       sync.Mutex
	ends     map[int32]int64 // end of each partition at the start
	left     map[int32]bool  // partitions that are ours and not read to their end
	assigns  int             // assignments seen
	changed  func()          // ends a poll that waits
	startErr error
}

func newGoal(ctx context.Context, admin *kadm.Client, f consumeFlags) (*goal, error) {
	ends, err := client.Offsets(ctx, admin.ListEndOffsets, f.topic)
	if err != nil {
		return nil, fmt.Errorf("list end offsets of %s: %w", f.topic, err)
	}
	g := &goal{admin: admin, topic: f.topic, group: f.group, ends: map[int32]int64{}, left: map[int32]bool{}}
	for _, o := range ends[f.topic] {
		if o.Err != nil {
			return nil, fmt.Errorf("list end offsets of %s: %w", f.topic, o.Err)
		}
		g.ends[o.Partition] = o.Offset
	}
	for _, p := range f.partitions {
		if _, ok := g.ends[p]; !ok {
			return nil, fmt.Errorf("%w: topic %s has no partition %d", terminal.ErrUsage, f.topic, p)
		}
	}
	if len(f.partitions) > 0 {
		all := g.ends
		g.ends = map[int32]int64{}
		for _, p := range f.partitions {
			g.ends[p] = all[p]
		}
	}
	return g, nil
}

// assignAll makes every partition ours, for reading without a group.
func (g *goal) assignAll(ctx context.Context, from string) error {
	starts, err := client.Offsets(ctx, g.admin.ListStartOffsets, g.topic)
	if err != nil {
		return fmt.Errorf("list start offsets of %s: %w", g.topic, err)
	}
	first := map[int32]int64{}
	for p := range g.ends {
		o, _ := starts.Lookup(g.topic, p)
		first[p] = o.Offset
	}
	start, err := parseFrom("--from", from, clock.System{}.Now())
	if err != nil {
		return err
	}
	if err := g.startsOf(ctx, start, first); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.assigns++
	for p, end := range g.ends {
		g.left[p] = first[p] < end
	}
	return nil
}

// startsOf moves the positions in first to where start points.
func (g *goal) startsOf(ctx context.Context, start kgo.Offset, first map[int32]int64) error {
	o := start.EpochOffset()
	switch {
	case start == kgo.NewOffset().AtEnd():
		for p := range first {
			first[p] = g.ends[p]
		}
	case o.Offset >= 0 && start == kgo.NewOffset().At(o.Offset):
		for p := range first {
			first[p] = max(first[p], o.Offset)
		}
	case start != kgo.NewOffset().AtStart():
		found, err := client.Offsets(ctx, after(g.admin, o.Offset), g.topic)
		if err != nil {
			return fmt.Errorf("list offsets of %s by time: %w", g.topic, err)
		}
		for p := range first {
			if at, ok := found.Lookup(g.topic, p); ok {
				first[p] = at.Offset
			}
		}
	}
	return nil
}

// assigned asks where the group stands in the partitions that became ours.
func (g *goal) assigned(ctx context.Context, _ *kgo.Client, now map[string][]int32) {
	committed, err := client.Again(ctx, func(ctx context.Context) (kadm.OffsetResponses, error) { return g.admin.FetchOffsets(ctx, g.group) })
	starts, startErr := client.Offsets(ctx, g.admin.ListStartOffsets, g.topic)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.startErr = errors.Join(err, startErr)
	g.assigns++
	for _, p := range now[g.topic] {
		at := int64(0)
		if o, ok := starts.Lookup(g.topic, p); ok {
			at = o.Offset
		}
		if o, ok := committed.Lookup(g.topic, p); ok && o.At >= 0 {
			at = max(at, o.At)
		}
		g.left[p] = at < g.ends[p]
	}
	if g.changed != nil && g.metLocked() {
		g.changed()
	}
}

func (g *goal) revoked(ctx context.Context, c *kgo.Client, gone map[string][]int32) {
	// Others go on behind what was printed here; where the commit fails they print it again.
	_ = c.CommitUncommittedOffsets(ctx)
	g.lost(ctx, c, gone)
}

func (g *goal) lost(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range gone[g.topic] {
		delete(g.left, p)
	}
}

func (g *goal) reached(r *kgo.Record) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Offset+1 >= g.ends[r.Partition] {
		g.left[r.Partition] = false
	}
}

func (g *goal) onChange(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.changed = f
}

func (g *goal) met() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.metLocked()
}

func (g *goal) metLocked() bool {
	if g.assigns == 0 {
		return false
	}
	for _, unread := range g.left {
		if unread {
			return false
		}
	}
	return true
}
