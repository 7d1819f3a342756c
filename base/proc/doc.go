// Package proc is the only door to os/exec: it starts child processes, watches and stops them, and adopts
// processes that an earlier run of the program has started.
//
// Every child leads a process group of its own, so that signals to the terminal do not reach it and Stop
// reaches what the child itself has started.
//
// P1: A process is named by its number and its start mark together; the number alone may be reused.
// P2: Done is closed only after the process has ended. For a child, the rest of its group has been killed by
// then, and its output has been delivered.
// P3: A child outlives the program unless Spec.DieWithParent is set (Linux only).
//
// Process is safe for concurrent use. Files: proc.go, stop.go, adopt.go, output.go, and what differs between
// systems in sys_linux.go and sys_darwin.go.
package proc
