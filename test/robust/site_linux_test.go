package robust

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"millrace/test/harness"
	"millrace/test/robust/nemesis"
)

// brokerHosts is how many hosts there are for brokers; serve runs on the first of them. As many more are etcd's.
const brokerHosts = 3

// nowhere is a link address that no host has: what is sent there is lost without a word.
const nowhere = "02:00:00:00:00:02"

// site is a cluster over hosts of their own, each in a network namespace.
type site struct {
	network *harness.Network
	etcd    *harness.Etcd
	agents  []*harness.Agent // of all hosts but the first
	options []harness.AgentOptions
	store   string // address of the object store, which is one of its own
}

// hostFaults need hosts of their own.
var hostFaults = []nemesis.Kind{
	nemesis.Kill, nemesis.KillAgain, nemesis.KillAll, nemesis.KillServe, nemesis.Pause, nemesis.Hang, nemesis.PauseServe,
	nemesis.Freeze, nemesis.Roll, nemesis.Scale, nemesis.KillHost, nemesis.KillAgent, nemesis.KillEtcd, nemesis.PauseEtcd, nemesis.SlowEtcd, nemesis.Isolate,
	nemesis.CutEtcd, nemesis.CutStore, nemesis.CutPeers, nemesis.CutClients,
}

// TestNemesisHosts strikes brokers on three hosts, with etcd on three others and a bucket as the store of everything, their logs too, and
// cuts the network between them.
func TestNemesisHosts(t *testing.T) {
	nemesisStart(t)
	v := startHosts(t, "--wal", "object")
	v.strikeUnderLoad(slices.Concat(hostFaults, storeFaults))
}

// startHosts starts a cluster over hosts.
func startHosts(t *testing.T, args ...string) *victim {
	t.Helper()
	network := harness.NewNetwork(t, 2*brokerHosts)
	s := &site{network: network, store: otherAddress(t, network)}
	s.etcd = harness.StartEtcd(t, harness.EtcdOptions{Members: brokerHosts, Hosts: network.Hosts[brokerHosts:]})
	bucket := harness.StartS3(t)
	store := startProxy(t, bucket, s.store)
	url := bucket.URL("nemesis", store.URL())
	for i, host := range network.Hosts[1:brokerHosts] {
		options := harness.AgentOptions{
			Host: host, Etcd: s.etcd, Dir: filepath.Join(t.TempDir(), "data"), Zone: fmt.Sprint("z", i+2), Env: bucket.Env(), Store: url,
		}
		s.options = append(s.options, options)
		s.agents = append(s.agents, harness.StartAgent(t, options))
	}
	v := &victim{run: &run{t: t}, store: store, site: s}
	v.options = harness.MillraceOptions{
		Dir: filepath.Join(t.TempDir(), "data"), Host: network.Hosts[0], Etcd: s.etcd, Brokers: firstBrokers, MostBrokers: firstBrokers + 1,
		Args: append([]string{"--zone", "z1", "--store", url}, args...), Env: bucket.Env(),
	}
	return v
}

// otherAddress gives the test's own namespace a second address, so that the store can be cut off and clients not.
func otherAddress(t *testing.T, network *harness.Network) string {
	t.Helper()
	here := harness.Host{}
	out, err := here.Command("ip", "-o", "-4", "addr", "show", "to", network.Self).Output()
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(out)) // "7: mr123    inet 10.0.0.254/24 …"
	if len(fields) < 4 {
		t.Fatalf("no interface has the address %s: %s", network.Self, out)
	}
	ip := net.ParseIP(network.Self).To4()
	ip[3]--
	if out, err := here.Command("ip", "addr", "add", ip.String()+"/24", "dev", fields[1]).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return ip.String()
}

// hostFault makes a fault happen that needs hosts; false: it is none of these.
func (v *victim) hostFault(f nemesis.Fault) (heal func(), ok bool) {
	v.t.Helper()
	s := v.site
	host := s.network.Hosts[(f.Broker-1)%brokerHosts]
	number := (f.Broker - 1) % len(s.agents)
	member := s.etcd.Members[(f.Broker-1)%len(s.etcd.Members)]
	switch f.Kind {
	case nemesis.KillHost:
		s.agents[number].KillHost()
		return func() { s.agents[number] = harness.StartAgent(v.t, s.options[number]) }, true
	case nemesis.KillAgent:
		s.agents[number].Process().Kill()
		return func() { s.agents[number] = harness.StartAgent(v.t, s.options[number]) }, true
	case nemesis.KillEtcd:
		member.Process().Kill()
		return func() { member.Start(v.t) }, true
	case nemesis.PauseEtcd:
		return v.stop(member.Process().PID(), pastLease), true
	case nemesis.SlowEtcd:
		var members []int
		for _, m := range s.etcd.Members {
			members = append(members, m.Process().PID())
		}
		return v.slow(members), true
	case nemesis.Isolate:
		s.network.Isolate(v.t, host.Address)
		lost := v.lose(host, s.store)
		return func() { lost(); s.network.Rejoin(v.t, host.Address) }, true
	case nemesis.CutStore:
		return v.lose(host, s.store), true
	case nemesis.CutClients:
		return v.lose(host, s.network.Self), true
	case nemesis.CutEtcd:
		return v.cut(host, s.network.Hosts[brokerHosts:]), true
	case nemesis.CutPeers:
		return v.cut(host, s.network.Hosts[:brokerHosts]), true
	}
	return nil, false
}

// cut cuts a host off from others.
func (v *victim) cut(host harness.Host, others []harness.Host) (heal func()) {
	v.t.Helper()
	each := func(do func(testing.TB, string, string)) {
		for _, other := range others {
			if other.Address != host.Address {
				do(v.t, host.Address, other.Address)
			}
		}
	}
	each(v.site.network.Cut)
	return func() { each(v.site.network.Join) }
}

// lose loses what a host sends to an address.
func (v *victim) lose(host harness.Host, address string) (heal func()) {
	v.t.Helper()
	neighbour := func(args ...string) {
		if out, err := host.Command("ip", append([]string{"neigh"}, args...)...).CombinedOutput(); err != nil {
			v.t.Fatalf("ip neigh %v: %v: %s", args, err, out)
		}
	}
	neighbour("replace", address, "lladdr", nowhere, "dev", "eth0", "nud", "permanent")
	return func() { neighbour("del", address, "dev", "eth0") }
}
