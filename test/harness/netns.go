package harness

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Network is a bridge with hosts on it, each a network namespace of its own. The test's own namespace is on it too, so that clients and
// servers of the test reach the hosts and are reached. It needs root on Linux, and goes with the test.
type Network struct {
	Hosts []Host
	Self  string // address of the test's own namespace

	bridge string
	subnet string // "10.77.3."
}

// nowhere is a link address that nobody on a bridge has: what is sent there is lost without a word.
const nowhere = "02:00:00:00:00:01"

// NewNetwork makes a network of hosts h1, h2, ..., or skips the test where it may not (H4).
func NewNetwork(t testing.TB, hosts int) *Network {
	t.Helper()
	if os.Getuid() != 0 {
		withoutNetwork(t, errors.New("only root can make them"))
	}
	number := rand.IntN(10_000)
	n := &Network{bridge: fmt.Sprintf("mr%d", number), subnet: fmt.Sprintf("10.%d.%d.", 64+number/250, number%250)}
	n.Self = n.subnet + "254"
	if out, err := ip("link", "add", n.bridge, "type", "bridge", "forward_delay", "0"); err != nil {
		withoutNetwork(t, fmt.Errorf("%w: %s", err, out))
	}
	t.Cleanup(func() { mustIP(t, "link", "del", n.bridge) })
	mustIP(t, "addr", "add", n.Self+"/24", "dev", n.bridge)
	mustIP(t, "link", "set", n.bridge, "up")
	for k := 1; k <= hosts; k++ {
		h := Host{Name: "h" + strconv.Itoa(k), Address: n.subnet + strconv.Itoa(k), Netns: fmt.Sprintf("%s-h%d", n.bridge, k)}
		port := fmt.Sprintf("%s.%d", n.bridge, k)
		mustIP(t, "netns", "add", h.Netns)
		t.Cleanup(func() { mustIP(t, "netns", "del", h.Netns) })
		mustIP(t, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", h.Netns)
		mustIP(t, "link", "set", port, "master", n.bridge, "up")
		mustIP(t, "-n", h.Netns, "addr", "add", h.Address+"/24", "dev", "eth0")
		mustIP(t, "-n", h.Netns, "link", "set", "eth0", "up")
		mustIP(t, "-n", h.Netns, "link", "set", "lo", "up")
		n.Hosts = append(n.Hosts, h)
	}
	return n
}

// Cut loses all that goes between two hosts, both ways and without a word, until Join. A host is named by its address; Network.Self
// is one.
func (n *Network) Cut(t testing.TB, a, b string) {
	t.Helper()
	n.lose(t, a, b)
	n.lose(t, b, a)
}

// lose loses what one host sends to another.
func (n *Network) lose(t testing.TB, from, to string) {
	t.Helper()
	mustIP(t, append(n.of(from), "neigh", "replace", to, "lladdr", nowhere, "dev", n.device(from), "nud", "permanent")...)
}

// Join ends a Cut.
func (n *Network) Join(t testing.TB, a, b string) {
	t.Helper()
	for _, way := range [][2]string{{a, b}, {b, a}} {
		mustIP(t, append(n.of(way[0]), "neigh", "del", way[1], "dev", n.device(way[0]))...)
	}
}

// Isolate cuts a host off from all others and from the test; Rejoin ends it.
func (n *Network) Isolate(t testing.TB, address string) { n.everybody(t, address, n.Cut) }

// Rejoin ends Isolate.
func (n *Network) Rejoin(t testing.TB, address string) { n.everybody(t, address, n.Join) }

func (n *Network) everybody(t testing.TB, address string, do func(t testing.TB, a, b string)) {
	t.Helper()
	all := []string{n.Self}
	for _, h := range n.Hosts {
		all = append(all, h.Address)
	}
	for _, other := range all {
		if other != address {
			do(t, address, other)
		}
	}
}

// of is how the ip command reaches a host's namespace.
func (n *Network) of(address string) []string {
	i := slices.IndexFunc(n.Hosts, func(h Host) bool { return h.Address == address })
	if i < 0 {
		return nil
	}
	return []string{"-n", n.Hosts[i].Netns}
}

func (n *Network) device(address string) string {
	if n.of(address) == nil {
		return n.bridge
	}
	return "eth0"
}

func withoutNetwork(t testing.TB, err error) {
	t.Helper()
	if required() {
		t.Fatalf("needs network namespaces: %v", err)
	}
	t.Skipf("needs network namespaces: %v", err)
}

// ip runs the command of this name.
func ip(args ...string) (string, error) {
	out, err := exec.Command("ip", args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func mustIP(t testing.TB, args ...string) {
	t.Helper()
	if out, err := ip(args...); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}
