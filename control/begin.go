package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"millrace/base/kv"
	"millrace/control/window"
)

// Begin saves an operation, which Run then does, and returns it. A cluster that
// is what the request asks for gets none: the answer is Done and has number 0.
// It returns ErrNoCluster, ErrState, ErrVersion, ErrBusy, ErrLost, or ErrSpec for what cannot be.
func (p *Plane) Begin(ctx context.Context, cluster string, r Request) (Operation, error) {
	if r.Kind == Create || r.Kind == Delete {
		return Operation{}, fmt.Errorf("%w: a cluster is made and deleted by calls of their own", ErrSpec)
	}
	for {
		c, rev, err := p.read(ctx, cluster)
		if err != nil {
			return Operation{}, err
		}
		if err := c.allows(r.Version); err != nil {
			return Operation{}, err
		}
		if c.Operation != 0 {
			return Operation{}, p.busy(ctx, c)
		}
		op, _, err := p.begin(ctx, c, rev, r)
		if !errors.Is(err, kv.ErrConflict) {
			return op, err
		}
	}
}

// allows says what keeps a cluster from being changed.
func (c Cluster) allows(version string) error {
	switch {
	case c.Phase == Creating || c.Phase == Deleting || c.Phase == Broken:
		return fmt.Errorf("%w: cluster %s is %s", ErrState, c.Name, c.Phase)
	case version != "" && version != CurrentVersion(c):
		return fmt.Errorf("%w: cluster %s has %s, and not %s", ErrVersion, c.Name, CurrentVersion(c), version)
	}
	return nil
}

// begin saves an operation on a cluster whose record was read at rev, which has none, and returns both.
func (p *Plane) begin(ctx context.Context, c Cluster, rev int64, r Request) (Operation, Cluster, error) {
	op := Operation{
		Number: c.Operations + 1, Cluster: c.Name, ID: uuid.NewString(), Type: cmp.Or(r.Type, string(r.Kind)), Request: r, State: Running,
		Began: p.clock.Now().UTC(),
	}
	after, err := p.aim(c, &op)
	if err != nil {
		return Operation{}, c, err
	}
	if op.Steps, err = p.plan(ctx, c, after, op.Request); err != nil {
		return Operation{}, c, err
	}
	if err := p.possible(ctx, c, after, op.Request, op.Steps); err != nil {
		return Operation{}, c, err
	}
	if len(op.Steps) == 0 {
		op.Number, op.State, op.Ended = 0, Done, op.Began
		return op, c, nil
	}
	op.Format = formatOf(r)
	c.Operation, c.Operations = op.Number, op.Number
	if r.Window && c.Settings.opens(p.clock.Now()) > 0 {
		op.State = Pending
	} else {
		c.Phase = phaseOf(r.Kind)
	}
	if r.Kind == Scale || r.Kind == Update {
		c.Wanted = after.Brokers
		c.Brokers = max(c.Brokers, after.Brokers) // those that leave are explained until they are gone (C1)
	}
	if after.Auth != c.Auth {
		c.WantedAuth, c.Format = after.Auth, max(c.Format, formatLogins)
	}
	record, err := json.Marshal(op)
	if err != nil {
		return Operation{}, c, fmt.Errorf("encode operation: %w", err)
	}
	return op, c, p.save(ctx, c, rev, kv.Put(operationKey(c.Name, op.Number), record))
}

// aim is the cluster as it shall be after an operation, whose record gets the Settings before and those after.
func (p *Plane) aim(c Cluster, op *Operation) (after Cluster, err error) {
	after = c
	before := c.Settings
	op.Before, op.After = &before, &before
	switch op.Request.Kind {
	case Scale:
		after.Brokers = op.Request.Brokers
	case Logins:
		after.Auth = op.Request.Auth
		if _, err := ParseAuth(after.Auth); err != nil {
			return after, err
		}
	case Update:
		if op.Request.Settings == nil {
			return after, fmt.Errorf("%w: an update says which settings there shall be", ErrSpec)
		}
		if after, err = p.told(c, *op.Request.Settings); err != nil {
			return after, err
		}
		s := after.Settings
		op.After, op.Request.Settings = &s, nil
	case Create, Delete, Roll, Upgrade, Reboot, Replace, Patch:
		return after, nil
	default:
		return after, fmt.Errorf("%w: operation %q, there are %s, %s, %s, %s, %s and %s",
			ErrSpec, op.Request.Kind, Scale, Roll, Upgrade, Logins, Update, Reboot)
	}
	return after, after.Validate()
}

// told is the cluster with other Settings: what its brokers are told follows from them. Of the cluster that serve makes, serve's flags
// say how much memory brokers have.
func (p *Plane) told(c Cluster, s Settings) (Cluster, error) {
	old := c.Settings
	s.Type = cmp.Or(s.Type, Provisioned)
	if old.Type != "" && s.Type != old.Type || s.KMSKey != old.KMSKey && old.Type != "" {
		return c, fmt.Errorf("%w: the type and the key of a cluster do not change", ErrSpec)
	}
	if s.Auth != "" {
		auth, err := ParseAuth(s.Auth)
		if err != nil {
			return c, err
		}
		s.Auth = auth
	}
	if c.Auth == "" && s.Auth == LoginPlaintext {
		s.Auth = ""
	} else if c.Auth != "" && s.Auth == "" {
		s.Auth = LoginPlaintext
	}
	if s.Brokers == 0 && s.Type == Serverless {
		s.Brokers = max(old.Brokers, 1)
	}
	if _, err := window.Parse(s.Window); err != nil {
		return c, fmt.Errorf("%w: %w", ErrSpec, err)
	}
	s.KafkaVersion = cmp.Or(s.KafkaVersion, old.KafkaVersion, DefaultKafkaVersion)
	if p.options.Binary != nil && s.KafkaVersion != old.KafkaVersion {
		c.Binary = p.options.Binary(s.KafkaVersion)
	}
	if c.Listen == "" {
		c.Memory = p.options.Like.Memory
		if p.options.Memory != nil {
			memory, err := p.options.Memory(s.BrokerType)
			if err != nil {
				return c, err
			}
			c.Memory = memory
		}
	}
	if p.options.Limits != nil {
		limits, err := p.options.Limits(s)
		if err != nil {
			return c, err
		}
		c.Limits = limits
	}
	c.Settings, c.Auth, c.Brokers = s, s.Auth, s.Brokers
	return c, nil
}

// opens is how long it is until the maintenance window opens; 0: it is open, as one is that cannot be read.
func (s Settings) opens(now time.Time) time.Duration {
	w, err := window.Parse(s.Window)
	if err != nil {
		return 0
	}
	return w.Opens(now)
}

// phaseOf is what a cluster goes through during an operation.
func phaseOf(k Kind) Phase {
	switch k {
	case Create:
		return Creating
	case Delete:
		return Deleting
	case Roll, Reboot:
		return Rebooting
	case Replace:
		return Healing
	case Patch:
		return Maintenance
	}
	return Updating
}

// formatOf is that of an operation's record.
func formatOf(r Request) int {
	switch r.Kind {
	case Scale, Roll, Upgrade:
		return format
	case Logins:
		return formatLogins
	}
	return formatManaged
}

// steps gathers the plan of an operation.
type steps []Step

func (s *steps) add(action Action, brokers ...int32) *Step {
	*s = append(*s, Step{Name: action.name(brokers), Action: action, Brokers: brokers, State: Pending})
	return &(*s)[len(*s)-1]
}

// restart starts the brokers anew one after the other, and lets the leaders come back before the next, where there are others.
func (s *steps) restart(brokers []int32, all int, auth string, first bool) {
	for _, id := range brokers {
		step := s.add(actRestart, id)
		if auth != "" {
			step.Auth, step.First, step.Name = auth, first, fmt.Sprintf("restart broker %d with %s", id, auth)
		}
		if all > 1 {
			s.add(actEven)
		}
	}
}

// relogin restarts all brokers as often as other logins need it.
func (s *steps) relogin(c Cluster, auth string) {
	all := passes(c, auth)
	for i, auth := range all {
		s.restart(ids(1, c.Brokers), c.Brokers, auth, i < len(all)-1)
	}
}

// scale brings a cluster to another number of brokers.
func (s *steps) scale(from, to int) {
	if added := ids(from+1, to); len(added) > 0 {
		s.add(actStart, added...)
		s.add(actEven)
	}
	if leaving := ids(to+1, from); len(leaving) > 0 {
		s.add(actDrain, leaving...)
		s.add(actStop, leaving...)
		s.add(actRemove, leaving...)
	}
}

func ids(first, last int) (all []int32) {
	for k := first; k <= last; k++ {
		all = append(all, int32(k))
	}
	return all
}

// plan is the steps of an operation that brings a cluster as it is to what it shall be.
func (p *Plane) plan(ctx context.Context, c, after Cluster, r Request) ([]Step, error) {
	var s steps
	switch r.Kind {
	case Create:
		s.add(actStart, ids(1, c.Brokers)...)
	case Delete:
		s.add(actErase, ids(1, MaxBrokers)...)
		s.add(actPurge)
	case Scale:
		s.scale(c.Brokers, after.Brokers)
	case Roll, Upgrade, Patch:
		s.restart(ids(1, c.Brokers), c.Brokers, "", false)
	case Logins:
		s.relogin(c, after.Auth)
	case Replace:
		s.add(actReplace, r.Nodes...)
	case Reboot:
		nodes := slices.Compact(slices.Sorted(slices.Values(r.Nodes)))
		if len(nodes) == 0 || nodes[0] < 1 || int(nodes[len(nodes)-1]) > c.Brokers {
			return nil, fmt.Errorf("%w: brokers %v, there are 1 to %d", ErrSpec, r.Nodes, c.Brokers)
		}
		s.restart(nodes, c.Brokers, "", false)
	case Update:
		return p.planUpdate(ctx, c, after)
	}
	return s, nil
}

// planUpdate is the steps of what differs: configurations first, then brokers that are there, then their number, so that those that are
// added begin as they shall be.
func (p *Plane) planUpdate(ctx context.Context, c, after Cluster) ([]Step, error) {
	if same(c.Settings, after.Settings) {
		return nil, nil
	}
	var s steps
	restart := c.Memory != after.Memory || c.Limits != after.Limits || c.Binary != after.Binary || c.public() != after.public() || c.shows() != after.shows()
	if old, now := c.Settings.Configuration, after.Settings.Configuration; old != now && p.options.Applier != nil {
		again, err := p.options.Applier.Plan(ctx, c, old, now)
		if err != nil {
			return nil, err
		}
		restart = restart || again
		s.add(actConfigure)
	}
	if after.Auth != c.Auth {
		s.relogin(c, after.Auth)
	} else if restart {
		s.restart(ids(1, c.Brokers), c.Brokers, "", false)
	}
	s.scale(c.Brokers, after.Brokers)
	if len(s) == 0 {
		s.add(actRecord)
	}
	return s, nil
}

// passes are the logins of each round of restarts. Brokers reach one another by the internal listener or, where one has none yet, by
// PLAINTEXT, where they cannot show who they are; and clients that know only what was must find somebody until what shall be is there.
func passes(c Cluster, auth string) []string {
	auth = cmp.Or(auth, LoginPlaintext)
	switch both := union(cmp.Or(c.Auth, LoginPlaintext), auth); {
	case c.Auth == auth:
		return nil
	case c.Brokers == 1 || both == c.Auth || both == auth && (c.Auth != "" || !Authorizes(auth)):
		return []string{auth}
	default:
		return []string{both, auth}
	}
}

// possible refuses what would wait for a host without an agent, or finds no place.
func (p *Plane) possible(ctx context.Context, c, after Cluster, r Request, steps []Step) error {
	if r.Kind == Create || r.Kind == Delete || r.Kind == Replace {
		return nil // they do not wait
	}
	if after.Brokers > c.Brokers {
		if err := p.fits(ctx, after); err != nil {
			return err
		}
	}
	needed := map[int32]bool{}
	for _, s := range steps {
		for _, id := range s.Brokers {
			needed[id] = true
		}
		if s.Action == actRestart { // the others must serve meanwhile (C6)
			for _, id := range ids(1, c.Brokers) {
				needed[id] = true
			}
		}
	}
	nodes, err := p.Nodes(ctx, c.Name)
	if err != nil {
		return err
	}
	var faults []error
	for _, n := range nodes {
		if n.Lost && needed[n.Spec.ID] {
			faults = append(faults, fmt.Errorf("%w: broker %d: %s", ErrLost, n.Spec.ID, n.away()))
		}
	}
	return errors.Join(faults...)
}

func (p *Plane) busy(ctx context.Context, c Cluster) error {
	op, err := p.Operation(ctx, c.Name, c.Operation)
	if err != nil {
		return errors.Join(ErrBusy, err)
	}
	return fmt.Errorf("%w: %s, number %d", ErrBusy, strings.ToLower(string(op.Request.Kind)), op.Number)
}
