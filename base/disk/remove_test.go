package disk_test

import (
	"errors"
	"io/fs"
	"testing"

	"millrace/base/disk"
)

func TestRemoveAll(t *testing.T) {
	files := disk.NewMem()
	for _, dir := range []string{"a/b/c", "a/d", "e"} {
		if err := files.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(files.WriteFileAtomic("a/b/c/f", []byte("x")), files.WriteFileAtomic("a/g", nil)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is none
		if err := disk.RemoveAll(files, "a"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := files.Stat("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if _, err := files.Stat("e"); err != nil {
		t.Errorf("another folder: %v", err)
	}
}
