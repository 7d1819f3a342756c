package rescue

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/object"
	"millrace/cmd/api"
	"millrace/cmd/terminal"
	"millrace/express/backup"
	"millrace/express/wal"
)

type restoreConfig struct {
	kms                     string
	from, data, etcd, store string
	backup.Options
	dryRun bool
}

func (a *verbs) restoreCommand() *cobra.Command {
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
			if faults := a.world.Check(cfg.data, cfg.etcd, cfg.store); len(faults) > 0 {
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
	a.world.KMS(flags, &cfg.kms)
	flags.BoolVar(&cfg.Overwrite, "force", false, "delete what etcd holds")
	flags.BoolVar(&cfg.AcceptMissing, "accept-missing", false, "go on where data is missing; the partitions stay offline or lack records")
	flags.BoolVar(&cfg.DropUnknown, "drop-unknown", false, "give up topics that the backup does not know")
	flags.BoolVar(&cfg.dryRun, "dry-run", false, "say what would be done, and change nothing")
	return cmd
}

func (a *verbs) restore(ctx context.Context, cfg restoreConfig) (err error) {
	b, err := a.readBackup(ctx, cfg.from)
	if err != nil {
		return err
	}
	log, fs := a.QuietLogger(), disk.OS("")
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
	}
	stores, err := a.world.Open(ctx, cfg.data, cfg.etcd, fs, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stores.Close()) }()
	// The data keys are among what is restored, so they are taken from there.
	saved, err := b.Memory(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = saved.Close() }() // it is memory
	ring, err := stores.Ring(ctx, saved, api.DefaultCluster, cfg.kms, cfg.data)
	if err != nil {
		return err
	}
	if cfg.data != "" {
		world := wal.World{FS: fs, Clock: clock.System{}, Log: log}
		if ring != nil {
			world.Keys = ring
		}
		if sources.Logs, err = backup.ReadLogs(ctx, cfg.data, world); err != nil {
			return err
		}
	}
	sources.KV = stores.KV()
	sources.Objects = func(ctx context.Context, cluster string) (object.Store, error) {
		return stores.Objects(ctx, cfg.data, cfg.store, cluster, ring)
	}
	plan, err := backup.Prepare(ctx, b, sources)
	if err != nil {
		return err
	}
	refused := plan.Check(cfg.Options)
	if cfg.dryRun || refused != nil {
		return errors.Join(a.restoreTell(plan, b, false), refused)
	}
	line := a.StatusLine()
	err = backup.Apply(ctx, stores.KV(), plan, cfg.Options, func(done, of int) { line.Show("%d of %d keys", done, of) })
	line.Clear()
	if err != nil {
		return fmt.Errorf("%w\nThe restore is not whole; do it again before anything is started", err)
	}
	return a.restoreTell(plan, b, true)
}

// restoreTell prints what was, or would be, restored.
func (a *verbs) restoreTell(p *backup.Plan, b *backup.Backup, done bool) error {
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
