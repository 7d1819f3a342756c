package handshake

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/base/slab"
	"millrace/kafka/kerr"
	"millrace/kafka/server"
	"millrace/secure/identity"
	"millrace/secure/login"
	"millrace/secure/scram"
	"millrace/secure/trail"
)

// handler is a broker of which only the login is real.
type handler struct {
	door *login.Door
}

func (h handler) Versions(key int16) (int16, int16, bool) {
	switch kmsg.Key(key) {
	case kmsg.ApiVersions:
		return 0, 4, true
	case kmsg.SASLHandshake:
		return 0, 1, true
	case kmsg.SASLAuthenticate:
		return 0, 2, true
	case kmsg.Metadata:
		return 0, 13, true
	default:
		return 0, 0, false
	}
}

func (h handler) Connected(_ context.Context, c *server.Conn) error {
	l := login.Listener{Name: c.Listener(), Mechanisms: []identity.Mechanism{sha512, sha256}}
	if l.Name == ending {
		l.MaxReauth = time.Hour
	}
	s, err := h.door.Connected(c, l)
	c.SetSession(s)
	return err
}

func (h handler) Disconnected(*server.Conn) {}

func (h handler) Handle(ctx context.Context, r *server.Request) {
	if r.Conn.Session().(*login.Session).Handle(ctx, r) {
		return
	}
	if r.Header.Key == int16(kmsg.Metadata) {
		r.Reply(server.Response{Msg: kmsg.NewPtrMetadataResponse()})
		return
	}
	resp := kmsg.NewPtrApiVersionsResponse()
	if r.Header.Version > 4 {
		resp.ErrorCode = int16(kerr.UnsupportedVersion)
	}
	r.Reply(server.Response{Msg: resp})
}

// startDoor starts a server behind a Door and returns the addresses of its listeners.
func startDoor(t *testing.T) map[string]string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.DiscardHandler)
	store, err := scram.OpenStore(ctx, scram.Config{Prefix: "c/"}, scram.World{KV: kv.NewMemory(), Random: func(b []byte) { _, _ = rand.Read(b) }, Log: log})
	must(t, err)
	followed := make(chan error, 1)
	go func() { followed <- store.Run(ctx) }()
	for _, user := range users() {
		for _, m := range []identity.Mechanism{sha256, sha512} {
			c, err := scram.FromPassword(m, user+"-password", []byte("a salt of some 26 bytes..."), 4096)
			must(t, err)
			for _, err := range store.Alter(ctx, []scram.Change{{User: user, Mechanism: m, Credential: c}}) {
				must(t, err)
			}
		}
	}
	door, err := login.New(login.Config{FailureDelay: time.Millisecond}, login.World{Users: store, Trail: trail.Discard{}, Clock: clock.System{}, Log: log})
	must(t, err)
	slabs, err := slab.New(slab.Config{})
	must(t, err)
	srv, err := server.New(server.Config{}, handler{door}, server.World{Log: log, Clock: clock.System{}, Slabs: slabs})
	must(t, err)
	served := make(chan error, 2)
	out := make(map[string]string)
	for _, name := range []string{ending, lasting} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		out[name] = ln.Addr().String()
		go func() { served <- srv.Serve(ctx, name, ln) }()
	}
	t.Cleanup(func() {
		cancel()
		stop, done := context.WithTimeout(context.Background(), 10*time.Second)
		defer done()
		must(t, srv.Close(stop))
		must(t, <-served)
		must(t, <-served)
		must(t, <-followed)
	})
	return out
}
