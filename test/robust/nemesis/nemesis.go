package nemesis

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Kind is what happens.
type Kind string

// The kinds of faults. Which processes and stores they need is the test's to know.
const (
	Kill       Kind = "kill"        // kill -9 of a broker
	KillAgain  Kind = "kill-again"  // and of the next one, in the middle of its recovery
	KillAll    Kind = "kill-all"    // of all brokers at once
	KillServe  Kind = "kill-serve"  // of serve; its brokers go on, until the next serve adopts them
	Crash      Kind = "crash"       // of serve and all brokers
	Torn       Kind = "torn"        // as Crash, and garbage behind the ends of the logs
	Pause      Kind = "pause"       // SIGSTOP of a broker, for less than its agent takes for hanging
	Hang       Kind = "hang"        // for longer: the agent kills it
	PauseServe Kind = "pause-serve" // SIGSTOP of serve, which is etcd, control plane and agent too, for longer than leases last
	Freeze     Kind = "freeze"      // SIGSTOP of serve and a broker for longer than leases last; the broker wakes first
	Roll       Kind = "roll"        // an operation: every broker is started anew
	Scale      Kind = "scale"       // an operation: one broker more, and at the end of the round one less
	SlowEtcd   Kind = "slow-etcd"   // etcd stops for most of each second, as over a disk that takes its time; no member is gone
	Twin       Kind = "twin"        // a second process with the identity of a broker, which is killed then
	DiskFull   Kind = "disk-full"   // the file system of the logs has no room

	StoreErrors Kind = "store-errors" // the object store refuses some requests
	StoreLost   Kind = "store-lost"   // it does what it is asked for, and some answers are lost
	StoreSlow   Kind = "store-slow"   // it takes its time
	StoreHang   Kind = "store-hang"   // it answers nothing at all
	StoreTorn   Kind = "store-torn"   // some answers break off in the middle
	StoreCrash  Kind = "store-crash"  // all brokers are killed when one of them writes to it, again and again
	StoreCrash2 Kind = "store-crash2" // the same, when the store has done what it was asked for and nobody has heard yet

	// What follows needs hosts of their own. Broker stands for the host of that number.

	KillHost   Kind = "kill-host"   // kill -9 of an agent and its brokers
	KillAgent  Kind = "kill-agent"  // of the agent alone
	KillEtcd   Kind = "kill-etcd"   // of a member of etcd
	PauseEtcd  Kind = "pause-etcd"  // SIGSTOP of a member
	Isolate    Kind = "isolate"     // a host is cut off from all others, the store and the clients
	CutEtcd    Kind = "cut-etcd"    // a host does not reach etcd
	CutStore   Kind = "cut-store"   // nor the object store
	CutPeers   Kind = "cut-peers"   // nor the other brokers
	CutClients Kind = "cut-clients" // what clients ask a host for is done, and they do not hear of it
)

// companions are the kinds that may follow the first one of a round.
var companions = []Kind{
	Kill, Pause, Kill, Pause, KillAll, KillServe, StoreErrors, StoreLost, StoreSlow, CutEtcd, CutStore, CutClients, KillEtcd, SlowEtcd,
}

// Fault is one thing that happens.
type Fault struct {
	Kind   Kind
	Broker int           // from 1: whom it strikes, where it strikes one
	Lead   time.Duration // from its beginning to that of the next one, or to the round's Hold
}

// String gives a fault in one word.
func (f Fault) String() string {
	return fmt.Sprintf("%s(%d)+%v", f.Kind, f.Broker, f.Lead.Round(time.Millisecond))
}

// Round is some faults at a time.
type Round struct {
	Calm   int64 // acknowledged records to wait for before the first
	Faults []Fault
	Hold   time.Duration // from the last one's beginning to the first healing
}

// String gives a round in one line.
func (r Round) String() string {
	words := make([]string, len(r.Faults))
	for i, f := range r.Faults {
		words[i] = f.String()
	}
	return fmt.Sprintf("after %d: %s hold %v", r.Calm, strings.Join(words, " "), r.Hold.Round(time.Millisecond))
}

// Nemesis makes rounds.
type Nemesis struct {
	random  *rand.Rand
	kinds   []Kind
	brokers int
	deck    []Kind // the kinds that lead the next rounds
}

// New returns the rounds of a seed. Kinds must not be empty.
func New(seed uint64, kinds []Kind, brokers int) *Nemesis {
	return &Nemesis{random: rand.New(rand.NewPCG(seed, 0)), kinds: slices.Clone(kinds), brokers: brokers}
}

// Next returns the next round.
func (n *Nemesis) Next() Round {
	if len(n.deck) == 0 {
		n.deck = slices.Clone(n.kinds)
		n.random.Shuffle(len(n.deck), func(i, j int) { n.deck[i], n.deck[j] = n.deck[j], n.deck[i] })
	}
	first := n.deck[0]
	n.deck = n.deck[1:]
	const mostCalm, mostHold, mostMore = 200, 1500, 2
	r := Round{Calm: 1 + n.random.Int64N(mostCalm), Hold: n.millis(mostHold), Faults: []Fault{n.fault(first)}}
	for range n.random.IntN(mostMore + 1) {
		kind := companions[n.random.IntN(len(companions))]
		if n.fits(r, kind) {
			r.Faults = append(r.Faults, n.fault(kind))
		}
	}
	return r
}

// fits says that a kind may join a round.
func (n *Nemesis) fits(r Round, kind Kind) bool {
	if !slices.Contains(n.kinds, kind) {
		return false
	}
	several := kind == Kill || kind == Pause
	if kind.network() && slices.ContainsFunc(r.Faults, func(f Fault) bool { return f.Kind.network() }) {
		return false // one is healed while another lasts
	}
	for _, f := range r.Faults {
		if f.Kind == kind && !several || f.Kind.store() && kind.store() || f.Kind.serve() && kind.serve() {
			return false
		}
	}
	return true
}

// store says that a fault is one of the object store, of which there is one at a time.
func (k Kind) store() bool { return strings.HasPrefix(string(k), "store-") }

// Around says that a fault is one of what the brokers need, such as the lock that a twin has: it is healed before those of theirs, whose
// healing may need it.
func (k Kind) Around() bool {
	return k.store() || k.network() || k == KillEtcd || k == PauseEtcd || k == SlowEtcd || k == DiskFull || k == Twin
}

// network says that a fault cuts hosts off.
func (k Kind) network() bool {
	return slices.Contains([]Kind{Isolate, CutEtcd, CutStore, CutPeers, CutClients}, k)
}

// serve says that a fault takes serve away.
func (k Kind) serve() bool {
	return slices.Contains([]Kind{KillServe, Crash, Torn, PauseServe, Freeze, SlowEtcd}, k)
}

func (n *Nemesis) fault(kind Kind) Fault {
	const mostLead, mostCut = 1000, 8000 // the latter longer than a broker's registration lasts without it
	lead := mostLead
	if kind.network() || kind == SlowEtcd {
		lead = mostCut
	}
	return Fault{Kind: kind, Broker: 1 + n.random.IntN(n.brokers), Lead: n.millis(lead)}
}

func (n *Nemesis) millis(most int) time.Duration {
	return time.Duration(n.random.IntN(most)) * time.Millisecond
}
