package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/control"
	"millrace/engine"
	"millrace/secure/network"
)

// Errors of Connections, to be tested with errors.Is.
var (
	// ErrNoConnection: there is no such VPC connection.
	ErrNoConnection = errors.New("the VPC connection doesn't exist")
	// ErrAuthentication: the cluster has no private connections with that login.
	ErrAuthentication = errors.New("VPC connectivity isn't turned on for the authentication type")
	// ErrConnection: the connection cannot be made so, or not do so now; the message says why.
	ErrConnection = errors.New("the VPC connection can't be changed so")
)

// The logins of VPC connections, as the API has them.
const (
	authTLS   = "TLS"
	authScram = "SASL_SCRAM"
	authIAM   = "SASL_IAM"
)

// wayOf is the login that a connection offers, in the plane's word, and whose listener it is like.
func wayOf(authentication string) (login, listener string, ok bool) {
	switch authentication {
	case authTLS:
		return control.LoginMTLS, engine.ClientTLS, true
	case authScram:
		return control.LoginScram, engine.ClientScram, true
	case authIAM:
		return control.LoginIAM, engine.ClientIAM, true
	}
	return "", "", false
}

// State is how far a connection has come, in the words of the MSK API.
type State string

// The states of a connection.
const (
	Creating  State = "CREATING"
	Available State = "AVAILABLE"
	Inactive  State = "INACTIVE" // its cluster is gone, or its listener is
	Deleting  State = "DELETING"
	Rejected  State = "REJECTED"
)

// Connection is a VPC connection.
type Connection struct {
	Format         int               `json:"format"`
	ID             string            `json:"id"` // UUID
	Cluster        string            `json:"cluster"`
	ClusterID      string            `json:"cluster_id"` // "UUID-N"
	Authentication string            `json:"authentication"`
	VPC            string            `json:"vpc"`
	Subnets        []string          `json:"subnets"`
	Groups         []string          `json:"groups"`
	Owner          string            `json:"owner"` // account
	Created        time.Time         `json:"created"`
	Tags           map[string]string `json:"tags,omitempty"`
	State          State             `json:"state"` // in etcd Creating, Available (the cluster's network rules say more) or Deleting
}

func (c Connection) version() int { return c.Format }

const dirConnections = "control/vpc-connections/"

func connectionKey(id string) string { return dirConnections + id }

// Connections are those of the installation. Make them with NewConnections; safe for concurrent use.
type Connections struct {
	kv       kv.KV
	clock    clock.Clock
	clusters Clusters
}

// NewConnections makes Connections.
func NewConnections(store kv.KV, now clock.Clock, clusters Clusters) *Connections {
	return &Connections{kv: store, clock: now, clusters: clusters}
}

func (s *Connections) network(cluster string) *network.Store {
	return network.NewStore(s.kv, control.Prefix(cluster))
}

// Create makes a connection to a cluster, of which cluster, login and network are told. The answer is as it began: CREATING. Errors:
// ErrAuthentication, ErrConnection.
func (s *Connections) Create(ctx context.Context, c control.Cluster, asked Connection) (Connection, error) {
	login, _, ok := wayOf(asked.Authentication)
	if !ok || !slices.Contains(strings.Split(c.Settings.PrivateAuth, ","), login) {
		return Connection{}, fmt.Errorf("%w %s", ErrAuthentication, asked.Authentication)
	}
	asked.Format, asked.ID, asked.State = format, uuid.NewString(), Creating
	asked.Cluster, asked.ClusterID, asked.Created = c.Name, c.ID, s.clock.Now().UTC()
	made, err := edit(ctx, s.kv, connectionKey(asked.ID), func(r *Connection) (bool, error) {
		*r = asked
		return true, nil
	})
	if err != nil {
		return Connection{}, err
	}
	if err := s.open(ctx, made); err != nil {
		_, undo := s.Delete(ctx, made.ID) // it may have been opened all the same
		return Connection{}, errors.Join(err, undo)
	}
	return made, nil
}

// open has brokers listen for a connection, and notes that they do (A5).
func (s *Connections) open(ctx context.Context, c Connection) error {
	_, listener, _ := wayOf(c.Authentication)
	groups, err := s.existing(ctx, c)
	if err != nil {
		return err
	}
	_, _, err = s.network(c.Cluster).Edit(ctx, func(n *network.Network) error {
		if _, err := n.Connection(c.ID); err == nil {
			return nil // made before a crash
		}
		now := s.clock.Now()
		asked := network.Connection{Name: c.ID, Listener: listener, Groups: groups, By: c.Owner}
		if err := n.Request(asked, now); err != nil {
			return err
		}
		return n.Accept(c.ID, now)
	})
	if errors.Is(err, network.ErrInvalid) || errors.Is(err, network.ErrUnknown) {
		return fmt.Errorf("%w: %w", ErrConnection, err)
	}
	if err != nil {
		return err
	}
	return s.mark(ctx, c.ID, Creating, Available)
}

// existing are the connection's groups that there are.
func (s *Connections) existing(ctx context.Context, c Connection) ([]string, error) {
	all, err := s.network(c.Cluster).Groups(ctx)
	var names []string
	for _, g := range all {
		if slices.Contains(c.Groups, g.Name) {
			names = append(names, g.Name)
		}
	}
	return names, err
}

// mark moves a connection from one state to another; one that is elsewhere stays there.
func (s *Connections) mark(ctx context.Context, id string, from, to State) error {
	_, err := edit(ctx, s.kv, connectionKey(id), func(r *Connection) (bool, error) {
		if r.ID == "" || r.State != from {
			return false, nil
		}
		r.State = to
		return true, nil
	})
	return err
}

// forget deletes a record.
func (s *Connections) forget(ctx context.Context, id string) error {
	_, err := s.kv.Txn(ctx, nil, []kv.Op{kv.Delete(connectionKey(id))})
	return err
}

// Describe returns a connection as it is, or ErrNoConnection.
func (s *Connections) Describe(ctx context.Context, id string) (Connection, error) {
	c, _, err := read[Connection](ctx, s.kv, connectionKey(id))
	if err != nil {
		return c, err
	}
	if c.ID == "" {
		return c, ErrNoConnection
	}
	c.State, err = s.state(ctx, c)
	return c, err
}

// state is what a connection is told to be in.
func (s *Connections) state(ctx context.Context, c Connection) (State, error) {
	if c.State != Available {
		return c.State, nil
	}
	cluster, err := s.clusters.Cluster(ctx, c.Cluster)
	if errors.Is(err, control.ErrNoCluster) || err == nil && cluster.ID != c.ClusterID {
		return Inactive, nil
	}
	if err != nil {
		return "", err
	}
	n, err := s.network(c.Cluster).Network(ctx)
	if err != nil {
		return "", err
	}
	return toldOf(n, c.ID), nil
}

// toldOf is what the rules of a cluster say of a connection.
func toldOf(n network.Network, id string) State {
	private, err := n.Connection(id)
	switch {
	case err != nil:
		return Inactive // somebody took it away by the cluster's own rules
	case private.State == network.Active:
		return Available
	case private.State == network.Rejected:
		return Rejected
	}
	return Creating
}

// List returns all connections, by ID; cluster "" and its ID: of all clusters, otherwise of one.
func (s *Connections) List(ctx context.Context, cluster, clusterID string) ([]Connection, error) {
	items, _, err := s.kv.List(ctx, dirConnections)
	if err != nil {
		return nil, fmt.Errorf("list VPC connections: %w", err)
	}
	var all []Connection
	for _, item := range items {
		c, err := decode[Connection](item)
		if err != nil {
			return nil, err
		}
		if cluster != "" && (c.Cluster != cluster || c.ClusterID != clusterID) {
			continue
		}
		if c.State, err = s.state(ctx, c); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// Delete takes a connection away and cuts who came in by it. The answer is as it began: DELETING. Errors: ErrNoConnection.
func (s *Connections) Delete(ctx context.Context, id string) (Connection, error) {
	c, err := edit(ctx, s.kv, connectionKey(id), func(r *Connection) (bool, error) {
		if r.ID == "" {
			return false, ErrNoConnection
		}
		r.State = Deleting
		return true, nil
	})
	if err != nil {
		return c, err
	}
	return c, s.close(ctx, c)
}

// close has brokers listen no more, then forgets the connection.
func (s *Connections) close(ctx context.Context, c Connection) error {
	cluster, err := s.clusters.Cluster(ctx, c.Cluster)
	if err != nil && !errors.Is(err, control.ErrNoCluster) {
		return err
	}
	if err == nil && cluster.ID == c.ClusterID {
		_, _, err := s.network(c.Cluster).Edit(ctx, func(n *network.Network) error {
			if err := n.Delete(c.ID); !errors.Is(err, network.ErrUnknown) { // else it was taken away before a crash
				return err
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return s.forget(ctx, c.ID)
}

// Reject is the cluster's owner's way to cut a connection; it stays to be seen as REJECTED. Errors: ErrNoConnection, ErrConnection.
func (s *Connections) Reject(ctx context.Context, id string) (Connection, error) {
	c, err := s.Describe(ctx, id)
	if err != nil {
		return c, err
	}
	if c.State != Available && c.State != Creating {
		return c, fmt.Errorf("%w: The VPC connection is %s", ErrConnection, c.State)
	}
	_, _, err = s.network(c.Cluster).Edit(ctx, func(n *network.Network) error { return n.Reject(id, s.clock.Now()) })
	if errors.Is(err, network.ErrState) || errors.Is(err, network.ErrUnknown) {
		err = fmt.Errorf("%w: %w", ErrConnection, err)
	}
	c.State = Rejected
	return c, err
}

// Tag changes the tags of a connection. Errors: ErrNoConnection, and change's own.
func (s *Connections) Tag(ctx context.Context, id string, change func(map[string]string) (map[string]string, error)) error {
	_, err := edit(ctx, s.kv, connectionKey(id), func(r *Connection) (bool, error) {
		if r.ID == "" {
			return false, ErrNoConnection
		}
		var err error
		r.Tags, err = change(r.Tags)
		return true, err
	})
	return err
}

// Resume finishes what was broken off (A2). It is for the start of the plane.
func (s *Connections) Resume(ctx context.Context) error {
	all, err := s.List(ctx, "", "")
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range all {
		record, _, err := read[Connection](ctx, s.kv, connectionKey(c.ID))
		switch {
		case err != nil:
		case record.State == Creating:
			err = s.open(ctx, record)
		case record.State == Deleting:
			err = s.close(ctx, record)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("VPC connection %s: %w", c.ID, err))
		}
	}
	return errors.Join(errs...)
}
