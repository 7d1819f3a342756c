package flood

import (
	"sync/atomic"
	"testing"

	"millrace/test/harness"
)

// TestCrowdOfOneAddress: more connections than may be without a login, all from one address, with a whole handshake each and nothing after
// it. Whoever has to go for them is one of them, and nobody else waits for their handshakes.
func TestCrowdOfOneAddress(t *testing.T) {
	harness.Long(t, "make suite SUITE=security/flood")
	const many, atATime, mostOpen = 8000, 256, 400
	f := start(t, "--max-connections", "400") // half of which may be without a login
	fresh := f.tls.Clone()
	fresh.ClientSessionCache = nil
	var came, displaced atomic.Int64
	f.besieged(func() {
		open := make(chan *conn, mostOpen)
		attackers(many, atATime, func(int) {
			c, err := f.enterAs("127.66.6.6", portScram, fresh)
			if err != nil {
				displaced.Add(1)
				return
			}
			came.Add(1)
			for {
				select {
				case open <- c:
					return
				case first := <-open:
					end(first.Conn)
				}
			}
		})
		close(open)
		for c := range open {
			end(c.Conn)
		}
	})
	t.Logf("%d connections with a whole handshake, %d that were refused or ended before", came.Load(), displaced.Load())
	if came.Load() < many/5 {
		t.Errorf("only %d handshakes of %d came to an end: there was no siege", came.Load(), many)
	}
}
