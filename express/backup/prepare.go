package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"millrace/base/kv"
	"millrace/base/object"
	"millrace/express/catalog"
	"millrace/express/manifest"
	"millrace/express/tail"
	"millrace/kafka/topic"
)

// atOnce is how many partitions are compared with the store at a time.
const atOnce = 16

// Missing is something that the backup refers to and that the store does not hold.
type Missing struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Object    string `json:"object,omitempty"`
	Detail    string `json:"detail"`
}

// Plan is what a restore will write, and what there is to say about it.
type Plan struct {
	Items []kv.Item `json:"-"`
	Sum   string    `json:"backup"` // of the backup

	Clusters   []string  `json:"clusters"`
	Topics     int       `json:"topics"`
	Partitions int       `json:"partitions"`
	Forward    int       `json:"forward"` // partitions of which the store holds a newer manifest than the backup
	Moved      int       `json:"moved"`   // partitions that another broker's log holds than the backup says
	Logs       bool      `json:"logs"`    // the brokers' logs were looked at
	Missing    []Missing `json:"missing"` // the partitions concerned will be offline, or lack records
	// Unknown are topics in the store and the logs that the backup does not know: made after it, or deleted before. Brokers
	// will delete what is left of them.
	Unknown    []topic.ID `json:"unknown"`
	Overwrites int        `json:"overwrites"` // keys in etcd that go
	Again      bool       `json:"again"`      // this backup's restore was begun before and not ended
	Servers    int        `json:"servers"`    // keys of running processes in etcd
}

// Sources is what a backup is compared with.
type Sources struct {
	KV      kv.KV
	Objects func(ctx context.Context, cluster string) (object.Store, error) // of a cluster; the store stays the caller's
	Logs    map[string]Logs                                                 // by cluster; none: they cannot be reached
}

// Prepare compares a backup with what there is. It changes nothing. What stands against the restore is in the Plan, and
// Plan.Check tells; an error means that it could not be found out.
func Prepare(ctx context.Context, b *Backup, from Sources) (*Plan, error) {
	p := &Plan{Sum: b.Sum, Clusters: b.Clusters(), Missing: []Missing{}, Unknown: []topic.ID{}}
	if err := p.target(ctx, from.KV); err != nil {
		return nil, err
	}
	rest := b.Items
	for _, name := range p.Clusters {
		c := &cluster{plan: p, name: name, prefix: "clusters/" + name + "/", logs: from.Logs[name], revived: map[topic.Partition]*manifest.Revived{}}
		p.Logs = p.Logs || c.logs != nil
		var err error
		if c.objects, err = from.Objects(ctx, name); err != nil {
			return nil, fmt.Errorf("store of cluster %s: %w", name, err)
		}
		var mine []kv.Item
		mine, rest = split(rest, c.prefix)
		if err := c.prepare(ctx, mine); err != nil {
			return nil, fmt.Errorf("cluster %s: %w", name, err)
		}
	}
	p.Items = append(p.Items, rest...)
	return p, nil
}

// split takes the items below a prefix out of a list.
func split(items []kv.Item, prefix string) (below, others []kv.Item) {
	for _, item := range items {
		if strings.HasPrefix(item.Key, prefix) {
			below = append(below, item)
		} else {
			others = append(others, item)
		}
	}
	return below, others
}

// target looks at the etcd that is to take the backup.
func (p *Plan) target(ctx context.Context, store kv.KV) error {
	items, _, err := store.List(ctx, "")
	if err != nil {
		return fmt.Errorf("look into etcd: %w", err)
	}
	for _, item := range items {
		switch {
		case item.Key == marker:
			p.Again = string(item.Value) == p.Sum
		case item.Lease != 0:
			p.Servers++
		}
	}
	p.Overwrites = len(items)
	return nil
}

// Options say what a restore may do.
type Options struct {
	Overwrite     bool // what etcd holds
	AcceptMissing bool // go on where data is missing
	DropUnknown   bool // give up topics that the backup does not know
}

// Check says what stands against the restore; nil: nothing. Errors: ErrServing, ErrNotEmpty, ErrMissing, ErrUnknownTopics.
func (p *Plan) Check(o Options) error {
	var faults []error
	if p.Servers > 0 {
		faults = append(faults, fmt.Errorf("%w: they are registered in etcd; stop them, and wait until their leases have ended", ErrServing))
	}
	if p.Overwrites > 0 && !o.Overwrite && !p.Again {
		faults = append(faults, fmt.Errorf("%w: it holds %d keys", ErrNotEmpty, p.Overwrites))
	}
	if n := len(p.Missing); n > 0 && !o.AcceptMissing {
		m := p.Missing[0]
		faults = append(faults, fmt.Errorf("%w: %d fault(s), the first: %s-%d: %s", ErrMissing, n, m.Topic, m.Partition, m.Detail))
	}
	if len(p.Unknown) > 0 && !o.DropUnknown {
		faults = append(faults, fmt.Errorf("%w: %d, the first has the id %s", ErrUnknownTopics, len(p.Unknown), p.Unknown[0]))
	}
	return errors.Join(faults...)
}

// cluster is one cluster under preparation.
type cluster struct {
	plan    *Plan
	name    string
	prefix  string // of its keys
	objects object.Store
	logs    Logs

	names   map[topic.ID]string
	revived map[topic.Partition]*manifest.Revived
	tails   map[topic.Partition]tail.Key // the newest that the store holds
}

func (c *cluster) prepare(ctx context.Context, items []kv.Item) error {
	said, err := catalog.ReadItems(items, c.prefix+"catalog/")
	if err != nil {
		return err
	}
	if err := c.ours(ctx, said.ClusterID); err != nil {
		return err
	}
	c.names = map[topic.ID]string{}
	for _, t := range said.Topics {
		c.names[t.ID] = t.Name
		c.plan.Topics++
		c.plan.Partitions += len(t.Partitions)
	}
	pointers, others := split(items, c.prefix+"manifests/")
	if err := c.manifests(ctx, said, pointers); err != nil {
		return err
	}
	if c.tails, err = newestTails(ctx, c.objects); err != nil {
		return err
	}
	for _, item := range others {
		if strings.HasPrefix(item.Key, c.prefix+"logs/") {
			continue // those that the store holds have new ones
		}
		value, ok, err := item.Value, true, error(nil)
		if strings.HasPrefix(item.Key, c.prefix+"catalog/") {
			value, ok, err = catalog.Revive(item, c.prefix+"catalog/", func(id topic.Partition, said catalog.Partition) catalog.Home {
				return c.home(ctx, id, said)
			})
		}
		if err != nil {
			return err
		}
		if ok {
			c.plan.Items = append(c.plan.Items, kv.Item{Key: item.Key, Value: value})
		}
	}
	return nil
}

// ours refuses another cluster's store.
func (c *cluster) ours(ctx context.Context, id string) error {
	found := make([]byte, 64)
	n, err := c.objects.ReadAt(ctx, "cluster-id", found, 0)
	switch {
	case errors.Is(err, object.ErrNotFound):
		return nil // it was never used
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("object store: %w", err)
	case string(found[:n]) != id:
		return fmt.Errorf("%w: it holds cluster %s, the backup is of %s", ErrForeignStore, found[:n], id)
	}
	return nil
}

// manifests finds the newest manifest of each partition, and topics that nobody knows.
func (c *cluster) manifests(ctx context.Context, said catalog.Snapshot, items []kv.Item) error {
	pointers := map[topic.Partition][]byte{}
	for _, item := range items {
		if id, ok := parsePartition(strings.TrimPrefix(item.Key, c.prefix+"manifests/")); ok && c.names[id.Topic] != "" {
			pointers[id] = item.Value
		}
	}
	type found struct {
		id      topic.Partition
		revived *manifest.Revived
		err     error
	}
	var all []found
	for _, t := range said.Topics {
		for i := range t.Partitions {
			all = append(all, found{id: topic.Partition{Topic: t.ID, Index: int32(i)}})
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range all {
		g.Go(func() error {
			f := &all[i]
			f.revived, f.err = manifest.Revive(gctx, c.objects, f.id, pointers[f.id])
			if errors.Is(f.err, manifest.ErrCorrupt) {
				return nil
			}
			return f.err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, f := range all {
		c.found(f.id, pointers[f.id], f.revived, f.err)
	}
	if err := c.objectLogs(ctx, said.Log); err != nil {
		return err
	}
	stored, err := manifest.Stored(ctx, c.objects)
	if err != nil {
		return err
	}
	inLogs := slices.SortedFunc(maps.Keys(c.logs), func(a, b topic.Partition) int { return strings.Compare(a.String(), b.String()) })
	stored = append(stored, inLogs...)
	unknown := map[topic.ID]bool{}
	for _, id := range stored {
		if c.names[id.Topic] == "" && !unknown[id.Topic] {
			unknown[id.Topic] = true
			c.plan.Unknown = append(c.plan.Unknown, id.Topic)
		}
	}
	return nil
}

// objectLogs looks at the logs where they are in the object store.
func (c *cluster) objectLogs(ctx context.Context, kind catalog.LogKind) (err error) {
	if kind != catalog.LogObject {
		return nil
	}
	var records []kv.Item
	c.logs, records, err = readObjectLogs(ctx, c.objects, func(id topic.Partition) (int64, bool) {
		return c.end(id), c.names[id.Topic] != ""
	})
	for _, r := range records {
		c.plan.Items = append(c.plan.Items, kv.Item{Key: c.prefix + "logs/" + r.Key, Value: r.Value})
	}
	c.plan.Logs = true
	return err
}

// end is where the segments of a partition end.
func (c *cluster) end(id topic.Partition) int64 {
	if r := c.revived[id]; r != nil {
		return r.Manifest.End
	}
	return 0
}

// found notes what there is of one partition's manifest.
func (c *cluster) found(id topic.Partition, pointer []byte, r *manifest.Revived, err error) {
	switch {
	case err != nil:
		c.missing(id, "", "its manifest cannot be read: "+err.Error())
	case r == nil:
		return // nothing was ever cut
	default:
		c.revived[id] = r
		pointer = r.Pointer
		for _, key := range r.Missing {
			c.missing(id, key, "a segment is not in the store, or not whole")
		}
		if r.Manifest.Version > r.Before+1 || r.Before == 0 {
			c.plan.Forward++
		}
	}
	key := c.prefix + "manifests/" + id.Topic.String() + "/" + strconv.Itoa(int(id.Index))
	c.plan.Items = append(c.plan.Items, kv.Item{Key: key, Value: pointer})
}

func (c *cluster) missing(id topic.Partition, object, detail string) {
	c.plan.Missing = append(c.plan.Missing, Missing{Topic: c.names[id.Topic], Partition: id.Index, Object: object, Detail: detail})
}

// home says where a partition is, by its record and by what happened since.
func (c *cluster) home(ctx context.Context, id topic.Partition, said catalog.Partition) catalog.Home {
	h := catalog.Home{Owner: said.Owner, Tail: said.Tail, Epoch: -1}
	end := c.end(id)
	if r := c.revived[id]; r != nil {
		if n := len(r.Manifest.Epochs); n > 0 {
			h.Epoch = r.Manifest.Epochs[n-1].Epoch
		}
	}
	newest, ok := c.tails[id]
	if ok {
		h.Epoch = max(h.Epoch, newest.Epoch)
	}
	stream, held := c.logs.newest(id, end, said.Owner)
	if held {
		h.Epoch = max(h.Epoch, stream.Epoch)
	}
	switch {
	case ok && newest.Epoch >= said.Epoch && c.ahead(ctx, newest, stream, held):
		h.Tail = newest.String() // released after the backup; whoever owns it can import
	case said.Tail != "" && held && (stream.Epoch >= said.Epoch || !ok):
		h.Tail = "" // imported after the backup
	case said.Tail != "" && (!ok || newest.String() != said.Tail):
		c.missing(id, said.Tail, "its newest records were on their way to another broker and are not in the store any more")
		h.Tail = ""
	}
	if h.Tail == "" && held && stream.End > end {
		h.Log = stream.Log
		if stream.Broker != said.Owner {
			h.Owner = stream.Broker
			c.plan.Moved++
		}
		if stream.Damage != nil {
			c.missing(id, stream.Log, "the log that holds its newest records is damaged: "+stream.Damage.Error())
		}
		if !stream.joins(end) {
			c.missing(id, "", fmt.Sprintf("segments end at offset %d, the log of broker %d begins at %d or has holes", end, stream.Broker, stream.First))
		}
	}
	return h
}

// ahead says whether a tail holds records that the newest log does not. A tail that cannot be read does not count here; where it
// is needed, that is told elsewhere.
func (c *cluster) ahead(ctx context.Context, key tail.Key, stream Stream, held bool) bool {
	if !held {
		return c.logs != nil
	}
	r, err := tail.Open(ctx, c.objects, key)
	if err != nil {
		return false
	}
	defer func() { _ = r.Close() }() // what was read is read
	return stream.Epoch <= key.Epoch && stream.End < r.Info().End
}

// newestTails finds the tail of the highest epoch of each partition that has one.
func newestTails(ctx context.Context, objects object.Store) (map[topic.Partition]tail.Key, error) {
	const page = 1000
	tails := map[topic.Partition]tail.Key{}
	for after := ""; ; {
		list, err := objects.List(ctx, tail.Root, after, page)
		if err != nil {
			return nil, fmt.Errorf("list tails: %w", err)
		}
		for _, o := range list {
			after = o.Key
			k, ok := tail.ParseKey(o.Key)
			if before, known := tails[k.Partition]; ok && (!known || k.Epoch > before.Epoch) {
				tails[k.Partition] = k
			}
		}
		if len(list) < page {
			return tails, nil
		}
	}
}

func parsePartition(text string) (id topic.Partition, ok bool) {
	name, index, ok := strings.Cut(text, "/")
	t, err := topic.ParseID(name)
	n, numErr := strconv.ParseInt(index, 10, 32)
	return topic.Partition{Topic: t, Index: int32(n)}, ok && err == nil && numErr == nil && n >= 0
}
