package gateway

import (
	"context"
	"crypto/tls"
	"slices"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/cmd/parts"
	"millrace/control"
	"millrace/gateway"
	"millrace/kafka/server"
	"millrace/secure/cert"
	ident "millrace/secure/identity"
	"millrace/secure/trail"
)

// addresses are those at which clients reach the gateway, which its certificate must name.
func (c *config) addresses() []string {
	var all []string
	for _, w := range c.ways() {
		all = append(all, w.listen)
	}
	if c.advertise != "" {
		all = append(all, c.advertise)
	}
	return all
}

// openKeeper has a certificate of the installation's authority before it returns, and keeps it current until the end. It waits for the
// control plane, and for the gateway to be registered; the log says for which.
func (g *guards) openKeeper(ctx context.Context, addresses []string, files disk.FS, recorder trail.Recorder) (err error) {
	world := cert.World{KV: g.store, Clock: clock.System{}, Log: g.log, FS: files, Trail: recorder}
	if g.keeper, err = parts.NewKeeper(cert.Gateway(g.name), g.data, cert.Rules{}, world, addresses...); err != nil {
		return err
	}
	g.run("certificate", g.keeper.Run)
	return g.keeper.Wait(ctx)
}

// certify gives the listeners the Keeper's certificate, if there is one: each handshake takes what it has and what it trusts at that
// moment.
func (g *guards) certify(cfg *gateway.Config, ways []way) {
	if g == nil || g.keeper == nil {
		return
	}
	for i, w := range ways {
		l, auth := &cfg.Listeners[i], cert.NoClientCert
		if slices.Contains(w.logins, control.LoginMTLS) {
			auth, l.Login.Certificate = cert.NeedClientCert, g.owner
		}
		l.TLS = cert.ServerTLS(g.keeper, auth)
	}
}

// owner names who shows a certificate. Nodes of the installation may do here what ACLs let them, not everything as among themselves.
func (g *guards) owner(state tls.ConnectionState) (ident.Identity, error) {
	if len(state.PeerCertificates) == 0 {
		return ident.Identity{}, errNoCertificate
	}
	who, err := g.keeper.Identity(state)
	who.Internal = false
	return who, err
}

// watch cuts connections whose certificate counts no more, until the end.
func (g *guards) watch(gw *gateway.Gateway) {
	if g == nil || g.keeper == nil {
		return
	}
	g.run("revocations", func(ctx context.Context) error {
		return g.keeper.Watch(ctx, func() {
			gw.Recheck(func(c *server.Conn) error {
				if state := c.TLS(); state != nil {
					return g.keeper.Refused(*state)
				}
				return nil
			})
		})
	})
}
