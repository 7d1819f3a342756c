package rescue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/object"
	"millrace/base/object/s3"
	"millrace/cmd/api"
	"millrace/cmd/remote"
	"millrace/cmd/terminal"
	"millrace/express/backup"
)

// backupMost bounds a backup that is read, in bytes.
const backupMost = 8 << 30

type backupConfig struct {
	remote.Flags
	to, data, etcd string
}

func (a *verbs) backupCommand() *cobra.Command {
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
	cfg.Add(cmd)
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

func (a *verbs) backup(ctx context.Context, cfg backupConfig) error {
	var b *backup.Backup
	var err error
	if cfg.data != "" || cfg.etcd != "" {
		b, err = a.backupOffline(ctx, cfg)
	} else {
		b, err = fetchBackup(ctx, cfg.Flags)
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

func (a *verbs) backupOffline(ctx context.Context, cfg backupConfig) (_ *backup.Backup, err error) {
	stores, err := a.world.Open(ctx, cfg.data, cfg.etcd, disk.OS(""), a.QuietLogger())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stores.Close()) }()
	return backup.Take(ctx, stores.KV(), clock.System{}.Now())
}

// fetchBackup asks the control plane.
func fetchBackup(ctx context.Context, f remote.Flags) (*backup.Backup, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.Base()+api.Root+"/backup", nil)
	if err != nil {
		return nil, fmt.Errorf("%w: --api %q: %w", terminal.ErrUsage, f.API, err)
	}
	resp, err := remote.Send(req, nil, remote.DefaultData(), f.CA)
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %w\nIs `millrace serve` running? --api or MILLRACE_API names where; --data and --etcd go without it", remote.ErrControl, f.API, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // the status says enough
		return nil, fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(text))
	}
	return backup.Read(io.LimitReader(resp.Body, backupMost))
}

// put writes a whole file or object, or nothing.
func (a *verbs) put(ctx context.Context, place string, data []byte) error {
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

func (a *verbs) readBackup(ctx context.Context, place string) (_ *backup.Backup, err error) {
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
