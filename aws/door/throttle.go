package door

import (
	"container/list"
	"net/http"
	"strings"
	"sync"
	"time"

	"millrace/base/clock"
	"millrace/secure/identity"
)

// Rate is how fast calls may come.
type Rate struct {
	PerSecond float64 // in the long run
	Burst     float64 // at once, at least 1
}

func (r Rate) or(other Rate) Rate {
	if r == (Rate{}) {
		return other
	}
	return r
}

// bucketsMost is how many principals are remembered; the one that has not called for the longest goes first.
const bucketsMost = 4096

// buckets hold what principals may still call. Safe for concurrent use.
type buckets struct {
	clock clock.Clock

	mu    sync.Mutex
	by    map[bucketKey]*list.Element // of *bucket
	order list.List                   // the one used last comes first
}

// bucketKey is a user, root or a role: a role's sessions share one, for who may assume it could make any number of them.
type bucketKey struct {
	id    string
	reads bool
}

type bucket struct {
	key  bucketKey
	left float64
	at   time.Time
}

func newBuckets(c clock.Clock) *buckets {
	return &buckets{clock: c, by: make(map[bucketKey]*list.Element)}
}

// take takes one call from the bucket of a principal, if it holds one.
func (b *buckets) take(who *identity.IAM, reads bool, r Rate) bool {
	id, _, _ := strings.Cut(who.UserID, ":")
	key, now := bucketKey{id, reads}, b.clock.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.by[key]
	if !ok {
		if len(b.by) >= bucketsMost {
			last := b.order.Back()
			b.order.Remove(last)
			delete(b.by, last.Value.(*bucket).key)
		}
		e = b.order.PushFront(&bucket{key: key, left: r.Burst, at: now})
		b.by[key] = e
	}
	b.order.MoveToFront(e)
	one := e.Value.(*bucket)
	one.left = min(r.Burst, one.left+r.PerSecond*now.Sub(one.at).Seconds())
	one.at = now
	if one.left < 1 {
		return false
	}
	one.left--
	return true
}

// errThrottled is what a principal is told that calls too fast. SDKs try again.
func errThrottled() *Error { return TooMany("", "Rate exceeded") }

// errBusy: there are too many calls at a time, or what is needed is not there yet. SDKs try again.
func errBusy() *Error {
	return Fail(http.StatusServiceUnavailable, "ServiceUnavailableException", "", "The service cannot answer at the moment. Try again.")
}

func errBodyUnread() *Error { return BadRequest("", "The request body did not arrive.") }
