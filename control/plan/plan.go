package plan

import (
	"cmp"
	"fmt"
	"slices"

	"millrace/control/spec"
)

// steps gathers the plan of an operation.
type steps []spec.Step

func (s *steps) add(action spec.Action, brokers ...int32) *spec.Step {
	*s = append(*s, spec.Step{Name: action.Name(brokers), Action: action, Brokers: brokers, State: spec.Pending})
	return &(*s)[len(*s)-1]
}

// restart starts the brokers anew one after the other, and lets the leaders come back before the next, where there are others.
func (s *steps) restart(brokers []int32, all int, auth string, first bool) {
	for _, id := range brokers {
		step := s.add(spec.ActRestart, id)
		if auth != "" {
			step.Auth, step.First, step.Name = auth, first, fmt.Sprintf("restart broker %d with %s", id, auth)
		}
		if all > 1 {
			s.add(spec.ActEven)
		}
	}
}

// relogin restarts all brokers as often as other logins need it.
func (s *steps) relogin(c spec.Cluster, auth string) {
	all := passes(c, auth)
	for i, auth := range all {
		s.restart(spec.IDs(1, c.Brokers), c.Brokers, auth, i < len(all)-1)
	}
}

// scale brings a cluster to another number of brokers.
func (s *steps) scale(from, to int) {
	if added := spec.IDs(from+1, to); len(added) > 0 {
		s.add(spec.ActStart, added...)
		s.add(spec.ActEven)
	}
	if leaving := spec.IDs(to+1, from); len(leaving) > 0 {
		s.add(spec.ActDrain, leaving...)
		s.add(spec.ActStop, leaving...)
		s.add(spec.ActRemove, leaving...)
	}
}

// passes are the logins of each round of restarts. Brokers reach one another by the internal listener or, where one has none yet, by
// PLAINTEXT, where they cannot show who they are; and clients that know only what was must find somebody until what shall be is there.
func passes(c spec.Cluster, auth string) []string {
	auth = cmp.Or(auth, spec.LoginPlaintext)
	switch both := spec.Union(cmp.Or(c.Auth, spec.LoginPlaintext), auth); {
	case c.Auth == auth:
		return nil
	case c.Brokers == 1 || both == c.Auth || both == auth && (c.Auth != "" || !spec.Authorizes(auth)):
		return []string{auth}
	default:
		return []string{both, auth}
	}
}

// Of is the steps of an operation that brings a cluster as it is to what it shall be. configure is for an Update to another configuration
// that brokers are to hear of.
func Of(c, after spec.Cluster, r spec.Request, configure Configure) ([]spec.Step, error) {
	var s steps
	if c.Settings.Standard() {
		err := s.standard(c, after, r, configure)
		return s, err
	}
	switch r.Kind {
	case spec.Create:
		s.add(spec.ActStart, spec.IDs(1, c.Brokers)...)
	case spec.Delete:
		s.add(spec.ActErase, spec.IDs(1, spec.MaxBrokers)...)
		s.add(spec.ActPurge)
	case spec.Scale:
		s.scale(c.Brokers, after.Brokers)
	case spec.Roll, spec.Upgrade, spec.Patch:
		s.restart(spec.IDs(1, c.Brokers), c.Brokers, "", false)
	case spec.Logins:
		s.relogin(c, after.Auth)
	case spec.Replace:
		s.add(spec.ActReplace, r.Nodes...)
	case spec.Reboot:
		nodes := slices.Compact(slices.Sorted(slices.Values(r.Nodes)))
		if len(nodes) == 0 || nodes[0] < 1 || int(nodes[len(nodes)-1]) > c.Brokers {
			return nil, fmt.Errorf("%w: brokers %v, there are 1 to %d", spec.ErrSpec, r.Nodes, c.Brokers)
		}
		s.restart(nodes, c.Brokers, "", false)
	case spec.Update:
		s.update(c, after, configure)
	}
	return s, nil
}

// Configure says what another configuration needs. The zero value: nothing.
type Configure struct {
	Apply   bool // brokers are told of it
	Restart bool // some of it counts from their next start on
}

// update is the steps of what differs: configurations first, then brokers that are there, then their number, so that those that are
// added begin as they shall be.
func (s *steps) update(c, after spec.Cluster, configure Configure) {
	if spec.Same(c.Settings, after.Settings) {
		return
	}
	if configure.Apply {
		s.add(spec.ActConfigure)
	}
	if after.Auth != c.Auth {
		s.relogin(c, after.Auth)
	} else if configure.Restart || c.Memory != after.Memory || c.Limits != after.Limits || c.Binary != after.Binary || c.Properties != after.Properties || c.Public() != after.Public() ||
		c.Shows() != after.Shows() {
		s.restart(spec.IDs(1, c.Brokers), c.Brokers, "", false)
	}
	s.scale(c.Brokers, after.Brokers)
	if len(*s) == 0 {
		s.add(spec.ActRecord)
	}
}

// Undo is the steps that undo what an operation has done up to the step that failed, that one included, the last first. Of an operation
// that is not undone it is none.
func Undo(op spec.Operation, failed int) []spec.Step {
	var back steps
	switch op.Request.Kind {
	case spec.Create:
		for _, s := range slices.Backward(op.Steps[:failed+1]) {
			if s.Action == spec.ActStart {
				back.add(spec.ActHalt, s.Brokers...)
			}
		}
	case spec.Update:
		undo := back.undo
		if op.Before.Standard() {
			undo = back.undoStandard
		}
		for _, s := range slices.Backward(op.Steps[:failed+1]) {
			undo(op, s)
		}
	}
	for i := range back {
		back[i].Back = true
	}
	return back
}

func (s *steps) undo(op spec.Operation, done spec.Step) {
	switch done.Action {
	case spec.ActStart:
		s.scale(int(done.Brokers[len(done.Brokers)-1]), int(done.Brokers[0])-1)
	case spec.ActConfigure:
		s.add(spec.ActConfigure)
	case spec.ActRestart:
		auth, first := "", false
		if i := slices.IndexFunc(op.Steps, func(s spec.Step) bool { return s.Action == spec.ActRestart && s.First }); i >= 0 && !done.First {
			auth, first = op.Steps[i].Auth, true // of the pass before
		}
		s.restart(done.Brokers, 1, auth, first)
	}
}
