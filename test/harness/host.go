package harness

import "os/exec"

// A Host is where a test starts processes as if on a machine of its own.
type Host struct {
	Name    string
	Address string // IP at which others reach it
	Netns   string // network namespace; empty: the test's own
}

// Command is one that runs on the host. Its process is the program's own.
func (h Host) Command(program string, args ...string) *exec.Cmd {
	if h.Netns == "" {
		return exec.Command(program, args...)
	}
	return exec.Command("nsenter", append([]string{"--net=/run/netns/" + h.Netns, "--", program}, args...)...)
}
