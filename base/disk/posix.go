package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// HasRecordLock says whether another process holds a record lock (fcntl) on a file, as programs in Java take them; FS.Lock's are of another kind, and
// neither sees the other. It takes none itself. A file that is not there is held by nobody. It is of the real file system only.
func HasRecordLock(name string) (bool, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock of another program: %w", err)
	}
	defer f.Close()
	l := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &l); err != nil {
		return false, fmt.Errorf("lock of another program: %w", err)
	}
	return l.Type != syscall.F_UNLCK, nil
}
