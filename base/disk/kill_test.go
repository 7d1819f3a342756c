package disk_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"

	"millrace/base/disk"
)

// TestKillKeepsEverythingAndMakesNothingDurable: what a killed process has written is read by its heir, and lost by a crash of
// the machine that comes later, unless the heir syncs it.
func TestKillKeepsEverythingAndMakesNothingDurable(t *testing.T) {
	m := disk.NewMem()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(m.MkdirAll("d", 0o700))
	write := func(fs disk.FS, name, text string, off int64, sync bool) disk.File {
		t.Helper()
		f, err := fs.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		check(err)
		_, err = f.WriteAt([]byte(text), off)
		check(err)
		if sync {
			check(f.Sync())
		}
		return f
	}
	f := write(m, "d/kept", "synced", 0, true)
	check(m.SyncDir("d"))
	write(m, "d/kept", "SYNCED", 0, false)
	write(m, "d/new", "new", 0, false)
	_, err := m.Lock("d/lock")
	check(err)

	heir := m.KillClone()
	_, err = heir.Lock("d/lock")
	check(err)
	for name, want := range map[string]string{"d/kept": "SYNCED", "d/new": "new"} {
		got, err := heir.ReadFile(name)
		check(err)
		if string(got) != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	if _, err := f.WriteAt([]byte("dead.."), 0); err != nil {
		t.Fatal(err)
	}
	if got, err := heir.ReadFile("d/kept"); err != nil || string(got) != "SYNCED" {
		t.Errorf("what the dead write reaches the heir: %q, %v", got, err)
	}
	if heir.Used() != int64(len("SYNCED")+len("new")) {
		t.Errorf("%d bytes are used", heir.Used())
	}

	var lost, gone int
	for seed := range uint64(50) {
		after := heir.CrashClone(rand.New(rand.NewPCG(seed, 1)))
		got, err := after.ReadFile("d/kept")
		check(err)
		if bytes.Equal(got, []byte("synced")) {
			lost++
		}
		if _, err := after.Stat("d/new"); err != nil {
			gone++
		}
	}
	if lost == 0 || gone == 0 {
		t.Errorf("of 50 crashes %d take the unsynced bytes, %d the unsynced file", lost, gone)
	}
}
