package etcd

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// maxSocketPath is the longest path of a unix socket that Linux and Darwin both take, with a byte to spare.
const maxSocketPath = 102

// socketPath returns where the socket of the member in dir is: in dir, or, when that path is too long for
// the kernel, in a private directory below the temporary directory, with a name made from dir, so that
// clients which outlive the member find its successor.
func socketPath(dir, tmp string) (string, error) {
	path := filepath.Join(dir, "etcd.sock")
	if len(path) <= maxSocketPath {
		return path, nil
	}
	sum := sha256.Sum256([]byte(dir))
	private := filepath.Join(tmp, fmt.Sprintf("millrace-%d-%x", os.Getuid(), sum[:8]))
	path = filepath.Join(private, "etcd.sock")
	if len(path) > maxSocketPath {
		return "", fmt.Errorf("no path short enough for a socket: neither in %s nor in %s", dir, tmp)
	}
	if err := os.Mkdir(private, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	if err := checkPrivate(private); err != nil {
		return "", err
	}
	return path, nil
}

// checkPrivate makes sure that nobody else has made the directory, or can enter it.
func checkPrivate(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(owner.Uid) != os.Getuid() || info.Mode().Perm() != 0o700 {
		return fmt.Errorf("%s is not a private directory of this user", dir)
	}
	return nil
}

// listen makes the socket anew. The caller holds the lock of the data directory, so a socket that is there
// belongs to nobody.
func listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
