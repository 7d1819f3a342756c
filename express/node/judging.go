package node

import (
	"context"
	"fmt"

	"millrace/kafka/server"
	"millrace/secure/acl"
	"millrace/secure/authz"
	"millrace/secure/cert"
	"millrace/secure/identity"
	"millrace/secure/login"
	"millrace/secure/usage"
)

// aclRoom is where ACLs are, below the cluster's prefix.
const aclRoom = "acls/"

// openJudge reads the ACLs. Without Secure.Authorize everybody may do everything, as where Apache Kafka has no authorizer.
func (b *broker) openJudge(ctx context.Context, cfg Config, w World) (err error) {
	g := b.guards
	if !g.cfg.Authorize {
		return nil
	}
	if g.acls, err = acl.Open(ctx, w.KV, cfg.Prefix+aclRoom); err != nil {
		return fmt.Errorf("access control lists: %w", err)
	}
	arn := ""
	if g.cfg.Account != "" {
		arn = fmt.Sprintf("arn:aws:kafka:%s:%s:cluster/%s/%s", g.cfg.Region, g.cfg.Account, g.cfg.Cluster, b.catalog.ClusterID())
	}
	g.authorizer, err = authz.New(authz.Config{ClusterARN: arn, Cluster: g.cfg.Cluster, SuperUsers: g.cfg.Super}, authz.World{
		ACLs: g.acls.Snapshot, Everyone: func() bool { return b.catalog.BrokerSettings().AllowEveryone },
		Policies: g.cfg.Policies, Recorder: g.cfg.Trail, Clock: w.Clock,
	})
	if err != nil {
		return fmt.Errorf("authorization: %w", err)
	}
	g.judge = g.authorizer
	if w.Secure.Trail == nil { // nobody could read what is observed
		return nil
	}
	if g.observer, err = usage.New(usage.Config{Cluster: g.cfg.Cluster}, usage.World{Judge: g.authorizer, Recorder: g.cfg.Trail, Clock: w.Clock}); err != nil {
		return err
	}
	g.judge, g.read = g.observer, g.observer.Read
	return nil
}

// admit is asked whether who has proven who they are may connect.
func (g *guards) admit() func(context.Context, identity.Identity, login.Origin) error {
	if g.authorizer == nil {
		return nil
	}
	return func(ctx context.Context, who identity.Identity, from login.Origin) error {
		return g.authorizer.Admit(ctx, who, from.Address, from.TLS)
	}
}

// handshakeFailed tells the trail of clients whose certificate was refused. Other failures are no login: nothing is known of who it was.
func (g *guards) handshakeFailed(c *server.Conn, err error) {
	if cert.RefusedClient(err) {
		g.door.HandshakeFailed(c, g.listener(c.Listener()), err)
	}
}
