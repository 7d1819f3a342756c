package disk

import (
	"os"
	"testing"
)

// TestWriteRest checks what follows a short pwritev, for every place where it may have stopped.
func TestWriteRest(t *testing.T) {
	group := [][]byte{[]byte("ab"), nil, []byte("cde"), []byte("f")}
	const want = "abcdef"
	for done := range len(want) {
		file, err := OS(t.TempDir()).OpenFile("a", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		f := file.(*osFile)
		n, err := f.writeRest(group, done, int64(done))
		if err != nil || n != len(want)-done {
			t.Errorf("after %d bytes: wrote %d, %v", done, n, err)
		}
		got := make([]byte, len(want))
		if _, err := f.ReadAt(got, 0); err != nil || string(got[done:]) != want[done:] {
			t.Errorf("after %d bytes: %q, %v", done, got, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
