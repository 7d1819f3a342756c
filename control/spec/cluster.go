package spec

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"millrace/engine"
)

// ErrSpec: the cluster's description cannot be made so; the message says why.
var ErrSpec = errors.New("invalid cluster description")

// Formats of records.
const (
	FormatFirst  = 1 // of operations, and of a cluster that says nothing of logins
	FormatLogins = 2 // of a cluster that does, and of operations on them: who does not know them would let everybody in

	FormatManaged = 3 // of a cluster with an ID, and of operations on what only such a one has: who does not know them would drop it
	FormatEngine  = 4 // of a cluster whose nodes are told an engine, a version or properties, and of operations on it
)

// portStep is between the ports of two brokers of a cluster on one host.
const portStep = 100

// MaxBrokers is how many brokers a cluster may have.
const MaxBrokers = 15

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
	Heap       int64  `json:"heap,omitempty"`        // bytes, of the Java machine of each broker of Apache Kafka; 0: the engine's default
	Properties string `json:"properties,omitempty"`  // lines "key=value" that nodes are started with, by the configuration of the Settings
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
	if _, err := AddressOf(c.Listen, most); err != nil {
		faults = append(faults, err)
	}
	if _, err := AddressOf(c.Metrics, most); c.Metrics != "" && err != nil {
		faults = append(faults, fmt.Errorf("metrics: %w", err))
	}
	if auth, err := ParseAuth(c.Auth); c.Auth != "" && (err != nil || auth != c.Auth) {
		faults = append(faults, fmt.Errorf("%w: logins %q", ErrSpec, c.Auth))
	} else if _, err := Listeners(c.Auth, c.lastAddress(most), ""); err != nil {
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
		if a, err := AddressOf(c.Listen, k); err == nil {
			all = append(all, c.listening(a, k)...)
		}
		if a, err := AddressOf(c.Metrics, k); c.Metrics != "" && err == nil {
			all = append(all, Address{a, fmt.Sprintf("the metrics of broker %d", k), int32(k), true})
		}
	}
	return all
}

// listening is where broker k listens, whose numbering begins at base.
func (c Cluster) listening(base string, k int) []Address {
	ways, err := Listeners(c.Auth, base, "")
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
	if a, err := AddressOf(c.Listen, brokers); err == nil {
		return a
	}
	return c.Listen
}

// AddressOf is the host:port of a broker, where first is the first one's; ErrSpec where it has none.
func AddressOf(first string, broker int) (string, error) {
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

// None clears what Ensure would leave as it was: Super and Mapping.
const None = "none"

// Public says that the brokers listen at the public addresses of their hosts too. The cluster that serve makes does where its host has one.
func (c Cluster) Public() bool { return c.Listen != "" || c.Settings.Public }

// PublicOf is the host of the public listeners of the cluster's brokers on a host; "": they have none.
func (c Cluster) PublicOf(h engine.Host) string {
	if !c.Public() {
		return ""
	}
	return h.Public
}

// Shows says that brokers show their metrics because their Settings say so.
func (c Cluster) Shows() bool {
	return c.Listen == "" && !c.Settings.Standard() && (c.Settings.OpenMetrics.JMX || c.Settings.OpenMetrics.Node)
}
