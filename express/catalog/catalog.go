package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/express/quota"
	"millrace/express/settings"
	"millrace/express/telemetry"
	"millrace/kafka/topic"
)

// Errors of the catalog, to be tested with errors.Is. Names and configurations that are refused come as
// topic.ErrInvalidName and settings.ErrInvalid.
var (
	ErrTopicExists        = errors.New("topic already exists")
	ErrUnknownTopic       = errors.New("unknown topic")
	ErrInvalidPartitions  = errors.New("invalid number of partitions")
	ErrInvalidReplication = errors.New("invalid replication factor")
	ErrInvalidAssignment  = errors.New("invalid replica assignment")
	ErrUnknownBroker      = errors.New("unknown broker")
	// ErrUnavailable: the kv store could not be reached in time, or no broker is live; nothing or, if the
	// time ran out while writing, all of the change may have happened. Retriable.
	ErrUnavailable = errors.New("cluster metadata is unavailable")
	// ErrNewer is returned by Open when the cluster was written by a newer version of this program.
	ErrNewer = errors.New("cluster was written by a newer version")
	// ErrFenced is returned by Run and Register when another incarnation of this broker has registered
	// since: this process must end.
	ErrFenced = errors.New("another incarnation of this broker has registered")
	// ErrReplaced is returned by Run when others have taken over what this broker had, while its registration was gone: this process
	// must end, and a new start joins the cluster again.
	ErrReplaced = errors.New("other brokers have taken over what this one had")
	// ErrNotReleased is returned by Release when the partition is still ours, and no earlier call can take it
	// away any more.
	ErrNotReleased = errors.New("partition is not released")
	// ErrNotOwner: the partition is not this broker's, or not at this epoch.
	ErrNotOwner = errors.New("partition belongs to another broker or epoch")
	// ErrLogKind is returned by Open when the cluster keeps its logs elsewhere than Config.Log says, and by Take when
	// that is where nobody can take them over from.
	ErrLogKind = errors.New("cluster keeps its logs elsewhere")
)

// LogKind says where the brokers of a cluster keep their logs. It is chosen when the cluster is made.
type LogKind string

const (
	LogFile   LogKind = "file"   // on the disk of each broker's host, where nobody else can read them
	LogObject LogKind = "object" // in the object store, from where every broker can take them over
)

// Topic is one topic as of a moment. It is immutable; a change makes a new one.
type Topic struct {
	Name              string
	ID                topic.ID
	Internal          bool        // kept by the cluster for itself
	ReplicationFactor int16       // as asked for at creation; Metadata shows it up to the number of brokers
	Partitions        []Partition // by index
	Settings          *settings.Topic
	Created           int64 // ms since 1970
}

// Partition is who owns one partition.
type Partition struct {
	Owner       int32  // broker id; -1 none
	Epoch       int32  // leader epoch
	To          int32  // broker id that the owner shall release the partition to; 0 none
	Incarnation uint64 // of the owner that serves this epoch, or will
	Tail        string // key of the object that the owner must import before it serves; "" none
	Log         string // the log whose end the owner must import before it serves, see LogID; "" none
}

// LogID is how records name the log of a broker's incarnation, as objectlog.ID writes itself.
func LogID(broker int32, incarnation uint64) string {
	return fmt.Sprintf("%d/%016x", broker, incarnation)
}

// Destination is the broker that will own the partition when what is ordered is done.
func (p Partition) Destination() int32 {
	if p.To != 0 {
		return p.To
	}
	return p.Owner
}

// Broker is a registered, live broker.
type Broker struct {
	ID          int32
	Incarnation uint64 // of the process; no two processes with one ID have the same
	Host        string // where clients reach it: by its first listener, at least
	Port        int32
	Endpoints   []Endpoint // of all its listeners; never changed in place. None: one, Client, at Host and Port
	Rack        string     // zone; "" unknown
	Draining    bool       // takes no partitions, and shall lose those it has

	rev int64 // of its registration; 0 unknown
}

// Endpoint is where a broker is reached by one of its listeners.
type Endpoint struct {
	Listener string `json:"listener"`
	Host     string `json:"host"`
	Port     int32  `json:"port"`
}

// At is where a broker is reached by a listener; false: it has none of that name.
func (b Broker) At(listener string) (Endpoint, bool) {
	if len(b.Endpoints) == 0 {
		return Endpoint{Listener: Client, Host: b.Host, Port: b.Port}, listener == Client
	}
	for _, e := range b.Endpoints {
		if e.Listener == listener {
			return e, true
		}
	}
	return Endpoint{}, false
}

// Names of listeners that the house relies on; engine says what they are.
const (
	Client   = "CLIENT"             // of a broker that says nothing of its listeners
	Internal = "REPLICATION_SECURE" // by which brokers reach one another, where there is one
)

// Config says which cluster and who we are.
type Config struct {
	Prefix   string            // of all keys, such as "clusters/main/"; ends with a slash
	Self     Broker            // this broker
	LeaseTTL time.Duration     // of the registration; default 6 s, or 2 s for LogObject: so long is a dead broker waited for
	Static   map[string]string // broker configurations that the process was started with, facts included
	Log      LogKind           // of the cluster; "" is LogFile
}

// World is what catalog touches outside itself.
type World struct {
	KV    kv.KV
	Clock clock.Clock
	Log   *slog.Logger
	// Standing, where it is not nil, is asked before this broker registers again because its lease was lost: for what has to hold in
	// the store for that (C12), or ErrReplaced. Run calls it; it may block, bounded by ctx.
	Standing func(ctx context.Context) ([]kv.Cond, error)
}

// Catalog is one broker's view of its cluster. It is safe for concurrent use.
type Catalog struct {
	cfg       Config
	kv        kv.KV
	clock     clock.Clock
	log       *slog.Logger
	standing  func(ctx context.Context) ([]kv.Cond, error) // nil: a lost lease takes nothing else away
	clusterID string
	ids       producerIDs
	reg       registration

	feeding     sync.Mutex // held while a batch of changes enters the view and subscribers are told
	state       state      // guarded by feeding: the records as read
	subscribers []*subscriber
	following   atomic.Bool   // Run feeds the view
	stale       chan struct{} // capacity 1: the watch brings nothing any more
	quotas      atomic.Pointer[quota.Table]
	telemetry   atomic.Pointer[telemetry.Table]

	mu      sync.RWMutex // guards what reads see
	view    view
	telling bool          // the subscribers do not know all of the view yet; no revision could say so, as the events of one may come apart
	changed chan struct{} // closed and replaced after each batch
}

type subscriber struct{ f func(old, now *Topic) }

// Open lists everything once, so that the view is complete when it returns, and remembers the revision for
// Run. The first Open of a cluster makes its id. It returns ErrNewer for a cluster of a newer version and
// settings.ErrInvalid for bad values in cfg.Static, and ErrLogKind where the cluster was made for another kind of log.
func Open(ctx context.Context, cfg Config, w World) (*Catalog, error) {
	if cfg.Log == "" {
		cfg.Log = LogFile
	}
	if cfg.LeaseTTL == 0 {
		cfg.LeaseTTL = 6 * time.Second
		if cfg.Log == LogObject {
			cfg.LeaseTTL = 2 * time.Second
		}
	}
	base, err := settings.ParseLayers(settings.Layers{Static: cfg.Static})
	if err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	c := &Catalog{cfg: cfg, kv: w.KV, clock: w.Clock, log: w.Log, standing: w.Standing, changed: make(chan struct{}), stale: make(chan struct{}, 1)}
	c.view = newView(base)
	c.quotas.Store(quota.NewTable(nil))
	c.telemetry.Store(telemetry.NewTable(nil))
	c.ids = newProducerIDs()
	c.reg.wake, c.reg.turn = make(chan struct{}, 1), make(chan struct{}, 1)
	if c.clusterID, err = c.openCluster(ctx); err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	if err := c.relist(ctx); err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	return c, nil
}

// openCluster reads the cluster record, or makes it.
func (c *Catalog) openCluster(ctx context.Context) (string, error) {
	key := c.cfg.Prefix + "cluster"
	for {
		item, err := c.kv.Get(ctx, key)
		if err == nil {
			r, err := readCluster(item.Value)
			if err == nil {
				err = r.wants(c.cfg.Log)
			}
			return r.ID, err
		}
		if !errors.Is(err, kv.ErrNotFound) {
			return "", fmt.Errorf("read the cluster record: %w", err)
		}
		fresh := clusterRecord{Version: formatVersion, ID: topic.NewID().String(), Created: c.clock.Now().UnixMilli(), Log: c.cfg.Log}
		_, err = c.kv.Txn(ctx, []kv.Cond{kv.KeyMissing(key)}, []kv.Op{kv.Put(key, encode(fresh))})
		if err != nil && !errors.Is(err, kv.ErrConflict) && !errors.Is(err, kv.ErrUnknown) {
			return "", fmt.Errorf("write the cluster record: %w", err)
		}
	}
}

// ClusterID is Kafka's cluster id: 22 characters, made by the cluster's first Open.
func (c *Catalog) ClusterID() string { return c.clusterID }

// Self is this broker as it registers itself, but for Draining, which Brokers tells.
func (c *Catalog) Self() Broker { return c.cfg.Self }

// Topic finds a topic by name.
func (c *Catalog) Topic(name string) (*Topic, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	t, ok := c.view.byName[name]
	return t, ok
}

// TopicByID finds a topic by id.
func (c *Catalog) TopicByID(id topic.ID) (*Topic, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	t, ok := c.view.byID[id]
	return t, ok
}

// Topics gives all topics by name. The slice is shared and must not be changed.
func (c *Catalog) Topics() []*Topic {
	c.mu.RLock()
	all := c.view.sorted
	c.mu.RUnlock()
	if all != nil {
		return all
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view.sortLocked()
}

// Brokers gives the live brokers by id; Self is in it once it is registered. The slice is shared and must
// not be changed.
func (c *Catalog) Brokers() []Broker {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.view.brokers
}

// BrokerSettings is the effective configuration of this broker. Ask again at each use: it changes.
func (c *Catalog) BrokerSettings() *settings.Broker {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.view.broker
}

// GroupSettings is the effective configuration of a group, whether it exists or not. Ask again at each use: it changes.
func (c *Catalog) GroupSettings(group string) *settings.Group {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if g := c.view.groups[group]; g != nil {
		return g
	}
	return c.view.group
}

// ConfiguredGroups lists the groups that have configurations of their own, by name.
func (c *Catalog) ConfiguredGroups() []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Sorted(maps.Keys(c.view.groups))
}

// Changed gives a channel that is closed after the next changes to brokers, topics or anything else here have
// entered the view and the subscribers know them. Ask for it before reading.
func (c *Catalog) Changed() <-chan struct{} {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.changed
}

// Subscribe calls f in order after each change of a topic has entered the view; old is nil for a topic that
// came to be, now for one that is gone (a topic made anew under its old name is gone first). Existing
// topics are delivered before Subscribe returns. f must not block for long, must not write to the catalog
// and must not subscribe or cancel; reading is fine. f is not called any more once cancel has returned.
func (c *Catalog) Subscribe(f func(old, now *Topic)) (cancel func()) {
	c.feeding.Lock()
	defer c.feeding.Unlock()
	s := &subscriber{f}
	for _, t := range c.Topics() {
		f(nil, t)
	}
	c.subscribers = append(c.subscribers, s)
	return func() { c.unsubscribe(s) }
}
