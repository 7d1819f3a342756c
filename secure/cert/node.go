package cert

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// nodeUnit is the OU of the certificates of nodes. That alone proves nothing, see C8; no client gets it.
const nodeUnit = "millrace-node"

// Bounds of what one certificate may name.
const (
	maxNames     = 64
	maxNameBytes = 253
)

// Node is a process of the installation that has a certificate: "broker/CLUSTER/ID", "agent/HOST", "serve/HOST" or "gateway/NAME".
type Node string

var (
	nodePattern = regexp.MustCompile(`^(broker/[A-Za-z0-9._-]{1,128}/[0-9]{1,10}|(agent|serve|gateway)/[A-Za-z0-9._-]{1,128})$`)
	dnsPattern  = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$`)
)

// Broker is a broker of a cluster.
func Broker(cluster string, id int32) Node {
	return Node("broker/" + cluster + "/" + strconv.Itoa(int(id)))
}

// KeysOf are the prefixes of what there is in etcd of the brokers of a cluster; who deletes the cluster deletes it. What they were given is on
// record until it expires.
func KeysOf(cluster string) []string {
	below := "broker/" + cluster + "/"
	return []string{requestPrefix + below, answerPrefix + below}
}

// Agent is the agent of a host.
func Agent(host string) Node { return Node("agent/" + host) }

// Serve is the control plane, with its API, on a host.
func Serve(host string) Node { return Node("serve/" + host) }

// gatewayKind begins the names of gateways, which stand between clients and a cluster.
const gatewayKind = "gateway/"

// Gateway is a gateway by the name that it is registered with, see Registration.
func Gateway(name string) Node { return Node(gatewayKind + name) }

// registration is where the registration of a gateway lies; false for other nodes, which have none.
func (n Node) registration() (key string, ok bool) {
	name, ok := strings.CutPrefix(string(n), gatewayKind)
	return gatewayPrefix + name, ok
}

// internal says that a node is trusted by the others as one of them. A gateway is not: whoever holds its key may serve clients, and no more.
func (n Node) internal() bool { return !strings.HasPrefix(string(n), gatewayKind) }

// ownSuffix ends the names that nodes have by themselves.
const ownSuffix = ".millrace"

func (n Node) check() error {
	if !nodePattern.MatchString(string(n)) {
		return fmt.Errorf("%w: %q is no name of a node", ErrRequest, clip(string(n)))
	}
	return nil
}

// own is the name that a node has in every certificate, whatever its addresses are.
func (n Node) own() string {
	parts := strings.Split(string(n), "/")
	if len(parts) == 3 {
		return strings.ToLower(parts[0] + "-" + parts[2] + "." + parts[1] + ownSuffix)
	}
	return strings.ToLower(parts[0] + "." + parts[len(parts)-1] + ownSuffix)
}

// Names is what a server may be called by: the subject alternative names of its certificate.
type Names struct {
	DNS []string     // lower case, sorted
	IPs []netip.Addr // sorted
}

// Names are the node's own name (broker-ID.CLUSTER.millrace, agent.HOST.millrace) and the hosts of the addresses, each a host
// or host:port. With a loopback address come localhost and both loopback IPs. What is no host (an unspecified IP) is left out: whoever
// listens on all addresses says by which it is reached.
func (n Node) Names(addresses ...string) Names {
	names := Names{DNS: []string{n.own()}}
	for _, a := range addresses {
		names = names.Add(namesOf(a))
	}
	return names.Add(Names{})
}

func namesOf(address string) Names {
	host := address
	if h, _, err := net.SplitHostPort(address); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	loopback := Names{DNS: []string{"localhost"}, IPs: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "localhost":
		return loopback
	case err == nil && ip.IsLoopback():
		return loopback.Add(Names{IPs: []netip.Addr{ip.Unmap().WithZone("")}})
	case err == nil && ip.IsUnspecified():
		return Names{}
	case err == nil:
		return Names{IPs: []netip.Addr{ip.Unmap().WithZone("")}}
	case isDNS(host):
		return Names{DNS: []string{host}}
	}
	return Names{}
}

func isDNS(name string) bool { return len(name) <= maxNameBytes && dnsPattern.MatchString(name) }

// Add returns the names of both, each once.
func (n Names) Add(more Names) Names {
	dns := slices.Concat(n.DNS, more.DNS)
	ips := slices.Concat(n.IPs, more.IPs)
	slices.Sort(dns)
	slices.SortFunc(ips, netip.Addr.Compare)
	return Names{DNS: slices.Compact(dns), IPs: slices.Compact(ips)}
}

// Without returns those of n that are not in allowed.
func (n Names) Without(allowed Names) Names {
	var rest Names
	for _, d := range n.DNS {
		if !slices.Contains(allowed.DNS, d) {
			rest.DNS = append(rest.DNS, d)
		}
	}
	for _, ip := range n.IPs {
		if !slices.Contains(allowed.IPs, ip) {
			rest.IPs = append(rest.IPs, ip)
		}
	}
	return rest
}

// IsEmpty says that there is none.
func (n Names) IsEmpty() bool { return len(n.DNS) == 0 && len(n.IPs) == 0 }

// String lists the names.
func (n Names) String() string {
	all := slices.Clone(n.DNS)
	for _, ip := range n.IPs {
		all = append(all, ip.String())
	}
	return strings.Join(all, ", ")
}

func (n Names) netIPs() []net.IP {
	var ips []net.IP
	for _, ip := range n.IPs {
		ips = append(ips, ip.AsSlice())
	}
	return ips
}

func fromNetIPs(list []net.IP) (ips []netip.Addr) {
	for _, raw := range list {
		if ip, ok := netip.AddrFromSlice(raw); ok {
			ips = append(ips, ip.Unmap())
		}
	}
	return ips
}

// clip keeps what others have written short enough for a message.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
