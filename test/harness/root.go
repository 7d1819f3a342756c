package harness

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// errNoRoot is returned where no folder above the working folder is the millrace module.
var errNoRoot = errors.New("harness: no folder above this one holds the millrace module")

// Root returns the absolute path of the repository: the nearest folder, from the working folder upwards, whose go.mod
// declares the module millrace.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if mod, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil {
			if first, _, _ := strings.Cut(string(mod), "\n"); strings.TrimSpace(first) == "module millrace" {
				return dir, nil
			}
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errNoRoot
		}
		dir = parent
	}
}

// cacheDir returns the folder for toolchains and built clients, which it creates.
func cacheDir() (string, error) {
	dir := os.Getenv("MILLRACE_TEST_CACHE")
	if dir == "" {
		root, err := Root()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, ".cache")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o755)
}
