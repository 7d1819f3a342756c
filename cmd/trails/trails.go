// Package trails looks after the audit trails of a host: alerts are raised from them, and copies go where they are told to.
package trails

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/object"
	"millrace/base/object/s3"
	"millrace/secure/ship"
	"millrace/secure/ship/cloudwatch"
	"millrace/secure/trail"
	"millrace/secure/watch"
)

// Usage says what a flag for the URL of copies takes.
const Usage = "where copies of the audit trail go: file:///DIR, s3://BUCKET/PREFIX?region=R or cloudwatch://GROUP?region=R; empty: nowhere"

// fileScheme is before the absolute path of a folder.
const fileScheme = "file://"

// Check names what is wrong with --audit-ship.
func Check(url string) error {
	var err error
	switch {
	case url == "":
	case strings.HasPrefix(url, "cloudwatch://"):
		_, err = cloudwatch.Open(context.Background(), url, slog.New(slog.DiscardHandler)) // sends nothing
	default:
		if dir, ok := strings.CutPrefix(url, fileScheme); ok && filepath.IsAbs(dir) {
			break
		}
		_, err = s3.Parse(url)
	}
	if err != nil {
		return fmt.Errorf("--audit-ship: %w", err)
	}
	return nil
}

// Watch raises alerts, into alerts, from the trails below root until ctx ends.
func Watch(ctx context.Context, files disk.FS, root string, alerts trail.Recorder, log *slog.Logger) error {
	return watch.Run(ctx, watch.Config{}, watch.World{FS: files, Root: root, Trail: alerts, Log: log})
}

// Ship copies the trails below root to the URL until ctx ends; "" is nowhere.
func Ship(ctx context.Context, files disk.FS, root, url string, log *slog.Logger) error {
	if url == "" {
		<-ctx.Done()
		return nil
	}
	sink, closeSink, err := openSink(ctx, url, files, log)
	if err != nil {
		return err
	}
	err = ship.Run(ctx, ship.Config{}, ship.World{FS: files, Root: root, Sink: sink, Log: log})
	if closed := closeSink(); err == nil {
		err = closed
	}
	return err
}

func openSink(ctx context.Context, url string, files disk.FS, log *slog.Logger) (ship.Sink, func() error, error) {
	if strings.HasPrefix(url, "cloudwatch://") {
		sink, err := cloudwatch.Open(ctx, url, log)
		return sink, func() error { return nil }, err
	}
	if dir, ok := strings.CutPrefix(url, fileScheme); ok {
		folder, err := object.OpenFiles(ctx, files, filepath.Clean(dir))
		if err != nil {
			return nil, nil, fmt.Errorf("--audit-ship: %w", err)
		}
		return ship.Objects{Store: folder}, folder.Close, nil
	}
	cfg, err := s3.Parse(url)
	if err != nil {
		return nil, nil, fmt.Errorf("--audit-ship: %w", err)
	}
	bucket, err := s3.Open(ctx, cfg, clock.System{})
	if err != nil {
		return nil, nil, fmt.Errorf("--audit-ship: %w", err)
	}
	return ship.Objects{Store: bucket}, func() error { return nil }, nil
}
