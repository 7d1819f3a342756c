package ship

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"millrace/base/disk"
	"millrace/secure/trail"
)

// Batch is lines of one writer that follow each other.
type Batch struct {
	Writer  string
	Entries []trail.Entry // at least one
}

// Sink takes batches. A batch may come twice, with the same lines.
type Sink interface {
	// Put keeps a batch. Once it has returned nil the batch does not come again.
	Put(ctx context.Context, b Batch) error
}

// Config is read once by Run. A zero field takes its default.
type Config struct {
	Every      time.Duration // between two looks at the trails; default 15 s
	BatchBytes int           // of lines, after which a batch goes at once; default 512 KiB
	BatchLines int           // likewise; default 5,000
	Pause      time.Duration // before a sink is tried again that refused; default 5 s
}

func (c *Config) fill() {
	if c.Every == 0 {
		c.Every = 15 * time.Second
	}
	if c.BatchBytes == 0 {
		c.BatchBytes = 512 << 10
	}
	if c.BatchLines == 0 {
		c.BatchLines = 5000
	}
	if c.Pause == 0 {
		c.Pause = 5 * time.Second
	}
}

// World is all that Run touches outside itself.
type World struct {
	FS   disk.FS
	Root string // of the trails of this host
	Sink Sink
	Log  *slog.Logger
}

// stateFile is below the root.
const stateFile = "shipped.json"

const stateFormat = 1

// state is what was shipped, and what is being shipped.
type state struct {
	Format  int             `json:"format"`
	Writers map[string]span `json:"writers"`
}

// span is the progress of one writer.
type span struct {
	Done uint64 `json:"done"`          // last line that was shipped
	Upto uint64 `json:"upto,omitzero"` // last line of the batch under way; 0: none is
}

// ErrNewer: the progress was saved by a newer version of Millrace.
var ErrNewer = errors.New("ship: progress saved by a newer version of millrace")

// Run ships what the trails of this host get, until ctx ends. It returns an error only for progress that it cannot read.
func Run(ctx context.Context, cfg Config, w World) error {
	cfg.fill()
	s := &shipper{cfg: cfg, world: w, batches: map[string]*Batch{}, bytes: map[string]int{}}
	if err := s.load(); err != nil {
		return err
	}
	tick := time.NewTicker(cfg.Every)
	defer tick.Stop()
	for {
		err := s.round(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			w.Log.Warn("audit trail cannot be shipped, trying again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

type shipper struct {
	cfg     Config
	world   World
	state   state
	reader  *trail.Reader
	batches map[string]*Batch // that gather
	bytes   map[string]int    // in them
}

// round ships all that there is now. After an error the trails are read again from where shipping has come to.
func (s *shipper) round(ctx context.Context) (err error) {
	if s.reader == nil {
		done := map[string]uint64{}
		for writer, at := range s.state.Writers {
			done[writer] = at.Done
		}
		s.reader = trail.NewReader(s.world.FS, s.world.Root, trail.Filter{After: done})
	}
	defer func() {
		if err != nil {
			_ = s.reader.Close() // it only reads
			s.reader = nil
			clear(s.batches)
			clear(s.bytes)
		}
	}()
	if err := s.reader.Next(ctx, func(e trail.Entry) error { return s.take(ctx, e) }); err != nil {
		return err
	}
	for writer := range s.batches {
		if s.state.Writers[writer].Upto != 0 {
			continue // a batch that was begun before a crash; the rest of it comes, or is lost
		}
		if err := s.send(ctx, writer); err != nil {
			return err
		}
	}
	return nil
}

// take puts a line into the batch of its writer, and sends that when it is full.
func (s *shipper) take(ctx context.Context, e trail.Entry) error {
	at := s.state.Writers[e.Writer]
	b := s.batches[e.Writer]
	if b == nil {
		if e.N > at.Done+1 && at.Done > 0 {
			s.world.Log.Error("lines of the audit trail were removed before they were shipped", "writer", e.Writer, "from", at.Done+1, "to", e.N-1)
		}
		b = &Batch{Writer: e.Writer}
		s.batches[e.Writer] = b
	}
	b.Entries = append(b.Entries, e)
	s.bytes[e.Writer] += len(e.Raw)
	full := s.bytes[e.Writer] >= s.cfg.BatchBytes || len(b.Entries) >= s.cfg.BatchLines
	if at.Upto != 0 {
		full = e.N >= at.Upto
	}
	if !full {
		return nil
	}
	return s.send(ctx, e.Writer)
}

// send ships the batch of a writer (SH1).
func (s *shipper) send(ctx context.Context, writer string) error {
	b := s.batches[writer]
	at := s.state.Writers[writer]
	last := b.Entries[len(b.Entries)-1].N
	if at.Upto != last {
		at.Upto = last
		s.state.Writers[writer] = at
		if err := s.save(); err != nil {
			return err
		}
	}
	if err := s.put(ctx, *b); err != nil {
		return err
	}
	s.state.Writers[writer] = span{Done: last}
	delete(s.batches, writer)
	delete(s.bytes, writer)
	return s.save()
}

// put tries until the sink has the batch (SH2).
func (s *shipper) put(ctx context.Context, b Batch) error {
	for {
		err := s.world.Sink.Put(ctx, b)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.world.Log.Warn("audit trail cannot be shipped, trying again", "writer", b.Writer, "lines", len(b.Entries), "err", err)
		t := time.NewTimer(s.cfg.Pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}

func (s *shipper) load() error {
	s.state = state{Format: stateFormat, Writers: map[string]span{}}
	b, err := s.world.FS.ReadFile(filepath.Join(s.world.Root, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what was shipped: %w", err)
	}
	var saved state
	if err := json.Unmarshal(b, &saved); err != nil {
		return fmt.Errorf("read what was shipped: %w", err)
	}
	if saved.Format > stateFormat {
		return fmt.Errorf("%w: format %d, this binary reads up to %d", ErrNewer, saved.Format, stateFormat)
	}
	if saved.Writers != nil {
		s.state = saved
	}
	return nil
}

func (s *shipper) save() error {
	b, err := json.Marshal(s.state)
	if err != nil {
		return fmt.Errorf("save what was shipped: %w", err)
	}
	if err := s.world.FS.MkdirAll(s.world.Root, 0o700); err != nil {
		return fmt.Errorf("save what was shipped: %w", err)
	}
	return s.world.FS.WriteFileAtomic(filepath.Join(s.world.Root, stateFile), b)
}
