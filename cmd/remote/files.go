package remote

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

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
