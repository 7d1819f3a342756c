package consumer

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"millrace/express/group/modern"
	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// ClassicGroup is a classic group with members, on its way to or from a consumer group.
type ClassicGroup struct {
	ID         string
	Generation int32
	Members    []ClassicMember
	Rebalance  bool // a rebalance must follow
}

// ClassicMember is one of its members.
type ClassicMember struct {
	ID         string
	Instance   *string
	Client     modern.Client
	Rebalance  time.Duration
	Classic    Classic
	Metadata   []byte // in the protocol that the group chose
	Assignment []byte
}

// FromClassic makes a consumer group of a classic one, and the change that tells the log. Errors are *modern.Error.
func FromClassic(c *ClassicGroup, e Env) (*Group, Change, error) {
	refuse := func(why string) (*Group, Change, error) {
		return nil, Change{}, &modern.Error{Code: kerr.GroupIDNotFound,
			Text: fmt.Sprintf("Cannot upgrade classic group %s to consumer group because %s.", c.ID, why)}
	}
	switch {
	case !e.Config.Upgrade:
		return refuse("online upgrade is disabled")
	case len(c.Members) > e.Config.MaxSize:
		return refuse("the group size exceeds the consumer group maximum size")
	}
	g := New(c.ID)
	var change Change
	var current, target []record
	for i := range c.Members {
		m, had, err := c.Members[i].member(c.Generation, e.Topics)
		switch {
		case errors.Is(err, errUserData):
			return refuse("an unsupported custom assignor is in use. " +
				"Please refer to the documentation or switch to a default assignor before re-attempting the upgrade")
		case err != nil:
			return refuse("the embedded consumer protocol is malformed")
		}
		change.Add(memberRecord{m})
		target = append(target, targetMemberRecord{m.ID, had})
		current = append(current, currentRecord{m})
		change.Set(m.ID, modern.Session, m.Classic.Session)
	}
	// The leader may have assigned before the topics changed: no hash, so that the next look at them finds a difference.
	change.Add(metadataRecord{epoch: c.Generation})
	change.Add(target...)
	change.Add(targetRecord{epoch: c.Generation})
	change.Add(current...)
	g.Apply(change)
	return g, change, nil
}

// member is a classic member as a member of the consumer group, in the epoch of its generation, with what it had.
func (c *ClassicMember) member(generation int32, topics modern.Topics) (*Member, modern.Partitions, error) {
	had, err := readAssignment(c.Assignment, topics)
	if err != nil {
		return nil, nil, err
	}
	said, err := readSubscription(c.Metadata)
	if err != nil {
		return nil, nil, err
	}
	classic := c.Classic
	m := &Member{
		ID: c.ID, Instance: c.Instance, Client: c.Client, Rebalance: c.Rebalance, Topics: said.topics, Classic: &classic,
		Epoch: generation, PreviousEpoch: generation, State: Stable, Assigned: had.At(generation),
	}
	if said.rack != nil && *said.rack != "" {
		m.Rack = said.rack
	}
	return m, had, nil
}

// downgrades says whether the group may become classic with some members gone and so many new: those that go are all that
// use the consumer protocol, and somebody stays.
func (o *operation) downgrades(gone []*Member, joining int) bool {
	for m := range o.Members() {
		if slices.Contains(gone, m) == (m.Classic != nil) {
			return false
		}
	}
	left := o.Len() - len(gone) + joining
	return left > 0 && left <= o.Config.ClassicMaxSize && o.Config.Downgrade
}

// downgrade makes a classic group of the draft.
func (o *operation) downgrade(rebalance bool) {
	c := &ClassicGroup{ID: o.id, Generation: o.Group.epoch, Rebalance: rebalance}
	for m := range o.each() {
		c.Members = append(c.Members, ClassicMember{
			ID: m.ID, Instance: m.Instance, Client: m.Client, Rebalance: m.Rebalance, Classic: *m.Classic,
			Assignment: EncodeAssignment(m, o.Topics),
		})
	}
	o.Classic = c
	o.Add(o.tombstones()...)
	for _, id := range o.ids() {
		o.Cancel(id, modern.Timers()...)
	}
}

// ids are the members of the group and of the draft, ascending.
func (d *draft) ids() []string {
	ids := slices.Clone(d.order)
	for id := range d.changed {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// tombstones take the whole draft out of the log.
func (d *draft) tombstones() []record {
	var out []record
	ids := d.ids()
	for _, kind := range []int16{kindCurrent, kindTargetMember} {
		for _, id := range ids {
			out = append(out, tombstone{kind, id})
		}
	}
	out = append(out, tombstone{kind: kindTarget})
	for _, id := range ids {
		out = append(out, tombstone{kindMember, id})
	}
	for _, regex := range slices.Sorted(maps.Keys(d.Group.resolved)) {
		out = append(out, tombstone{kindRegex, regex})
	}
	return append(out, tombstone{kind: kindPartitionMetadata}, tombstone{kind: kindGroup})
}

// Tombstones take the whole group out of the log.
func (g *Group) Tombstones() []machine.Record {
	var out []machine.Record
	for _, r := range g.draft().tombstones() {
		out = append(out, r.Encode(g.id))
	}
	return out
}

// Loaded sets the deadlines of all members after the log was replayed.
func (g *Group) Loaded(e Env) Change {
	var c Change
	for m := range g.Members() {
		c.Set(m.ID, modern.Session, e.Config.Session)
		if m.State == UnrevokedPartitions {
			c.Timers = append(c.Timers, modern.TimerOp{Member: m.ID, Timer: modern.Rebalance, After: m.Rebalance, Epoch: m.Epoch})
		}
	}
	return c
}
