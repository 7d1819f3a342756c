package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"millrace/base/kv"
	"millrace/express/settings"
	"millrace/kafka/topic"
)

// NewTopic is what CreateTopic takes.
type NewTopic struct {
	Name              string
	Partitions        int32             // -1: the broker's default
	ReplicationFactor int16             // -1: the broker's default; more than there are brokers is fine
	Assignment        map[int32][]int32 // optional; partitions 0..n-1, brokers that are live; the first owns
	Configs           map[string]string // overrides
	ValidateOnly      bool              // check everything, write nothing
}

// CreateTopic creates a topic and returns it as it stands in the view; with ValidateOnly, as it would.
// Its errors match ErrTopicExists, ErrInvalidPartitions, ErrInvalidReplication, ErrInvalidAssignment,
// ErrUnknownBroker, ErrUnavailable, topic.ErrInvalidName and settings.ErrInvalid.
func (c *Catalog) CreateTopic(ctx context.Context, n NewTopic) (*Topic, error) {
	for {
		t, err := c.createTopic(ctx, n)
		if errors.Is(err, kv.ErrConflict) {
			continue
		}
		if errors.Is(err, ErrTopicExists) {
			var gone bool
			if gone, err = c.awaitGone(ctx, n.Name, err); gone {
				continue
			}
		}
		if err != nil {
			return nil, fmt.Errorf("create topic %q: %w", n.Name, err)
		}
		return t, nil
	}
}

// awaitGone has the last word where exists says that there is a topic already: the view may be behind, for long where this broker is
// cut off from the store. It says whether the topic is gone, and waits until the view knows.
func (c *Catalog) awaitGone(ctx context.Context, name string, exists error) (gone bool, err error) {
	old, known := c.Topic(name)
	if !known {
		return false, exists // another name is in the way
	}
	switch r, err := c.getTopic(ctx, name); {
	case err == nil && r.ID == old.ID:
		return false, exists
	case err != nil && !errors.Is(err, ErrUnknownTopic):
		return false, err
	}
	err = c.await(ctx, func(v *view) bool { return v.byID[old.ID] == nil })
	return err == nil, err
}

// createTopic tries once; kv.ErrConflict says to try again.
func (c *Catalog) createTopic(ctx context.Context, n NewTopic) (*Topic, error) {
	live := roster(c.Brokers())
	t, err := c.plan(n, live)
	if err != nil || n.ValidateOnly {
		return t, err
	}
	rev, err := c.writeTopic(ctx, t, live)
	if err != nil {
		return nil, err
	}
	if err := c.await(ctx, sawTopic(t.Name, rev)); err != nil {
		return nil, err
	}
	if now, ok := c.TopicByID(t.ID); ok {
		t = now
	}
	return t, nil
}

// plan checks a new topic and gives it an id and owners.
func (c *Catalog) plan(n NewTopic, live roster) (*Topic, error) {
	b := c.BrokerSettings()
	if err := topic.ValidateName(n.Name); err != nil {
		return nil, err
	}
	if err := c.checkCollision(n.Name); err != nil {
		return nil, err
	}
	s, err := settings.ParseTopic(n.Configs, b)
	if err != nil {
		return nil, err
	}
	t := &Topic{
		Name: n.Name, ID: topic.NewID(), Internal: topic.Internal(n.Name), ReplicationFactor: n.ReplicationFactor,
		Settings: s, Created: c.clock.Now().UnixMilli(),
	}
	if n.Assignment != nil {
		return t, c.planAssigned(t, n, live)
	}
	count := n.Partitions
	if count == -1 {
		count = b.NumPartitions
	}
	if count < 1 || count > settings.MaxPartitions {
		return nil, fmt.Errorf("%w: %d; must be between 1 and %d", ErrInvalidPartitions, count, settings.MaxPartitions)
	}
	if t.ReplicationFactor == -1 {
		t.ReplicationFactor = b.DefaultReplicationFactor
	}
	if t.ReplicationFactor < 1 {
		return nil, fmt.Errorf("%w: %d; must be at least 1", ErrInvalidReplication, t.ReplicationFactor)
	}
	t.Partitions, err = c.placed(int(count), nil, live)
	return t, err
}

// placed gives n new partitions, which follow those of a topic that there are, to the live brokers.
func (c *Catalog) placed(n int, before []Partition, live roster) ([]Partition, error) {
	if len(live) == 0 {
		return nil, fmt.Errorf("%w: no broker is live", ErrUnavailable)
	}
	load := leaders(c.Topics())
	return place(n, before, live.takers(load), load), nil
}

// planAssigned takes the owners and the replication factor from the assignment.
func (c *Catalog) planAssigned(t *Topic, n NewTopic, live roster) error {
	if n.Partitions != -1 && int(n.Partitions) != len(n.Assignment) {
		return fmt.Errorf("%w: %d asked for, %d assigned", ErrInvalidPartitions, n.Partitions, len(n.Assignment))
	}
	if len(n.Assignment) == 0 || len(n.Assignment) > settings.MaxPartitions {
		return fmt.Errorf("%w: %d assigned; must be between 1 and %d", ErrInvalidPartitions, len(n.Assignment), settings.MaxPartitions)
	}
	lists := make([][]int32, len(n.Assignment))
	for i := range lists {
		replicas, ok := n.Assignment[int32(i)]
		if !ok {
			return fmt.Errorf("%w: partition %d is missing; partitions must be 0 to %d", ErrInvalidAssignment, i, len(lists)-1)
		}
		lists[i] = replicas
	}
	partitions, err := c.assigned(lists, len(lists[0]), live)
	if err != nil {
		return err
	}
	if rf := len(lists[0]); n.ReplicationFactor != -1 && int(n.ReplicationFactor) != rf {
		return fmt.Errorf("%w: %d asked for, %d assigned", ErrInvalidReplication, n.ReplicationFactor, rf)
	}
	t.Partitions, t.ReplicationFactor = partitions, int16(len(lists[0]))
	return nil
}

// assigned checks lists of replicas, each of rf brokers, and gives each partition to the first of its list
// that takes partitions.
func (c *Catalog) assigned(lists [][]int32, rf int, live roster) ([]Partition, error) {
	partitions := make([]Partition, len(lists))
	owners := make(map[int32]bool)
	for i, replicas := range lists {
		if len(replicas) == 0 || len(replicas) != rf {
			return nil, fmt.Errorf("%w: partition %d has %d replicas, must have %d and at least 1", ErrInvalidAssignment, i, len(replicas), rf)
		}
		for j, id := range replicas {
			if _, ok := live.find(id); !ok {
				return nil, fmt.Errorf("%w: partition %d: %w: %d", ErrInvalidAssignment, i, ErrUnknownBroker, id)
			}
			if slices.Contains(replicas[:j], id) {
				return nil, fmt.Errorf("%w: partition %d has broker %d twice", ErrInvalidAssignment, i, id)
			}
		}
		owner := live.first(replicas)
		partitions[i] = Partition{Owner: owner.ID, Incarnation: owner.Incarnation}
		owners[owner.ID] = true
	}
	if len(owners) > ownersMost {
		return nil, fmt.Errorf("%w: %d leaders are assigned at once, at most %d can be", ErrInvalidAssignment, len(owners), ownersMost)
	}
	return partitions, nil
}

// checkCollision refuses a name that exists, or that differs from an existing one only in dots and
// underscores: metrics could not tell them apart.
func (c *Catalog) checkCollision(name string) error {
	if _, ok := c.Topic(name); ok {
		return ErrTopicExists
	}
	if !strings.ContainsAny(name, "._") {
		return nil
	}
	plain := strings.ReplaceAll(name, ".", "_")
	for _, t := range c.Topics() {
		if strings.ReplaceAll(t.Name, ".", "_") == plain {
			return fmt.Errorf("%w: it collides with %q: names must differ in more than dots and underscores", topic.ErrInvalidName, t.Name)
		}
	}
	return nil
}

func (c *Catalog) topicKey(name string) string { return c.cfg.Prefix + "topics/" + name }

func (c *Catalog) partitionPrefix(id topic.ID) string {
	return c.cfg.Prefix + "partitions/" + id.String() + "/"
}

// writeTopic writes the partitions of a new topic in batches, and its record with the last batch (C1).
// kv.ErrConflict says that a broker that was to own some has changed meanwhile, and that the view knows it.
func (c *Catalog) writeTopic(ctx context.Context, t *Topic, live roster) (rev int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, creationMost)
	defer cancel()
	prefix := c.partitionPrefix(t.ID)
	ops := make([]kv.Op, 0, len(t.Partitions)+1)
	for i, p := range t.Partitions {
		ops = append(ops, kv.Put(prefix+strconv.Itoa(i), encode(newRecord(p))))
	}
	for len(ops) > batchOps {
		if _, err := c.kv.Txn(ctx, nil, ops[:batchOps]); err != nil {
			return 0, unavailable("write partitions", err)
		}
		ops = ops[batchOps:]
	}
	key := c.topicKey(t.Name)
	conds := append(c.registered(t.Partitions, live), kv.KeyMissing(key))
	if len(t.Partitions) > batchOps {
		conds = append(conds, kv.KeyExists(prefix+"0")) // not swept meanwhile
	}
	record := topicRecord{Version: formatVersion, ID: t.ID, Partitions: int32(len(t.Partitions)),
		ReplicationFactor: t.ReplicationFactor, Configs: t.Settings.Overrides, Created: t.Created}
	rev, err = c.kv.Txn(ctx, conds, append(ops, kv.Put(key, encode(record))))
	switch {
	case err == nil:
		return rev, nil
	case errors.Is(err, kv.ErrConflict):
		c.discard(ctx, prefix)
		if _, err := c.getTopic(ctx, t.Name); !errors.Is(err, ErrUnknownTopic) {
			return 0, cmp.Or(err, ErrTopicExists)
		}
		return 0, cmp.Or(c.awaitChanged(ctx, t.Partitions, live), kv.ErrConflict)
	default:
		return 0, unavailable("write topic", err)
	}
}

// discard removes the partitions of a topic that lost a race; what stays is swept later.
func (c *Catalog) discard(ctx context.Context, prefix string) {
	if _, err := c.kv.Txn(ctx, nil, []kv.Op{kv.DeletePrefix(prefix)}); err != nil {
		c.log.Warn("partitions of a topic that was not created are left to the sweep", "err", err)
	}
}

// DeleteTopic deletes a topic, ErrUnknownTopic when there is none with this id. Its data goes later, by
// those who keep it.
func (c *Catalog) DeleteTopic(ctx context.Context, id topic.ID) error {
	for {
		t, ok := c.TopicByID(id)
		if !ok {
			return fmt.Errorf("delete topic %s: %w", id, ErrUnknownTopic)
		}
		key := c.topicKey(t.Name)
		r, err := c.getTopic(ctx, t.Name)
		if err == nil && r.ID != id {
			err = ErrUnknownTopic
		}
		if err != nil {
			return fmt.Errorf("delete topic %q: %w", t.Name, err)
		}
		_, err = c.kv.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, r.rev)},
			[]kv.Op{kv.Delete(key), kv.DeletePrefix(c.partitionPrefix(id))})
		switch {
		case err == nil:
			return c.await(ctx, func(v *view) bool { return v.byID[id] == nil })
		case !errors.Is(err, kv.ErrConflict):
			return fmt.Errorf("delete topic %q: %w", t.Name, unavailable("write", err))
		}
	}
}

// getTopic reads a topic's record from the store.
func (c *Catalog) getTopic(ctx context.Context, name string) (topicRecord, error) {
	item, err := c.kv.Get(ctx, c.topicKey(name))
	if errors.Is(err, kv.ErrNotFound) {
		return topicRecord{}, ErrUnknownTopic
	}
	if err != nil {
		return topicRecord{}, unavailable("read topic", err)
	}
	r, err := readTopic(name, item.Value, item.ModRev)
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return r, nil
}

// AddPartitions gives a topic more partitions, total in all. assignment, if not nil, lists the brokers of
// each new one. Its errors match ErrUnknownTopic, ErrInvalidPartitions, ErrInvalidAssignment,
// ErrUnknownBroker and ErrUnavailable.
func (c *Catalog) AddPartitions(ctx context.Context, name string, total int32, assignment [][]int32, validateOnly bool) error {
	for {
		rev, err := c.addPartitions(ctx, name, total, assignment, validateOnly)
		if errors.Is(err, kv.ErrConflict) {
			continue
		}
		if err != nil {
			return fmt.Errorf("add partitions to topic %q: %w", name, err)
		}
		if validateOnly {
			return nil
		}
		return c.await(ctx, sawTopic(name, rev))
	}
}

// addPartitions tries once; kv.ErrConflict says to try again.
func (c *Catalog) addPartitions(ctx context.Context, name string, total int32, assignment [][]int32, validateOnly bool) (int64, error) {
	r, err := c.getTopic(ctx, name)
	if err != nil {
		return 0, err
	}
	if total <= r.Partitions || total > settings.MaxPartitions {
		return 0, fmt.Errorf("%w: %d; the topic has %d, and at most %d are allowed", ErrInvalidPartitions, total, r.Partitions, settings.MaxPartitions)
	}
	live := roster(c.Brokers())
	partitions, err := c.added(r, name, int(total-r.Partitions), assignment, live)
	if err != nil || validateOnly {
		return 0, err
	}
	writes, err := c.unwritten(ctx, c.partitionPrefix(r.ID), int(r.Partitions), partitions, live)
	if err != nil {
		return 0, err
	}
	key := c.topicKey(name)
	for batch := range slices.Chunk(writes, batchOps) {
		conds := []kv.Cond{kv.ModRevEquals(key, r.rev)}
		var ops []kv.Op
		for _, w := range batch {
			conds, ops = append(conds, w.cond), append(ops, w.op)
		}
		if _, err := c.kv.Txn(ctx, conds, ops); err != nil {
			return 0, unlessConflict("write partitions", err)
		}
	}
	conds := append(c.registered(partitions, live), kv.ModRevEquals(key, r.rev))
	r.Partitions = total
	rev, err := c.kv.Txn(ctx, conds, []kv.Op{kv.Put(key, encode(r))})
	if errors.Is(err, kv.ErrConflict) {
		return 0, cmp.Or(c.awaitChanged(ctx, partitions, live), err)
	}
	if err != nil {
		return 0, unavailable("write topic", err)
	}
	return rev, nil
}

// added gives owners to the partitions that a topic gets.
func (c *Catalog) added(r topicRecord, name string, n int, assignment [][]int32, live roster) ([]Partition, error) {
	if assignment == nil {
		var before []Partition
		if t, ok := c.Topic(name); ok {
			before = t.Partitions
		}
		return c.placed(n, before, live)
	}
	if len(assignment) != n {
		return nil, fmt.Errorf("%w: %d partitions are new, %d are assigned", ErrInvalidAssignment, n, len(assignment))
	}
	return c.assigned(assignment, int(r.ReplicationFactor), live)
}

// write is one record with what must hold.
type write struct {
	cond kv.Cond
	op   kv.Op
}

// unwritten gives what there is to write for new partitions, from index first on. An earlier, broken off
// attempt may have written some: where their owner may have them they stay as they are, which it puts into
// partitions; else they get a new owner. Nobody has served them; their epochs may have grown since (C3).
func (c *Catalog) unwritten(ctx context.Context, prefix string, first int, partitions []Partition, live roster) ([]write, error) {
	items, _, err := c.kv.List(ctx, prefix)
	if err != nil {
		return nil, unavailable("list partitions", err)
	}
	there := make(map[string]kv.Item, len(items))
	for _, item := range items {
		there[item.Key] = item
	}
	var writes []write
	for i := range partitions {
		key := prefix + strconv.Itoa(first+i)
		item, found := there[key]
		if found {
			r, err := decode[partitionRecord](item.Value)
			if err != nil {
				return nil, fmt.Errorf("read partition: %w: %w", ErrUnavailable, err)
			}
			if b, ok := live.find(r.Owner); ok && !b.Draining {
				partitions[i] = r.partition()
				continue
			}
			partitions[i].Epoch = r.Epoch + 1
		}
		writes = append(writes, write{kv.ModRevEquals(key, item.ModRev), kv.Put(key, encode(newRecord(partitions[i])))})
	}
	return writes, nil
}

// unlessConflict passes a conflict on as it is and marks everything else as unavailable.
func unlessConflict(what string, err error) error {
	if errors.Is(err, kv.ErrConflict) {
		return err
	}
	return unavailable(what, err)
}

// SetTopicConfigs replaces the overrides of a topic by what change makes of the present ones, a copy that
// it may alter and return. It is compared and swapped, so change may be called again. Its errors match
// ErrUnknownTopic, ErrUnavailable, settings.ErrInvalid, and change's own.
func (c *Catalog) SetTopicConfigs(ctx context.Context, name string, validateOnly bool, change func(now map[string]string) (map[string]string, error)) error {
	for {
		r, err := c.getTopic(ctx, name)
		if err != nil {
			return fmt.Errorf("configure topic %q: %w", name, err)
		}
		next, err := change(copied(r.Configs))
		if err == nil {
			_, err = settings.ParseTopic(next, c.BrokerSettings())
		}
		if err != nil {
			return fmt.Errorf("configure topic %q: %w", name, err)
		}
		if validateOnly || maps.Equal(next, r.Configs) {
			return nil
		}
		key, conds := c.topicKey(name), []kv.Cond{kv.ModRevEquals(c.topicKey(name), r.rev)}
		r.Configs = next
		rev, err := c.kv.Txn(ctx, conds, []kv.Op{kv.Put(key, encode(r))})
		switch {
		case err == nil:
			return c.await(ctx, sawTopic(name, rev))
		case !errors.Is(err, kv.ErrConflict):
			return fmt.Errorf("configure topic %q: %w", name, unavailable("write", err))
		}
	}
}

// copied is a map that the caller may change, never nil.
func copied(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	maps.Copy(out, m)
	return out
}
