package kafka

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/base/clock"
	"millrace/cmd/terminal"
	"millrace/kafka/client"
)

// maxLineBytes bounds one record that is read from a line.
const maxLineBytes = 100 << 20

type produceFlags struct {
	topic       string
	files       []string
	separator   string
	headers     []string
	compression string
	acks        string
	partition   int32
	maxBytes    int32
	quiet       bool
}

type produceSummary struct {
	Topic   string  `json:"topic"`
	Records int64   `json:"records"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"records_per_second"`
}

func (a *verbs) produceCommand() *cobra.Command {
	var f produceFlags
	cmd := &cobra.Command{
		Use:   "produce [TOPIC]",
		Short: "Send the lines of files, or of standard input, as records",
		Long: `Send each line of the given files, or of standard input, as one record.

With --key-separator the part of a line before the first separator is the
record's key; a line without it is a value without a key. Records of one key
keep their order. The command ends when all records are acknowledged.`,
		Example: `  echo hello | millrace produce greetings
  millrace produce flights --file flights.csv --key-separator '|'
  zcat events.gz | millrace produce events --compression zstd`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.topicNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if f.topic, err = oneTopic(args, f.topic); err != nil {
				return err
			}
			opts, err := f.options()
			if err != nil {
				return err
			}
			return a.produce(cmd.Context(), f, opts)
		},
	}
	a.ClientFlags(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&f.topic, "topic", "t", "", "topic to write to (or as the argument)")
	flags.StringArrayVarP(&f.files, "file", "f", nil, "file to read; may be repeated; - is standard input")
	flags.StringVarP(&f.separator, "key-separator", "k", "", "what parts key and value of a line")
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "header for every record, KEY=VALUE; may be repeated")
	flags.StringVarP(&f.compression, "compression", "z", "none", "none, gzip, snappy, lz4 or zstd")
	flags.StringVar(&f.acks, "acks", "all", "who must have a record before it counts as sent: all, 1 or 0")
	flags.Int32VarP(&f.partition, "partition", "p", -1, "partition to write to; -1: by key, or any")
	flags.Int32Var(&f.maxBytes, "max-batch-bytes", 1_000_000, "largest batch, and so the largest record")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "no progress, no summary")
	return cmd
}

// oneTopic takes the topic from the argument or the flag, whichever is given.
func oneTopic(args []string, flag string) (string, error) {
	switch {
	case len(args) == 1 && flag != "" && flag != args[0]:
		return "", fmt.Errorf("%w: two topics given, %q and %q", terminal.ErrUsage, args[0], flag)
	case len(args) == 1:
		return args[0], nil
	case flag != "":
		return flag, nil
	}
	return "", fmt.Errorf("%w: which topic? Give it as the argument", terminal.ErrUsage)
}

func (f produceFlags) options() ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.DefaultProduceTopic(f.topic), kgo.ProducerBatchMaxBytes(f.maxBytes), kgo.MaxBufferedBytes(64 << 20), kgo.MaxBufferedRecords(100_000), kgo.ProducerLinger(5 * time.Millisecond)}
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	codec, ok := codecs[f.compression]
	if !ok {
		return nil, fmt.Errorf("%w: --compression %q: use none, gzip, snappy, lz4 or zstd", terminal.ErrUsage, f.compression)
	}
	opts = append(opts, kgo.ProducerBatchCompression(codec))
	switch f.acks {
	case "all", "-1":
		opts = append(opts, kgo.RequiredAcks(kgo.AllISRAcks()))
	case "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	default:
		return nil, fmt.Errorf("%w: --acks %q: use all, 1 or 0", terminal.ErrUsage, f.acks)
	}
	if f.partition >= 0 {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	return opts, nil
}

func parseHeaders(pairs []string) ([]kgo.RecordHeader, error) {
	var headers []kgo.RecordHeader
	for _, pair := range pairs {
		k, v, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("%w: --header %q: use KEY=VALUE", terminal.ErrUsage, pair)
		}
		headers = append(headers, kgo.RecordHeader{Key: k, Value: []byte(v)})
	}
	return headers, nil
}

func (a *verbs) produce(ctx context.Context, f produceFlags, opts []kgo.Opt) error {
	headers, err := parseHeaders(f.headers)
	if err != nil {
		return err
	}
	input, total, closeInput, err := a.openInputs(f.files)
	if err != nil {
		return err
	}
	defer closeInput()
	c, err := client.New(ctx, a.Client(), opts...)
	if err != nil {
		return err
	}
	defer c.Close()
	s := &sender{client: c, flags: f, headers: headers, bar: a.progress(f, total)}
	began := clock.System{}.Now()
	err = s.sendLines(ctx, input)
	if flushErr := c.Flush(ctx); err == nil && flushErr != nil {
		err = fmt.Errorf("wait for acknowledgements: %w", flushErr)
	}
	if sendErr := s.failure(); sendErr != nil {
		err = fmt.Errorf("produce to %s: %w", f.topic, sendErr)
	}
	s.finish()
	took := clock.System{}.Now().Sub(began).Seconds()
	if !f.quiet {
		a.reportProduced(produceSummary{Topic: f.topic, Records: s.acked.Load(), Bytes: s.bytes.Load(), Seconds: took, Rate: float64(s.acked.Load()) / max(took, 1e-9)})
	}
	return err
}

func (a *verbs) reportProduced(s produceSummary) {
	if a.Output == terminal.JSON {
		_ = a.PrintJSON(s) // standard output is gone; the exit status still tells
		return
	}
	fmt.Fprintf(a.ErrOut, "%s records, %s, acknowledged in %.1f s (%s records/s)\n", terminal.Count(s.Records), terminal.Size(s.Bytes), s.Seconds, terminal.Count(int64(s.Rate)))
}

// openInputs joins the files into one input; total is -1 where it cannot be known.
func (a *verbs) openInputs(files []string) (input io.Reader, total int64, closeAll func(), err error) {
	if len(files) == 0 {
		files = []string{"-"}
	}
	var readers []io.Reader
	var open []io.Closer
	closeAll = func() {
		for _, c := range open {
			_ = c.Close() // only read from
		}
	}
	for _, name := range files {
		if name == "-" {
			readers, total = append(readers, a.In), -1
			continue
		}
		file, err := os.Open(name)
		if err != nil {
			closeAll()
			return nil, 0, nil, err
		}
		open = append(open, file)
		readers = append(readers, file)
		if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
			total = -1
		} else if total >= 0 {
			total += info.Size()
		}
	}
	return io.MultiReader(readers...), total, closeAll, nil
}

func (a *verbs) progress(f produceFlags, total int64) *progressbar.ProgressBar {
	if f.quiet || !terminal.IsTerminal(a.ErrOut) || a.Output == terminal.JSON {
		return nil
	}
	return progressbar.NewOptions64(total, progressbar.OptionSetWriter(a.ErrOut), progressbar.OptionShowBytes(true),
		progressbar.OptionSetDescription(f.topic), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetRenderBlankState(true))
}

// sender turns lines into records and counts what was acknowledged.
type sender struct {
	client  *kgo.Client
	flags   produceFlags
	headers []kgo.RecordHeader
	bar     *progressbar.ProgressBar
	acked   atomic.Int64
	bytes   atomic.Int64
	first   atomic.Pointer[error]
}

func (s *sender) sendLines(ctx context.Context, in io.Reader) error {
	lines := bufio.NewReaderSize(in, 1<<20)
	for {
		line, err := readLine(lines)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read input: %w", err)
		}
		if len(line) > 0 || err == nil {
			s.send(ctx, line)
		}
		if err != nil || ctx.Err() != nil || s.failure() != nil {
			return ctx.Err()
		}
	}
}

// readLine returns the next line without its end, in memory of its own.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLineBytes {
			return nil, fmt.Errorf("a line is longer than %d bytes", maxLineBytes)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		return bytes.TrimSuffix(line, []byte("\r")), err
	}
}

func (s *sender) send(ctx context.Context, line []byte) {
	r := &kgo.Record{Value: line, Headers: s.headers, Partition: max(s.flags.partition, 0)}
	if sep := s.flags.separator; sep != "" {
		if k, v, ok := bytes.Cut(line, []byte(sep)); ok {
			r.Key, r.Value = k, v
		}
	}
	s.client.Produce(ctx, r, func(r *kgo.Record, err error) {
		if err != nil {
			s.first.CompareAndSwap(nil, &err)
			return
		}
		s.acked.Add(1)
		s.bytes.Add(int64(len(r.Key) + len(r.Value)))
		if s.bar != nil {
			_ = s.bar.Add(len(line) + 1) // drawing is a courtesy
		}
	})
}

func (s *sender) failure() error {
	if err := s.first.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *sender) finish() {
	if s.bar != nil {
		_ = s.bar.Finish()
	}
}
