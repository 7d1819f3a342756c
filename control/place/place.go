package place

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"millrace/control/spec"
	"millrace/engine"
)

// portsPerBroker is what the listeners of one broker take of a host's range: PLAINTEXT p, TLS p+2, SCRAM p+4, IAM p+6.
const portsPerBroker = 8

// zones are those of a host that was given none: its brokers stand for three.
var zones = [...]string{"zone-a", "zone-b", "zone-c"}

// zoneByID is that of a node on a host that was given none.
func zoneByID(id int32) string {
	if spec.Controller(id) {
		id -= spec.FirstController - 1
	}
	return zones[int(id-1)%len(zones)]
}

// Brokers says where each of a cluster's brokers runs and listens, given the hosts that have an agent and what runs there, other
// clusters' nodes included. A broker that is there stays on its host (C7), even on one without an agent; others go to the zone,
// and in it to the host, that has the fewest of the cluster. taken are host:port
// where another program listens: no block of ports that begins there is given out, and a broker that has it gets another. It returns spec.ErrSpec where one finds no place.
func Brokers(c spec.Cluster, hosts []engine.Host, there []engine.NodeSpec, taken ...string) ([]engine.NodeSpec, error) {
	p := placement{
		cluster: c, hosts: map[string]engine.Host{}, taken: map[string]string{}, ofZone: map[string]int{}, ofHost: map[string]int{}, all: map[string]int{},
		near: map[place]bool{}, first: map[string]int{}, left: map[string]bool{},
	}
	for _, h := range hosts {
		if h.Format <= engine.Format {
			p.hosts[h.Name] = h
		}
	}
	for _, a := range taken {
		p.taken[a] = "another program"
		p.block(a)
	}
	old := map[int32]engine.NodeSpec{}
	for _, s := range there {
		if s.Moved {
			p.left[s.Key()] = true
			continue
		}
		if s.Cluster == c.Name {
			old[s.ID] = s
			continue
		}
		p.all[s.Host]++
		p.take(s)
	}
	var specs []engine.NodeSpec
	const stays, leaves, fresh = 0, 1, 2 // those that are there choose first, and among them those that keep their addresses
	turnOf := func(former engine.NodeSpec) int {
		switch {
		case former.ID == 0:
			return fresh
		case slices.Contains(taken, former.Listen):
			return leaves
		}
		return stays
	}
	for turn := range fresh + 1 {
		for _, id := range append(c.ControllerIDs(), spec.IDs(1, c.Brokers)...) {
			former := old[id]
			if turnOf(former) != turn {
				continue
			}
			s, err := p.place(id, former)
			if err != nil {
				return nil, err
			}
			specs = append(specs, s)
		}
	}
	slices.SortFunc(specs, func(a, b engine.NodeSpec) int { return int(a.ID - b.ID) })
	quorum(specs)
	return specs, reachable(specs)
}

// quorum tells every node of Apache Kafka where the controllers are.
func quorum(specs []engine.NodeSpec) {
	var voters []engine.Voter
	for _, s := range specs {
		if s.Role == engine.Controller {
			voters = append(voters, engine.Voter{ID: s.ID, Address: s.Listen})
		}
	}
	for i := range specs {
		specs[i].Voters = voters
	}
}

// placement is what has been decided so far.
type placement struct {
	cluster        spec.Cluster
	hosts          map[string]engine.Host
	taken          map[string]string // what listens, by address
	ofZone, ofHost map[string]int    // the cluster's nodes of a kind
	all            map[string]int    // nodes of a host, whatever their cluster
	near           map[place]bool    // addresses of the blocks of what listens, for listeners that it may get
	first          map[string]int    // lowest port of the cluster's brokers, by host
	left           map[string]bool   // keys of specs that wait for their host to come back (C14)
}

// place is a host, as an address names it, and a port.
type place struct {
	host string
	port int
}

// kindOf is what nodes are counted apart by: controllers are spread over zones and hosts of themselves, and so are brokers.
func kindOf(id int32) string {
	if spec.Controller(id) {
		return "controller "
	}
	return "broker "
}

// zoneOf is that of a host; one that was given none is a zone of its own.
func zoneOf(h engine.Host) string { return cmp.Or(h.Zone, "host "+h.Name) }

// place finds the place of one broker; former is its spec, if it has one.
func (p *placement) place(id int32, former engine.NodeSpec) (engine.NodeSpec, error) {
	if former.ID != 0 {
		h, live := p.hosts[former.Host]
		if !live {
			h = engine.Host{Name: former.Host, Zone: former.Zone}
		}
		s, err := p.spec(id, h, former, live)
		if err != nil {
			return s, err
		}
		p.settle(h, s)
		return s, nil
	}
	order := make([]engine.Host, 0, len(p.hosts))
	for _, h := range p.hosts {
		order = append(order, h)
	}
	kind := kindOf(id)
	slices.SortFunc(order, func(a, b engine.Host) int {
		return cmp.Or(p.ofZone[kind+zoneOf(a)]-p.ofZone[kind+zoneOf(b)], p.ofHost[kind+a.Name]-p.ofHost[kind+b.Name], p.all[a.Name]-p.all[b.Name], cmp.Compare(a.Name, b.Name))
	})
	faults := []error{fmt.Errorf("%w: no host has a place for broker %d", spec.ErrSpec, id)}
	for _, h := range order {
		if p.left[engine.NodeSpec{Host: h.Name, Cluster: p.cluster.Name, ID: id}.Key()] {
			faults = append(faults, fmt.Errorf("%w: host %s still has what a former broker %d left", spec.ErrSpec, h.Name, id))
			continue
		}
		s, err := p.spec(id, h, former, true)
		if err == nil {
			p.settle(h, s)
			return s, nil
		}
		faults = append(faults, err)
	}
	return engine.NodeSpec{}, errors.Join(faults...)
}

func (p *placement) settle(h engine.Host, s engine.NodeSpec) {
	kind := kindOf(s.ID)
	p.ofZone[kind+zoneOf(h)]++
	p.ofHost[kind+h.Name]++
	p.all[h.Name]++
	p.take(s)
}

func (p *placement) take(s engine.NodeSpec) {
	if base := p.block(s.Listen); base != 0 && s.Cluster == p.cluster.Name {
		p.first[s.Host] = min(cmp.Or(p.first[s.Host], base), base)
	}
	p.taken[s.Listen] = fmt.Sprintf("broker %d of cluster %s", s.ID, s.Cluster) // even where nothing listens there: it is the broker's
	for _, l := range s.Listeners {
		p.taken[l.Address] = p.taken[s.Listen]
	}
	if s.Metrics != "" {
		p.taken[s.Metrics] = "the metrics of " + p.taken[s.Listen]
	}
}

// block keeps the ports that begin at an address for who has it, and returns the first; 0: it is no address.
func (p *placement) block(address string) (base int) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return 0
	}
	base, _ = strconv.Atoi(text) // a spec's address was made of a number
	for port := base; port < base+portsPerBroker; port++ {
		p.near[place{host, port}] = true
	}
	return base
}

// spec is that of a broker on a host; where the host has no agent now, its addresses stay.
func (p *placement) spec(id int32, h engine.Host, former engine.NodeSpec, live bool) (engine.NodeSpec, error) {
	c := p.cluster
	s := engine.NodeSpec{
		Auth: c.Auth, Host: h.Name, Cluster: c.Name, ID: id, Engine: engine.Express, Memory: c.Memory, Limits: c.Limits, Log: c.Log, Store: c.Store,
		Zone: cmp.Or(h.Zone, zoneByID(id)), Listen: former.Listen, Metrics: former.Metrics,
		MaxConnections: c.MaxConnections, MaxConnectionsPerIP: c.MaxConnectionsPerIP, Binary: c.Binary, Properties: c.Properties,
	}
	c.Tell(&s)
	s.Secure, s.Listeners = c.SecureOf(s.Auth), former.Listeners
	if former.ID != 0 { // until an operation changes it
		s.Auth, s.Secure = former.Auth, c.SecureOf(former.Auth)
		s.Secure.Authorize = former.Secure.Authorize
	}
	s.Format = s.Least()
	if !live {
		return s, nil
	}
	bases, err := p.bases(id, h, former.Listen)
	if err != nil {
		return s, err
	}
	var fault error
	for _, base := range bases {
		if fault = p.at(&s, h, base); fault == nil {
			return s, nil
		}
	}
	return s, fault
}

// at gives a broker the addresses that follow from its first, unless others have them.
func (p *placement) at(s *engine.NodeSpec, h engine.Host, base string) (err error) {
	s.Listen = base
	if s.Metrics, err = p.metrics(s.ID, h, base); err != nil {
		return err
	}
	if s.Listeners, err = p.cluster.NodeListeners(s.ID, s.Auth, base, p.cluster.PublicOf(h)); err != nil {
		return err
	}
	for _, a := range s.Addresses() {
		if other := p.taken[a]; other != "" {
			return fmt.Errorf("%w: %s would be the address of %s and of broker %d", spec.ErrSpec, a, other, s.ID)
		}
	}
	return nil
}

// bases are the addresses that a broker may have, the best first: the one of the cluster's numbering, or those of the host's range that are
// free. Brokers of one cluster are neighbours where there is room.
func (p *placement) bases(id int32, h engine.Host, former string) ([]string, error) {
	host := cmp.Or(h.Address, "127.0.0.1")
	if p.cluster.Listen != "" {
		byNumber, err := spec.AddressOf(p.cluster.Listen, int(id))
		if err != nil {
			return nil, err
		}
		first, port, err := net.SplitHostPort(byNumber)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", spec.ErrSpec, err)
		}
		if host = cmp.Or(h.Address, first); h.Ports == (engine.Ports{}) {
			return []string{net.JoinHostPort(host, port)}, nil
		}
	}
	var free []int
	for at := h.Ports.From; at > 0 && at+portsPerBroker-1 <= h.Ports.To; at += portsPerBroker {
		a := net.JoinHostPort(host, strconv.Itoa(at))
		if a == former && p.taken[a] == "" {
			return []string{a}, nil
		}
		if p.free(host, at) {
			free = append(free, at)
		}
	}
	if len(free) == 0 {
		return nil, fmt.Errorf("%w: the ports %d to %d of host %s are all given out; each broker takes %d", spec.ErrSpec, h.Ports.From, h.Ports.To, h.Name, portsPerBroker)
	}
	best := p.best(h.Name, free)
	bases := []string{net.JoinHostPort(host, strconv.Itoa(best))}
	for _, at := range free {
		if at != best {
			bases = append(bases, net.JoinHostPort(host, strconv.Itoa(at)))
		}
	}
	return bases, nil
}

// free says that no broker has, or may come to have, one of the ports of a block.
func (p *placement) free(host string, at int) bool {
	for port := at; port < at+portsPerBroker; port++ {
		if a := net.JoinHostPort(host, strconv.Itoa(port)); p.taken[a] != "" || p.near[place{host, port}] {
			return false
		}
	}
	return true
}

// best is the free block that follows those which the cluster has on a host or, for its first there, begins the shortest run that is long
// enough for the brokers that may come; failing that, the first free one.
func (p *placement) best(host string, free []int) int {
	if first := p.first[host]; first != 0 {
		if i := slices.IndexFunc(free, func(at int) bool { return at > first }); i >= 0 {
			return free[i]
		}
		return free[0]
	}
	need := (p.cluster.Brokers + len(p.cluster.ControllerIDs()) + len(p.hosts) - 1) / len(p.hosts)
	run := 0
	for i, at := range free {
		if run++; i > 0 && free[i-1]+portsPerBroker != at {
			run = 1
		}
		if run == need {
			return at - (need-1)*portsPerBroker
		}
	}
	return free[0]
}

// metrics is where a broker shows its metrics: at a loopback address everywhere, or at the host's.
func (p *placement) metrics(id int32, h engine.Host, base string) (string, error) {
	if p.cluster.Shows() {
		return spec.Above(base, spec.PortMetrics)
	}
	if p.cluster.Metrics == "" {
		return "", nil
	}
	a, err := spec.AddressOf(p.cluster.Metrics, int(id))
	if err != nil || h.Address == "" || isLoopback(a) {
		return a, err
	}
	_, port, err := net.SplitHostPort(a)
	return net.JoinHostPort(h.Address, port), err
}

// reachable refuses brokers on several hosts of which some listen for their own host only.
func reachable(specs []engine.NodeSpec) error {
	for _, s := range specs {
		for _, other := range specs {
			if s.Host != other.Host && isLoopback(s.Listen) && !isLoopback(other.Listen) {
				return fmt.Errorf("%w: broker %d on host %s listens at %s, where host %s cannot reach it: start its agent, or millrace serve, with --advertise",
					spec.ErrSpec, s.ID, s.Host, s.Listen, other.Host)
			}
		}
	}
	return nil
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
