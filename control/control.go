package control

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/engine"
)

// Formats of records.
const (
	format       = 1 // of operations, and of a cluster that says nothing of logins
	formatLogins = 2 // of a cluster that does, and of operations on them: who does not know them would let everybody in

	formatManaged = 3 // of a cluster with an ID, and of operations on what only such a one has: who does not know them would drop it
)

// portStep is between the ports of two brokers of a cluster on one host.
const portStep = 100

// MaxBrokers is how many brokers a cluster may have.
const MaxBrokers = 15

// Errors that callers test with errors.Is.
var (
	// ErrSpec: the cluster's description cannot be made so; the message says why.
	ErrSpec = errors.New("invalid cluster description")
	// ErrNewer: the record was written by a newer version of Millrace.
	ErrNewer = errors.New("cluster record written by a newer version of millrace")
	// ErrNoCluster: no cluster has this name.
	ErrNoCluster = errors.New("no such cluster")
	// ErrExists: a cluster has this name, and be it one that is being deleted.
	ErrExists = errors.New("the name is in use")
	// ErrLimit: there are as many clusters as there may be.
	ErrLimit = errors.New("too many clusters")
	// ErrVersion: the cluster has changed since the caller looked.
	ErrVersion = errors.New("the cluster has another version")
	// ErrState: the phase of the cluster does not allow it; the message names the phase.
	ErrState = errors.New("not possible in this state")
)

// Cluster describes one express cluster.
type Cluster struct {
	Format  int    `json:"format"`
	Name    string `json:"name"`
	Brokers int    `json:"brokers"` // that there are, those that leave included; 1 to MaxBrokers. For Ensure 0: as many as there are, 1 for a new cluster
	Listen  string `json:"listen"`  // host:port of the first broker; broker k is at port + 100*(k-1). "": of the ranges of the hosts, as Create does
	Memory  int64  `json:"memory"`  // bytes for each broker; 0: the engine's default

	Metrics string `json:"metrics,omitempty"` // host:port of the first broker's metrics, the others' as with Listen; "": none are shown
	Store   string `json:"store,omitempty"`   // URL of the object store, as the hosts reach it; "": the agents' own

	// Log says where the brokers keep their logs: "file", on their hosts, or "object", in the object store. "" is "file"; for Ensure it
	// is as it was. It cannot be changed.
	Log string `json:"log,omitempty"`

	Limits              engine.Limits `json:"limits,omitzero"`                  // that each broker holds its clients to; for Ensure as they were
	MaxConnections      int           `json:"max_connections,omitempty"`        // of each broker; 0: by Memory
	MaxConnectionsPerIP int           `json:"max_connections_per_ip,omitempty"` // of each broker; 0: as MaxConnections

	// Auth is the logins that the brokers' listeners offer, as ParseAuth gives it; "": PLAINTEXT without a login, on its own port. For
	// Ensure "" is as it was, and a change is an operation where a broker runs.
	Auth   string `json:"auth,omitempty"`
	Region string `json:"region,omitempty"` // AWS region that IAM logins are bound to; "": the cluster offers none. For Ensure as it was
	// Super are principals who may do everything, as "User:admin", with semicolons between; Mapping is how names in clients' certificates
	// become principals, as cert.ParseRules reads it. Both count for a broker from its next start on. For Ensure "" is as it was, and None clears it.
	Super   string `json:"super_users,omitempty"`
	Mapping string `json:"principal_mapping,omitempty"`
	Encrypt bool   `json:"encrypt,omitempty"` // what brokers keep is encrypted. It cannot be changed once the cluster is made

	// The plane's own; Ensure takes no notice of them.
	Wanted     int    `json:"wanted,omitempty"`      // brokers that there shall be; 0: as many as there are
	WantedAuth string `json:"wanted_auth,omitempty"` // logins that there shall be; "": as there are
	Binary     string `json:"binary,omitempty"`      // program of the brokers; "": the agent's own
	Operation  int64  `json:"operation,omitempty"`   // number of the operation under way; 0: none
	Operations int64  `json:"operations,omitempty"`  // number of the last operation; 0: there was none

	Managed `json:"managed,omitzero"` // its life in the API
}

// Validate names every fault of the description.
func (c Cluster) Validate() error {
	var faults []error
	if c.Listen == "" && c.ID != "" {
		return errors.Join(c.validateRanged()...)
	}
	if c.Name == "" || strings.ContainsAny(c.Name, "/ ") {
		faults = append(faults, fmt.Errorf("%w: name %q must not be empty or hold a slash or a space", ErrSpec, c.Name))
	}
	if c.Brokers < 1 || c.Brokers > MaxBrokers {
		faults = append(faults, fmt.Errorf("%w: %d brokers, 1 to %d can be", ErrSpec, c.Brokers, MaxBrokers))
	}
	most := min(max(c.Brokers, c.Wanted, 1), MaxBrokers)
	if _, err := address(c.Listen, most); err != nil {
		faults = append(faults, err)
	}
	if _, err := address(c.Metrics, most); c.Metrics != "" && err != nil {
		faults = append(faults, fmt.Errorf("metrics: %w", err))
	}
	if auth, err := ParseAuth(c.Auth); c.Auth != "" && (err != nil || auth != c.Auth) {
		faults = append(faults, fmt.Errorf("%w: logins %q", ErrSpec, c.Auth))
	} else if _, err := listeners(c.Auth, c.lastAddress(most), ""); err != nil {
		faults = append(faults, err)
	}
	taken := map[string]string{}
	for _, used := range c.Addresses() {
		if other := taken[used.Address]; other != "" {
			faults = append(faults, fmt.Errorf("%w: %s is the address of %s and of %s", ErrSpec, used.Address, other, used.Use))
		}
		taken[used.Address] = used.Use
	}
	if c.Log != "" && c.Log != "file" && c.Log != "object" {
		faults = append(faults, fmt.Errorf("%w: logs are kept as %q; use file or object", ErrSpec, c.Log))
	}
	if c.Memory < 0 {
		faults = append(faults, fmt.Errorf("%w: memory of %d bytes", ErrSpec, c.Memory))
	}
	if c.MaxConnections < 0 || c.MaxConnectionsPerIP < 0 {
		faults = append(faults, fmt.Errorf("%w: %d connections, %d from one address", ErrSpec, c.MaxConnections, c.MaxConnectionsPerIP))
	}
	return errors.Join(faults...)
}

// validateRanged is Validate for a cluster whose addresses come from the ranges of hosts, which Place looks at.
func (c Cluster) validateRanged() (faults []error) {
	if c.Brokers < 1 || c.Brokers > MaxBrokers {
		faults = append(faults, fmt.Errorf("%w: %d brokers, 1 to %d can be", ErrSpec, c.Brokers, MaxBrokers))
	}
	if auth, err := ParseAuth(c.Auth); c.Auth != "" && (err != nil || auth != c.Auth) {
		faults = append(faults, fmt.Errorf("%w: logins %q", ErrSpec, c.Auth))
	}
	return faults
}

// Address is what a node listens on, and what for.
type Address struct {
	Address string // host:port
	Use     string // for messages: "broker 2"
	Broker  int32
	Metrics bool // not Kafka's protocol
}

// Addresses are all that the cluster's brokers listen on; those that cannot be
// made out are left out.
func (c Cluster) Addresses() []Address {
	var all []Address
	for k := 1; k <= min(c.Brokers, MaxBrokers); k++ {
		if a, err := address(c.Listen, k); err == nil {
			all = append(all, c.listening(a, k)...)
		}
		if a, err := address(c.Metrics, k); c.Metrics != "" && err == nil {
			all = append(all, Address{a, fmt.Sprintf("the metrics of broker %d", k), int32(k), true})
		}
	}
	return all
}

// listening is where broker k listens, whose numbering begins at base.
func (c Cluster) listening(base string, k int) []Address {
	ways, err := listeners(c.Auth, base, "")
	if err != nil || len(ways) == 0 {
		return []Address{{base, fmt.Sprintf("broker %d", k), int32(k), false}}
	}
	var all []Address
	for _, l := range ways {
		all = append(all, Address{l.Address, fmt.Sprintf("%s of broker %d", l.Name, k), int32(k), false})
	}
	return all
}

// lastAddress is that of the broker with the highest ports, or the first one's where there is none.
func (c Cluster) lastAddress(brokers int) string {
	if a, err := address(c.Listen, brokers); err == nil {
		return a
	}
	return c.Listen
}

// address is that of a broker, where first is the first one's.
func address(first string, broker int) (string, error) {
	host, text, err := net.SplitHostPort(first)
	if err != nil {
		return "", fmt.Errorf("%w: listen address %q is not HOST:PORT", ErrSpec, first)
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 1 || port+portStep*(broker-1) > 65535 {
		return "", fmt.Errorf("%w: port %q does not leave room for %d brokers, %d ports apart, below 65536", ErrSpec, text, broker, portStep)
	}
	return net.JoinHostPort(host, strconv.Itoa(port+portStep*(broker-1))), nil
}

// PlaneKey is held, under a lease, by the one process that runs the control plane.
const PlaneKey = "control/plane"

// clusterPrefix is where the records of clusters lie.
const clusterPrefix = "control/clusters/"

func clusterKey(name string) string { return clusterPrefix + name }

// Prefix is below which the brokers of a cluster keep their own state in etcd.
func Prefix(cluster string) string { return "clusters/" + cluster + "/" }

// Plane is the control plane of the installation whose state store holds. Safe
// for concurrent use.
type Plane struct {
	store   kv.KV
	self    engine.Host
	clock   clock.Clock
	log     *slog.Logger
	options Options
}

// New makes a control plane that places nodes on the hosts that have an agent, and
// on self, whose agent lives and dies with it.
func New(store kv.KV, self engine.Host, clk clock.Clock, log *slog.Logger) *Plane {
	return &Plane{store: store, self: self, clock: clk, log: log, options: Options{}.withDefaults()}
}

// Ensure makes the cluster exist as described and returns it as it is: its
// record, then the specs of its nodes. More brokers than there were are added
// at once; fewer is what Run then does, because the others must hand over first.
// It returns ErrSpec for a description that cannot be and ErrNewer where a newer
// version of Millrace looks after the cluster.
func (p *Plane) Ensure(ctx context.Context, asked Cluster) (Cluster, error) {
	var c Cluster
	for {
		old, rev, err := p.read(ctx, asked.Name)
		if err != nil && !errors.Is(err, ErrNoCluster) {
			return Cluster{}, err
		}
		if err == nil && asked.Log != "" && asked.Log != cmp.Or(old.Log, "file") {
			return Cluster{}, fmt.Errorf("%w: cluster %s keeps its logs as %q since it was made, and cannot be told to as %q",
				ErrSpec, asked.Name, cmp.Or(old.Log, "file"), asked.Log)
		}
		if old.Phase == Deleting || old.Phase == Broken {
			return old, nil // Run goes on with that; what is asked for can be made when the name is free
		}
		idle, err := p.idle(ctx, asked.Name)
		if err != nil {
			return Cluster{}, err
		}
		c = merge(old, asked, idle)
		if err := c.Validate(); err != nil {
			return Cluster{}, err
		}
		if err := p.fits(ctx, c); err != nil {
			return Cluster{}, err
		}
		if c.Operation == 0 {
			c.describe()
		}
		cond, ops, err := p.identify(ctx, &c)
		if err != nil {
			return Cluster{}, err
		}
		if same(c, old) {
			break
		}
		err = p.swap(ctx, c, rev, cond, ops)
		if err == nil {
			break
		}
		if !errors.Is(err, kv.ErrConflict) {
			return Cluster{}, err
		}
	}
	// While an operation is under way, a spec that is missing is its to make, or was its to delete.
	if err := p.settleLogins(ctx, c); err != nil {
		return c, err
	}
	return c, p.arrange(ctx, c, func(int32) bool { return c.Operation == 0 }, true)
}

// settleLogins gives brokers that do not run the logins of their cluster.
func (p *Plane) settleLogins(ctx context.Context, c Cluster) error {
	nodes, err := p.Nodes(ctx, c.Name)
	if err != nil || c.Operation != 0 {
		return err
	}
	for _, n := range nodes {
		if n.Status.PID != 0 || n.Spec.Auth == c.Auth && n.Spec.Secure == c.secureOf(c.Auth) {
			continue
		}
		err := p.edit(ctx, n.Spec.Key(), false, func(s *engine.NodeSpec) { s.Auth, s.Secure = c.Auth, c.secureOf(c.Auth) })
		if err != nil {
			return err
		}
	}
	return nil
}

// merge is what a cluster is to be after it was old (the zero Cluster: there was
// none) and asked came in.
func merge(old, asked Cluster, idle bool) Cluster {
	c := asked
	c.Format, c.Managed = format, old.Managed
	c.Limits = old.Limits
	if old.Name != "" {
		c.Log = old.Log
	}
	c.Region = cmp.Or(asked.Region, old.Region)
	c.Super, c.Mapping = cleared(asked.Super, old.Super), cleared(asked.Mapping, old.Mapping)
	if old.Name != "" {
		c.Encrypt = old.Encrypt // what is in the store is either encrypted or not
	}
	c.Auth, c.WantedAuth = mergeAuth(old, asked, idle)
	if c.Auth != "" || c.WantedAuth != "" || c.Encrypt {
		c.Format = formatLogins
	}
	if c.ID != "" {
		c.Format = formatManaged
	}
	c.Wanted, c.Binary, c.Operation, c.Operations = old.Wanted, old.Binary, old.Operation, old.Operations
	switch {
	case asked.Brokers == 0:
		c.Brokers = max(old.Brokers, 1)
	case old.Brokers == 0, asked.Brokers > old.Brokers && old.Operation == 0:
		c.Wanted = asked.Brokers
	default:
		c.Wanted, c.Brokers = asked.Brokers, old.Brokers
		if asked.Brokers < 1 || asked.Brokers > MaxBrokers {
			c.Brokers = asked.Brokers // for Validate to refuse
		}
	}
	return c
}

// None clears what Ensure would leave as it was: Super and Mapping.
const None = "none"

// cleared is asked, or what was there where nothing was asked for; nothing for None, which no record holds.
func cleared(asked, old string) string {
	if asked == None {
		return ""
	}
	return cmp.Or(asked, old)
}

// mergeAuth says which logins there are and shall be. They change at once where no broker runs, and otherwise by an operation.
func mergeAuth(old, asked Cluster, idle bool) (auth, wanted string) {
	switch {
	case asked.Auth == "" || asked.Auth == LoginPlaintext && old.Auth == "" && old.WantedAuth == "":
		return old.Auth, old.WantedAuth
	case old.Name == "" || idle && old.Operation == 0:
		return asked.Auth, ""
	}
	return old.Auth, asked.Auth
}

// idle says that no broker of the cluster runs, or may run.
func (p *Plane) idle(ctx context.Context, cluster string) (bool, error) {
	nodes, err := p.Nodes(ctx, cluster)
	for _, n := range nodes {
		if n.Status.PID != 0 {
			return false, nil
		}
	}
	return true, err
}

// Cluster returns the record of a cluster, or ErrNoCluster.
func (p *Plane) Cluster(ctx context.Context, name string) (Cluster, error) {
	c, _, err := p.read(ctx, name)
	return c, err
}

// read returns the record and its revision; rev is 0 with ErrNoCluster.
func (p *Plane) read(ctx context.Context, name string) (Cluster, int64, error) {
	item, err := p.store.Get(ctx, clusterKey(name))
	if errors.Is(err, kv.ErrNotFound) {
		return Cluster{}, 0, fmt.Errorf("%w: %q", ErrNoCluster, name)
	}
	if err != nil {
		return Cluster{}, 0, fmt.Errorf("read cluster %s: %w", name, err)
	}
	c, err := decodeCluster(name, item.Value)
	return c, item.ModRev, err
}

func decodeCluster(name string, record []byte) (Cluster, error) {
	var c Cluster
	if err := json.Unmarshal(record, &c); err != nil {
		return Cluster{}, fmt.Errorf("read cluster %s: %w", name, err)
	}
	if c.Format > formatManaged {
		return Cluster{}, fmt.Errorf("%w: cluster %s has format %d, this binary knows up to %d", ErrNewer, name, c.Format, formatManaged)
	}
	return c, nil
}

// save replaces the record that was read at rev, with whatever else changes
// in the same step. It returns kv.ErrConflict where somebody was faster.
func (p *Plane) save(ctx context.Context, c Cluster, rev int64, with ...kv.Op) error {
	return p.swap(ctx, c, rev, nil, with)
}

// swap is save on further conditions.
func (p *Plane) swap(ctx context.Context, c Cluster, rev int64, cond []kv.Cond, with []kv.Op) error {
	record, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode cluster %s: %w", c.Name, err)
	}
	ops := append(with, kv.Put(clusterKey(c.Name), record))
	if _, err := p.store.Txn(ctx, append(cond, kv.ModRevEquals(clusterKey(c.Name), rev)), ops); err != nil {
		return fmt.Errorf("save cluster %s: %w", c.Name, err)
	}
	return nil
}

// edit changes a spec, by compare-and-swap and only where it differs (C2). A
// spec that is missing is made where create says so, and left alone otherwise. With a guard it returns kv.ErrConflict where that does
// not hold, or somebody else has changed the spec meanwhile.
func (p *Plane) edit(ctx context.Context, key string, create bool, change func(*engine.NodeSpec), guard ...kv.Cond) error {
	for {
		item, err := p.store.Get(ctx, key)
		missing := errors.Is(err, kv.ErrNotFound)
		if missing && !create {
			return nil
		}
		if err != nil && !missing {
			return fmt.Errorf("read node %s: %w", key, err)
		}
		var spec engine.NodeSpec
		if !missing {
			if spec, err = engine.Decode[engine.NodeSpec](item.Value); err != nil {
				return fmt.Errorf("read node %s: %w", key, err)
			}
		}
		change(&spec)
		b, err := engine.Encode(spec)
		if err != nil {
			return fmt.Errorf("encode node %s: %w", key, err)
		}
		if bytes.Equal(b, item.Value) {
			return nil
		}
		_, err = p.store.Txn(ctx, append(guard[:len(guard):len(guard)], kv.ModRevEquals(key, item.ModRev)), []kv.Op{kv.Put(key, b)})
		if len(guard) > 0 || !errors.Is(err, kv.ErrConflict) {
			if err != nil {
				err = fmt.Errorf("save node %s: %w", key, err)
			}
			return err
		}
	}
}
