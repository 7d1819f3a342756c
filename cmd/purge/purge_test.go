package purge

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/object"
)

// open opens a folder of a store.
func open(ctx context.Context, files disk.FS, dir string) (object.Store, func() error, error) {
	store, err := object.OpenFiles(ctx, files, dir)
	if err != nil {
		return nil, nil, err
	}
	return store, store.Close, nil
}

// TestPurgeObjects: what a cluster has in a folder goes, with the folder, and nothing of another's.
func TestPurgeObjects(t *testing.T) {
	ctx, files, dir := context.Background(), disk.OS(""), t.TempDir()
	for _, cluster := range []string{"a", "ab"} {
		store, closeStore, err := open(ctx, files, filepath.Join(dir, cluster))
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"store-id", "log/1/2", "log/1/3", "m/x"} {
			if err := store.Put(ctx, key, [][]byte{[]byte("x")}, object.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := closeStore(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // again, when there is nothing
		if err := Objects(ctx, "file://"+dir, "a", files); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "a")); !os.IsNotExist(err) {
		t.Errorf("the folder is left: %v", err)
	}
	memory := object.NewMemory(clock.System{})
	if err := memory.Put(ctx, "x", [][]byte{[]byte("x")}, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := deleteAll(ctx, memory); err != nil {
		t.Fatal(err)
	}
	other, closeStore, err := open(ctx, files, filepath.Join(dir, "ab"))
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore()
	for store, want := range map[object.Store]int{other: 4, memory: 0} {
		if all, err := store.List(ctx, "", "", 100); err != nil || len(all) != want {
			t.Errorf("%d objects, want %d: %v", len(all), want, err)
		}
	}
}
