package main

import (
	"context"
	"syscall"
	"testing"
	"time"
)

// TestBrokerSignals: SIGUSR1 drains and the broker stays, the first signal to stop lets it hand over, the second does not.
func TestBrokerSignals(t *testing.T) {
	stopping, drain, hurry, stop := brokerSignals(context.Background())
	defer stop()
	send := func(s syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(syscall.Getpid(), s); err != nil {
			t.Fatal(err)
		}
	}
	within := func(what string, c <-chan struct{}) {
		t.Helper()
		select {
		case <-c:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: nothing came", what)
		}
	}
	send(syscall.SIGUSR1)
	within("drain", drain)
	if stopping.Err() != nil {
		t.Fatal("a broker that drains stops")
	}
	send(syscall.SIGTERM)
	within("stop", stopping.Done())
	select {
	case <-hurry:
		t.Fatal("the first signal makes it hurry")
	default:
	}
	send(syscall.SIGTERM)
	within("hurry", hurry)
}
