// Package engine is what the control plane, the agents and the broker engines
// say to each other: which broker process should run where (NodeSpec), what
// became of it (NodeStatus), which hosts there are (Host), and what an engine
// must be able to do (Engine, Preparer, Fetcher).
//
// Flow: an agent writes a Host; the control plane writes a NodeSpec, the agent of that host makes it so
// with the Engine that the spec names and writes a NodeStatus back. The two are
// one-way streets: the control plane never calls an agent, and an agent never
// changes a spec.
//
// All types are plain data. The encodings carry a format number; a reader
// refuses a newer one (ErrNewer) rather than run a node by half of its spec.
package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Formats of specs, statuses and hosts.
const (
	Format  = 3 // the newest that this binary reads; a spec of Apache Kafka has it, so that no agent runs it as something else
	Secured = 2 // of a spec that names listeners, so that no agent runs it without them
	First   = 1 // what everything else is written in
)

// ErrNewer: a record was written by a newer version of Millrace.
var ErrNewer = errors.New("written by a newer version of millrace")

// NodeSpec is one process that should run on one host.
type NodeSpec struct {
	Format  int    `json:"format"`
	Host    string `json:"host"`    // name of the agent that runs it
	Cluster string `json:"cluster"` // cluster that it belongs to
	ID      int32  `json:"id"`      // broker id, from 1
	Engine  string `json:"engine"`  // which Engine runs it: Express or Standard
	Zone    string `json:"zone"`    // availability zone, shown to clients as the rack
	Listen  string `json:"listen"`  // host:port by which the listeners are numbered: the PLAINTEXT one's, if there is one
	Memory  int64  `json:"memory"`  // bytes that the process should stay within; 0: the engine's default
	Stopped bool   `json:"stopped"` // keep the node, but do not run it

	Metrics string `json:"metrics,omitempty"` // host:port at which the node shows its metrics; "": it shows none
	Log     string `json:"log,omitempty"`     // where the cluster keeps its logs, "file" or "object"; "": "file"
	Store   string `json:"store,omitempty"`   // URL of the cluster's object store, for an agent that was told none

	MaxConnections      int `json:"max_connections,omitempty"`        // open at once; 0: by Memory
	MaxConnectionsPerIP int `json:"max_connections_per_ip,omitempty"` // from one address; 0: as MaxConnections

	Limits Limits `json:"limits,omitzero"` // what the node holds its clients to, by the size of its broker type

	// Listeners are all ways into the node; none: PLAINTEXT without a login at Listen. With them, the spec's Format is Format.
	Listeners []Listener `json:"listeners,omitempty"`
	Auth      string     `json:"auth,omitempty"` // logins of the cluster that Listeners were made by
	Secure    Secure     `json:"secure,omitzero"`

	// What follows up to Volume is for nodes of Apache Kafka (Standard), but for Properties. A spec that has any of it has Format.
	Role       string  `json:"role,omitempty"`       // "": a broker; or Controller
	Version    string  `json:"version,omitempty"`    // of Apache Kafka, exact or as MSK names it, "4.1.x": the engine says which patch that is
	ClusterID  string  `json:"cluster_id,omitempty"` // Kafka's own id of the cluster, that the node's storage is formatted with
	Voters     []Voter `json:"voters,omitempty"`     // controllers of the quorum, the node among them if it is one
	Properties string  `json:"properties,omitempty"` // lines "key=value": what the cluster's configuration revision has the node started with
	Heap       int64   `json:"heap,omitempty"`       // bytes, of the Java machine; Memory bounds the whole process. 0: the engine's default
	Volume     int64   `json:"volume,omitempty"`     // bytes that the node's data may have; 0: nobody watches it

	Binary string `json:"binary,omitempty"` // path of the program to run; "": the agent's own
	Round  int64  `json:"round,omitempty"`  // a process that was started for an earlier round is stopped and started again
	Drain  bool   `json:"drain,omitempty"`  // the node takes no partitions, and hands over those that it has
	Count  int64  `json:"count,omitempty"`  // not 0: report who owns how many partitions; another number asks for a count from then on (NodeStatus.Counted)
	Remove bool   `json:"remove,omitempty"` // with Stopped: delete what the node keeps on its host, then report Removed
	Purge  bool   `json:"purge,omitempty"`  // with Remove: delete what the whole cluster keeps in the object store, then report Purged
	Moved  bool   `json:"moved,omitempty"`  // with Remove: the broker runs on another host now; the spec is for this one's agent, when it comes back
}

// Secure is what a node keeps to beside its listeners. The zero value asks for nothing.
type Secure struct {
	Authorize bool   `json:"authorize,omitempty"`         // who asks must be allowed to, by ACLs and IAM policies
	Encrypt   bool   `json:"encrypt,omitempty"`           // what the node keeps is encrypted
	Region    string `json:"region,omitempty"`            // AWS region of the cluster, which IAM logins are bound to
	Super     string `json:"super_users,omitempty"`       // principals who may do everything, "User:admin;User:other"
	Mapping   string `json:"principal_mapping,omitempty"` // of names in certificates to principals; "": the whole name
}

// Least is the format that the spec must be written in: no agent may read it that would leave out what it asks for.
func (s NodeSpec) Least() int {
	switch {
	case s.Engine == Standard, s.Role != "", s.Version != "", s.ClusterID != "", len(s.Voters) > 0, s.Properties != "", s.Heap != 0, s.Volume != 0:
		return Format
	case s.Auth != "", len(s.Listeners) > 0, s.Secure != Secure{}:
		return Secured
	}
	return First
}

// NodeState is how far a node has come.
type NodeState string

// The states of a node.
const (
	Starting NodeState = "STARTING" // the process runs and does not serve yet
	Ready    NodeState = "READY"    // it serves clients
	Failed   NodeState = "FAILED"   // it ended, or does not answer; it will be started again
	Stopped  NodeState = "STOPPED"  // it does not run, as asked
	Removed  NodeState = "REMOVED"  // as Stopped, and nothing is left of it on its host
)

// NodeStatus is what an agent reports of one node.
type NodeStatus struct {
	Format   int       `json:"format"`
	State    NodeState `json:"state"`
	PID      int       `json:"pid,omitempty"`
	Began    string    `json:"began,omitempty"` // identity of the process beside PID, see proc.Handle
	Restarts int       `json:"restarts"`        // unasked-for starts since the agent began
	Message  string    `json:"message,omitempty"`
	Changed  time.Time `json:"changed"`

	Round   int64         `json:"round,omitempty"`   // that the process was started for
	Owners  map[int32]int `json:"owners,omitempty"`  // partitions of the cluster by the id of their owner, as this node sees it; nil: not counted
	Refused int64         `json:"refused,omitempty"` // round whose program this host cannot run; the process of Round runs on, Message says why
	Counted int64         `json:"counted,omitempty"` // NodeSpec.Count that stood there before Owners were counted
	Purged  bool          `json:"purged,omitempty"`  // nothing is left of the cluster in the object store
}

// Key is where the spec lies in etcd; Status lies at StatusKey.
func (s NodeSpec) Key() string { return fmt.Sprintf("%s%s/%d", SpecPrefix(s.Host), s.Cluster, s.ID) }

// StatusKey is where the agent reports on the node.
func (s NodeSpec) StatusKey() string {
	return fmt.Sprintf("%s%s/%d", StatusPrefix(s.Host), s.Cluster, s.ID)
}

// SpecPrefix is where the specs of one host lie.
func SpecPrefix(host string) string { return AllSpecs + host + "/" }

// StatusPrefix is where the statuses of one host lie.
func StatusPrefix(host string) string { return AllStatuses + host + "/" }

// AllSpecs and AllStatuses are where those of all hosts lie.
const (
	AllSpecs    = "nodes/"
	AllStatuses = "status/"
)

// Record is what lies in etcd.
type Record interface {
	NodeSpec | NodeStatus | Host | Load
}

// Encode gives the stored form.
func Encode[T Record](v T) ([]byte, error) { return json.Marshal(v) }

// Decode reads what Encode gave. It returns ErrNewer for a newer format.
func Decode[T Record](b []byte) (T, error) {
	var v T
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return v, fmt.Errorf("node record: %w", err)
	}
	if head.Format > Format {
		return v, fmt.Errorf("node record: %w: format %d, this binary reads up to %d", ErrNewer, head.Format, Format)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("node record: %w", err)
	}
	return v, nil
}

// Preparer is an Engine that has to do something before a process of its can be started, such as to get the program. The agent calls
// Prepare before each start of a process, never while one runs.
type Preparer interface {
	// Prepare makes ready what Command's program needs on this host. It may take minutes the first time and nothing at all after that;
	// ctx bounds it. tell is called with each new stage, in words for people, and does not block for long. What was done halfway by a
	// Prepare that was cut off is found by the next one, and redone.
	Prepare(ctx context.Context, spec NodeSpec, tell func(stage string)) error
}

// Fetcher is an Engine that can get what a node's program needs from elsewhere while an earlier process of the node runs, so that nobody waits for it
// once that one is stopped.
type Fetcher interface {
	// Fetch gets it; it returns nil at once where it is on this host. ctx bounds it, tell is as Preparer's.
	Fetch(ctx context.Context, spec NodeSpec, tell func(stage string)) error
}

// Mannered is an Engine whose programs do not behave as the agent expects of our own.
type Mannered interface {
	// Manners says how the node's program behaves.
	Manners(spec NodeSpec) Manners
}

// Manners of a program. The zero value is how our own behave.
type Manners struct {
	Hang time.Duration // it may be silent for so long before it counts as hung; 0: as the agent has it
	End  time.Duration // it has so long to end after SIGTERM, whether or not another host could take over; 0: as the agent has it
	Deaf bool          // it is not told to drain by SIGUSR1, which would end it
	Last bool          // when the agent stops, it ends after those of its cluster's nodes that are not Last: they need it to end well
}

// ErrAlive is what Probe returns of a node that answers and does not serve: it counts neither as ready nor as hung. The message says
// what it waits for.
var ErrAlive = errors.New("the node is alive and does not serve")

// Engine runs nodes of one kind. Implementations are safe for concurrent use.
type Engine interface {
	// Command gives the program and its arguments that run the node in the
	// foreground until it gets SIGTERM.
	Command(spec NodeSpec) (path string, args []string, err error)
	// Usable says why the program that the spec names cannot be run on this host. ctx bounds it.
	Usable(ctx context.Context, spec NodeSpec) error
	// Check says what keeps a node that does not run from being started, such as another process at its addresses: what that
	// one answers to Probe would be taken for the node's.
	Check(ctx context.Context, spec NodeSpec) error
	// Probe returns nil once the node serves its clients. It is called every
	// few milliseconds while a node starts, so it must be cheap; ctx bounds it.
	Probe(ctx context.Context, spec NodeSpec) error
	// Owned asks the node who owns the partitions of its cluster: how many by
	// broker id, never nil without an error. A partition of a node that does
	// not run counts as that node's. ctx bounds it.
	Owned(ctx context.Context, spec NodeSpec) (map[int32]int, error)
	// Remove deletes what the node keeps on its host. The node does not run;
	// where it does after all, nothing is deleted and an error is returned.
	// It returns nil when there is nothing.
	Remove(spec NodeSpec) error
}
