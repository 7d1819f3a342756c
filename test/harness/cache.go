package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// completeFile marks a cache folder whose build ended well; a folder without it is built anew.
const completeFile = ".complete"

// Cached returns the cache folder that holds name as built from exactly these stamps (pinned requirements, sources,
// versions). Where it is missing, build fills it; other test processes that ask for the same folder wait. The folder's
// path is final while build runs, so build may write it into files.
func Cached(name string, stamps []string, build func(dir string) error) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	for _, stamp := range stamps {
		fmt.Fprintf(hash, "%d:%s", len(stamp), stamp)
	}
	dir := filepath.Join(cache, name+"-"+hex.EncodeToString(hash.Sum(nil))[:12])
	if isComplete(dir) {
		return dir, nil
	}
	err = locked(filepath.Join(cache, name+".lock"), func() error {
		if isComplete(dir) {
			return nil
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := build(dir); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, completeFile), nil, 0o644)
	})
	if err != nil {
		return "", fmt.Errorf("set up %s: %w", name, err)
	}
	return dir, nil
}

func isComplete(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, completeFile))
	return err == nil
}

// locked runs f while it holds the exclusive lock on path. The kernel frees the lock of a process that dies.
func locked(path string, f func() error) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	return f()
}

// hashTree returns a digest of the names and contents of the files below dir: the stamp of what is built from them.
func hashTree(dir string) (string, error) {
	hash := sha256.New()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(hash, "%s %d\n", path[len(dir):], len(body))
		hash.Write(body)
		return nil
	})
	return hex.EncodeToString(hash.Sum(nil)), err
}
