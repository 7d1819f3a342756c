package network

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Network is what a cluster says of its listeners beyond what they are.
type Network struct {
	Format      int                 `json:"format"`
	Guards      map[string][]string `json:"guards,omitempty"` // names of groups by name of the listener; a listener without any takes all
	Limits      Limits              `json:"limits,omitzero"`
	Connections []Connection        `json:"connections,omitempty"` // by name
}

// Limits bound new connections at each broker; private listeners count by themselves. 0: no bound.
type Limits struct {
	PerListener int `json:"per_listener,omitempty"` // new connections a second at one listener; a second's worth may come at once
	PerAddress  int `json:"per_address,omitempty"`  // from one IPv4 address, or one IPv6 /64
}

// State is how far a private connection has come.
type State string

// The states of a private connection.
const (
	Requested State = "REQUESTED" // it waits for the cluster's owner
	Active    State = "ACTIVE"    // brokers listen for it
	Rejected  State = "REJECTED"
)

// Connection is a private way into the cluster: a listener of its own at each broker, which is there while it is Active.
type Connection struct {
	Name      string    `json:"name"`
	Listener  string    `json:"listener"` // whose TLS and logins it has, such as CLIENT_IAM
	State     State     `json:"state"`
	Port      int       `json:"port"`                // of broker 1; broker k is at Port + k-1
	Advertise string    `json:"advertise,omitempty"` // host that clients are told; "": the broker's own
	Groups    []string  `json:"groups,omitempty"`    // that guard it; none: it takes all
	By        string    `json:"by,omitempty"`        // who asked for it
	Created   time.Time `json:"created"`
	Changed   time.Time `json:"changed"`
}

// Ports of private connections: each has PortsEach, unless it was given others.
const (
	FirstPort = 14001
	LastPort  = 14100
	PortsEach = 15
)

// Names of listeners that mean something here, as engine has them.
const (
	client        = "CLIENT"
	internal      = "REPLICATION_SECURE"
	privateSuffix = "_VPCE"
)

// ListenerName is that of the connection's listener.
func (c Connection) ListenerName() string { return c.Listener + privateSuffix + "_" + c.Name }

// PortOf is that of a broker, whose ids begin at 1.
func (c Connection) PortOf(broker int32) int { return c.Port + int(broker) - 1 }

func (c Connection) validate() error {
	faults := []error{checkName("connection", c.Name), checkGuards(c.Groups)}
	if c.Listener == "" || c.Listener == client || c.Listener == internal || strings.Contains(c.Listener, privateSuffix) {
		faults = append(faults, fmt.Errorf("%w: connection %s: %q is no listener with a login", ErrInvalid, c.Name, c.Listener))
	}
	if c.State != Requested && c.State != Active && c.State != Rejected {
		faults = append(faults, fmt.Errorf("%w: connection %s: state %q", ErrInvalid, c.Name, c.State))
	}
	if c.Port < 1 || c.Port+PortsEach-1 > 65535 {
		faults = append(faults, fmt.Errorf("%w: connection %s: port %d", ErrInvalid, c.Name, c.Port))
	}
	if ip, err := netip.ParseAddr(c.Advertise); len(c.Advertise) > maxText || err == nil && ip.IsUnspecified() || strings.ContainsAny(c.Advertise, " ,/") {
		faults = append(faults, fmt.Errorf("%w: connection %s: %q is no host that clients could be told", ErrInvalid, c.Name, c.Advertise))
	}
	return errors.Join(faults...)
}

func checkGuards(groups []string) error {
	if len(groups) > maxGroups {
		return fmt.Errorf("%w: %d groups, %d can be", ErrInvalid, len(groups), maxGroups)
	}
	var faults []error
	for _, g := range groups {
		faults = append(faults, checkName("group", g))
	}
	return errors.Join(faults...)
}

// Validate names every fault of the record.
func (n Network) Validate() error {
	var faults []error
	for _, listener := range slices.Sorted(maps.Keys(n.Guards)) {
		if listener == internal {
			faults = append(faults, fmt.Errorf("%w: %s cannot be guarded by groups: it asks for the certificate of a broker or an agent", ErrInvalid, internal))
		}
		faults = append(faults, checkGuards(n.Guards[listener]))
	}
	if n.Limits.PerListener < 0 || n.Limits.PerAddress < 0 {
		faults = append(faults, fmt.Errorf("%w: limits of %d and %d", ErrInvalid, n.Limits.PerListener, n.Limits.PerAddress))
	}
	for i, c := range n.Connections {
		faults = append(faults, c.validate())
		for _, other := range n.Connections[:i] {
			if other.Name == c.Name {
				faults = append(faults, fmt.Errorf("%w: connection %s", ErrExists, c.Name))
			}
			if c.Port < other.Port+PortsEach && other.Port < c.Port+PortsEach {
				faults = append(faults, fmt.Errorf("%w: connections %s and %s share ports from %d on", ErrInvalid, other.Name, c.Name, max(c.Port, other.Port)))
			}
		}
	}
	return errors.Join(faults...)
}

// Connection finds one by its name.
func (n *Network) Connection(name string) (*Connection, error) {
	for i := range n.Connections {
		if n.Connections[i].Name == name {
			return &n.Connections[i], nil
		}
	}
	return nil, fmt.Errorf("%w: connection %q", ErrUnknown, name)
}

// Request adds a connection that waits to be accepted. Without a port it gets the first block of FirstPort to LastPort that is free.
func (n *Network) Request(c Connection, now time.Time) error {
	if c.Port == 0 {
		c.Port = n.freePort()
	}
	if c.Port == 0 {
		return fmt.Errorf("%w: the ports %d to %d are all given out; name others", ErrInvalid, FirstPort, LastPort)
	}
	c.State, c.Created, c.Changed = Requested, now.UTC(), now.UTC()
	n.Connections = append(n.Connections, c)
	slices.SortFunc(n.Connections, func(a, b Connection) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

func (n *Network) freePort() int {
	for port := FirstPort; port+PortsEach-1 <= LastPort; port += PortsEach {
		taken := func(c Connection) bool { return c.Port < port+PortsEach && port < c.Port+PortsEach }
		if !slices.ContainsFunc(n.Connections, taken) {
			return port
		}
	}
	return 0
}

// Accept has the brokers listen for a connection that was asked for, or rejected.
func (n *Network) Accept(name string, now time.Time) error { return n.move(name, Active, now) }

// Reject closes a connection, and cuts who came in by it.
func (n *Network) Reject(name string, now time.Time) error { return n.move(name, Rejected, now) }

func (n *Network) move(name string, to State, now time.Time) error {
	c, err := n.Connection(name)
	if err != nil {
		return err
	}
	if c.State == to {
		return fmt.Errorf("%w: connection %s is %s already", ErrState, name, to)
	}
	c.State, c.Changed = to, now.UTC()
	return nil
}

// Delete forgets a connection.
func (n *Network) Delete(name string) error {
	if _, err := n.Connection(name); err != nil {
		return err
	}
	n.Connections = slices.DeleteFunc(n.Connections, func(c Connection) bool { return c.Name == name })
	return nil
}

// Guard has groups guard a listener; none: it takes all.
func (n *Network) Guard(listener string, groups []string) {
	if n.Guards == nil {
		n.Guards = map[string][]string{}
	}
	groups = slices.Compact(slices.Sorted(slices.Values(groups)))
	n.Guards[listener] = groups
	if len(groups) == 0 {
		delete(n.Guards, listener)
	}
}

// uses are all groups that the record names.
func (n Network) uses() map[string]bool {
	used := map[string]bool{}
	for _, groups := range n.Guards {
		for _, g := range groups {
			used[g] = true
		}
	}
	for _, c := range n.Connections {
		for _, g := range c.Groups {
			used[g] = true
		}
	}
	return used
}
