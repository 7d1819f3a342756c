package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"millrace/base/disk"
	"millrace/secure/trail"
)

// World is all that Run touches outside itself.
type World struct {
	FS    disk.FS
	Root  string         // of the trails of this host
	Trail trail.Recorder // alerts go there
	Log   *slog.Logger
	Every time.Duration // between two looks at the trails; 0: 2 s
}

const (
	stateFile  = "watch.json" // below Root
	stateEvery = time.Minute
)

// Run reads the trails of this host as they grow, and tells of what the rules find, until ctx ends. What it remembers is kept
// below the root, so that a restart goes on where it was (A4); after a crash it looks at the last minute again.
func Run(ctx context.Context, cfg Config, w World) error {
	watcher := New(cfg)
	state, err := w.FS.ReadFile(filepath.Join(w.Root, stateFile))
	if err == nil {
		err = watcher.Restore(state)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.Log.Error("what was learnt from the audit trail is lost, learning anew", "err", err)
	}
	reader := trail.NewReader(w.FS, w.Root, trail.Filter{After: watcher.Seen()})
	defer func() { _ = reader.Close() }() // it only reads
	every := w.Every
	if every == 0 {
		every = 2 * time.Second
	}
	look, keep := time.NewTicker(every), time.NewTicker(stateEvery)
	defer look.Stop()
	defer keep.Stop()
	for {
		err := reader.Next(ctx, func(e trail.Entry) error {
			for _, alert := range watcher.Observe(e) {
				w.Log.Warn("alert", "rule", alert.Rule, "severity", alert.Severity, "subject", alert.Subject, "what", alert.What)
				w.Trail.Record(alert.Event())
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			w.Log.Warn("audit trail cannot be watched, trying again", "err", err)
		}
		select {
		case <-ctx.Done():
			return save(watcher, w)
		case <-look.C:
		case <-keep.C:
			if err := save(watcher, w); err != nil {
				w.Log.Warn("what was learnt from the audit trail cannot be kept", "err", err)
			}
		}
	}
}

func save(watcher *Watcher, w World) error {
	state, err := watcher.State()
	if err != nil {
		return fmt.Errorf("encode state of watch: %w", err)
	}
	if err := w.FS.MkdirAll(w.Root, 0o700); err != nil {
		return err
	}
	return w.FS.WriteFileAtomic(filepath.Join(w.Root, stateFile), state)
}
