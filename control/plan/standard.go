package plan

import (
	"fmt"
	"slices"

	"millrace/control/spec"
)

// standard is Of for a cluster of Apache Kafka. Its controllers come first and, of what ends, go last (L3).
func (s *steps) standard(c, after spec.Cluster, r spec.Request, configure Configure) error {
	switch r.Kind {
	case spec.Create:
		s.add(spec.ActStart, c.ControllerIDs()...)
		s.add(spec.ActStart, spec.IDs(1, c.Brokers)...)
		s.add(spec.ActSettle)
	case spec.Delete:
		s.add(spec.ActErase, append(spec.IDs(1, spec.MaxBrokers), c.ControllerIDs()...)...)
	case spec.Roll, spec.Patch:
		s.rollAll(c, "", false)
	case spec.Logins:
		s.relog(c, after.Auth)
	case spec.Reboot:
		return s.reboot(c, r.Nodes)
	case spec.Replace:
		s.replaceStandard(c, r.Nodes)
	case spec.Scale:
		s.scaleStandard(c.Brokers, after.Brokers)
	case spec.Update:
		s.updateStandard(c, after, configure)
	default:
		return fmt.Errorf("%w: a cluster of Apache Kafka has no %s", spec.ErrSpec, r.Kind)
	}
	return nil
}

// reboot restarts nodes that were asked for, controllers first.
func (s *steps) reboot(c spec.Cluster, asked []int32) error {
	nodes := slices.Compact(slices.Sorted(slices.Values(asked)))
	all := append(c.ControllerIDs(), spec.IDs(1, c.Brokers)...)
	if len(nodes) == 0 || slices.ContainsFunc(nodes, func(id int32) bool { return !slices.Contains(all, id) }) {
		return fmt.Errorf("%w: nodes %v, there are %v", spec.ErrSpec, asked, all)
	}
	var controllers, brokers []int32
	for _, id := range nodes {
		if spec.Controller(id) {
			controllers = append(controllers, id)
		} else {
			brokers = append(brokers, id)
		}
	}
	s.roll(controllers, "", false)
	s.roll(brokers, "", false)
	return nil
}

// roll restarts nodes of a kind, if there are any, in whatever order the cluster bears.
func (s *steps) roll(nodes []int32, auth string, first bool) {
	if len(nodes) == 0 {
		return
	}
	step := s.add(spec.ActRoll, nodes...)
	step.Auth, step.First = auth, first
	if auth != "" {
		step.Name += " with " + auth
	}
	if !spec.Controller(nodes[0]) {
		s.add(spec.ActEven)
	}
}

func (s *steps) rollAll(c spec.Cluster, auth string, first bool) {
	s.roll(c.ControllerIDs(), auth, first)
	s.roll(spec.IDs(1, c.Brokers), auth, first)
}

// relog restarts brokers as often as other logins need it. Controllers have no logins.
func (s *steps) relog(c spec.Cluster, auth string) {
	all := passes(c, auth)
	for i, auth := range all {
		s.roll(spec.IDs(1, c.Brokers), auth, i < len(all)-1)
	}
}

// scaleStandard brings a cluster to another number of brokers: what is added gets its share, what leaves has given its replicas away.
func (s *steps) scaleStandard(from, to int) {
	if added := spec.IDs(from+1, to); len(added) > 0 {
		s.add(spec.ActStart, added...)
		s.add(spec.ActSpread, added...)
	}
	if leaving := spec.IDs(to+1, from); len(leaving) > 0 {
		s.add(spec.ActDrain, leaving...)
		s.add(spec.ActStop, leaving...)
		s.add(spec.ActLeave, leaving...)
		s.add(spec.ActRemove, leaving...)
	}
}

// replaceStandard places nodes elsewhere. Where a controller has moved, all others must be started with its new address.
func (s *steps) replaceStandard(c spec.Cluster, nodes []int32) {
	s.add(spec.ActReplace, nodes...)
	s.add(spec.ActSettle)
	if slices.ContainsFunc(nodes, spec.Controller) {
		s.roll(slices.DeleteFunc(c.ControllerIDs(), func(id int32) bool { return slices.Contains(nodes, id) }), "", false)
		s.roll(slices.DeleteFunc(spec.IDs(1, c.Brokers), func(id int32) bool { return slices.Contains(nodes, id) }), "", false)
	}
}

// updateStandard is update for a cluster of Apache Kafka. An upgrade is finished when every node runs the new version, and before the
// number of brokers changes.
func (s *steps) updateStandard(c, after spec.Cluster, configure Configure) {
	old, now := c.Settings, after.Settings
	if spec.Same(old, now) {
		return
	}
	brokers := spec.IDs(1, c.Brokers)
	if old.VolumeGiB != now.VolumeGiB {
		s.add(spec.ActResize, brokers...)
	}
	if configure.Apply {
		s.add(spec.ActConfigure)
	}
	upgrade := old.KafkaVersion != now.KafkaVersion
	if after.Auth != c.Auth {
		if upgrade {
			s.roll(c.ControllerIDs(), "", false)
		}
		s.relog(c, after.Auth)
	} else if configure.Restart || upgrade || c.Properties != after.Properties {
		s.rollAll(c, "", false)
	} else if c.Memory != after.Memory || c.Heap != after.Heap || c.Limits != after.Limits || c.Public() != after.Public() {
		s.roll(brokers, "", false)
	}
	if upgrade {
		s.add(spec.ActFinish)
	}
	s.scaleStandard(c.Brokers, after.Brokers)
	if len(*s) == 0 {
		s.add(spec.ActRecord)
	}
}

// undoStandard adds what undoes a step of an Update that was done, or begun. Replicas that were moved off brokers that were to leave come
// back to them. Nothing follows when features have been raised, so that is not undone.
func (s *steps) undoStandard(op spec.Operation, done spec.Step) {
	switch done.Action {
	case spec.ActStart:
		s.scaleStandard(int(done.Brokers[len(done.Brokers)-1]), int(done.Brokers[0])-1)
	case spec.ActDrain:
		s.add(spec.ActSpread, done.Brokers...)
	case spec.ActStop:
		s.add(spec.ActStart, done.Brokers...)
	case spec.ActConfigure, spec.ActResize:
		s.add(done.Action, done.Brokers...)
	case spec.ActRoll:
		auth, first := "", false
		if i := slices.IndexFunc(op.Steps, func(s spec.Step) bool { return s.Action == spec.ActRoll && s.First }); i >= 0 && !done.First && done.Auth != "" {
			auth, first = op.Steps[i].Auth, true // of the pass before
		}
		step := s.add(spec.ActRoll, done.Brokers...)
		step.Auth, step.First, step.Live = auth, first, done.Live
	}
}
