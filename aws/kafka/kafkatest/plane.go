package kafkatest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"millrace/control"
	"millrace/engine"
)

// Clock is when everything in the package happens.
func Clock() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 123_000_000, time.UTC) }

// ID is the number-th id of a cluster or configuration, "UUID-1".
func ID(number int) string { return UUID(number) + "-1" }

// UUID is the number-th id of anything.
func UUID(number int) string { return fmt.Sprintf("%08d-1111-4222-8333-444444444444", number) }

// Plane is a control plane of which a test is the agents: an operation is under way until Finish.
type Plane struct {
	All     map[string]control.Cluster // by name
	Done    map[string][]control.Operation
	Changes int                       // that were let through
	Fail    func(method string) error // what a method answers before it does anything; nil, or nil from it: it does
	ids     int
}

// NewPlane makes a plane without clusters.
func NewPlane() *Plane {
	return &Plane{All: map[string]control.Cluster{}, Done: map[string][]control.Operation{}}
}

func (p *Plane) id() int {
	p.ids++
	return p.ids
}

// fails says what a method answers.
func (p *Plane) fails(method string) error {
	if p.Fail == nil {
		return nil
	}
	return p.Fail(method)
}

// Create makes a cluster that is CREATING until Activate.
func (p *Plane) Create(_ context.Context, name string, s control.Settings, tags map[string]string) (control.Cluster, error) {
	if err := p.fails("Create"); err != nil {
		return control.Cluster{}, err
	}
	if _, taken := p.All[name]; taken {
		return control.Cluster{}, control.ErrExists
	}
	p.Changes++
	if s.Type == control.Serverless {
		s.Brokers = 2
	}
	c := control.Cluster{Name: name, Brokers: s.Brokers, Auth: s.Auth}
	c.Managed = control.Managed{ID: ID(p.id()), Created: Clock(), Version: 1, Phase: control.Creating, Settings: s, Tags: tags}
	p.All[name] = c
	return c, nil
}

// Activate makes a cluster ACTIVE.
func (p *Plane) Activate(name string) {
	c := p.All[name]
	c.Phase = control.Active
	p.All[name] = c
}

// Delete leaves a cluster DELETING.
func (p *Plane) Delete(_ context.Context, name, version string) (control.Cluster, error) {
	c, err := p.changeable("Delete", name, version)
	if err != nil {
		return c, err
	}
	p.Changes++
	c.Phase = control.Deleting
	p.All[name] = c
	return c, nil
}

// changeable returns a cluster that may be changed by who knows the version.
func (p *Plane) changeable(method, name, version string) (control.Cluster, error) {
	if err := p.fails(method); err != nil {
		return control.Cluster{}, err
	}
	c, ok := p.All[name]
	switch {
	case !ok:
		return c, control.ErrNoCluster
	case c.Operation != 0:
		return c, control.ErrBusy
	case version != "" && version != control.CurrentVersion(c):
		return c, control.ErrVersion
	case c.Phase != control.Active:
		return c, fmt.Errorf("%w: the cluster is in %s state", control.ErrState, c.Phase)
	}
	return c, nil
}

// Clusters lists all by name.
func (p *Plane) Clusters(context.Context) ([]control.Cluster, error) {
	if err := p.fails("Clusters"); err != nil {
		return nil, err
	}
	var all []control.Cluster
	for _, name := range slices.Sorted(maps.Keys(p.All)) {
		all = append(all, p.All[name])
	}
	return all, nil
}

// Cluster returns one, or control.ErrNoCluster.
func (p *Plane) Cluster(_ context.Context, name string) (control.Cluster, error) {
	if err := p.fails("Cluster"); err != nil {
		return control.Cluster{}, err
	}
	c, ok := p.All[name]
	if !ok {
		return c, fmt.Errorf("%w: %q", control.ErrNoCluster, name)
	}
	return c, nil
}

// Begin saves an operation, which is under way until Finish.
func (p *Plane) Begin(_ context.Context, name string, r control.Request) (control.Operation, error) {
	c, err := p.changeable("Begin", name, r.Version)
	if err != nil {
		return control.Operation{}, err
	}
	p.Changes++
	before := c.Settings
	c.Operations++
	c.Operation, c.Phase = c.Operations, control.Updating
	p.All[name] = c
	op := control.Operation{
		Number: c.Operation, Cluster: name, Request: r, State: control.Running, Began: Clock(), ID: UUID(1000 + p.id()), Type: r.Type,
		Steps: []control.Step{{Name: "restart broker 1", State: control.Pending}, {Name: "restart broker 2", State: control.Pending}},
	}
	if r.Settings != nil {
		op.Before, op.After = &before, r.Settings
	}
	p.Done[name] = append(p.Done[name], op)
	return op, nil
}

// Finish ends the operation under way on a cluster, well or with a fault.
func (p *Plane) Finish(name string, fault control.Fault) {
	c := p.All[name]
	all := p.Done[name]
	op := &all[len(all)-1]
	op.State, op.Ended, op.Fault = control.Done, Clock().Add(time.Minute), fault
	state := control.Done
	if fault != (control.Fault{}) {
		op.State, state = control.Failed, control.Failed
	} else if op.After != nil {
		c.Settings = *op.After
	}
	for i := range op.Steps {
		op.Steps[i].State = state
	}
	c.Operation, c.Phase = 0, control.Active
	c.Version++
	p.All[name] = c
}

// Operation returns one, or control.ErrNoOperation.
func (p *Plane) Operation(_ context.Context, name string, number int64) (control.Operation, error) {
	if err := p.fails("Operation"); err != nil {
		return control.Operation{}, err
	}
	for _, op := range p.Done[name] {
		if op.Number == number {
			return op, nil
		}
	}
	return control.Operation{}, control.ErrNoOperation
}

// OperationsOf lists those of a cluster, the latest last.
func (p *Plane) OperationsOf(_ context.Context, name string) ([]control.Operation, error) {
	if err := p.fails("OperationsOf"); err != nil {
		return nil, err
	}
	return p.Done[name], nil
}

// Nodes are as many as the cluster has brokers, and controllers, on one host.
func (p *Plane) Nodes(_ context.Context, name string) ([]control.Node, error) {
	if err := p.fails("Nodes"); err != nil {
		return nil, err
	}
	var all []control.Node
	for id := 1; id <= p.All[name].Settings.Brokers; id++ {
		all = append(all, control.Node{Spec: engine.NodeSpec{Cluster: name, ID: int32(id), Listen: address(id, 0)}})
	}
	for i, id := range p.All[name].ControllerIDs() {
		all = append(all, control.Node{Spec: engine.NodeSpec{Cluster: name, ID: id, Role: engine.Controller, Listen: address(i, -1)}})
	}
	return all, nil
}

func address(broker, step int) string { return fmt.Sprintf("127.0.0.1:%d", 9092+100*(broker-1)+step) }

// Endpoints are those of the listeners that the cluster's logins make.
func (p *Plane) Endpoints(_ context.Context, name string) (map[string][]string, error) {
	if err := p.fails("Endpoints"); err != nil {
		return nil, err
	}
	set := p.All[name].Settings
	steps := map[string]int{control.LoginPlaintext: 0, control.LoginTLS: 2, control.LoginMTLS: 2, control.LoginScram: 4, control.LoginIAM: 6}
	names := map[int]string{0: engine.Client, 2: engine.ClientTLS, 4: engine.ClientScram, 6: engine.ClientIAM}
	all := map[string][]string{}
	for login, step := range steps {
		if !slices.Contains(logins(set.Auth), login) || all[names[step]] != nil {
			continue
		}
		for id := 1; id <= set.Brokers; id++ {
			all[names[step]] = append(all[names[step]], address(id, step))
			if set.Public && step > 2 {
				all[names[step]+engine.PublicSuffix] = append(all[names[step]+engine.PublicSuffix], address(id, 100+step))
			}
		}
	}
	return all, nil
}
