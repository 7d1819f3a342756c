package door

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"millrace/base/clock"
	"millrace/cmd/api"
	"millrace/control"
	"millrace/secure/network"
	"millrace/secure/trail"
)

// networkAPI is the part of the API about who may connect from where.
type networkAPI struct{ *Installation }

// handleNetwork adds the routes about who may connect from where.
func (i *Installation) handleNetwork(handle Handle) {
	n := networkAPI{i}
	at := func(pattern string, h func(*http.Request) (any, error)) {
		handle(pattern, func(r *http.Request) (int, any, error) {
			answer, err := h(r)
			if status := networkStatus(err); status != 0 {
				return status, map[string]string{"error": err.Error()}, nil
			}
			return http.StatusOK, answer, err
		})
	}
	at("GET "+api.Groups, func(r *http.Request) (any, error) {
		groups, err := n.rules(api.DefaultCluster).Groups(r.Context())
		return map[string]any{"groups": groups}, err
	})
	at("POST "+api.Groups, func(r *http.Request) (any, error) { return n.putGroup(r, true) })
	at("PUT "+api.Groups+"/{name}", func(r *http.Request) (any, error) { return n.putGroup(r, false) })
	at("DELETE "+api.Groups+"/{name}", func(r *http.Request) (any, error) {
		err := n.rules(api.DefaultCluster).DeleteGroup(r.Context(), r.PathValue("name"))
		n.record(r, "DeleteGroup", "group/"+r.PathValue("name"), nil, nil, err)
		return struct{}{}, err
	})
	const base = api.Root + "/clusters/{cluster}/network"
	at("GET "+base, func(r *http.Request) (any, error) { return n.rules(r.PathValue("cluster")).Network(r.Context()) })
	at("PUT "+base+"/guards/{listener}", n.guards)
	at("PUT "+base+"/limits", func(r *http.Request) (any, error) {
		var limits network.Limits
		return n.edit(r, "SetLimits", "limits", &limits, func(all *network.Network) error {
			all.Limits = limits
			return nil
		})
	})
	at("POST "+base+"/connections", n.request)
	for verb, change := range map[string]func(*network.Network, string, time.Time) error{
		"accept": (*network.Network).Accept, "reject": (*network.Network).Reject,
	} {
		at("POST "+base+"/connections/{name}/"+verb, func(r *http.Request) (any, error) {
			name := r.PathValue("name")
			return n.edit(r, verb+"Connection", "connection/"+name, nil, func(all *network.Network) error { return change(all, name, clock.System{}.Now()) })
		})
	}
	at("DELETE "+base+"/connections/{name}", func(r *http.Request) (any, error) {
		name := r.PathValue("name")
		return n.edit(r, "DeleteConnection", "connection/"+name, nil, func(all *network.Network) error { return all.Delete(name) })
	})
}

func networkStatus(err error) int {
	switch {
	case errors.Is(err, network.ErrUnknown), errors.Is(err, control.ErrNoCluster):
		return http.StatusNotFound
	case errors.Is(err, network.ErrExists), errors.Is(err, network.ErrInUse), errors.Is(err, network.ErrState):
		return http.StatusConflict
	case errors.Is(err, network.ErrInvalid):
		return http.StatusBadRequest
	}
	return 0
}

func (n networkAPI) rules(cluster string) *network.Store {
	return network.NewStore(n.Store, control.Prefix(cluster))
}

// record tells the trail of a change, where one is kept.
func (n networkAPI) record(r *http.Request, action, resource string, before, after any, err error) {
	if n.Guard == nil {
		return
	}
	e := trail.Event{Kind: trail.Admin, Action: "network:" + strings.ToUpper(action[:1]) + action[1:], Outcome: trail.Accepted, Resource: resource, Cluster: api.DefaultCluster}
	if err != nil {
		e.Outcome, e.Reason = trail.Failed, err.Error()
	} else {
		e.Before, _ = json.Marshal(before) // plain data
		e.After, _ = json.Marshal(after)
	}
	n.Guard.Record(r, e)
}

func readNetwork(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: request: %w", network.ErrInvalid, err)
	}
	return nil
}

func (n networkAPI) putGroup(r *http.Request, create bool) (any, error) {
	var g network.Group
	if err := readNetwork(r, &g); err != nil {
		return nil, err
	}
	if !create {
		g.Name = r.PathValue("name")
	}
	before, err := n.rules(api.DefaultCluster).PutGroup(r.Context(), g, create)
	n.record(r, "PutGroup", "group/"+g.Name, before, g, err)
	return g, err
}

// edit changes the network of the request's cluster. in, where it is not nil, is what the request's body is read into first.
func (n networkAPI) edit(r *http.Request, action, resource string, in any, change func(*network.Network) error) (any, error) {
	cluster := r.PathValue("cluster")
	if in != nil {
		if err := readNetwork(r, in); err != nil {
			return nil, err
		}
	}
	if _, err := n.Plane.Cluster(r.Context(), cluster); err != nil {
		return nil, err
	}
	before, after, err := n.rules(cluster).Edit(r.Context(), change)
	n.record(r, action, resource, before, after, err)
	return after, err
}

func (n networkAPI) guards(r *http.Request) (any, error) {
	var ask api.Guard
	listener := r.PathValue("listener")
	if err := n.has(r.Context(), r.PathValue("cluster"), listener); err != nil {
		return nil, err
	}
	return n.edit(r, "GuardListener", "listener/"+listener, &ask, func(all *network.Network) error {
		all.Guard(listener, ask.Groups)
		return nil
	})
}

func (n networkAPI) request(r *http.Request) (any, error) {
	var ask network.Connection
	if err := readNetwork(r, &ask); err != nil {
		return nil, err
	}
	if err := n.has(r.Context(), r.PathValue("cluster"), ask.Listener); err != nil {
		return nil, err
	}
	ask.By = ""
	if who := CallerOf(r.Context()); who != nil {
		ask.By = who.Principal
	}
	return n.edit(r, "RequestConnection", "connection/"+ask.Name, nil, func(all *network.Network) error { return all.Request(ask, clock.System{}.Now()) })
}

// has says whether a broker of the cluster has the listener: rules for one that is misspelt would guard nothing.
func (n networkAPI) has(ctx context.Context, cluster, listener string) error {
	nodes, err := n.Plane.Nodes(ctx, cluster)
	if err != nil {
		return err
	}
	var names []string
	for _, node := range nodes {
		for _, l := range node.Spec.Served() {
			names = append(names, l.Name)
		}
	}
	if slices.Contains(names, listener) {
		return nil
	}
	slices.Sort(names)
	return fmt.Errorf("%w: listener %q; the cluster has %s", network.ErrUnknown, listener, strings.Join(slices.Compact(names), ", "))
}
