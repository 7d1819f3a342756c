package standard

import (
	"os"
	"os/signal"
	"syscall"
)

// signals has stop called at SIGTERM.
func signals(stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	go func() {
		<-c
		stop()
	}()
}
