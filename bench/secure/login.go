package secure

import (
	"context"
	"crypto/tls"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// method is one way to log in.
type method struct {
	name string
	way  *way

	Took, CPU time.Duration // of one: median, mean of the broker's
}

// methods are those of the cluster.
func (x *express) methods(t testing.TB) []*method {
	t.Helper()
	withCert := x.config.Clone()
	withCert.Certificates = []tls.Certificate{x.certificate(t, "bench")}
	mtls := &way{bootstrap: x.at(t, portTLS), pids: []int{x.pid}, opts: []kgo.Opt{kgo.DialTLSConfig(withCert)}}
	return []*method{
		{name: "express, none", way: x.way(t, "", "", 0)},
		{name: "express, TLS without login", way: x.way(t, "", "", portTLS)},
		{name: "express, client certificate", way: mtls},
		{name: "express, SCRAM-SHA-512 (4096 iterations)", way: x.way(t, "", "", portScram, x.user(t, "bench", "a password of the bench"))},
		{name: "express, AWS_MSK_IAM", way: x.way(t, "", "", portIAM, x.iam)},
	}
}

// measure takes them in turn, some logins at a time. A login is a new connection up to the answer of its first request.
func measure(ctx context.Context, all []*method, o options) error {
	const turns = 4
	each := max(o.Logins/turns, 1)
	took := make([][]time.Duration, len(all))
	for range turns {
		for i, m := range all {
			before, err := settle(ctx, m.way.pids, o.Patience)
			if err != nil {
				return err
			}
			for range each {
				one, err := m.way.login(ctx)
				if err != nil {
					return err
				}
				took[i] = append(took[i], one)
			}
			after, err := settle(ctx, m.way.pids, o.Patience)
			if err != nil {
				return err
			}
			m.CPU += (after - before) / time.Duration(each*turns)
		}
	}
	for i, m := range all {
		slices.Sort(took[i])
		m.Took = percentile(took[i], 50)
	}
	return nil
}

func (w *way) login(ctx context.Context) (time.Duration, error) {
	c, err := w.client()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	began := time.Now()
	err = c.Ping(ctx)
	return time.Since(began), err
}
