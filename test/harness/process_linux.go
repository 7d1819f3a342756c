package harness

import "syscall"

// childAttributes makes the kernel end the process when the test binary dies, for instance by a test time-out.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
