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

	"millrace/base/kv"
)

// Errors of operations, to be tested with errors.Is.
var (
	// ErrBusy: another operation on the cluster is under way; the message names it.
	ErrBusy = errors.New("another operation is under way")
	// ErrLost: what is asked for needs a host that has no agent; the message names it.
	ErrLost = errors.New("a host is away")
	// ErrNoOperation: the cluster has no operation of this number, or forgot it.
	ErrNoOperation = errors.New("no such operation")
)

// operationsKept is how many finished operations a cluster remembers.
const operationsKept = 20

// Kind says what an operation does.
type Kind string

// The kinds of operations.
const (
	Scale   Kind = "SCALE"   // changes the number of brokers
	Roll    Kind = "ROLL"    // starts every broker anew, one at a time
	Upgrade Kind = "UPGRADE" // as Roll, with another program
	Logins  Kind = "LOGINS"  // as Roll, with other listeners; twice where some come and others go, so that brokers reach one another all the time
)

// State says how far an operation, or one of its steps, has come.
type State string

// The states of operations and steps.
const (
	Pending State = "PENDING" // a step whose turn has not come
	Running State = "RUNNING"
	Done    State = "DONE"
	Failed  State = "FAILED" // an operation that fails leaves the cluster serving
)

// Request asks for an operation.
type Request struct {
	Kind    Kind   `json:"kind"`
	Brokers int    `json:"brokers,omitempty"` // Scale: how many there shall be, 1 to MaxBrokers
	Binary  string `json:"binary,omitempty"`  // Upgrade: path of the program; "": the agent's own
	Auth    string `json:"auth,omitempty"`    // Logins: which there shall be, as ParseAuth gives them
}

// Operation is long work on a cluster, step by step.
type Operation struct {
	Format  int       `json:"format"`
	Number  int64     `json:"number"` // from 1, in the order of their beginning
	Cluster string    `json:"cluster"`
	Request Request   `json:"request"`
	State   State     `json:"state"`
	Error   string    `json:"error,omitempty"` // why it failed
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended,omitzero"`
	Steps   []Step    `json:"steps"`
}

// Step is one part of an operation, done by its action on its brokers.
type Step struct {
	Name    string    `json:"name"` // for people
	Action  Action    `json:"action"`
	Brokers []int32   `json:"brokers"`
	Auth    string    `json:"auth,omitempty"`  // logins that the brokers then have; "": as they have
	First   bool      `json:"first,omitempty"` // with Auth: another pass follows, so nobody is asked for a permission yet who was not before
	State   State     `json:"state"`
	Detail  string    `json:"detail,omitempty"` // what it waits for, or what came of it
	Began   time.Time `json:"began,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
}

// plan is the steps of an operation on a cluster as it is.
func plan(c Cluster, r Request) ([]Step, error) {
	var steps []Step
	add := func(action Action, brokers ...int32) {
		steps = append(steps, Step{Name: action.name(brokers), Action: action, Brokers: brokers, State: Pending})
	}
	ids := func(first, last int) (all []int32) {
		for k := first; k <= last; k++ {
			all = append(all, int32(k))
		}
		return all
	}
	switch r.Kind {
	case Scale:
		after := c
		after.Brokers = r.Brokers
		if err := after.Validate(); err != nil {
			return nil, err
		}
		if added := ids(c.Brokers+1, r.Brokers); len(added) > 0 {
			add(actStart, added...)
			add(actEven)
		}
		if leaving := ids(r.Brokers+1, c.Brokers); len(leaving) > 0 {
			add(actDrain, leaving...)
			add(actStop, leaving...)
			add(actRemove, leaving...)
		}
	case Roll, Upgrade:
		for _, id := range ids(1, c.Brokers) {
			add(actRestart, id)
			if c.Brokers > 1 {
				add(actEven)
			}
		}
	case Logins:
		after := c
		after.Auth = r.Auth
		if _, err := ParseAuth(r.Auth); err != nil {
			return nil, err
		}
		if err := after.Validate(); err != nil {
			return nil, err
		}
		all := passes(c, r.Auth)
		for i, auth := range all {
			for _, id := range ids(1, c.Brokers) {
				add(actRestart, id)
				last := &steps[len(steps)-1]
				last.Auth, last.First, last.Name = auth, i < len(all)-1, fmt.Sprintf("restart broker %d with %s", id, auth)
				if c.Brokers > 1 {
					add(actEven)
				}
			}
		}
	default:
		return nil, fmt.Errorf("%w: operation %q, there are %s, %s, %s and %s", ErrSpec, r.Kind, Scale, Roll, Upgrade, Logins)
	}
	return steps, nil
}

// passes are the logins of each round of restarts. Brokers reach one another by the internal listener or, where one has none yet, by
// PLAINTEXT, where they cannot show who they are; and clients that know only what was must find somebody until what shall be is there.
func passes(c Cluster, auth string) []string {
	switch both := union(cmp.Or(c.Auth, LoginPlaintext), auth); {
	case c.Auth == auth:
		return nil
	case c.Brokers == 1 || both == c.Auth || both == auth && (c.Auth != "" || !Authorizes(auth)):
		return []string{auth}
	default:
		return []string{both, auth}
	}
}

// Begin saves an operation, which Run then does, and returns it. A cluster that
// is what the request asks for gets none: the answer is Done and has number 0.
// It returns ErrNoCluster, ErrBusy, ErrLost, or ErrSpec for what cannot be.
func (p *Plane) Begin(ctx context.Context, cluster string, r Request) (Operation, error) {
	for {
		c, rev, err := p.read(ctx, cluster)
		if err != nil {
			return Operation{}, err
		}
		if c.Operation != 0 {
			return Operation{}, p.busy(ctx, c)
		}
		op := Operation{Format: formatOf(r), Number: c.Operations + 1, Cluster: cluster, Request: r, State: Running, Began: p.clock.Now().UTC()}
		if op.Steps, err = plan(c, r); err != nil {
			return Operation{}, err
		}
		if err := p.possible(ctx, c, r); err != nil {
			return Operation{}, err
		}
		if len(op.Steps) == 0 {
			op.Number, op.State, op.Ended = 0, Done, op.Began
			return op, nil
		}
		c.Operation, c.Operations = op.Number, op.Number
		if r.Kind == Scale {
			c.Wanted = r.Brokers
			c.Brokers = max(c.Brokers, r.Brokers) // those that leave are explained until they are gone (C1)
		}
		if r.Kind == Logins {
			c.WantedAuth, c.Format = r.Auth, formatLogins
		}
		record, err := json.Marshal(op)
		if err != nil {
			return Operation{}, fmt.Errorf("encode operation: %w", err)
		}
		err = p.save(ctx, c, rev, kv.Put(operationKey(cluster, op.Number), record))
		if errors.Is(err, kv.ErrConflict) {
			continue
		}
		return op, err
	}
}

// formatOf is that of an operation's record.
func formatOf(r Request) int {
	if r.Kind == Logins {
		return formatLogins
	}
	return format
}

// possible refuses what would wait for a host without an agent, or finds no place.
func (p *Plane) possible(ctx context.Context, c Cluster, r Request) error {
	if r.Kind == Scale && r.Brokers > c.Brokers {
		c.Brokers = r.Brokers
		return p.fits(ctx, c)
	}
	nodes, err := p.Nodes(ctx, c.Name)
	if err != nil {
		return err
	}
	var faults []error
	for _, n := range nodes {
		if n.Lost && (r.Kind != Scale || int(n.Spec.ID) > r.Brokers) {
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

// Operation returns one operation, or ErrNoOperation.
func (p *Plane) Operation(ctx context.Context, cluster string, number int64) (Operation, error) {
	op, _, err := p.readOperation(ctx, cluster, number)
	return op, err
}

func (p *Plane) readOperation(ctx context.Context, cluster string, number int64) (Operation, int64, error) {
	item, err := p.store.Get(ctx, operationKey(cluster, number))
	if errors.Is(err, kv.ErrNotFound) {
		return Operation{}, 0, fmt.Errorf("%w: number %d of cluster %s", ErrNoOperation, number, cluster)
	}
	if err != nil {
		return Operation{}, 0, fmt.Errorf("read operation %d of %s: %w", number, cluster, err)
	}
	op, err := decodeOperation(item)
	return op, item.ModRev, err
}

// OperationsOf returns the operations of a cluster that it remembers, the latest last.
func (p *Plane) OperationsOf(ctx context.Context, cluster string) ([]Operation, error) {
	items, _, err := p.store.List(ctx, operationPrefix(cluster))
	if err != nil {
		return nil, fmt.Errorf("list operations of %s: %w", cluster, err)
	}
	all := make([]Operation, 0, len(items))
	for _, item := range items {
		op, err := decodeOperation(item)
		if err != nil {
			return nil, err
		}
		all = append(all, op)
	}
	slices.SortFunc(all, func(a, b Operation) int { return int(a.Number - b.Number) })
	return all, nil
}

func decodeOperation(item kv.Item) (Operation, error) {
	var op Operation
	if err := json.Unmarshal(item.Value, &op); err != nil {
		return Operation{}, fmt.Errorf("%s: %w", item.Key, err)
	}
	if op.Format > formatLogins {
		return Operation{}, fmt.Errorf("%w: %s has format %d, this binary knows up to %d", ErrNewer, item.Key, op.Format, formatLogins)
	}
	return op, nil
}

func operationPrefix(cluster string) string { return "control/operations/" + cluster + "/" }

func operationKey(cluster string, number int64) string {
	return fmt.Sprintf("%s%019d", operationPrefix(cluster), number)
}
