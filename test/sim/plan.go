package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Plan is what one seed stands for: the cluster, the load and the faults. It follows from the seed alone.
type Plan struct {
	Seed       uint64
	Object     bool // the brokers' logs are in the store; else on their disks
	Brokers    int
	Partitions int // of the idempotent producers' topic
	Legs       int // partitions of each of the bank's topics
	Producers  int
	Tellers    int
	Clerk      bool // one more teller, who fulfils orders, and somebody who places them
	Churn      bool // a topic is made and deleted all the time
	Group      int  // members of a group that consumes the idempotent producers' topic
	ValueSize  int  // of the idempotent producers' records, about, in bytes
	Readers    int
	Think      time.Duration // between requests of a client, on average
	Load       time.Duration // how long clients begin something new
	Skew       time.Duration // the most by which clocks differ
	Groups     int64         // of a log in the store, above which it is cut into segments; 0: it is hardly ever
	Faults     []Fault
}

// Fault is one thing that goes wrong, or is asked for.
type Fault struct {
	At, For time.Duration // since the begin of the load; what has no length has no For
	Kind    Kind
	Broker  int // index of the machine
	Other   int // index of another one, or of a client
	Step    int // see CrashAt: which step; of others: a number whose meaning is theirs
	Count   int // see CrashAt: the how manieth
	After   bool
}

// Kind is a kind of fault.
type Kind string

// The kinds of faults.
const (
	Kill       Kind = "kill"       // the process dies, the machine lives
	PowerOff   Kind = "power off"  // the machine dies: what was not synced is lost
	CrashAt    Kind = "crash at"   // power off at a step: a write to etcd, to the store, a sync of the disk, of a cut; before or after it
	Freeze     Kind = "freeze"     // the process is stopped, and goes on later
	CutEtcd    Kind = "cut etcd"   // a broker and etcd
	CutStore   Kind = "cut store"  // a broker and the store
	CutPeers   Kind = "cut peers"  // two brokers
	CutClient  Kind = "cut client" // a client and a broker
	Break      Kind = "break"      // the connections between two brokers end
	BadEtcd    Kind = "bad etcd"   // refuses, loses answers, is slow
	BadStore   Kind = "bad store"  // refuses, loses answers, is slow
	BadDisk    Kind = "bad disk"   // a write or sync fails, or is torn
	FullDisk   Kind = "full disk"  //
	LoseLease  Kind = "lose lease" // etcd lets it expire
	LoseWatch  Kind = "lose watch" // etcd has forgotten what watches need
	Restart    Kind = "restart"    // as in a roll: hand over, stop, start
	Drain      Kind = "drain"      // hand over, and stay
	Away       Kind = "away"       // the machine is off for long
	Jump       Kind = "clock jump" // what a broker's clock shows moves forward (After) or back, by For; in plans of their own, see jumps
	everything      = 18           // kinds that Draw chooses from
)

// kinds lists those that Draw chooses from.
func kinds() [everything]Kind {
	return [everything]Kind{
		Kill, PowerOff, CrashAt, Freeze, CutEtcd, CutStore, CutPeers, CutClient, Break, BadEtcd, BadStore, BadDisk, FullDisk,
		LoseLease, LoseWatch, Restart, Drain, Away,
	}
}

// String tells the fault in one line.
func (f Fault) String() string {
	return fmt.Sprintf("%s broker %d other %d step %d count %d after %v for %v", f.Kind, f.Broker+1, f.Other+1, f.Step, f.Count, f.After, f.For)
}

// Draw makes the plan of a seed. Each seed uses some of the kinds only, so that what needs a certain few of them to meet does
// not drown among the others.
func Draw(seed uint64) *Plan {
	p := &Plan{Seed: seed}
	rng := p.stream(streamPlan)
	p.Object = seed%2 == 0
	p.Brokers = 3
	if rng.IntN(4) == 0 {
		p.Brokers = 2
	}
	p.Partitions, p.Legs = 1+rng.IntN(3), 1+rng.IntN(2)
	p.Producers, p.Tellers, p.Readers = 1+rng.IntN(3), rng.IntN(3), 1
	p.Clerk, p.Group = p.Tellers > 0 && rng.IntN(2) == 0, max(0, rng.IntN(5)-2)
	p.Churn = rng.IntN(3) == 0
	p.ValueSize = 60
	if rng.IntN(4) == 0 {
		p.ValueSize = 4000 // files of the log fill up, and are cut
	}
	p.Think = 50*time.Millisecond + time.Duration(rng.Int64N(int64(250*time.Millisecond)))
	p.Load = 4*time.Second + time.Duration(rng.Int64N(int64(10*time.Second)))
	if rng.IntN(3) == 0 {
		p.Skew = time.Duration(rng.Int64N(int64(50 * time.Minute)))
	}
	all := kinds()
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	some := all[:1+rng.IntN(6)]
	for range rng.IntN(9) {
		p.Faults = append(p.Faults, p.draw(rng, some[rng.IntN(len(some))]))
	}
	p.cut()
	p.jumps()
	slices.SortStableFunc(p.Faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	return p
}

func (p *Plan) draw(rng *rand.Rand, kind Kind) Fault {
	f := Fault{
		At: time.Duration(rng.Int64N(int64(p.Load))), Kind: kind, Broker: rng.IntN(p.Brokers),
		Step: 1 + rng.IntN(3), Count: 1 + rng.IntN(6), After: rng.IntN(2) == 0,
	}
	f.Other = (f.Broker + 1 + rng.IntN(p.Brokers-1)) % p.Brokers
	if kind == CutClient {
		f.Other = rng.IntN(p.Producers + p.Tellers + p.Readers + 3 + p.Group)
	}
	f.For = 100*time.Millisecond + time.Duration(rng.Int64N(int64(3*time.Second)))
	if rng.IntN(4) == 0 {
		f.For += time.Duration(rng.Int64N(int64(12 * time.Second)))
	}
	return f
}

// cut has some plans with logs in the store cut these all the time, and machines crash in the midst of that.
func (p *Plan) cut() {
	rng := p.stream(streamCut)
	if !p.Object || rng.IntN(3) > 0 {
		return
	}
	p.Groups = 8 + rng.Int64N(40)
	for range rng.IntN(4) {
		f := p.draw(rng, CrashAt)
		f.Step = int(manifestStep) + rng.IntN(2)
		f.Count = 1 + rng.IntN(3)
		p.Faults = append(p.Faults, f)
	}
}

// jumps has clocks jump in some plans: by about the length of leases, or by up to two hours forward, or ten minutes back. A broker whose
// clock is behind that of a producer by an hour refuses its records, and is right (message.timestamp.after.max.ms).
func (p *Plan) jumps() {
	rng := p.stream(streamJump)
	if rng.IntN(3) > 0 {
		return
	}
	p.Skew /= 5
	for range 1 + rng.IntN(4) {
		f := p.draw(rng, Jump)
		f.For = time.Duration(rng.Int64N(int64(5 * time.Second)))
		if rng.IntN(2) == 0 {
			f.For = time.Duration(rng.Int64N(int64(2 * time.Hour)))
		}
		if !f.After {
			f.For %= 10 * time.Minute
		}
		p.Faults = append(p.Faults, f)
	}
}

// skew is how far a process's clock is off.
func (p *Plan) skew(rng *rand.Rand) time.Duration {
	if p.Skew == 0 {
		return 0
	}
	return time.Duration(rng.Int64N(2*int64(p.Skew))) - p.Skew
}
