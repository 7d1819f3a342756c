package flood

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"millrace/test/harness"
)

// TestHandshakes come in great number: whole ones that lead to nothing, those that are left in the middle, and what is none.
func TestHandshakes(t *testing.T) {
	harness.Long(t, "make suite SUITE=security/flood")
	const many, atATime, addresses = 8000, 64, 1000
	f := start(t)
	hello := f.hello()
	endless := append([]byte{0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff}, bytes.Repeat([]byte{0}, 0x4000-4)...) // says that 16 MiB come
	fresh := f.tls.Clone()
	fresh.ClientSessionCache = nil
	var whole atomic.Int64
	f.besieged(func() {
		attackers(many, atATime, func(n int) {
			nc, err := dial(stranger(n%addresses), f.at([]int{portTLS, portScram, portIAM, 3}[n%4]))
			if err != nil {
				t.Error(err)
				return
			}
			defer end(nc)
			random := rand.New(rand.NewPCG(uint64(n), 0))
			switch n / 4 % 5 {
			case 0, 1:
				if err := tls.Client(nc, fresh).Handshake(); err == nil {
					whole.Add(1)
				}
			case 2: // the answer is not read
				_, _ = nc.Write(hello)
			case 3: // changed in places
				changed := bytes.Clone(hello)
				for range 1 + random.IntN(8) {
					changed[random.IntN(len(changed))] = byte(random.Int())
				}
				binary.BigEndian.PutUint16(changed[3:], uint16(len(changed)-5))
				_, _ = nc.Write(changed)
				_ = nc.(interface{ CloseWrite() error }).CloseWrite()
				_, _ = io.Copy(io.Discard, nc)
			default:
				for range 64 {
					if _, err := nc.Write(endless); err != nil {
						break
					}
				}
				_, _ = io.Copy(io.Discard, nc)
			}
		})
	})
	t.Logf("%d connections, %d with a whole handshake", many, whole.Load())
	if whole.Load() < many/5 {
		t.Errorf("only %d handshakes of %d came to an end", whole.Load(), many)
	}
}
