package node

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"millrace/engine"
	"millrace/express/catalog"
	"millrace/secure/cert"
	"millrace/secure/network"
)

// openNetwork reads who may connect. Where brokers have no listener of their own, their addresses are let in everywhere.
func (b *broker) openNetwork(ctx context.Context, cfg Config, w World, self doors) (err error) {
	c := network.Config{Prefix: cfg.Prefix, Changed: b.networkChanged}
	if !slices.ContainsFunc(self, func(d door) bool { return d.way.Name == engine.Internal }) {
		c.Inside = b.isBroker
	}
	b.network, err = network.Open(ctx, c, network.World{KV: w.KV, Clock: w.Clock, Log: w.Log})
	return err
}

// networkChanged cuts who may not be connected any more, and has the private listeners looked at. The server is there: the view is
// followed only when the broker runs.
func (b *broker) networkChanged() {
	b.server.Recheck(nil)
	select {
	case b.privateKick <- struct{}{}:
	default:
	}
}

// isBroker says that an address is one of the cluster's brokers', where those are told by address.
func (b *broker) isBroker(a netip.Addr) bool {
	return slices.ContainsFunc(b.catalog.Brokers(), func(o catalog.Broker) bool {
		host, err := netip.ParseAddr(o.Host)
		return err == nil && host.Unmap() == a
	})
}

// privates are the listeners of private connections. All is of runPrivate's goroutine.
type privates struct {
	*broker
	world World
	id    int32
	bases doors // of the broker itself
	open  map[string]*private
	named cert.Names // that the certificate was last asked to have
	wait  sync.WaitGroup
}

// private is one that is open.
type private struct {
	door
	of    network.Connection
	close context.CancelFunc
}

// runPrivate keeps a listener open for each private connection that is active, until ctx ends. One that cannot be opened is tried
// again, and keeps nothing else from being served.
func (b *broker) runPrivate(ctx context.Context, cfg Config, w World, self doors) error {
	select {
	case <-b.registered: // what is told before may be lost in the first registration
	case <-ctx.Done():
		return nil
	}
	p := &privates{broker: b, world: w, id: cfg.ID, bases: self, open: map[string]*private{}}
	defer p.wait.Wait()
	defer func() {
		for _, o := range p.open {
			o.close()
		}
	}()
	for {
		failed := p.settle(ctx)
		retry, cancel := context.WithCancel(ctx)
		if failed {
			retry, cancel = context.WithTimeout(ctx, retryMost)
		}
		select {
		case <-ctx.Done():
		case <-retry.Done():
		case <-b.privateKick:
		}
		cancel()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// settle opens and closes what has changed, and tells the cluster.
func (p *privates) settle(ctx context.Context) (failed bool) {
	wanted := map[string]network.Connection{}
	for _, c := range p.network.Active() {
		wanted[c.ListenerName()] = c
	}
	for name, o := range p.open {
		if c, ok := wanted[name]; !ok || c.Port != o.of.Port || c.Advertise != o.of.Advertise {
			o.close()
			delete(p.open, name)
			p.logger.Info("private listener closed", "listener", name)
		}
	}
	p.name(wanted)
	for name, c := range wanted {
		if p.open[name] != nil {
			continue
		}
		if err := p.start(ctx, c); err != nil {
			p.logger.Error("private listener cannot be opened, to be tried again", "listener", name, "err", err)
			failed = true
		}
	}
	var told []catalog.Endpoint
	for _, o := range p.open {
		told = append(told, o.told)
	}
	slices.SortFunc(told, func(a, b catalog.Endpoint) int { return cmp.Compare(a.Listener, b.Listener) })
	if err := p.catalog.SetPrivate(ctx, told); err != nil && ctx.Err() == nil {
		p.logger.Warn("private listeners could not be told, to be tried again", "err", err)
		failed = true
	}
	return failed
}

// name has the broker's certificate name it as clients of private connections know it.
func (p *privates) name(wanted map[string]network.Connection) {
	keeper := p.guards.cfg.Keeper
	if keeper == nil {
		return
	}
	var hosts []string
	for _, d := range p.bases {
		hosts = append(hosts, d.way.Address, d.told.Host)
	}
	for _, c := range wanted {
		if c.Advertise != "" {
			hosts = append(hosts, c.Advertise)
		}
	}
	names := cert.Broker(p.guards.cfg.Cluster, p.id).Names(hosts...)
	if more := names.Without(p.named); more.IsEmpty() && p.named.Without(names).IsEmpty() {
		return
	}
	p.named = names
	keeper.SetNames(names)
}

// start listens for a connection, with the TLS and logins of the listener that it stands for.
func (p *privates) start(ctx context.Context, c network.Connection) error {
	i := slices.IndexFunc(p.bases, func(d door) bool { return d.way.Name == c.Listener })
	if i < 0 {
		p.logger.Warn("private connection is for a listener that this broker does not have", "connection", c.Name, "listener", c.Listener)
		return nil
	}
	way := p.bases[i].way
	host, _, err := net.SplitHostPort(way.Address)
	if err != nil {
		return err
	}
	port := strconv.Itoa(c.PortOf(p.id))
	way.Name, way.Address, way.Advertise = c.ListenerName(), net.JoinHostPort(host, port), ""
	if c.Advertise != "" {
		way.Advertise = net.JoinHostPort(c.Advertise, port)
	}
	d, err := openDoor(ctx, way, p.world)
	if err != nil {
		return err
	}
	p.guards.add(d)
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.open[way.Name] = &private{door: d, of: c, close: cancel}
	p.wait.Go(func() {
		if err := p.server.Serve(serving, way.Name, d.ln); err != nil {
			p.logger.Warn("private listener ended", "listener", way.Name, "err", err)
		}
	})
	p.logger.Info("private listener opened", "listener", way.Name, "address", way.Address)
	return nil
}
