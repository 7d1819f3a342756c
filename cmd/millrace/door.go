package main

import (
	"cmp"
	"context"
	"net"
	"net/http"

	awsdoor "millrace/aws/door"
	"millrace/cmd/door"
	"millrace/cmd/parts"
	"millrace/cmd/services"
	"millrace/secure/cert"
	"millrace/secure/keys"
)

// door is what the API is given of the installation.
func (i *installation) door() *door.Installation {
	d := &door.Installation{Name: i.cfg.name, Listen: i.cfg.listen, Plane: i.plane, Store: i.store, Log: i.log, Begin: i.begin, Usage: i.usage, Drift: i.services.Drift}
	if g := i.guard; g != nil {
		d.Guard = &door.Guard{
			API: g.api, Requests: g.requests, IAM: g.iam, View: g.view, CA: g.ca, Ring: g.ring, Trail: g.trail, Keys: i.dataKeys(),
			Files: g.files, Trails: g.trails, ShipTo: g.shipTo, Region: g.region, Store: g.store, Log: g.log,
		}
	}
	return d
}

// serveAPI serves the API and the AWS services: over TLS where the API asks who comes. The services ask always.
func (i *installation) serveAPI(ctx context.Context, l net.Listener, aws *awsdoor.Handler, api *http.ServeMux) error {
	serve := func(ctx context.Context, l net.Listener, h http.Handler) error { return serveHTTP(ctx, l, h, i.log) }
	if !i.guard.api {
		return serve(ctx, l, services.Before(aws, api))
	}
	health := http.NewServeMux()
	handleHealth(health, i.plane, i.clusterName(), i.leading)
	health.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"error":"this API is served over TLS; use https://"}`, http.StatusForbidden)
	})
	g := i.door().Guard
	return g.Serve(ctx, l, cert.ServerTLS(i.guard.keeper, cert.NoClientCert, "http/1.1"), services.Before(aws, g.Signed(api)), health, serve)
}

// dataKeys is what the API needs to look after the data keys.
func (i *installation) dataKeys() *door.DataKeys {
	d := &door.DataKeys{KMS: cmp.Or(i.cfg.login.kms, parts.DefaultKMS(i.cfg.data)), Store: i.store, Files: i.guard.files}
	d.Ring = func(ctx context.Context, purpose string) (*keys.Ring, error) {
		return parts.OpenRingFor(ctx, "", purpose, d.KMS, i.cfg.data, false, i.store, d.Files, i.log)
	}
	return d
}
