package login

import (
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"
)

// twins is how long after its first use a signature may come from another address too. Two clients with the same key that log in to the same
// host in the same second make the same signature: it is over the second, the key and the host. So it cannot be zero.
const twins = 5 * time.Second

// replays remembers signatures that were used, and from where. Safe for concurrent use.
type replays struct {
	most int

	mu    sync.Mutex
	seen  map[[sha256.Size]byte]use
	order [][sha256.Size]byte // by first use
}

type use struct {
	from  netip.Addr
	first time.Time
	until time.Time // when it is of no use any more
}

func newReplays(most int) *replays {
	return &replays{most: most, seen: make(map[[sha256.Size]byte]use)}
}

// admit notes a use of a signature that is right, and says whether it is not a replay. The signature lives until the time given.
func (r *replays) admit(signature [sha256.Size]byte, from netip.Addr, now, until time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if u, ok := r.seen[signature]; ok {
		return u.from == from || now.Sub(u.first) <= twins
	}
	for len(r.order) > 0 && (len(r.order) >= r.most || now.After(r.seen[r.order[0]].until)) {
		delete(r.seen, r.order[0])
		r.order = r.order[1:]
	}
	r.seen[signature] = use{from: from, first: now, until: until}
	r.order = append(r.order, signature)
	return true
}
