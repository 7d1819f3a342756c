// Package door is the HTTP API of the control plane towards those who come from outside: it tells TLS from the rest, asks who has signed a
// request and what they may do, tells the audit trail of it, and answers what the verbs ask of the control plane.
//
// Invariants:
//
//  1. Nothing but health is answered to who has not signed, where the API is for signed requests.
//  2. What changes something is told to the trail, with who asked; so is what was refused.
//  3. No secret is in what the trail is told.
package door

import (
	"context"
	"log/slog"
	"net/http"

	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/control"
	"millrace/control/configuration"
	"millrace/express/meter"
	"millrace/secure/cert"
	"millrace/secure/iam"
	"millrace/secure/keys"
	"millrace/secure/login"
	"millrace/secure/trail"
)

// Handle adds a route: h returns the status and the answer, which is sent as JSON, or an error.
type Handle func(pattern string, h func(*http.Request) (int, any, error))

// Installation is what the API is about.
type Installation struct {
	Name   string // of this host
	Listen string // the API's address, HOST:PORT
	Plane  *control.Plane
	Store  kv.KV
	Log    *slog.Logger
	Guard  *Guard // nil: nobody is asked who they are
	// Begin begins an operation on a cluster, once it has checked what the control plane cannot.
	Begin func(ctx context.Context, cluster string, r control.Request) (control.Operation, error)
	// Drift compares the brokers of a cluster with its configuration.
	Drift func(ctx context.Context, cluster string) ([]configuration.Drift, error)
	// Usage sums what brokers have recorded of a cluster in the object store.
	Usage func(ctx context.Context, cluster control.Cluster, q meter.Query) (meter.Usage, error)
}

// Guard is what an installation has that asks who comes.
type Guard struct {
	API      bool // the API is for signed requests over TLS
	Requests *login.Requests
	IAM      *iam.Store
	View     *iam.View
	CA       *cert.Authority
	Ring     *keys.Ring
	Keys     *DataKeys
	Trail    trail.Recorder
	Files    disk.FS
	Trails   string // directory of the trails of this host
	ShipTo   string // URL of where copies of them go; empty: nowhere
	Region   string // AWS region of requests
	Store    kv.KV
	Log      *slog.Logger
}
