package harness

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Ports below the range that kernels hand out to outgoing connections, so that a port found free stays free.
const (
	lowestPort  = 20000
	highestPort = 31000
)

// FreePorts returns the first of n consecutive loopback ports that nothing listens on.
func FreePorts(t testing.TB, n int) int {
	t.Helper()
	const tries = 200
	for range tries {
		first := lowestPort + rand.IntN(highestPort-lowestPort-n)
		if allFree(first, n) {
			return first
		}
	}
	t.Fatalf("no %d consecutive free ports found in %d tries", n, tries)
	return 0
}

func allFree(first, n int) bool {
	for port := first; port < first+n; port++ {
		listener, err := net.Listen("tcp", loopback(port))
		if err != nil {
			return false
		}
		listener.Close()
	}
	return true
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
