package parts

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/cmd/remote"
	"millrace/secure/cert"
	"millrace/secure/trail"
)

// OpenTrail opens the trail of a process among those of its host, below a data directory.
func OpenTrail(ctx context.Context, writer, data string, store kv.KV, sealer trail.Sealer, files disk.FS, log *slog.Logger) (*trail.Log, error) {
	return OpenTrailAt(ctx, writer, remote.TrailDir(data), store, sealer, files, log)
}

// OpenTrailAt opens it below a folder of trails.
func OpenTrailAt(ctx context.Context, writer, root string, store kv.KV, sealer trail.Sealer, files disk.FS, log *slog.Logger) (*trail.Log, error) {
	return trail.Open(ctx, trail.Config{Writer: writer, Root: root}, trail.World{
		FS: files, Anchors: trail.NewAnchors(store, sealer), Clock: clock.System{}, Log: log,
	})
}

// NewKeeper makes the keeper of a process's certificate.
func NewKeeper(n cert.Node, dir string, mapping cert.Rules, w cert.World, addresses ...string) (*cert.Keeper, error) {
	name := strings.ReplaceAll(string(n), "/", "-") + ".pem"
	folder := filepath.Join(dir, "secure")
	if err := w.FS.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("folder of certificates: %w", err)
	}
	return cert.NewKeeper(cert.KeeperConfig{Node: n, Names: n.Names(addresses...), File: filepath.Join(folder, name), Mapping: mapping}, w)
}
