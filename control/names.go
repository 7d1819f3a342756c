package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"millrace/base/kv"
	"millrace/engine"
	"millrace/secure/cert"
	"millrace/secure/network"
)

// ErrStranger: a process asks for a certificate that is not part of the installation.
var ErrStranger = errors.New("not a process of this installation")

// Names are what a node may be called by in its certificate: the addresses of a broker's spec, private connections included, and of a
// host's record. A gateway is on no host that the installation knows: it may be called what an administrator has registered it with
// (`millrace cert gateway add`), and nothing more. api are the addresses of this control plane's API. It is a cert.Allow.
func (p *Plane) Names(api ...string) cert.Allow {
	return func(ctx context.Context, n cert.Node) (cert.Names, error) {
		kind, rest, _ := strings.Cut(string(n), "/")
		switch kind {
		case "broker":
			cluster, id, _ := strings.Cut(rest, "/")
			return p.brokerNames(ctx, n, cluster, id)
		case "agent", "serve":
			hosts, err := p.Hosts(ctx)
			if err != nil {
				return cert.Names{}, err
			}
			i := slices.IndexFunc(hosts, func(h engine.Host) bool { return h.Name == rest })
			if i < 0 || kind == "serve" && rest != p.self.Name {
				return cert.Names{}, fmt.Errorf("%w: host %q", ErrStranger, rest)
			}
			names := n.Names(hosts[i].Address, hosts[i].Public)
			if kind == "serve" {
				names = names.Add(n.Names(api...))
			}
			return names, nil
		case "gateway":
			names, err := cert.GatewayNames(ctx, p.store, n)
			if errors.Is(err, cert.ErrUnknown) {
				err = fmt.Errorf("%w: %w", err, ErrStranger) // who reads it shall see first what to do
			}
			return names, err
		}
		return cert.Names{}, fmt.Errorf("%w: %q", ErrStranger, n)
	}
}

func (p *Plane) brokerNames(ctx context.Context, n cert.Node, cluster, id string) (cert.Names, error) {
	specs, err := p.specs(ctx)
	if err != nil {
		return cert.Names{}, err
	}
	i := slices.IndexFunc(specs, func(s engine.NodeSpec) bool { return s.Cluster == cluster && strconv.Itoa(int(s.ID)) == id })
	if i < 0 {
		return cert.Names{}, fmt.Errorf("%w: broker %s of cluster %q", ErrStranger, id, cluster)
	}
	var addresses []string
	for _, l := range specs[i].Served() {
		addresses = append(addresses, l.Address, l.Told())
	}
	private, err := network.NewStore(p.store, Prefix(cluster)).Network(ctx)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return cert.Names{}, err
	}
	for _, c := range private.Connections {
		if c.State == network.Active && c.Advertise != "" {
			addresses = append(addresses, c.Advertise)
		}
	}
	return n.Names(addresses...), nil
}
