package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"millrace/base/kv"
	"millrace/control/plan"
	"millrace/control/spec"
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
		if err := allows(c, r.Version); err != nil {
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
func allows(c Cluster, version string) error {
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
	after, err := p.aim(ctx, c, &op)
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
	if op.Format = formatOf(r); max(c.Format, after.Format) == spec.FormatEngine {
		op.Format = spec.FormatEngine
	}
	c.Operation, c.Operations = op.Number, op.Number
	if r.Window && opens(c.Settings, p.clock.Now()) > 0 {
		op.State = Pending
	} else {
		c.Phase = phaseOf(r.Kind)
	}
	if r.Kind == Scale || r.Kind == Update {
		c.Wanted = after.Brokers
		c.Brokers = max(c.Brokers, after.Brokers) // those that leave are explained until they are gone (C1)
	}
	if after.Auth != c.Auth {
		c.WantedAuth, c.Format = after.Auth, max(c.Format, spec.FormatLogins)
	}
	record, err := json.Marshal(op)
	if err != nil {
		return Operation{}, c, fmt.Errorf("encode operation: %w", err)
	}
	held, err := p.holds(ctx, after.Settings.Configuration)
	if err != nil {
		return Operation{}, c, err
	}
	return op, c, p.swap(ctx, c, rev, held, []kv.Op{kv.Put(operationKey(c.Name, op.Number), record)})
}

// holds are the conditions of using a configuration: one that is being deleted is not begun with, and one that is begun with is not
// deleted.
func (p *Plane) holds(ctx context.Context, r Revision) ([]kv.Cond, error) {
	if p.options.Holds == nil || r == (Revision{}) {
		return nil, nil
	}
	return p.options.Holds(ctx, r)
}

// aim is the cluster as it shall be after an operation, whose record gets the Settings before and those after.
func (p *Plane) aim(ctx context.Context, c Cluster, op *Operation) (after Cluster, err error) {
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
		if after, err = p.told(ctx, c, *op.Request.Settings); err != nil {
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
func (p *Plane) told(ctx context.Context, c Cluster, s Settings) (Cluster, error) {
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
	if err := p.standard(&c, s); err != nil {
		return c, err
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
	if p.options.Starting != nil {
		like := c
		like.Settings = s
		properties, err := p.options.Starting(ctx, like, s.Configuration)
		if err != nil {
			return c, err
		}
		if c.Properties = properties; properties != "" {
			c.Format = spec.FormatEngine
		}
	}
	c.Settings, c.Auth, c.Brokers = s, s.Auth, s.Brokers
	return c, nil
}

// standard says why a cluster cannot be of Apache Kafka with these Settings, and gives one that can what only such a one has.
func (p *Plane) standard(c *Cluster, s Settings) error {
	s.KafkaVersion = cmp.Or(s.KafkaVersion, c.Settings.KafkaVersion)
	if err := spec.CheckStandard(c.Settings, s); err != nil || !s.Standard() {
		return err
	}
	if p.options.Warden == nil {
		return fmt.Errorf("%w: broker type %q: this installation does not run Apache Kafka", ErrSpec, s.BrokerType)
	}
	c.Format, c.Log, c.Store, c.Encrypt = spec.FormatEngine, "file", "", false
	if p.options.Heap == nil {
		return nil
	}
	heap, err := p.options.Heap(s.BrokerType)
	c.Heap = heap
	return err
}

// opens is how long it is until the maintenance window opens; 0: it is open, as one is that cannot be read.
func opens(s Settings, now time.Time) time.Duration {
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
		return spec.FormatFirst
	case Logins:
		return spec.FormatLogins
	}
	return spec.FormatManaged
}

// plan is the steps of an operation that brings a cluster as it is to what it shall be.
func (p *Plane) plan(ctx context.Context, c, after Cluster, r Request) ([]Step, error) {
	var configure plan.Configure
	if old, now := c.Settings.Configuration, after.Settings.Configuration; r.Kind == Update && old != now && c.Settings.Standard() {
		configure = plan.Configure{Apply: true} // and again, if what brokers are started with differs, which the record says
	} else if r.Kind == Update && old != now && p.options.Applier != nil {
		again, err := p.options.Applier.Plan(ctx, c, old, now)
		if err != nil {
			return nil, err
		}
		configure = plan.Configure{Apply: true, Restart: again}
	}
	return plan.Of(c, after, r, configure)
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
	if err := p.shrinks(ctx, c, after.Settings); r.Kind == Update && err != nil {
		return err
	}
	needed := map[int32]bool{}
	for _, s := range steps {
		for _, id := range s.Brokers {
			needed[id] = true
		}
		if s.Action == spec.ActRoll {
			for _, id := range c.ControllerIDs() {
				needed[id] = true
			}
		}
		if s.Action == spec.ActRestart || s.Action == spec.ActRoll { // the others must serve meanwhile (C6)
			for _, id := range spec.IDs(1, c.Brokers) {
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
