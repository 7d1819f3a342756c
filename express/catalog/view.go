package catalog

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"millrace/base/kv"
	"millrace/express/quota"
	"millrace/express/settings"
	"millrace/express/telemetry"
	"millrace/kafka/topic"
)

// state is every record as last read. It belongs to whoever holds Catalog.feeding.
type state struct {
	rev        int64 // of the newest change that is in
	listed     int64 // of the last listing: older changes are in
	topics     map[string]topicRecord
	names      map[topic.ID]string
	partitions map[topic.ID][]partitionRecord // by index; may hold more or fewer than the topic counts
	brokers    map[int32]Broker
	controller controllerRecord             // the zero value: none
	configs    map[string]map[string]string // by broker id, or "default"
	quotas     map[quota.Entity]quota.Values
	groups     map[string]map[string]string // configurations of groups, by name
	telemetry  map[string]map[string]string // subscriptions by name

	unreadable   map[string]bool // topics whose record cannot be read
	dirty        map[string]bool // topics to build anew
	dirtyBrokers bool
	dirtyConfigs bool
	dirtyQuotas  bool
	dirtyTelem   bool
}

func newState() state {
	return state{
		topics: make(map[string]topicRecord), names: make(map[topic.ID]string),
		partitions: make(map[topic.ID][]partitionRecord), brokers: make(map[int32]Broker),
		configs: make(map[string]map[string]string), groups: make(map[string]map[string]string), dirty: make(map[string]bool),
		quotas:     make(map[quota.Entity]quota.Values),
		telemetry:  make(map[string]map[string]string),
		unreadable: make(map[string]bool),
	}
}

// view is what reads see. The values in it are immutable.
type view struct {
	rev     int64 // of the newest change that is in
	byName  map[string]*Topic
	byID    map[topic.ID]*Topic
	sorted  []*Topic // nil: to be made
	brokers []Broker // by id
	spread  *spread  // how replicas of these brokers are shown
	control controllerRecord
	broker  *settings.Broker
	group   *settings.Group            // of a group without configurations of its own
	groups  map[string]*settings.Group // of the others
	made    map[string]madeFrom        // what the settings of a topic were parsed from
}

// madeFrom tells whether a topic's settings are still good.
type madeFrom struct {
	rev    int64
	broker *settings.Broker
}

func newView(broker *settings.Broker) view {
	return view{
		byName: make(map[string]*Topic), byID: make(map[topic.ID]*Topic), broker: broker, group: defaultGroup(broker),
		spread: newSpread(nil), made: make(map[string]madeFrom),
	}
}

// sortLocked makes the sorted list when there is none.
func (v *view) sortLocked() []*Topic {
	if v.sorted == nil {
		v.sorted = slices.AppendSeq(make([]*Topic, 0, len(v.byName)), maps.Values(v.byName))
		slices.SortFunc(v.sorted, func(a, b *Topic) int { return strings.Compare(a.Name, b.Name) })
	}
	return v.sorted
}

// apply takes one change into the state. What cannot be read is an error, and leaves the state as it was.
func (s *state) apply(path string, e kv.Event) error {
	room, rest, _ := strings.Cut(path, "/")
	gone := e.Type == kv.EventDelete
	switch room {
	case "topics":
		return s.applyTopic(rest, e.Item, gone)
	case "partitions":
		return s.applyPartition(rest, e.Item, gone)
	case "brokers":
		return s.applyBroker(rest, e.Item, gone)
	case "controller":
		return s.applyController(e.Item, gone)
	case "configs":
		if group, ok := strings.CutPrefix(rest, "groups/"); ok {
			return s.applyGroupConfig(group, e.Item, gone)
		}
		if name, ok := strings.CutPrefix(rest, subscriptionsRoom); ok {
			return s.applySubscription(name, e.Item, gone)
		}
		return s.applyConfig(strings.TrimPrefix(rest, "brokers/"), e.Item, gone)
	case "quotas":
		return s.applyQuota(rest, e.Item, gone)
	default: // cluster, producer-ids, and what other rooms keep below the prefix
		return nil
	}
}

func (s *state) applyTopic(name string, item kv.Item, gone bool) error {
	old, had := s.topics[name]
	delete(s.unreadable, name)
	if gone {
		if had {
			delete(s.topics, name)
			delete(s.names, old.ID)
			s.dirty[name] = true
		}
		return nil
	}
	r, err := readTopic(name, item.Value, item.ModRev)
	if err != nil {
		s.unreadable[name] = true
		return err
	}
	if other, taken := s.names[r.ID]; taken && other != name {
		return fmt.Errorf("%w: topic %q has the same id", ErrTopicExists, other)
	}
	if had {
		delete(s.names, old.ID)
	}
	s.topics[name], s.names[r.ID], s.dirty[name] = r, name, true
	return nil
}

func (s *state) applyPartition(rest string, item kv.Item, gone bool) error {
	text, number, _ := strings.Cut(rest, "/")
	id, err := topic.ParseID(text)
	if err != nil {
		return fmt.Errorf("read partition: %w", err)
	}
	index, err := strconv.ParseUint(number, 10, 31)
	if err != nil || index >= settings.MaxPartitions {
		return fmt.Errorf("%w: index %q", ErrInvalidPartitions, number)
	}
	var r partitionRecord
	if !gone {
		if r, err = decode[partitionRecord](item.Value); err != nil {
			return err
		}
		r.rev = item.ModRev
	}
	all := s.partitions[id]
	if gone && int(index) >= len(all) {
		return nil
	}
	if missing := int(index) + 1 - len(all); missing > 0 {
		all = append(all, make([]partitionRecord, missing)...)
	}
	all[index] = r
	s.partitions[id] = all
	if gone && !slices.ContainsFunc(all, func(r partitionRecord) bool { return r.rev != 0 }) {
		delete(s.partitions, id)
	}
	if name, ok := s.names[id]; ok {
		s.dirty[name] = true
	}
	return nil
}

func (s *state) applyBroker(text string, item kv.Item, gone bool) error {
	id, err := strconv.ParseInt(text, 10, 32)
	if err != nil || id < 0 {
		return fmt.Errorf("%w: %q", ErrUnknownBroker, text)
	}
	if gone {
		delete(s.brokers, int32(id))
		s.dirtyBrokers = true
		return nil
	}
	r, err := decode[brokerRecord](item.Value)
	if err != nil {
		return err
	}
	s.brokers[int32(id)] = Broker{ID: int32(id), Incarnation: r.Incarnation, Host: r.Host, Port: r.Port, Rack: r.Rack, Draining: r.Draining, Endpoints: r.Endpoints, rev: item.ModRev}
	s.dirtyBrokers = true
	return nil
}

func (s *state) applyController(item kv.Item, gone bool) error {
	if gone {
		s.controller = controllerRecord{}
		return nil
	}
	r, err := decode[controllerRecord](item.Value)
	if err != nil {
		return err
	}
	s.controller = r
	return nil
}

func (s *state) applyConfig(broker string, item kv.Item, gone bool) error {
	if gone {
		delete(s.configs, broker)
		s.dirtyConfigs = true
		return nil
	}
	r, err := decode[configRecord](item.Value)
	if err != nil {
		return err
	}
	s.configs[broker] = r.Configs
	s.dirtyConfigs = true
	return nil
}

func (s *state) applyGroupConfig(path string, item kv.Item, gone bool) error {
	group, err := url.PathUnescape(path)
	if err != nil {
		return fmt.Errorf("read group: %w", err)
	}
	s.dirtyConfigs = true
	if gone {
		delete(s.groups, group)
		return nil
	}
	r, err := decode[configRecord](item.Value)
	if err != nil {
		return err
	}
	s.groups[group] = r.Configs
	return nil
}

// change is what subscribers are told.
type change struct{ old, now *Topic }

// publish brings everything dirty into the view and tells the subscribers; c.feeding is held.
func (c *Catalog) publish() {
	c.mu.Lock()
	if c.state.dirtyConfigs {
		c.publishConfigsLocked()
	}
	if c.state.dirtyQuotas {
		c.quotas.Store(quota.NewTable(maps.Clone(c.state.quotas)))
	}
	if c.state.dirtyTelem {
		c.telemetry.Store(telemetry.NewTable(maps.Clone(c.state.telemetry)))
	}
	if c.state.dirtyBrokers {
		brokers := slices.Collect(maps.Values(c.state.brokers))
		slices.SortFunc(brokers, func(a, b Broker) int { return int(a.ID) - int(b.ID) })
		c.view.brokers, c.view.spread = brokers, newSpread(brokers)
		c.wakeKeeper() // perhaps somebody stands in our place
	}
	c.view.control = c.state.controller
	var changes []change
	for _, name := range slices.Sorted(maps.Keys(c.state.dirty)) {
		changes = c.publishTopicLocked(changes, name)
	}
	c.view.rev, c.telling = c.state.rev, true
	c.state.dirtyConfigs, c.state.dirtyBrokers, c.state.dirtyQuotas, c.state.dirtyTelem = false, false, false, false
	clear(c.state.dirty)
	c.mu.Unlock()

	for _, ch := range changes {
		for _, s := range c.subscribers {
			s.f(ch.old, ch.now)
		}
	}
	c.mu.Lock()
	c.telling = false
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
}

// publishConfigsLocked makes the broker settings anew; topics take their defaults from them.
func (c *Catalog) publishConfigsLocked() {
	b, err := c.brokerSettings(c.state.configs["default"], c.state.configs[c.selfName()])
	if err != nil {
		c.log.Error("stored broker configuration is invalid", "err", err)
		return
	}
	if b != nil && !reflect.DeepEqual(b, c.view.broker) {
		c.view.broker = b
		for name := range c.state.topics {
			c.state.dirty[name] = true
		}
	}
	c.publishGroupsLocked()
}

// publishGroupsLocked makes the settings of groups anew. Those that do not parse, since the broker's bounds have changed,
// fall back to the broker's.
func (c *Catalog) publishGroupsLocked() {
	c.view.group = defaultGroup(c.view.broker)
	c.view.groups = make(map[string]*settings.Group, len(c.state.groups))
	for name, configs := range c.state.groups {
		g, err := settings.ParseGroup(configs, c.view.broker)
		if err != nil {
			c.log.Error("stored group configuration is invalid", "group", name, "err", err)
			continue
		}
		c.view.groups[name] = g
	}
}

func defaultGroup(b *settings.Broker) *settings.Group {
	g, err := settings.ParseGroup(nil, b)
	if err != nil {
		panic(fmt.Sprintf("catalog: the broker's own defaults do not parse: %v", err)) // ParseLayers has checked them
	}
	return g
}

// publishTopicLocked builds one topic and appends what subscribers must hear of it.
func (c *Catalog) publishTopicLocked(changes []change, name string) []change {
	v := &c.view
	old := v.byName[name]
	now := c.buildTopicLocked(name, old)
	switch {
	case old == nil && now == nil, old != nil && now != nil && old.equal(now):
		return changes
	case old != nil && now != nil && old.ID != now.ID:
		changes = append(changes, change{old: old}, change{now: now})
	default:
		changes = append(changes, change{old, now})
	}
	v.sorted = nil
	if old != nil {
		delete(v.byName, name)
		delete(v.byID, old.ID)
	}
	if now != nil {
		v.byName[name], v.byID[now.ID] = now, now
	} else {
		delete(v.made, name)
	}
	return changes
}

// equal tells whether nothing has changed. Settings are the same where what they were made from is, and compared where
// it is not.
func (t *Topic) equal(other *Topic) bool {
	return t.Name == other.Name && t.ID == other.ID && t.Internal == other.Internal && t.ReplicationFactor == other.ReplicationFactor &&
		t.Created == other.Created && slices.Equal(t.Partitions, other.Partitions) &&
		(t.Settings == other.Settings || reflect.DeepEqual(t.Settings, other.Settings))
}

// buildTopicLocked makes a Topic of the records; nil when there is none.
func (c *Catalog) buildTopicLocked(name string, old *Topic) *Topic {
	r, ok := c.state.topics[name]
	if !ok {
		return nil
	}
	t := &Topic{
		Name: name, ID: r.ID, Internal: topic.Internal(name), ReplicationFactor: r.ReplicationFactor,
		Partitions: make([]Partition, r.Partitions), Created: r.Created,
	}
	records := c.state.partitions[r.ID]
	for i := range t.Partitions {
		t.Partitions[i] = Partition{Owner: -1}
		if i < len(records) && records[i].rev != 0 {
			t.Partitions[i] = records[i].partition()
		}
	}
	t.Settings = c.topicSettingsLocked(name, r, old)
	return t
}

// topicSettingsLocked parses a topic's overrides, unless nothing they depend on has changed. Overrides that
// do not parse (a newer version wrote them, or a default they lean on has changed) leave the last good
// settings, or the defaults.
func (c *Catalog) topicSettingsLocked(name string, r topicRecord, old *Topic) *settings.Topic {
	from := madeFrom{r.rev, c.view.broker}
	same := old != nil && old.ID == r.ID
	if same && c.view.made[name] == from {
		return old.Settings
	}
	c.view.made[name] = from
	s, err := settings.ParseTopic(r.Configs, c.view.broker)
	if err == nil {
		return s
	}
	c.log.Error("stored topic configuration is invalid", "topic", name, "err", err)
	if same {
		return old.Settings
	}
	if s, err = settings.ParseTopic(nil, c.view.broker); err != nil {
		panic(fmt.Sprintf("catalog: the broker's own defaults do not parse: %v", err)) // ParseLayers has checked them
	}
	return s
}
