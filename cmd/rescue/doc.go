// Package rescue has the verbs backup and restore, which work on what etcd and the object store hold, with or without a serve that runs.
package rescue

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/cmd/terminal"
	"millrace/secure/keys"
)

// Stores are etcd and the object store, reached without serve.
type Stores interface {
	// KV is etcd.
	KV() kv.KV
	// Ring opens the data keys of a cluster as the records in from tell; nil where it is not encrypted. kms and data are flags.
	Ring(ctx context.Context, from kv.KV, cluster, kms, data string) (*keys.Ring, error)
	// Objects opens a cluster's part of the object store at a URL; an empty one is the folder in data. ring is what Ring returned.
	Objects(ctx context.Context, data, url, cluster string, ring *keys.Ring) (object.Store, error)
	// Close ends everything that was opened.
	Close() error
}

// World is what the verbs take of the process.
type World struct {
	// Open connects to etcd: at URLs, or where they are empty that of a data directory, which it runs where no serve does.
	Open func(ctx context.Context, data, etcd string, fs disk.FS, log *slog.Logger) (Stores, error)
	// Check names every fault of the flags that say where etcd and the store are.
	Check func(data, etcd, store string) []error
	// KMS adds the flag for what wraps keys.
	KMS func(flags *pflag.FlagSet, kms *string)
}

// verbs is what they share.
type verbs struct {
	*terminal.IO
	world World
}

// Commands are the verbs, which use io while they run.
func Commands(io *terminal.IO, w World) []*cobra.Command {
	a := &verbs{io, w}
	return []*cobra.Command{a.backupCommand(), a.restoreCommand()}
}
