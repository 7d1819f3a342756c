package flood

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"millrace/kafka/wire"
	"millrace/secure/identity"
	"millrace/test/harness"
)

// giants are messages of logins that are larger, deeper or longer than any may be.
func (f *fortress) giants() []attempt {
	const large, larger = 60 << 10, 500 << 10
	fill := func(n int) string { return strings.Repeat("A", n) }
	bearer := func(token string) []byte { return []byte("n,,\x01auth=Bearer " + token + "\x01\x01") }
	var all []attempt
	for _, n := range []int{large, larger} {
		token := base64.RawURLEncoding.EncodeToString([]byte("https://kafka." + region + ".amazonaws.com/?Action=" + fill(n/2)))
		for _, m := range []string{
			fill(n), `{"version":"2020_10_22","host":"` + fill(n) + `"}`, strings.Repeat(`{"a":`, n/5), strings.Repeat("[", n), `{"x-amz-security-token":"` + fill(n) + `"}`,
		} {
			all = append(all, attempt{portIAM, identity.MSKIAM, []byte(m)})
		}
		all = append(all,
			attempt{portIAM, identity.OAuthBearer, bearer(token)}, attempt{portIAM, identity.OAuthBearer, bearer(fill(n))},
			attempt{portIAM, identity.OAuthBearer, []byte("n,," + strings.Repeat("\x01a=b", n/4) + "\x01\x01")},
			attempt{portScram, identity.ScramSHA512, []byte("n,,n=" + fill(n) + ",r=abc")},
			attempt{portScram, identity.ScramSHA512, []byte("n,,n=" + goodUser + ",r=" + fill(n))},
			attempt{portScram, identity.ScramSHA512, []byte("n,,n=" + strings.Repeat("=2C", n/3) + ",r=abc")},
			attempt{portScram, identity.ScramSHA512, []byte("n,,n=" + goodUser + ",r=abc" + strings.Repeat(",x=1", n/4))},
		)
	}
	return all
}

// TestGiants: frames and messages that are too large, and those that are right but for some bytes.
func TestGiants(t *testing.T) {
	harness.Long(t, "make suite SUITE=security/flood")
	const many, atATime, addresses = 4000, 128, 4000
	f := start(t)
	giants := f.giants()
	const wellMade = 3
	rights := f.wrongs()[:wellMade] // by another secret: what is changed of a message may be what nobody signs
	var in, frames atomic.Int64
	f.besieged(func() {
		attackers(many, atATime, func(n int) {
			from, random := stranger(n%addresses), rand.New(rand.NewPCG(uint64(n), 1))
			switch n % 4 {
			case 0:
				if f.unanswered(from, random) {
					frames.Add(1)
				}
			case 1:
				if err := f.try(from, f.tls, giants[n/4%len(giants)]); err == nil {
					in.Add(1)
					t.Errorf("a giant of %s got in", giants[n/4%len(giants)].mechanism)
				}
			default:
				a := rights[random.IntN(len(rights))]
				a.first = damaged(a.first, random)
				if err := f.try(from, f.tls, a); err == nil {
					in.Add(1)
					t.Errorf("%s got in by %q", a.mechanism, a.first)
				}
			}
		})
	})
	t.Logf("%d attempts, %d got in, %d frames without an answer", many, in.Load(), frames.Load())
	if frames.Load() != many/4 {
		t.Errorf("of %d frames only %d were left without an answer", many/4, frames.Load())
	}
}

// damaged is a message with other bytes in some places: or cut, or twice.
func damaged(message []byte, random *rand.Rand) []byte {
	out := bytes.Clone(message)
	switch random.IntN(4) {
	case 0:
		return out[:random.IntN(len(out))]
	case 1:
		return append(out, out...)
	default:
		for range 1 + random.IntN(3) {
			at := random.IntN(len(out))
			out[at] ^= byte(1 + random.IntN(255))
		}
		return out
	}
}

// unanswered sends a frame that may not come before a login, and says whether the connection was closed without an answer.
func (f *fortress) unanswered(from string, random *rand.Rand) bool {
	c, err := f.enter(from, portScram)
	if err != nil {
		f.t.Error(err)
		return false
	}
	defer end(c.Conn)
	size := []uint32{1<<31 - 1, 1 << 31, 1<<32 - 1, 100 << 20, 600 << 10, 512<<10 + 1, 0}[random.IntN(7)]
	frame := binary.BigEndian.AppendUint32(nil, size)
	if random.IntN(2) == 0 { // or a message that says it has four billion bytes
		if c.choose(identity.ScramSHA512) != nil {
			return false
		}
		frame = make([]byte, wire.SizeBytes)
		frame = wire.AppendHeader(frame, wire.RequestHeader{Key: wire.KeySASLAuthenticate, Version: 2, CorrelationID: 7, ClientID: "flood"})
		frame = append(frame, 0xff, 0xff, 0xff, 0xff, 0x0f, 'x')
		wire.PutFrameSize(frame, len(frame)-wire.SizeBytes)
	}
	_, _ = c.Write(frame)
	n, err := io.Copy(io.Discard, c)
	return n == 0 && !errors.Is(err, os.ErrDeadlineExceeded)
}
