package quota

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"millrace/base/clock"
)

// accountsMost bounds the accounts: 400 bytes each.
const accountsMost = 16_384

// sweepPause is the least time between two searches for accounts to drop while all are in use, in ms.
const sweepPause = 1000

// Manager keeps the accounts of all clients. Make one with New. Safe for concurrent use.
type Manager struct {
	clock  clock.Clock
	began  time.Time
	tables func() *Table
	most   int

	throttled [kinds]throttles

	mu       sync.Mutex // before an account's
	accounts map[accountKey]*account
	shared   [kinds]*account // of those for whom there was no account left
	sweepAt  int             // number of accounts at which to look for those to drop
	swept    int64           // ms
}

type throttles struct{ times, millis atomic.Int64 }

type accountKey struct {
	kind Kind
	owner
}

// account is what one owner has used of one kind.
type account struct {
	kind Kind

	mu     sync.Mutex
	gone   bool    // dropped from the manager
	limit  float64 // as of the last recording
	rate   rate
	bucket bucket // Mutation only
}

// New returns a Manager. tables gives the quotas of the moment; it is called for each request, so it must be quick.
func New(clk clock.Clock, tables func() *Table) *Manager {
	return &Manager{
		clock: clk, began: clk.Now(), tables: tables, most: accountsMost,
		accounts: make(map[accountKey]*account), sweepAt: 64, swept: -sweepPause,
	}
}

// Accounts returns how many accounts there are.
func (m *Manager) Accounts() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.accounts)
}

// Throttled returns how often clients were told to wait for a kind, and for how many milliseconds in all.
func (m *Manager) Throttled(kind Kind) (times, millis int64) {
	t := &m.throttled[kind]
	return t.times.Load(), t.millis.Load()
}

func (m *Manager) now() int64 { return m.clock.Now().Sub(m.began).Milliseconds() }

// told counts a wait that a client is told of.
func (m *Manager) told(kind Kind, ms int64) time.Duration {
	if ms == 0 {
		return 0
	}
	m.throttled[kind].times.Add(1)
	m.throttled[kind].millis.Add(ms)
	return time.Duration(ms) * time.Millisecond
}

// account finds or makes an account.
func (m *Manager) account(kind Kind, o owner) *account {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := accountKey{kind, o}
	if a, ok := m.accounts[key]; ok {
		return a
	}
	if n := len(m.accounts); n >= m.sweepAt || n >= m.most {
		m.sweepLocked()
	}
	if len(m.accounts) >= m.most {
		if m.shared[kind] == nil {
			m.shared[kind] = &account{kind: kind}
		}
		return m.shared[kind]
	}
	a := &account{kind: kind}
	m.accounts[key] = a
	return a
}

// sweepLocked drops the accounts that hold nothing.
func (m *Manager) sweepLocked() {
	now := m.now()
	if len(m.accounts) >= m.most && now-m.swept < sweepPause {
		return
	}
	m.swept = now
	for key, a := range m.accounts {
		a.mu.Lock()
		a.gone = a.emptyLocked(now)
		if a.gone {
			delete(m.accounts, key)
		}
		a.mu.Unlock()
	}
	m.sweepAt = 2*len(m.accounts) + 64
}

// emptyLocked reports that the account is as a new one would be.
func (a *account) emptyLocked(now int64) bool {
	if a.kind == Mutation {
		return a.bucket.left(a.limit, now) >= full(a.limit)
	}
	return a.rate.empty(now)
}

// Connect counts a connection from an address, unless it comes too early: then it is to be turned away, after the time that
// is returned.
func (m *Manager) Connect(ip netip.Addr) time.Duration {
	l := m.tables().findIP(ip)
	if !l.set {
		return 0
	}
	c := Client{manager: m}
	o := own{limit: l, owner: owner{clientID: ip.String()}}
	o.account = m.account(Connections, o.owner)
	a := c.lock(Connections, &o)
	defer a.mu.Unlock()
	now := m.now()
	a.rate.record(1, now)
	ms := min(a.rate.excess(l.rate, now), windowMs)
	if ms > 0 {
		a.rate.record(-1, now)
	}
	return m.told(Connections, ms)
}

// Client is what a connection knows of its quotas. Make one with Manager.Client. It is for one goroutine at a time.
type Client struct {
	manager        *Manager
	table          *Table
	user, clientID string
	own            [Connections]own
}

// own is the account that a client uses of a kind; without a limit it has none.
type own struct {
	limit
	owner   owner
	account *account
}

// Client returns a Client that Identify must tell who it is.
func (m *Manager) Client() Client { return Client{manager: m} }

// Identify tells who the client is, at each request; quotas that have changed since are looked up anew.
func (c *Client) Identify(user, clientID string) {
	t := c.manager.tables()
	if t == c.table && clientID == c.clientID && user == c.user {
		return
	}
	c.table, c.user, c.clientID = t, user, clientID
	for kind := range c.own {
		o := &c.own[kind]
		*o = own{}
		if o.owner, o.limit = t.find(Kind(kind), user, clientID); o.set {
			o.account = c.manager.account(Kind(kind), o.owner)
		}
	}
}

// Limited reports whether the client has a quota of the kind.
func (c *Client) Limited(kind Kind) bool { return c.own[kind].set }

// lock returns the account of o, locked.
func (c *Client) lock(kind Kind, o *own) *account {
	for {
		a := o.account
		a.mu.Lock()
		if !a.gone {
			a.limit = o.rate
			return a
		}
		a.mu.Unlock()
		o.account = c.manager.account(kind, o.owner)
	}
}

// Record notes what a request used of Produce, Fetch or Request, and returns for how long the client is to be left alone,
// 0 being not at all.
func (c *Client) Record(kind Kind, value float64) time.Duration {
	o := &c.own[kind]
	if !o.set {
		return 0
	}
	a := c.lock(kind, o)
	defer a.mu.Unlock()
	now := c.manager.now()
	a.rate.record(value, now)
	ms := a.rate.excess(o.rate, now)
	if kind == Request {
		ms = min(ms, windowMs)
	}
	return c.manager.told(kind, ms)
}

// Offer is Record for an answer that is withheld when it would go beyond the quota: it then notes nothing. Only what is
// more than the whole quota by itself is let through, when nothing else was recorded, else it would never be.
func (c *Client) Offer(kind Kind, value float64) (wait time.Duration, withheld bool) {
	o := &c.own[kind]
	if !o.set {
		return 0, false
	}
	a := c.lock(kind, o)
	defer a.mu.Unlock()
	now := c.manager.now()
	before, _ := a.rate.measure(now)
	a.rate.record(value, now)
	ms := a.rate.excess(o.rate, now)
	withheld = ms > 0 && before > 0
	if withheld {
		a.rate.record(-value, now)
	}
	return c.manager.told(kind, ms), withheld
}

// Withdraw takes back what Offer noted.
func (c *Client) Withdraw(kind Kind, value float64) {
	o := &c.own[kind]
	if !o.set {
		return
	}
	a := c.lock(kind, o)
	defer a.mu.Unlock()
	a.rate.record(-value, c.manager.now())
}

// Most returns the most that can be recorded at once without going beyond the quota.
func (c *Client) Most(kind Kind) int {
	o := &c.own[kind]
	if !o.set {
		return math.MaxInt32
	}
	return int(min(max(o.rate*(windows-1)*windowMs/1000, 0), math.MaxInt32))
}

// Mutate takes partitions out of the client's bucket. ok is false for a strict caller whose bucket is overdrawn already:
// nothing is taken then, and the change must not be made. wait is for how long the bucket is overdrawn.
func (c *Client) Mutate(partitions int, strict bool) (wait time.Duration, ok bool) {
	o := &c.own[Mutation]
	if !o.set {
		return 0, true
	}
	a := c.lock(Mutation, o)
	defer a.mu.Unlock()
	now := c.manager.now()
	if strict {
		if ms := a.bucket.overdrawn(o.rate, now); ms > 0 {
			return c.manager.told(Mutation, ms), false
		}
	}
	a.bucket.take(float64(partitions), o.rate, now)
	if strict {
		return 0, true
	}
	return c.manager.told(Mutation, a.bucket.overdrawn(o.rate, now)), true
}
