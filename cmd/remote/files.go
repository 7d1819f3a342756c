package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"millrace/base/disk"
	"millrace/secure/iam"
)

// RootFile is where the key of the installation's owner is, for nobody else to read.
func RootFile(data string) string { return filepath.Join(data, "secure", "root.json") }

// RootKey is what stands in RootFile.
type RootKey struct {
	Account string `json:"account"`
	Region  string `json:"region"`
	iam.NewKey
}

// CAFile is where the certificates are that clients are to trust.
func CAFile(data string) string { return filepath.Join(data, "secure", "ca.pem") }

// TrailDir is where the processes of a host write what they record.
func TrailDir(data string) string { return filepath.Join(data, "trail") }

// Endpoints is what serve tells of itself to the verbs on its host, in a file without secrets.
type Endpoints struct {
	API       string            `json:"api"` // URL
	Region    string            `json:"region,omitempty"`
	CA        string            `json:"ca,omitempty"`        // file of the certificates to trust; "": the API speaks no TLS of ours
	Bootstrap map[string]string `json:"bootstrap,omitempty"` // by the listeners' names, HOST:PORT with commas between
}

// endpointsFile is where it is.
func endpointsFile(data string) string { return filepath.Join(data, "endpoints.json") }

// ReadEndpoints reads the file below a data directory.
func ReadEndpoints(data string) (e Endpoints, err error) {
	text, err := os.ReadFile(endpointsFile(data))
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return e, fmt.Errorf("%s: %w", endpointsFile(data), err)
	}
	return e, nil
}

// Keep writes the file as a whole.
func (e Endpoints) Keep(data string) error {
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	return ReplaceFile(endpointsFile(data), append(text, '\n'), 0o644)
}

// ReplaceFile writes a file beside the old one and puts it in its place.
func ReplaceFile(name string, text []byte, mode os.FileMode) error {
	next := name + ".new"
	if err := os.WriteFile(next, text, mode); err != nil {
		return err
	}
	return os.Rename(next, name)
}

// KeepRoot writes the root key's file where it is missing.
func KeepRoot(ctx context.Context, data, region string, store *iam.Store, files disk.FS) error {
	account, err := store.OpenAccount(ctx)
	if err != nil {
		return fmt.Errorf("root key: %w", err)
	}
	name := RootFile(data)
	if _, err := files.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, err := store.RootKey(ctx)
	if err != nil {
		return fmt.Errorf("root key: %w", err)
	}
	text, err := json.MarshalIndent(RootKey{Account: account.ID, Region: region, NewKey: key}, "", "  ")
	if err != nil {
		return fmt.Errorf("root key: %w", err)
	}
	if err := files.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fmt.Errorf("root key: %w", err)
	}
	if err := os.WriteFile(name, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("root key: %w", err)
	}
	return nil
}
