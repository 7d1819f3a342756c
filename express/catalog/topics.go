package catalog

import (
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
	t, err := c.plan(n)
	if err != nil {
		return nil, fmt.Errorf("create topic %q: %w", n.Name, err)
	}
	if n.ValidateOnly {
		return t, nil
	}
	rev, err := c.writeTopic(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("create topic %q: %w", n.Name, err)
	}
	if err := c.await(ctx, sawTopic(t.Name, rev)); err != nil {
		return nil, fmt.Errorf("create topic %q: %w", n.Name, err)
	}
	if now, ok := c.TopicByID(t.ID); ok {
		t = now
	}
	return t, nil
}

// plan checks a new topic and gives it an id and owners.
func (c *Catalog) plan(n NewTopic) (*Topic, error) {
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
		return t, c.planAssigned(t, n)
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
	t.Partitions, err = c.placed(int(count))
	return t, err
}

// placed gives new partitions to the live brokers.
func (c *Catalog) placed(n int) ([]Partition, error) {
	var ids []int32
	for _, b := range c.Brokers() {
		ids = append(ids, b.ID)
	}
	owners := place(n, ids, leaders(c.Topics()))
	if owners == nil {
		return nil, fmt.Errorf("%w: no broker is live", ErrUnavailable)
	}
	partitions := make([]Partition, n)
	for i, id := range owners {
		partitions[i].Owner = id
	}
	return partitions, nil
}

// planAssigned takes the owners and the replication factor from the assignment.
func (c *Catalog) planAssigned(t *Topic, n NewTopic) error {
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
	partitions, err := c.assigned(lists, len(lists[0]))
	if err != nil {
		return err
	}
	if rf := len(lists[0]); n.ReplicationFactor != -1 && int(n.ReplicationFactor) != rf {
		return fmt.Errorf("%w: %d asked for, %d assigned", ErrInvalidReplication, n.ReplicationFactor, rf)
	}
	t.Partitions, t.ReplicationFactor = partitions, int16(len(lists[0]))
	return nil
}

// assigned checks lists of replicas, each of rf brokers, and gives each partition to the first of its list.
func (c *Catalog) assigned(lists [][]int32, rf int) ([]Partition, error) {
	live := make(map[int32]bool)
	for _, b := range c.Brokers() {
		live[b.ID] = true
	}
	partitions := make([]Partition, len(lists))
	for i, replicas := range lists {
		if len(replicas) == 0 || len(replicas) != rf {
			return nil, fmt.Errorf("%w: partition %d has %d replicas, must have %d and at least 1", ErrInvalidAssignment, i, len(replicas), rf)
		}
		for j, id := range replicas {
			if !live[id] {
				return nil, fmt.Errorf("%w: partition %d: %w: %d", ErrInvalidAssignment, i, ErrUnknownBroker, id)
			}
			if slices.Contains(replicas[:j], id) {
				return nil, fmt.Errorf("%w: partition %d has broker %d twice", ErrInvalidAssignment, i, id)
			}
		}
		partitions[i].Owner = replicas[0]
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
func (c *Catalog) writeTopic(ctx context.Context, t *Topic) (rev int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, creationMost)
	defer cancel()
	prefix := c.partitionPrefix(t.ID)
	ops := c.partitionOps(prefix, 0, t.Partitions)
	for len(ops) > batchOps {
		if _, err := c.kv.Txn(ctx, nil, ops[:batchOps]); err != nil {
			return 0, unavailable("write partitions", err)
		}
		ops = ops[batchOps:]
	}
	key := c.topicKey(t.Name)
	conds := []kv.Cond{kv.KeyMissing(key)}
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
		return 0, ErrTopicExists
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

// partitionOps are the writes of new partitions, from index first on.
func (c *Catalog) partitionOps(prefix string, first int, partitions []Partition) []kv.Op {
	incarnations := make(map[int32]uint64)
	for _, b := range c.Brokers() {
		incarnations[b.ID] = b.Incarnation
	}
	ops := make([]kv.Op, len(partitions))
	for i, p := range partitions {
		r := partitionRecord{Version: formatVersion, Owner: p.Owner, Epoch: p.Epoch, Incarnation: incarnations[p.Owner]}
		ops[i] = kv.Put(prefix+strconv.Itoa(first+i), encode(r))
	}
	return ops
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
	added := int(total - r.Partitions)
	var partitions []Partition
	if assignment == nil {
		partitions, err = c.placed(added)
	} else if len(assignment) != added {
		err = fmt.Errorf("%w: %d partitions are new, %d are assigned", ErrInvalidAssignment, added, len(assignment))
	} else {
		partitions, err = c.assigned(assignment, int(r.ReplicationFactor))
	}
	if err != nil || validateOnly {
		return 0, err
	}
	prefix := c.partitionPrefix(r.ID)
	ops, err := c.missingOnly(ctx, prefix, c.partitionOps(prefix, int(r.Partitions), partitions))
	if err != nil {
		return 0, err
	}
	key := c.topicKey(name)
	for len(ops) > 0 {
		batch := ops[:min(batchOps, len(ops))]
		ops = ops[len(batch):]
		conds := []kv.Cond{kv.ModRevEquals(key, r.rev)}
		for _, op := range batch {
			conds = append(conds, kv.KeyMissing(op.Key))
		}
		if _, err := c.kv.Txn(ctx, conds, batch); err != nil {
			return 0, unlessConflict("write partitions", err)
		}
	}
	conds := []kv.Cond{kv.ModRevEquals(key, r.rev)}
	r.Partitions = total
	rev, err := c.kv.Txn(ctx, conds, []kv.Op{kv.Put(key, encode(r))})
	if err != nil {
		return 0, unlessConflict("write topic", err)
	}
	return rev, nil
}

// missingOnly leaves out the keys that an earlier, broken off attempt has written: their epochs may have
// grown since (C3).
func (c *Catalog) missingOnly(ctx context.Context, prefix string, ops []kv.Op) ([]kv.Op, error) {
	items, _, err := c.kv.List(ctx, prefix)
	if err != nil {
		return nil, unavailable("list partitions", err)
	}
	there := make(map[string]bool, len(items))
	for _, item := range items {
		there[item.Key] = true
	}
	return slices.DeleteFunc(ops, func(op kv.Op) bool { return there[op.Key] }), nil
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
