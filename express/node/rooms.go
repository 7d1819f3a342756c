package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/base/clock"
	"millrace/base/limit"
	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/api"
	"millrace/express/audit"
	"millrace/express/catalog"
	"millrace/express/cleaner"
	"millrace/express/coord"
	"millrace/express/manifest"
	"millrace/express/meter"
	"millrace/express/objectlog"
	"millrace/express/partition"
	"millrace/express/peer"
	"millrace/express/quota"
	"millrace/express/replica"
	"millrace/express/segment"
	"millrace/express/sharing"
	"millrace/express/tail"
	"millrace/express/telemetry"
	"millrace/express/wal"
	"millrace/kafka/server"
	"millrace/kafka/topic"
	"millrace/secure/network"
)

// clusterIDKey is the object that says which cluster the store belongs to.
const clusterIDKey = "cluster-id"

const (
	openReaders = 512 // segments that are open at once
	// A heir reads what is in a log and in no segment: so the files are small, and are emptied when there are many.
	replicaFile   = 16 << 20
	replicaMost   = 64 << 20
	replicaGroups = 5000
)

// maxGroups bounds the commit groups of the log in the same way.
func (c Config) maxGroups() int64 {
	if c.Log == catalog.LogObject {
		return cmp.Or(c.LogGroups, replicaGroups)
	}
	return 0
}

// maxLog bounds what is in the log and in no segment, in bytes; 0: nothing does.
func (c Config) maxLog() int64 {
	if c.Log == catalog.LogObject {
		return replicaMost
	}
	return 0
}

// broker is the rooms of one running broker.
type broker struct {
	logger       *slog.Logger
	clock        clock.Clock
	log          *wal.Log
	logs         *objectlog.Store  // nil where logs are on the brokers' disks
	replica      *objectlog.Writer // where the log is durable; nil: on the disk
	catalog      *catalog.Catalog
	registry     *registry
	coordinators *coordinators
	topics       *topics
	markers      *markers
	remote       *remote
	verifier     *remoteTransactions
	cleaner      *cleaner.Cleaner
	audit        *audit.Auditor
	server       *server.Server
	figures      *figures
	traffic      func() quota.Traffic // of clients, where there are limits
	usage        *meter.Meter
	unfollow     func()
	endRooms     context.CancelFunc // ends loads, removals and marker writes
	manifests    *manifest.Store
	replicas     *replica.Reader
	network      *network.View
	guards       *guards
	privateKick  chan struct{} // capacity 1: the rules of the network have changed
	registered   chan struct{} // closed when the cluster knows of the broker
}

// budget is how a broker's memory is given out. What is left is for the
// runtime, indexes, groups and connections.
type budget struct {
	frames    int   // requests that are read and not answered; the log's queue lies in them
	fetches   int64 // responses that are not written
	kept      int   // buffers kept for reuse
	queue     int64 // bytes that wait for the log
	compacted int64 // keys of one compaction
	inflate   int64 // batches that are looked into or recompressed
}

func shares(memory int64) budget {
	return budget{
		frames:    int(memory / 4),
		fetches:   memory / 4,
		kept:      int(memory / 8),
		queue:     memory / 4,
		compacted: memory / 16,
		// A batch is in memory several times while it is recompressed: as it
		// came out, in the buffer that it came out of, and compressed again.
		inflate: memory / 8,
	}
}

// open builds the rooms from the ground up; see the package comment for the
// order. What was opened is closed again where it fails.
func open(ctx context.Context, cfg Config, w World, self doors, incarnation uint64) (_ *broker, err error) {
	share := shares(cfg.Memory)
	slabs, err := slab.New(slab.Config{RetainBytes: share.kept, RetainPerClass: share.kept / 2})
	if err != nil {
		return nil, err
	}
	rooms, endRooms := context.WithCancel(context.WithoutCancel(ctx))
	b := &broker{logger: w.Log, clock: w.Clock, endRooms: endRooms, unfollow: func() {}, privateKick: make(chan struct{}, 1), registered: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close(context.WithoutCancel(ctx)))
		}
	}()
	b.manifests = manifest.NewStore(w.KV, w.Objects, cfg.Prefix+"manifests/", w.Log)
	pointers, err := b.openStorage(ctx, cfg, w, self, slabs, incarnation, share)
	if err != nil {
		return nil, err
	}
	if err := b.openGuards(ctx, cfg, w, self); err != nil {
		return nil, err
	}
	if err := b.catalog.Claim(ctx); err != nil {
		return nil, err
	}
	b.registry = newRegistry(b.catalog)
	b.registry.log, b.registry.manifests, b.registry.clock, b.registry.logger = b.log, b.manifests, w.Clock, w.Log
	if b.logs != nil {
		b.registry.logs = b.logs
	}
	if err := b.openCoordinators(rooms, w); err != nil {
		return nil, err
	}
	segments := segment.NewCache(w.Objects, openReaders)
	b.registry.world = partition.World{
		Segments: segments, Objects: w.Objects, Manifests: b.manifests, Slabs: slabs, Clock: w.Clock, Log: w.Log,
		Inflate: limit.NewBudget(share.inflate),
		Retire:  func(keys []string) { b.cleaner.Retire(keys) },
	}
	b.replicas = replica.New(replica.World{Manifests: b.manifests, Segments: segments, Slabs: slabs, Clock: w.Clock})
	b.registry.opened = func(t *catalog.Topic, p *partition.Partition) { b.coordinators.opened(rooms, t, p) }
	b.registry.closed, b.registry.deleted = b.coordinators.closed, b.coordinators.deleted
	b.cleaner = cleaner.New(cleaner.Config{MaxMapBytes: share.compacted, MaxLog: cfg.maxLog(), MaxGroups: cfg.maxGroups()}, cleaner.World{
		Partitions: b.registry.All, Settings: b.catalog.BrokerSettings, Log: b.log, Manifests: b.manifests,
		Objects: w.Objects, Segments: segments, Clock: w.Clock, Logger: w.Log, Sweeps: b.catalog.IsController, Orphans: b.sweepOrphans(w.Objects),
	})
	b.audit = b.auditor(cfg, w, slabs)
	b.usage = b.meter(cfg, w, incarnation)
	if w.Inside != nil {
		w.Inside(b.registry.All)
	}
	if err := b.registry.removeUnknown(ctx, pointers); err != nil {
		w.Log.Warn("remains of deleted topics could not be removed", "err", err)
	}
	b.unfollow = b.catalog.Subscribe(func(old, now *catalog.Topic) {
		b.topics.changed(old, now)
		b.registry.change(rooms, old, now)
	})
	if err := b.registry.settled(ctx); err != nil {
		return nil, err
	}
	return b, b.openFront(cfg, w, slabs, share)
}

// openStorage recovers the log while the catalog and the list of manifests are read:
// neither needs the other. The claim, which comes later, reads the catalog anew. Where the log is in the object store there is
// nothing to recover; it is made when the catalog has said that this broker belongs there.
func (b *broker) openStorage(
	ctx context.Context, cfg Config, w World, self doors, slabs *slab.Pool, incarnation uint64, share budget,
) (pointers []topic.Partition, err error) {
	parent := ctx
	g, ctx := errgroup.WithContext(ctx)
	config := wal.Config{
		Dir: cfg.logDir(), Broker: cfg.ID, Incarnation: incarnation, FileSize: cfg.LogFileSize, QueueBytes: share.queue,
	}
	world := wal.World{FS: w.FS, Clock: w.Clock, Log: w.Log, Slabs: slabs, Keys: w.Keys}
	if cfg.Log != catalog.LogObject {
		g.Go(func() (err error) {
			b.log, err = wal.Open(ctx, config, world)
			return err
		})
	}
	g.Go(func() (err error) {
		me := self.broker(cfg.ID, incarnation, cfg.Zone)
		b.catalog, err = catalog.Open(ctx, catalog.Config{
			Prefix: cfg.Prefix + "catalog/", Self: me, Static: facts(cfg, self), Log: cfg.Log, LeaseTTL: cfg.LeaseTTL,
		}, catalog.World{KV: w.KV, Clock: w.Clock, Log: w.Log, Standing: b.standing})
		return err
	})
	g.Go(func() (err error) {
		pointers, err = b.manifests.Partitions(ctx)
		return err
	})
	g.Go(func() error { return b.openNetwork(ctx, cfg, w, self) })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := checkStore(parent, w.Objects, b.catalog.ClusterID()); err != nil {
		return nil, err
	}
	if err := checkSameStore(parent, w.KV, cfg.Prefix, w.Objects); err != nil {
		return nil, err
	}
	return pointers, b.openReplica(parent, cfg, w, config, world)
}

// openReplica makes this incarnation's log in the object store, before anything says that it is in use.
func (b *broker) openReplica(ctx context.Context, cfg Config, w World, config wal.Config, world wal.World) (err error) {
	if cfg.Log != catalog.LogObject {
		return nil
	}
	b.logs = objectlog.NewStore(w.KV, w.Objects, cfg.Prefix+"logs/", w.Clock, w.Log)
	b.replica, err = b.logs.Create(ctx, objectlog.ID{Broker: cfg.ID, Incarnation: config.Incarnation}, objectlog.WriterConfig{HedgeAfter: cfg.Hedge},
		objectlog.WriterWorld{Lease: b.catalog.LeaseDeadline})
	if err != nil {
		return fmt.Errorf("log in the object store: %w", err)
	}
	config.FileSize, config.Interval, world.Replica = cmp.Or(cfg.LogFileSize, replicaFile), cfg.Gather, b.replica
	b.log, err = wal.Open(ctx, config, world)
	return err
}

// checkStore makes sure that etcd and the object store belong together: to the
// sweep of a cluster that has lost its etcd, every object would be an orphan.
func checkStore(ctx context.Context, objects object.Store, cluster string) error {
	err := objects.Put(ctx, clusterIDKey, [][]byte{[]byte(cluster)}, object.PutOptions{IfAbsent: true})
	if err == nil {
		return nil
	}
	if !errors.Is(err, object.ErrExists) {
		return fmt.Errorf("object store: %w", err)
	}
	found := make([]byte, 64)
	n, err := objects.ReadAt(ctx, clusterIDKey, found, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("object store: %w", err)
	}
	if string(found[:n]) != cluster {
		return fmt.Errorf("%w: the store holds cluster %s, etcd says %s; restore the etcd that belongs to it, or use an empty store", ErrForeignStore, found[:n], cluster)
	}
	return nil
}

// facts are what DescribeConfigs shows of this broker and nobody can change.
func facts(cfg Config, self doors) map[string]string {
	id := strconv.Itoa(int(cfg.ID))
	f := map[string]string{
		"max.connections": strconv.Itoa(cfg.MaxConnections), "max.connections.per.ip": strconv.Itoa(cfg.MaxConnectionsPerIP),
		"broker.id": id, "node.id": id, "log.dirs": cfg.Dir,
	}
	if cfg.Zone != "" {
		f["broker.rack"] = cfg.Zone
	}
	maps.Copy(f, cfg.Properties)
	maps.Copy(f, self.facts())
	return f
}

// sweepOrphans is the sweep of what moves and dead brokers left behind in the store.
func (b *broker) sweepOrphans(objects object.Store) func(ctx context.Context, now time.Time) (int, error) {
	return func(ctx context.Context, now time.Time) (int, error) {
		tails, err := b.sweepTails(ctx, objects, now)
		if b.logs == nil {
			return tails, err
		}
		logs, more := b.logs.Sweep(ctx, now, func(id objectlog.ID) bool {
			// What is not used by a view that may be old is looked up once more: what is swept is gone.
			return b.usesLog(id) || b.catalog.Refresh(ctx) != nil || b.usesLog(id)
		})
		return tails + logs, errors.Join(err, more)
	}
}

// usesLog tells whether somebody writes a log, or may still need what is in it.
func (b *broker) usesLog(id objectlog.ID) bool {
	for _, o := range b.catalog.Brokers() {
		if o.ID == id.Broker && o.Incarnation == id.Incarnation {
			return true
		}
	}
	for _, t := range b.catalog.Topics() {
		for _, p := range t.Partitions {
			if p.Owner == id.Broker && p.Incarnation == id.Incarnation || p.Log == id.String() {
				return true
			}
		}
	}
	return false
}

func (b *broker) sweepTails(ctx context.Context, objects object.Store, now time.Time) (int, error) {
	return tail.Sweep(ctx, objects, now, func(id topic.Partition) (tail.Owned, bool) {
		part, ok := b.registry.record(id)
		return tail.Owned{Epoch: part.Epoch, Tail: part.Tail}, ok
	})
}

func (b *broker) openCoordinators(ctx context.Context, w World) error {
	b.topics = &topics{catalog: b.catalog}
	groups, err := coord.New(coord.GroupConfig{
		Leads:      b.leads,
		Partitions: b.partitionsOf(topic.ConsumerOffsets, b.catalog.BrokerSettings().OffsetsTopicPartitions),
		Settings: func() coord.GroupSettings {
			return coord.FromBroker(b.catalog.BrokerSettings(), b.catalog.GroupSettings)
		},
	}, coord.World{Clock: w.Clock, Log: w.Log, Topics: b.topics})
	if err != nil {
		return err
	}
	b.markers = &markers{
		catalog: b.catalog, groups: groups, clock: w.Clock,
		partition: func(id topic.Partition) (*partition.Partition, bool) { return b.registry.Partition(id) },
	}
	b.remote = &remote{
		self: b.catalog.Self().ID, catalog: b.catalog,
		pool: peer.New(ctx, peer.Config{ClientID: "millrace-broker-" + strconv.Itoa(int(b.catalog.Self().ID))},
			peer.World{Broker: brokerOf(b.catalog), Dial: w.Dial, DialInternal: w.dialInternal(), Log: w.Log}),
	}
	transactions, err := coord.NewTransactions(ctx, coord.TransactionConfig{
		Partitions: b.partitionsOf(topic.TransactionState, b.catalog.BrokerSettings().TransactionTopicPartitions),
		Settings:   func() coord.TransactionSettings { return coord.TransactionsFromBroker(b.catalog.BrokerSettings()) },
		Leads:      b.leads,
	}, coord.TransactionWorld{Clock: w.Clock, Log: w.Log, Markers: &remoteMarkers{b.remote, b.markers}, NextProducerID: b.catalog.NextProducerID})
	if err != nil {
		return err
	}
	shares, err := coord.NewShares(ctx, coord.SharesConfig{
		Leads:      b.leads,
		Partitions: b.partitionsOf(topic.ShareGroupState, api.ShareStatePartitions),
	}, coord.SharesWorld{Clock: w.Clock, Log: w.Log, Topics: b.topics})
	if err != nil {
		return err
	}
	everywhere := &remoteShares{b.remote, shares}
	b.verifier = &remoteTransactions{b.remote, transactions}
	share := sharing.New(ctx, sharing.Config{
		MaxSessions: func() int { return int(b.catalog.BrokerSettings().ShareMaxSessions) },
	}, sharing.World{
		Partition: func(id topic.Partition) (sharing.Log, bool) { return b.registry.Partition(id) },
		Persister: everywhere, Clock: w.Clock, Log: w.Log,
		Settings: func(group string) sharing.Settings { return sharing.FromGroup(b.catalog.GroupSettings(group)) },
	})
	groups.ServeShares(ctx, coord.ShareWorld{
		Shares: everywhere, Reset: share.Reset,
		Latest: func(ctx context.Context, id topic.Partition) (int64, bool) {
			return b.remote.latest(ctx, id, b.registry)
		},
	})
	b.coordinators = newCoordinators(groups, transactions, shares, share, w.Log)
	return nil
}

// leads tells whether this broker may answer for what it owns. With the log in the object store another may have taken that over once
// the lease is over (N11); with a log of its own it is the owner until it says otherwise.
func (b *broker) leads() bool { return b.logs == nil || b.catalog.Leads() }

// partitionsOf is the number of partitions of an internal topic: what it keeps
// stays where it is if the configuration changes after its creation.
func (b *broker) partitionsOf(name string, configured int32) int32 {
	if t, ok := b.catalog.Topic(name); ok {
		return int32(len(t.Partitions))
	}
	return configured
}

// openFront makes what clients see.
func (b *broker) openFront(cfg Config, w World, slabs *slab.Pool, share budget) error {
	series := telemetry.NewSeries()
	var receiver *telemetry.Manager
	if cfg.Metrics != "" {
		receiver = telemetry.New(w.Clock, b.catalog.Subscriptions, series)
	}
	world := api.World{
		Catalog: b.catalog, Partitions: b.registry, Replicas: b.replicas, Groups: b.coordinators.groups, Clock: w.Clock, Log: w.Log,
		Leads: b.leads, Transactions: b.coordinators.transactions, Verifier: b.verifier, Markers: b.markers, Telemetry: receiver,
		Sharing: b.coordinators.sharing, ShareState: b.coordinators.shares, Presence: presence{b.remote, b.logs != nil},
		Door: b.guards.door, Listener: b.guards.listener, Users: b.guards.users, Authorizer: b.guards.judge, ACLs: b.guards.acls, Trail: b.guards.cfg.Trail,
		Identify: w.Secure.Identify, Read: b.guards.read, Usage: b.usage,
		Volume: func() (total, usable int64) {
			free, err := w.FS.Free(cfg.Dir)
			if err != nil {
				return -1, -1
			}
			return -1, int64(free)
		},
	}
	a, err := api.New(api.Config{FetchBytes: share.fetches, LogDir: cfg.Dir, Limits: limitsOf(cfg.Limits)}, world)
	if err != nil {
		return err
	}
	b.server, err = server.New(server.Config{
		InFlightBytes: share.frames, MaxConnections: cfg.MaxConnections, MaxConnectionsPerIP: cfg.MaxConnectionsPerIP,
		IdleTimeout: cfg.idleTimeout(), MaxRequestBytes: cfg.requestBytes(),
	}, a, server.World{Log: w.Log, Clock: w.Clock, Slabs: slabs, Filter: b.network, HandshakeFailed: b.guards.handshakeFailed})
	if err != nil {
		return err
	}
	b.traffic = a.Whole().Traffic
	b.figures = &figures{
		server: b.server.Metrics(), api: a.Metrics(), quotas: a.Quotas(), whole: a.Whole(), telemetry: receiver, series: series,
		logins:     b.guards.door.Metrics(),
		partitions: func() int { return len(b.registry.All()) }, sharing: b.coordinators.sharing, audit: b.audit.Stats,
	}
	return nil
}

// close takes down what open built, whatever of it is there.
func (b *broker) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*stopTimeout)
	defer cancel()
	b.unfollow()
	b.endRooms()
	if b.coordinators != nil {
		b.coordinators.close()
	}
	if b.remote != nil {
		b.remote.pool.Close()
	}
	var errs []error
	if err := b.endUsage(ctx); err != nil {
		errs = append(errs, err)
	}
	if b.registry != nil {
		b.registry.closeAll()
	}
	if b.log != nil {
		if err := b.log.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close the log: %w", err))
		}
	}
	if b.replica != nil {
		if err := b.replica.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close the log in the object store: %w", err))
		}
	}
	return errors.Join(errs...)
}
