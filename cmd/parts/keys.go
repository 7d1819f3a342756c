package parts

import (
	"context"
	"crypto/rand"
	"log/slog"
	"path/filepath"

	"github.com/spf13/pflag"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/secure/keys"
)

// secretsPurpose is that of the data keys that secrets in etcd are sealed with.
const secretsPurpose = "secrets"

// Random fills b with what nobody can guess.
func Random(b []byte) { _, _ = rand.Read(b) } // it never fails

// KMSFlag adds --kms.
func KMSFlag(flags *pflag.FlagSet, kms *string) {
	flags.StringVar(kms, "kms", "", "what wraps the keys of secrets and data: keyring:///FILE, aws-kms://KEY?region=R or vault://KEY?addr=URL; empty: a key ring below --data")
}

// DefaultKMS is the key ring below a data directory.
func DefaultKMS(data string) string {
	return "keyring://" + filepath.Join(data, "secure", "keyring.json")
}

// OpenRing opens the keys that secrets are sealed with. With create, a local key ring is made where nothing was ever sealed. who has them, as
// keys.World has it.
func OpenRing(ctx context.Context, who, kms, data string, create bool, store kv.KV, files disk.FS, log *slog.Logger) (*keys.Ring, error) {
	return OpenRingFor(ctx, who, secretsPurpose, kms, data, create, store, files, log)
}

// OpenRingFor is OpenRing for another purpose than secrets.
func OpenRingFor(ctx context.Context, who, purpose, kms, data string, create bool, store kv.KV, files disk.FS, log *slog.Logger) (*keys.Ring, error) {
	if kms == "" {
		kms = DefaultKMS(data)
	}
	if create {
		sealed, err := keys.Exists(ctx, store)
		if err != nil {
			return nil, err
		}
		if !sealed {
			if err := keys.CreateKeyring(kms, files); err != nil {
				return nil, err
			}
		}
	}
	wrap, err := keys.OpenKMS(ctx, kms, files)
	if err != nil {
		return nil, err
	}
	return keys.OpenRing(ctx, store, purpose, wrap, keys.World{Clock: clock.System{}, Log: log, Holder: who})
}
