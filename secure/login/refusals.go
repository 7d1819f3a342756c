package login

import (
	"container/list"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"millrace/base/clock"
)

// How refusals are answered. An address that fails again and again owes more and more, and pays off a few a second.
const (
	delayMost    = 5 * time.Second
	delayForDebt = 10 * time.Millisecond // for each refusal that is owed
	paidPerSec   = 5                     // refusals that are forgiven in a second
	debtMost     = 1000                  // more is not counted, so that an end is in sight
	guessesMost  = 20                    // of one name from one address; beyond, none is evaluated
)

// refusals remembers who failed lately. Safe for concurrent use.
type refusals struct {
	clock clock.Clock
	most  int
	seed  maphash.Seed

	mu    sync.Mutex
	debts map[debtor]*list.Element // of *debt
	order list.List                // the one touched last comes first
}

// debtor is an address, alone or with a name. A whole network of IPv6 counts as one.
type debtor struct {
	addr netip.Addr
	name uint64 // hash; 0: the address alone
}

type debt struct {
	who   debtor
	owed  float64
	since time.Time
}

func newRefusals(most int, c clock.Clock) *refusals {
	return &refusals{clock: c, most: most, seed: maphash.MakeSeed(), debts: make(map[debtor]*list.Element)}
}

// may says whether a guess at a name is to be evaluated.
func (r *refusals) may(addr netip.Addr, name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.owedLocked(r.debtor(addr, name)) < guessesMost
}

// add counts a refusal and returns how long it has to wait. name is "" where none was given.
func (r *refusals) add(addr netip.Addr, name string, least time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name != "" {
		r.chargeLocked(r.debtor(addr, name))
	}
	owed := r.chargeLocked(r.debtor(addr, ""))
	return min(least+time.Duration(owed-1)*delayForDebt, delayMost)
}

func (r *refusals) debtor(addr netip.Addr, name string) debtor {
	if addr.Is6() {
		const network = 64
		if p, err := addr.WithZone("").Prefix(network); err == nil {
			addr = p.Addr()
		}
	}
	d := debtor{addr: addr}
	if name != "" {
		d.name = maphash.String(r.seed, name) | 1
	}
	return d
}

// owedLocked returns what is owed now.
func (r *refusals) owedLocked(who debtor) float64 {
	e, ok := r.debts[who]
	if !ok {
		return 0
	}
	d := e.Value.(*debt)
	return max(0, d.owed-paidPerSec*r.clock.Now().Sub(d.since).Seconds())
}

// chargeLocked adds one to what is owed, and returns it.
func (r *refusals) chargeLocked(who debtor) float64 {
	owed := min(r.owedLocked(who)+1, debtMost)
	e, ok := r.debts[who]
	if !ok {
		if len(r.debts) >= r.most {
			last := r.order.Back()
			r.order.Remove(last)
			delete(r.debts, last.Value.(*debt).who)
		}
		e = r.order.PushFront(&debt{who: who})
		r.debts[who] = e
	}
	d := e.Value.(*debt)
	d.owed, d.since = owed, r.clock.Now()
	r.order.MoveToFront(e)
	return owed
}
