package disk

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// RemoveAll deletes a folder with all that is in it, deepest first; that there is none is well. What a crash leaves is a folder with less in it.
func RemoveAll(files FS, dir string) error {
	entries, err := files.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if e.IsDir() {
			err = RemoveAll(files, name)
		} else {
			err = files.Remove(name)
		}
		if err != nil {
			return err
		}
	}
	return files.Remove(dir)
}
