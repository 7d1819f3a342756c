package quota

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Book keeps who has taken how much. Make one with New. Safe for concurrent use.
type Book struct {
	produce, fetch float64 // where the cluster has no quota; 0: unbounded
	rules          atomic.Pointer[rules]

	mu      sync.Mutex
	buckets map[key]*bucket // guarded by mu
}

// key is who shares a quota; Client is empty where all clients of the user do.
type key struct {
	fetch        bool
	user, client string
}

// rate is the bytes per second of one entity; 0: none is set.
type rate struct{ produce, fetch float64 }

// rules are the cluster's quotas of users. The name "" stands for the default.
type rules struct {
	users map[string]rate
	pairs map[[2]string]rate // user and client id
	any   [2]rate            // default user; default user and default client id
	half  map[string]rate    // default user, client id
}

// bucket fills at the rate and may run into debt, which is waited for.
type bucket struct {
	level float64
	at    time.Time
}

const (
	mostBuckets = 10_000
	// mostThrottle bounds one wait: less than a client's request timeout.
	mostThrottle = 10 * time.Second
)

// New returns a Book for users without a quota of the cluster; 0: they are unbounded. Rates are bytes per second.
func New(produce, fetch float64) *Book {
	b := &Book{produce: produce, fetch: fetch, buckets: map[key]*bucket{}}
	b.rules.Store(&rules{})
	return b
}

// Follow takes the cluster's quotas of users, in place of those it has had.
func (b *Book) Follow(entries []kmsg.DescribeClientQuotasResponseEntry) {
	next := &rules{users: map[string]rate{}, pairs: map[[2]string]rate{}, half: map[string]rate{}}
	for i := range entries {
		next.add(&entries[i])
	}
	b.rules.Store(next)
}

func (r *rules) add(e *kmsg.DescribeClientQuotasResponseEntry) {
	var v rate
	for _, x := range e.Values {
		switch x.Key {
		case "producer_byte_rate":
			v.produce = x.Value
		case "consumer_byte_rate":
			v.fetch = x.Value
		}
	}
	name := map[string]*string{}
	for _, part := range e.Entity {
		name[part.Type] = part.Name
	}
	user, hasUser := name["user"]
	client, hasClient := name["client-id"]
	switch {
	case !hasUser: // the cluster itself keeps to it: it sees the client ids
	case !hasClient && user != nil:
		r.users[*user] = v
	case !hasClient:
		r.any[0] = v
	case user == nil && client == nil:
		r.any[1] = v
	case user == nil:
		r.half[*client] = v
	case client == nil:
		r.pairs[[2]string{*user, ""}] = v
	default:
		r.pairs[[2]string{*user, *client}] = v
	}
}

// find returns the rate that counts for a user and client, and who shares it, in the order in which Kafka looks.
func (b *Book) find(fetch bool, user, client string) (float64, key) {
	r := b.rules.Load()
	pick := func(v rate) float64 {
		if fetch {
			return v.fetch
		}
		return v.produce
	}
	one, all := key{fetch, user, client}, key{fetch, user, ""}
	for _, found := range []struct {
		rate float64
		of   key
	}{
		{pick(r.pairs[[2]string{user, client}]), one},
		{pick(r.pairs[[2]string{user, ""}]), one},
		{pick(r.users[user]), all},
		{pick(r.half[client]), one},
		{pick(r.any[1]), one},
		{pick(r.any[0]), all},
	} {
		if found.rate > 0 {
			return found.rate, found.of
		}
	}
	if fetch {
		return b.fetch, all
	}
	return b.produce, all
}

// Throttle charges bytes that a principal has produced or fetched, and returns for how long its client is to wait.
func (b *Book) Throttle(fetch bool, principal, clientID string, bytes int, now time.Time) time.Duration {
	bytesPerSecond, of := b.find(fetch, strings.TrimPrefix(principal, "User:"), clientID)
	if bytesPerSecond <= 0 {
		return 0
	}
	return b.charge(of, bytesPerSecond, bytes, now)
}

// charge takes n bytes out of a bucket that holds what is allowed in a second.
func (b *Book) charge(of key, bytesPerSecond float64, n int, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.buckets[of]
	if x == nil {
		if len(b.buckets) >= mostBuckets { // whoever is in debt is let off: rather that than memory without bound
			clear(b.buckets)
		}
		x = &bucket{level: bytesPerSecond, at: now}
		b.buckets[of] = x
	}
	x.level = min(bytesPerSecond, x.level+bytesPerSecond*now.Sub(x.at).Seconds())
	x.at = now
	x.level -= float64(n)
	if x.level >= 0 {
		return 0
	}
	wait := time.Duration(-x.level / bytesPerSecond * float64(time.Second))
	return min(wait, mostThrottle)
}
