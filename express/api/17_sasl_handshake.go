package api

import (
	"context"

	"millrace/kafka/server"
	"millrace/secure/login"
)

// SaslHandshake: v0-1 (KIP-43, KIP-152), and SaslAuthenticate: v0-2, v1 session lifetime (KIP-368), v2 flexible.
//
// They are answered before a request gets to the table, by the connection's login.Session, at whatever point of a login they come. They stand in
// the table because clients have to be told of them.

func (a *API) login(ctx context.Context, r *server.Request) {
	if !sessionOf(r).Handle(ctx, r) {
		a.refuse(r, nil) // It handles both keys always.
	}
}

func sessionOf(r *server.Request) *login.Session { return r.Conn.Session().(*peer).login }
