package node

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// isLocked asks the kernel whether another process has the lock that Java takes on a file (fcntl, which knows nothing of flock's). It takes none. A
// file that is not there is held by nobody.
func isLocked(name string) (bool, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	l := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &l); err != nil {
		return false, err
	}
	return l.Type != syscall.F_UNLCK, nil
}
