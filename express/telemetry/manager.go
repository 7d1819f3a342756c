package telemetry

import (
	"container/list"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"millrace/base/clock"
	"millrace/kafka/record"
)

// MaxBytes is the largest push, compressed and not: Kafka's default of telemetry.max.bytes.
const MaxBytes = 1 << 20

// instancesMost bounds the clients that are known.
const instancesMost = 16_384

// silenceLeast is how long a client may be silent at least before it is forgotten; three intervals, if that is longer.
const silenceLeast = time.Minute

// Errors of Get and Push. The client is told the codes of the same names.
var (
	ErrThrottled           = errors.New("telemetry: before the next push interval")         // THROTTLING_QUOTA_EXCEEDED
	ErrUnknownSubscription = errors.New("telemetry: unknown or outdated subscription")      // UNKNOWN_SUBSCRIPTION_ID
	ErrCompression         = errors.New("telemetry: unknown compression")                   // UNSUPPORTED_COMPRESSION_TYPE
	ErrTooLarge            = errors.New("telemetry: push too large")                        // TELEMETRY_TOO_LARGE
	ErrInstance            = errors.New("telemetry: no client instance id, or terminating") // INVALID_REQUEST
	ErrRecord              = errors.New("telemetry: push cannot be read")                   // INVALID_RECORD
)

// ID is what a client instance is known by.
type ID [16]byte

// String is the id as UUIDs are written.
func (id ID) String() string { return uuid.UUID(id).String() }

// Client is who asks or pushes.
type Client struct {
	Instance        ID
	ClientID        string
	SoftwareName    string
	SoftwareVersion string
	Address         string // without the port
	Port            string
}

func (c Client) attribute(name string) string {
	switch name {
	case "client_instance_id":
		return c.Instance.String()
	case "client_id":
		return c.ClientID
	case "client_software_name":
		return c.SoftwareName
	case "client_software_version":
		return c.SoftwareVersion
	case "client_source_address":
		return c.Address
	default:
		return c.Port
	}
}

// Subscription is what a client is to push.
type Subscription struct {
	Instance       ID
	ID             int32
	Metrics        []string // prefixes of names; "*" all; none: nothing is to be pushed
	IntervalMillis int32
}

// Accepted lists the compressions that a client may use, the best first.
func Accepted() []record.Codec {
	return []record.Codec{record.Zstd, record.LZ4, record.Gzip, record.Snappy}
}

// Manager knows the clients. Make one with New. Safe for concurrent use.
type Manager struct {
	clock  clock.Clock
	tables func() *Table
	series *Series
	most   int

	mu        sync.Mutex
	instances map[ID]*list.Element // of *instance
	order     *list.List           // the one used last in front
	swept     time.Time
}

// instance is one client. It is guarded by Manager.mu.
type instance struct {
	Client
	table            *Table
	subscription     Subscription
	lastGet, lastPut time.Time
	terminating      bool
	lastErr          error
	expires          time.Time
}

// New returns a Manager that keeps what is pushed in series. tables gives the subscriptions of the moment.
func New(clk clock.Clock, tables func() *Table, series *Series) *Manager {
	return &Manager{clock: clk, tables: tables, series: series, most: instancesMost, instances: make(map[ID]*list.Element), order: list.New()}
}

// Instances returns how many clients are known.
func (m *Manager) Instances() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.instances)
}

// Sweep forgets the clients that are silent for too long. Get and Push do it too, so only who reads Series needs to call it.
func (m *Manager) Sweep() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweepLocked(m.clock.Now(), 0)
}

// sweepPause lies between two sweeps by clients.
const sweepPause = time.Second

func (m *Manager) sweepLocked(now time.Time, pause time.Duration) {
	if now.Sub(m.swept) < pause {
		return
	}
	m.swept = now
	for el := m.order.Back(); el != nil; {
		i, next := el.Value.(*instance), el.Prev()
		if now.After(i.expires) {
			m.forgetLocked(el)
		}
		el = next
	}
}

func (m *Manager) forgetLocked(el *list.Element) {
	id := el.Value.(*instance).Instance
	m.order.Remove(el)
	delete(m.instances, id)
	m.series.forget(id)
}

// findLocked finds or makes the instance of a client, and brings its subscription up to date.
func (m *Manager) findLocked(c Client, now time.Time) *instance {
	m.sweepLocked(now, sweepPause)
	t := m.tables()
	el, ok := m.instances[c.Instance]
	if !ok {
		for len(m.instances) >= m.most {
			m.forgetLocked(m.order.Back())
		}
		el = m.order.PushFront(&instance{Client: c})
		m.instances[c.Instance] = el
	}
	m.order.MoveToFront(el)
	i := el.Value.(*instance)
	if i.table != t {
		*i = instance{Client: i.Client, table: t}
		i.subscription = subscriptionOf(t, i.Client)
	}
	i.expires = now.Add(max(silenceLeast, 3*i.interval()))
	return i
}

func (i *instance) interval() time.Duration {
	return time.Duration(i.subscription.IntervalMillis) * time.Millisecond
}

// subscriptionOf joins what a client is to push. The id changes with it, and differs between clients.
func subscriptionOf(t *Table, c Client) Subscription {
	s := Subscription{Instance: c.Instance}
	s.Metrics, s.IntervalMillis = t.find(c)
	text := strings.Join(s.Metrics, ", ") + strconv.Itoa(int(s.IntervalMillis))
	sum := crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli))
	high, low := binary.BigEndian.Uint64(c.Instance[:8]), binary.BigEndian.Uint64(c.Instance[8:])
	mixed := high ^ low
	s.ID = int32(sum) ^ int32(mixed^mixed>>32)
	return s
}

// Get tells a client what to push. One without an id is given one. It may ask once per interval, and at once after it was
// refused for its subscription or its compression. The error matches ErrThrottled.
func (m *Manager) Get(c Client) (Subscription, error) {
	if c.Instance == (ID{}) {
		c.Instance = ID(uuid.New())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock.Now()
	i := m.findLocked(c, now)
	lately := i.lastGet
	if i.lastPut.After(lately) {
		lately = i.lastPut
	}
	if early := now.Sub(lately) < i.interval(); !early {
		i.lastGet = now
	} else if !errors.Is(i.lastErr, ErrUnknownSubscription) && !errors.Is(i.lastErr, ErrCompression) {
		return Subscription{}, ErrThrottled
	}
	i.lastErr = nil
	return i.subscription, nil
}

// Push is what a client pushes.
type Push struct {
	Client
	SubscriptionID int32
	Terminating    bool // the client's last one
	Codec          record.Codec
	Metrics        []byte
}

// Push takes what a client pushes. The error matches one of those above.
func (m *Manager) Push(p Push) error {
	var one ID
	one[15] = 1
	if p.Instance == (ID{}) || p.Instance == one { // ids that Kafka keeps for itself
		return ErrInstance
	}
	if err := m.admit(p); err != nil {
		return err
	}
	err := m.take(p)
	m.mu.Lock()
	defer m.mu.Unlock()
	if el, ok := m.instances[p.Instance]; ok {
		el.Value.(*instance).lastErr = err
	} else {
		m.series.forget(p.Instance) // forgotten meanwhile
	}
	return err
}

// admit checks all but the contents.
func (m *Manager) admit(p Push) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock.Now()
	i := m.findLocked(p.Client, now)
	i.lastErr = i.check(p, now)
	i.terminating = p.Terminating
	return i.lastErr
}

func (i *instance) check(p Push, now time.Time) error {
	if i.terminating {
		return ErrInstance
	}
	// The first push after Get may come at any time: clients spread theirs over the interval.
	early := !i.lastGet.After(i.lastPut) && now.Sub(i.lastPut) < i.interval()
	if !early {
		i.lastPut = now
	}
	switch {
	case early && !p.Terminating:
		return ErrThrottled
	case p.SubscriptionID != i.subscription.ID:
		return ErrUnknownSubscription
	case !p.Codec.Known():
		return ErrCompression
	case len(p.Metrics) > MaxBytes:
		return ErrTooLarge
	}
	return nil
}

// take decompresses, decodes and keeps the metrics.
func (m *Manager) take(p Push) error {
	if len(p.Metrics) == 0 {
		return nil
	}
	plain, err := record.Decompress(p.Codec, p.Metrics, MaxBytes)
	switch {
	case errors.Is(err, record.ErrBomb):
		return ErrTooLarge
	case err != nil:
		return errors.Join(ErrRecord, err)
	}
	if err := decode(plain, func(point) {}); err != nil {
		return errors.Join(ErrRecord, err)
	}
	m.series.put(p.Client, plain)
	return nil
}
