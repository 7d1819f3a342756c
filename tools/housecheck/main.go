package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

func main() {
	root, err := moduleRoot()
	if err == nil {
		var found int
		if found, err = run(os.Stdout, os.DirFS(root)); err == nil && found > 0 {
			err = fmt.Errorf("%d findings", found)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "housecheck:", err)
		os.Exit(1)
	}
}

// run checks the module at the top of fsys, prints the findings to w, one a line, and returns their number.
func run(w io.Writer, fsys fs.FS) (int, error) {
	t, err := loadTree(fsys)
	if err != nil {
		return 0, err
	}
	list, err := readExceptions(fsys)
	if err != nil {
		return 0, err
	}
	found := list.filter(t.check())
	for _, f := range found {
		if _, err := fmt.Fprintln(w, f); err != nil {
			return 0, err
		}
	}
	return len(found), nil
}

// moduleRoot returns the nearest folder at or above the working directory that holds the module: the first
// go.mod, as the go command looks for it.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod here or above")
		}
		dir = parent
	}
}
