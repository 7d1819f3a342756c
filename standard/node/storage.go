package node

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"millrace/base/disk"
	"millrace/engine"
)

// Files of a formatted folder, as Apache Kafka names them.
const (
	metaFile       = "meta.properties"
	checkpointFile = "bootstrap.checkpoint"
	lockFile       = ".lock"
)

// maxMeta bounds the meta.properties that is read, in bytes.
const maxMeta = 64 << 10

// format makes the node's storage unless it is there (N1). checkpoint is a file of bootstrap metadata.
func (e Engine) format(s engine.NodeSpec, checkpoint string) error {
	dir := e.dir(s)
	data, staging := filepath.Join(dir, dataDir), filepath.Join(dir, formattingDir)
	if _, err := e.FS.Stat(data); err == nil {
		return e.formatted(s, data)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := checkID(s.ClusterID); err != nil {
		return err
	}
	bootstrap, err := e.FS.ReadFile(checkpoint)
	if err != nil {
		return err
	}
	folder, err := newID()
	if err != nil {
		return err
	}
	meta := fmt.Sprintf("version=1\ncluster.id=%s\nnode.id=%d\ndirectory.id=%s\n", s.ClusterID, s.ID, folder)
	if err := errors.Join(disk.RemoveAll(e.FS, staging), e.FS.MkdirAll(staging, 0o700)); err != nil {
		return err
	}
	if err := errors.Join(
		e.FS.WriteFileAtomic(filepath.Join(staging, checkpointFile), bootstrap),
		e.FS.WriteFileAtomic(filepath.Join(staging, metaFile), []byte(meta)),
		e.FS.SyncDir(staging),
	); err != nil {
		return err
	}
	if err := e.FS.Rename(staging, data); err != nil {
		return err
	}
	return e.FS.SyncDir(dir)
}

// formatted says whether the storage that is there is the node's.
func (e Engine) formatted(s engine.NodeSpec, data string) error {
	text, err := e.FS.ReadFile(filepath.Join(data, metaFile))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s has no %s: it was not made by Millrace, or is damaged", ErrForeign, data, metaFile)
	}
	if err != nil {
		return err
	}
	m, err := parseMeta(text)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %s: %w", ErrForeign, data, err)
	case m.cluster != s.ClusterID:
		return fmt.Errorf("%w: %s is of the cluster with the id %q, and this one's is %q", ErrForeign, data, m.cluster, s.ClusterID)
	case m.node != s.ID:
		return fmt.Errorf("%w: %s is of node %d, and this is %d", ErrForeign, data, m.node, s.ID)
	}
	return nil
}

// meta is what a formatted folder says of itself.
type meta struct {
	cluster string
	node    int32
}

var errMeta = errors.New(metaFile + " cannot be read")

// parseMeta reads meta.properties as Apache Kafka or this package has written it.
func parseMeta(text []byte) (meta, error) {
	if len(text) > maxMeta {
		return meta{}, fmt.Errorf("%w: %d bytes", errMeta, len(text))
	}
	m, seen := meta{}, map[string]bool{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		name, value, ok := strings.Cut(line, "=")
		if line == "" || line[0] == '#' || !ok {
			continue
		}
		if seen[name] {
			return meta{}, fmt.Errorf("%w: %q comes twice", errMeta, name)
		}
		seen[name] = true
		switch name {
		case "version":
			if value != "1" {
				return meta{}, fmt.Errorf("%w: version %q", errMeta, value)
			}
		case "cluster.id":
			m.cluster = strings.ReplaceAll(value, `\`, "") // java.util.Properties may write "=" so
		case "node.id":
			id, err := strconv.ParseInt(value, 10, 32)
			if err != nil || id < 0 {
				return meta{}, fmt.Errorf("%w: node %q", errMeta, value)
			}
			m.node = int32(id)
		}
	}
	if !seen["version"] || !seen["cluster.id"] || !seen["node.id"] {
		return meta{}, fmt.Errorf("%w: version, cluster.id or node.id is missing", errMeta)
	}
	return m, nil
}

const idBytes = 16

// checkID says whether an id of a cluster is one that Apache Kafka takes: 16 bytes in base64 for URLs.
func checkID(id string) error {
	b, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || len(b) != idBytes {
		return fmt.Errorf("%q is no id of a cluster: it takes 22 characters of base64 for URLs", id)
	}
	return nil
}

// newID is a random id, as Apache Kafka makes them: none begins with a dash.
func newID() (string, error) {
	for {
		var b [idBytes]byte
		if _, err := rand.Read(b[:]); err != nil {
			return "", err
		}
		if id := base64.RawURLEncoding.EncodeToString(b[:]); id[0] != '-' {
			return id, nil
		}
	}
}

// free returns ErrRuns where a process has the node's storage.
func (e Engine) free(s engine.NodeSpec) error {
	held, err := disk.HasRecordLock(filepath.Join(e.dir(s), dataDir, lockFile))
	if err != nil {
		return fmt.Errorf("lock of the storage: %w", err)
	}
	if held {
		return ErrRuns
	}
	return nil
}
