package flood

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/secure/identity"
	"millrace/test/harness"
)

// drip is a connection that sends a byte now and then.
type drip struct {
	nc   net.Conn
	left []byte // what it has to say, one byte at a time; it ends before the last
}

// hello is the first message of a TLS handshake, as a client makes it.
func (f *fortress) hello() []byte {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() { _ = tls.Client(ours, f.tls.Clone()).Handshake() }()
	var head [5]byte
	_, err := io.ReadFull(theirs, head[:])
	must(f.t, err)
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	_, err = io.ReadFull(theirs, body)
	must(f.t, err)
	return append(head[:], body...)
}

// drips are the ways of being slow: before TLS, within its handshake, within a frame, and within a message of a login.
func (f *fortress) drips() []func(from string) (*drip, error) {
	hello := f.hello()
	slowly := func(say []byte) func(string) (*drip, error) {
		return func(from string) (*drip, error) {
			nc, err := dial(from, f.at(portScram))
			return &drip{nc, say}, err
		}
	}
	login := func(step int, choose identity.Mechanism) func(string) (*drip, error) {
		return func(from string) (*drip, error) {
			c, err := f.enter(from, step)
			if err != nil {
				return nil, err
			}
			if choose != "" {
				if err := c.choose(choose); err != nil {
					end(c.Conn)
					return nil, err
				}
			}
			q := kmsg.NewPtrSASLAuthenticateRequest()
			q.Version, q.SASLAuthBytes = 2, bytes.Repeat([]byte{'x'}, 60<<10)
			return &drip{c.Conn, c.encode(q)}, nil
		}
	}
	return []func(string) (*drip, error){
		slowly(nil), slowly(hello), slowly(hello[:len(hello)/2]), login(portScram, ""), login(portScram, identity.ScramSHA512),
		login(portIAM, identity.MSKIAM), login(portIAM, identity.OAuthBearer),
	}
}

// TestSlowLoris: more connections than there may be, none of which gets on. Those that are ended come again.
func TestSlowLoris(t *testing.T) {
	harness.Long(t, "make suite SUITE=security/flood")
	const connections, slots, workers, rounds = 1000, 1400, 4, 12
	f := start(t, "--max-connections", "1000")
	ways := f.drips()
	var came, ended atomic.Int64
	f.besieged(func() {
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				open := make([]*drip, slots/workers)
				for range rounds {
					for i := range open {
						n := w*len(open) + i
						switch d := open[i]; {
						case d == nil:
							if d, err := ways[n%len(ways)](stranger(n)); err == nil {
								open[i] = d
								came.Add(1)
							}
						case !d.drop():
							end(d.nc)
							open[i] = nil
							ended.Add(1)
						}
					}
				}
				for _, d := range open {
					if d != nil {
						end(d.nc)
					}
				}
			})
		}
		all.Wait()
	})
	t.Logf("%d slow connections, %d of them were ended by the broker", came.Load(), ended.Load())
	if came.Load() < connections || ended.Load() == 0 {
		t.Errorf("%d came and %d were ended: there was no siege", came.Load(), ended.Load())
	}
}

// drop sends a byte, and says whether the connection is still there.
func (d *drip) drop() bool {
	if len(d.left) > 1 {
		_, err := d.nc.Write(d.left[:1])
		d.left = d.left[1:]
		return err == nil
	}
	return true
}
