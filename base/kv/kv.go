package kv

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Errors of a KV, to be tested with errors.Is.
var (
	// ErrNotFound: the key does not exist.
	ErrNotFound = errors.New("kv: not found")
	// ErrConflict: a condition of the Txn did not hold; nothing was applied.
	ErrConflict = errors.New("kv: conflict")
	// ErrUnknown: the connection failed at a moment when the Txn may or may not have been applied, and
	// it could not be found out. Read the keys again before deciding what to do. The cause (often
	// the context's error) is wrapped too.
	ErrUnknown = errors.New("kv: outcome unknown")
	// ErrLeaseLost: the lease of a Put has expired or was revoked; nothing was applied.
	ErrLeaseLost = errors.New("kv: lease lost")
	// ErrTooLarge: the Txn has more than MaxOps operations or more than MaxBytes bytes, or a key is
	// longer than MaxKeyBytes.
	ErrTooLarge = errors.New("kv: too large")
	// ErrBadTxn: the Txn writes a key twice, or has an empty key or prefix, or no operation.
	ErrBadTxn = errors.New("kv: bad transaction")
	// ErrNoSpace: the store has reached its quota and takes no writes.
	ErrNoSpace = errors.New("kv: no space")
	// ErrClosed: the KV was closed.
	ErrClosed = errors.New("kv: closed")
)

// Bounds of one Txn. MaxOps is the default of etcd servers; MaxBytes leaves room below their 1.5 MiB.
const (
	MaxOps      = 128
	MaxBytes    = 1 << 20
	MaxKeyBytes = 4096
)

// KV is the store. Keys and prefixes are plain strings, compared byte by byte. Byte slices that are passed
// in must not be changed until the call returns; byte slices that are returned belong to the caller,
// except that those of one Event may be shared with other watchers and must not be changed.
type KV interface {
	// Get returns the item of a key, or ErrNotFound.
	Get(ctx context.Context, key string) (Item, error)
	// List returns all items whose keys have the prefix, sorted by key, as they were together at
	// revision rev. An empty prefix lists everything.
	List(ctx context.Context, prefix string) (items []Item, rev int64, err error)
	// Txn applies all of then when all of cond hold, and returns the revision of that; or applies
	// nothing and returns ErrConflict. After a broken connection it repeats itself only when a first
	// application would have made a condition false (ModRevEquals or KeyMissing of a key that it
	// puts, ModRevEquals or KeyExists of a key that it deletes), and takes "all my values stand there
	// at one revision" as success: values that decide a race must therefore name their writer.
	// Otherwise it returns ErrUnknown. See K4, with one limit: a KeyMissing that is repeated cannot
	// tell that somebody has deleted the key between the two attempts.
	Txn(ctx context.Context, cond []Cond, then []Op) (rev int64, err error)
	// Watch sends the changes of keys with the prefix whose revision is fromRev or higher; after a List
	// that is rev+1. Zero means from now on. The channel is closed after a Resync event and when ctx
	// ends. A reader that is slow costs memory in the KV or gets a Resync, it never blocks others.
	Watch(ctx context.Context, prefix string, fromRev int64) <-chan Event
	// Grant makes a lease and keeps it alive until its Close. The TTL is rounded up to whole seconds,
	// and a server may make it longer, but not shorter. The lease outlives ctx.
	Grant(ctx context.Context, ttl time.Duration) (Lease, error)
	// Close ends watches and stops keeping leases, without revoking them, and waits for all that the KV
	// started. Later calls return ErrClosed. Close may be called twice.
	Close() error
}

// LeaseID names a lease in the store. Zero is no lease.
type LeaseID int64

// Item is a key with its value.
type Item struct {
	Key       string
	Value     []byte
	CreateRev int64   // the revision at which the key came to be
	ModRev    int64   // the revision of its last change
	Lease     LeaseID // the key ends with this lease; zero: it stays
}

// EventType says what happened to a key.
type EventType int

const (
	// EventPut: the key was created or changed; Item is the new state.
	EventPut EventType = iota + 1
	// EventDelete: the key was deleted, or ended with its lease. Item has only Key and ModRev.
	EventDelete
	// EventResync: the watch can go on without a gap no more (the history that it needs is compacted,
	// or the server lost it). List again. It is the last event of a watch; Item is empty.
	EventResync
)

// String returns put, delete or resync.
func (t EventType) String() string {
	switch t {
	case EventPut:
		return "put"
	case EventDelete:
		return "delete"
	case EventResync:
		return "resync"
	default:
		return fmt.Sprintf("event(%d)", int(t))
	}
}

// Event is one change of one key. Changes that one Txn made have the same Item.ModRev.
type Event struct {
	Type EventType
	Item Item
}

// Lease is a grant that the store takes back, with all keys put under it, when it is not kept alive. The KV
// keeps it alive in the background.
type Lease interface {
	// ID is what Put takes.
	ID() LeaseID
	// Deadline is the local monotonic time until which the lease holds for certain: the time at which
	// the last successful keep-alive was sent, plus the TTL. It never goes back.
	Deadline() time.Time
	// Done is closed when the lease is over: the store has said so, the Deadline has passed, or Close
	// was called. A lease that is over never comes back.
	Done() <-chan struct{}
	// Close stops keeping the lease alive and revokes it, which deletes its keys. It returns nil when
	// the lease is already gone. When revoking fails the lease ends by itself a TTL later at most.
	Close(ctx context.Context) error
}

// CondKind is the kind of a Cond.
type CondKind int

// The kinds of Cond; see the functions that make them.
const (
	CondMissing CondKind = iota + 1
	CondExists
	CondModRev
)

// Cond is a condition of a Txn. Make one with KeyMissing, KeyExists or ModRevEquals; the fields are for
// implementations of KV.
type Cond struct {
	Kind CondKind
	Key  string
	Rev  int64
}

// KeyMissing holds when the key does not exist.
func KeyMissing(key string) Cond { return Cond{Kind: CondMissing, Key: key} }

// KeyExists holds when the key exists.
func KeyExists(key string) Cond { return Cond{Kind: CondExists, Key: key} }

// ModRevEquals holds when the key exists and its last change was at rev. For rev zero it is KeyMissing.
func ModRevEquals(key string, rev int64) Cond {
	if rev == 0 {
		return KeyMissing(key)
	}
	return Cond{Kind: CondModRev, Key: key, Rev: rev}
}

// OpKind is the kind of an Op.
type OpKind int

// The kinds of Op; see the functions that make them.
const (
	OpPut OpKind = iota + 1
	OpDelete
	OpDeletePrefix
)

// Op is a write of a Txn. Make one with Put, PutLeased, Delete or DeletePrefix; the fields are for
// implementations of KV. One Txn must not put a key twice, nor both put and delete it.
type Op struct {
	Kind  OpKind
	Key   string // or prefix
	Value []byte
	Lease LeaseID
}

// Put sets a key that belongs to no lease; a key that belonged to one leaves it.
func Put(key string, value []byte) Op { return Op{Kind: OpPut, Key: key, Value: value} }

// PutLeased sets a key that ends with the lease.
func PutLeased(key string, value []byte, lease LeaseID) Op {
	return Op{Kind: OpPut, Key: key, Value: value, Lease: lease}
}

// Delete removes a key; if it does not exist, nothing happens.
func Delete(key string) Op { return Op{Kind: OpDelete, Key: key} }

// DeletePrefix removes all keys with the prefix, which must not be empty.
func DeletePrefix(prefix string) Op { return Op{Kind: OpDeletePrefix, Key: prefix} }

// CheckTxn returns the error that every implementation gives for a malformed or oversized Txn, or nil.
func CheckTxn(cond []Cond, then []Op) error {
	if len(then) == 0 {
		return fmt.Errorf("%w: no operation", ErrBadTxn)
	}
	if n := max(len(then), len(cond)); n > MaxOps {
		return fmt.Errorf("%w: %d operations, at most %d", ErrTooLarge, n, MaxOps)
	}
	size := 0
	for _, c := range cond {
		size += len(c.Key)
		if err := checkKey(c.Key); err != nil {
			return err
		}
	}
	puts := make(map[string]bool, len(then))
	for _, op := range then {
		size += len(op.Key) + len(op.Value)
		if err := checkKey(op.Key); err != nil {
			return err
		}
		if op.Kind == OpPut {
			if puts[op.Key] {
				return fmt.Errorf("%w: %q is put twice", ErrBadTxn, op.Key)
			}
			puts[op.Key] = true
		}
	}
	if size > MaxBytes {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, MaxBytes)
	}
	return checkOverlap(puts, then)
}

// checkOverlap refuses a key that is both put and deleted: the order of operations has no meaning.
func checkOverlap(puts map[string]bool, then []Op) error {
	for _, op := range then {
		for key := range puts {
			if op.deletes(key) {
				return fmt.Errorf("%w: %q is both put and deleted", ErrBadTxn, key)
			}
		}
	}
	return nil
}

// deletes says whether the operation removes the key.
func (op Op) deletes(key string) bool {
	switch op.Kind {
	case OpDelete:
		return op.Key == key
	case OpDeletePrefix:
		return len(key) >= len(op.Key) && key[:len(op.Key)] == op.Key
	default:
		return false
	}
}

func checkKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%w: empty key", ErrBadTxn)
	case len(key) > MaxKeyBytes:
		return fmt.Errorf("%w: key of %d bytes, at most %d", ErrTooLarge, len(key), MaxKeyBytes)
	}
	return nil
}
