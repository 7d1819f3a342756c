package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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

	Create  Kind = "CREATE"  // makes the brokers of a cluster; begun by Plane.Create
	Delete  Kind = "DELETE"  // removes everything; begun by Plane.Delete
	Update  Kind = "UPDATE"  // brings a cluster to other Settings
	Reboot  Kind = "REBOOT"  // starts some brokers anew, one at a time
	Replace Kind = "REPLACE" // places the brokers of a lost host elsewhere; begun by the plane
	Patch   Kind = "PATCH"   // as Roll, with the agents' own program of another release; begun by the plane
)

// State says how far an operation, or one of its steps, has come.
type State string

// The states of operations and steps.
const (
	Pending State = "PENDING" // a step whose turn has not come, or an operation that waits for its window
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

	Settings  *Settings `json:"settings,omitempty"`  // Update: all that there shall be; it must not be changed any more
	Nodes     []int32   `json:"nodes,omitempty"`     // Reboot, Replace: ids of brokers
	Version   string    `json:"version,omitempty"`   // CurrentVersion that the caller knows; "": any
	Type      string    `json:"type,omitempty"`      // the API's operationType; "": by Kind
	Requester string    `json:"requester,omitempty"` // principal who asked
	Window    bool      `json:"window,omitempty"`    // it waits, Pending, for the cluster's maintenance window
}

// Operation is long work on a cluster, step by step.
type Operation struct {
	Format  int       `json:"format"`
	Number  int64     `json:"number"` // from 1, in the order of their beginning
	Cluster string    `json:"cluster"`
	ID      string    `json:"id,omitempty"` // the end of its ARN
	Type    string    `json:"type,omitempty"`
	Request Request   `json:"request"`
	State   State     `json:"state"`
	Error   string    `json:"error,omitempty"` // why it failed, or will when what it did is undone
	Fault   Fault     `json:"fault,omitzero"`  // the same, with a code
	Before  *Settings `json:"before,omitempty"`
	After   *Settings `json:"after,omitempty"` // that there shall be, of an Update; otherwise as Before
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
	Back    bool      `json:"back,omitempty"`  // it undoes: by the Settings before
	State   State     `json:"state"`
	Detail  string    `json:"detail,omitempty"` // what it waits for, or what came of it
	Began   time.Time `json:"began,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
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
	if op.Format > formatManaged {
		return Operation{}, fmt.Errorf("%w: %s has format %d, this binary knows up to %d", ErrNewer, item.Key, op.Format, formatManaged)
	}
	return op, nil
}

func operationPrefix(cluster string) string { return "control/operations/" + cluster + "/" }

func operationKey(cluster string, number int64) string {
	return fmt.Sprintf("%s%019d", operationPrefix(cluster), number)
}
