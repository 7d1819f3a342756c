package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/object"
	"millrace/base/object/s3"
	"millrace/cmd/terminal"
	"millrace/express/backup"
	"millrace/express/wal"
)

// backupMost bounds a backup that is read, in bytes.
const backupMost = 8 << 30

type backupConfig struct {
	operateFlags
	to, data, etcd string
}

func (a *app) backupCommand() *cobra.Command {
	var cfg backupConfig
	cmd := &cobra.Command{
		Use:   "backup --to FILE",
		Short: "Save what etcd holds: topics, owners, manifests, configurations",
		Long: `Save everything that etcd holds, as it stood at one moment. The records themselves
are in the object store and in the brokers' logs, and are not part of it.

The backup is asked of "millrace serve". With --data or --etcd it is read from etcd
itself, and serve need not run.`,
		Example: `  millrace backup --to millrace.backup
  millrace backup --to s3://backups/millrace/2026-11-23?region=eu-central-1
  millrace backup --to - --data millrace-data | gzip > millrace.backup.gz`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkPlace("--to", cfg.to); err != nil {
				return err
			}
			return a.backup(cmd.Context(), cfg)
		},
	}
	cfg.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&cfg.to, "to", "", "file, s3://BUCKET/NAME or - for the standard output; required")
	flags.StringVar(&cfg.data, "data", "", "directory of millrace serve, to read its etcd")
	flags.StringVar(&cfg.etcd, "etcd", "", "URLs of an etcd cluster, separated by commas, to read it")
	return cmd
}

// checkPlace says what is wrong with where a backup shall be.
func checkPlace(flag, place string) error {
	switch {
	case place == "":
		return fmt.Errorf("%w: %s is required", terminal.ErrUsage, flag)
	case strings.HasPrefix(place, "s3://"):
		if _, _, err := bucketOf(place); err != nil {
			return fmt.Errorf("%w: %s: %w", terminal.ErrUsage, flag, err)
		}
	case strings.Contains(place, "://"):
		return fmt.Errorf("%w: %s %q: use a file, s3://BUCKET/NAME or -", terminal.ErrUsage, flag, place)
	}
	return nil
}

// bucketOf takes the URL of an object apart.
func bucketOf(place string) (cfg s3.Config, name string, err error) {
	u, err := url.Parse(place)
	if err != nil {
		return cfg, "", err
	}
	u.Path, name = path.Split(u.Path)
	if name == "" {
		return cfg, "", fmt.Errorf("%q names no object", place)
	}
	cfg, err = s3.Parse(u.String())
	return cfg, name, err
}

func (a *app) backup(ctx context.Context, cfg backupConfig) error {
	var b *backup.Backup
	var err error
	if cfg.data != "" || cfg.etcd != "" {
		b, err = a.backupOffline(ctx, cfg)
	} else {
		b, err = cfg.fetchBackup(ctx)
	}
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := b.Write(&out); err != nil {
		return err
	}
	if err := a.put(ctx, cfg.to, out.Bytes()); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	if cfg.to == "-" {
		return nil
	}
	if a.Output == terminal.JSON {
		return a.PrintJSON(map[string]any{"to": cfg.to, "keys": b.Keys, "bytes": out.Len(), "revision": b.Revision, "taken": b.Taken, "sha256": b.Sum})
	}
	a.Say("%s keys, %s, saved to %s.", terminal.Count(int64(b.Keys)), terminal.Size(int64(out.Len())), cfg.to)
	return nil
}

func (a *app) backupOffline(ctx context.Context, cfg backupConfig) (_ *backup.Backup, err error) {
	stores, err := openEtcd(ctx, cfg.data, cfg.etcd, disk.OS(""), a.quietLogger())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stores.close()) }()
	return backup.Take(ctx, stores.kv, clock.System{}.Now())
}

// fetchBackup asks the control plane.
func (f operateFlags) fetchBackup(ctx context.Context) (*backup.Backup, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.base()+"/v1/backup", nil)
	if err != nil {
		return nil, fmt.Errorf("%w: --api %q: %w", terminal.ErrUsage, f.api, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %w\nIs `millrace serve` running? --api or MILLRACE_API names where; --data and --etcd go without it", errControl, f.api, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // the status says enough
		return nil, fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(text))
	}
	return backup.Read(io.LimitReader(resp.Body, backupMost))
}

// handleBackup lets this host fetch a backup.
func handleBackup(mux *http.ServeMux, i *installation) {
	mux.HandleFunc("GET /v1/backup", func(w http.ResponseWriter, r *http.Request) {
		if err := fromHere(r); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		b, err := backup.Take(r.Context(), i.store, clock.System{}.Now())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		_ = b.Write(w) // the client finds the end missing where this fails
	})
}

// put writes a whole file or object, or nothing.
func (a *app) put(ctx context.Context, place string, data []byte) error {
	if place == "-" {
		_, err := a.Out.Write(data)
		return err
	}
	if !strings.HasPrefix(place, "s3://") {
		name, err := filepath.Abs(place)
		if err != nil {
			return err
		}
		if err := disk.OS("").WriteFileAtomic(name, data); err != nil {
			return err
		}
		return os.Chmod(name, 0o600) // it will hold secrets
	}
	cfg, name, err := bucketOf(place)
	if err != nil {
		return err
	}
	bucket, err := s3.Open(ctx, cfg, clock.System{})
	if err != nil {
		return err
	}
	return bucket.Put(ctx, name, [][]byte{data}, object.PutOptions{})
}

type restoreConfig struct {
	from, data, etcd, store string
	backup.Options
	dryRun bool
}

func (a *app) restoreCommand() *cobra.Command {
	var cfg restoreConfig
	cmd := &cobra.Command{
		Use:   "restore --from FILE",
		Short: "Bring a backup back into an empty etcd",
		Long: `Write a backup into etcd, after etcd was lost. Stop "millrace serve" and all brokers
first.

What happened since the backup is looked for: the newest manifest of each partition in
the object store and, with --data, who owns it, in the brokers' logs. All leader epochs
and producer ids are moved on, so that nothing of before the restore can be mistaken
for what comes after.

A restore that lacks something says what, and changes nothing unless told to go on.`,
		Example: `  millrace restore --from millrace.backup --data millrace-data
  millrace restore --from millrace.backup --data millrace-data --dry-run --output json
  millrace restore --from s3://backups/millrace/2026-11-23 --etcd http://10.0.0.1:2379 --store s3://bucket/prefix`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkPlace("--from", cfg.from); err != nil {
				return err
			}
			if faults := checkStores(cfg.data, cfg.etcd, cfg.store); len(faults) > 0 {
				return fmt.Errorf("%w:\n%w", terminal.ErrUsage, errors.Join(faults...))
			}
			return a.restore(cmd.Context(), cfg)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.from, "from", "", "file, s3://BUCKET/NAME or - for the standard input; required")
	flags.StringVar(&cfg.data, "data", "", "directory of millrace serve, with its etcd and the brokers' logs")
	flags.StringVar(&cfg.etcd, "etcd", "", "URLs of an etcd cluster, separated by commas; empty: the one in --data")
	flags.StringVar(&cfg.store, "store", "", "the object store as for millrace serve; empty: the folder in --data")
	flags.BoolVar(&cfg.Overwrite, "force", false, "delete what etcd holds")
	flags.BoolVar(&cfg.AcceptMissing, "accept-missing", false, "go on where data is missing; the partitions stay offline or lack records")
	flags.BoolVar(&cfg.DropUnknown, "drop-unknown", false, "give up topics that the backup does not know")
	flags.BoolVar(&cfg.dryRun, "dry-run", false, "say what would be done, and change nothing")
	return cmd
}

// quietLogger is for verbs that tell by themselves how they do.
func (a *app) quietLogger() *slog.Logger {
	return slog.New(slog.NewTextHandler(a.ErrOut, &slog.HandlerOptions{Level: slog.LevelError}))
}

func (a *app) restore(ctx context.Context, cfg restoreConfig) (err error) {
	b, err := a.readBackup(ctx, cfg.from)
	if err != nil {
		return err
	}
	log, fs := a.quietLogger(), disk.OS("")
	sources := backup.Sources{Logs: map[string]backup.Logs{}}
	if cfg.data != "" {
		if cfg.data, err = filepath.Abs(cfg.data); err != nil {
			return err
		}
		lock, err := fs.Lock(filepath.Join(cfg.data, "lock"))
		if errors.Is(err, disk.ErrLocked) {
			return fmt.Errorf("millrace serve runs on %s; stop it first: %w", cfg.data, err)
		}
		if err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
		defer lock.Close()
		if sources.Logs, err = backup.ReadLogs(ctx, cfg.data, wal.World{FS: fs, Clock: clock.System{}, Log: log}); err != nil {
			return err
		}
	}
	stores, err := openEtcd(ctx, cfg.data, cfg.etcd, fs, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stores.close()) }()
	sources.KV = stores.kv
	sources.Objects = func(ctx context.Context, cluster string) (object.Store, error) {
		return stores.open(ctx, storeOf(cfg.data, cfg.store), cluster, fs)
	}
	plan, err := backup.Prepare(ctx, b, sources)
	if err != nil {
		return err
	}
	refused := plan.Check(cfg.Options)
	if cfg.dryRun || refused != nil {
		return errors.Join(a.restoreTell(plan, b, false), refused)
	}
	line := &statusLine{out: a.ErrOut, live: terminal.IsTerminal(a.ErrOut)}
	err = backup.Apply(ctx, stores.kv, plan, cfg.Options, func(done, of int) { line.show("%d of %d keys", done, of) })
	line.clear()
	if err != nil {
		return fmt.Errorf("%w\nThe restore is not whole; do it again before anything is started", err)
	}
	return a.restoreTell(plan, b, true)
}

// restoreTell prints what was, or would be, restored.
func (a *app) restoreTell(p *backup.Plan, b *backup.Backup, done bool) error {
	if a.Output == terminal.JSON {
		return a.PrintJSON(map[string]any{"done": done, "taken": b.Taken, "plan": p})
	}
	for _, m := range p.Missing {
		a.Say("Missing: %s-%d: %s %s", m.Topic, m.Partition, m.Detail, m.Object)
	}
	for _, id := range p.Unknown {
		a.Say("Made after the backup, or deleted before: the topic with id %s", id)
	}
	a.Say("Backup of %s: %d topics, %d partitions; %d have newer manifests in the store, %d moved to another broker since.",
		b.Taken.Local().Format(time.DateTime), p.Topics, p.Partitions, p.Forward, p.Moved)
	if !p.Logs {
		a.Say("The brokers' logs were not looked at: partitions that moved since the backup may lack their newest records. --data reads them.")
	}
	if done {
		a.Say("Restored. Start `millrace serve`, then `millrace audit`.")
	} else {
		a.Say("Nothing was changed.")
	}
	return nil
}

func (a *app) readBackup(ctx context.Context, place string) (_ *backup.Backup, err error) {
	in := a.In
	switch {
	case strings.HasPrefix(place, "s3://"):
		cfg, name, err := bucketOf(place)
		if err != nil {
			return nil, err
		}
		bucket, err := s3.Open(ctx, cfg, clock.System{})
		if err != nil {
			return nil, err
		}
		r, err := bucket.Open(ctx, name)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		in = io.NewSectionReader(r, 0, r.Size())
	case place != "-":
		f, err := os.Open(place)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	b, err := backup.Read(io.LimitReader(in, backupMost))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	return b, nil
}
