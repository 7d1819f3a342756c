package render

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"millrace/engine"
)

// Errors to be tested with errors.Is.
var (
	// ErrProperty: a property of the configuration cannot be set, or cannot be read; the message names it.
	ErrProperty = errors.New("property of the configuration")
	// ErrSpec: a node cannot be as its spec says; the message says why.
	ErrSpec = errors.New("invalid node of Apache Kafka")
)

// Place is where a node keeps things on its host. Paths are absolute.
type Place struct {
	Data    string // folder of log segments and metadata
	Logs    string // folder of what it prints about itself
	Logging string // file that Logging was written to

	// For nodes with a TLS listener: files in PEM. KeyStore has the key, then its certificate and what leads to a root; TrustStore has the roots.
	KeyStore, TrustStore string
}

// NodePrincipal is who a node of the installation is to another, in a cluster with certificates. It has a comma, which no name out of a certificate
// can have by a rule that takes one of its parts.
const NodePrincipal = "User:millrace,node"

// defaults are MSK's for brokers of Apache Kafka in three zones, where they are not Apache Kafka's; a configuration may change them.
func defaults() map[string]string {
	return map[string]string{
		"allow.everyone.if.no.acl.found":           "true",
		"auto.create.topics.enable":                "false",
		"default.replication.factor":               "3",
		"min.insync.replicas":                      "2",
		"num.io.threads":                           "8",
		"num.network.threads":                      "5",
		"num.partitions":                           "1",
		"num.replica.fetchers":                     "2",
		"replica.lag.time.max.ms":                  "30000",
		"unclean.leader.election.enable":           "true",
		"offsets.topic.replication.factor":         "3",
		"transaction.state.log.replication.factor": "3",
		"transaction.state.log.min.isr":            "2",
	}
}

// shareDefaults are of versions from 4.1, which have share groups.
func shareDefaults() map[string]string {
	return map[string]string{
		"share.coordinator.state.topic.replication.factor": "3",
		"share.coordinator.state.topic.min.isr":            "2",
	}
}

// Properties are those of a node that runs the exact version, sorted by name: the text of its server.properties.
func Properties(s engine.NodeSpec, version string, p Place) (string, error) {
	all := defaults()
	if atLeast(version, 4, 1) {
		maps.Copy(all, shareDefaults())
	}
	configured, err := Configured(s.Properties)
	if err != nil {
		return "", err
	}
	maps.Copy(all, configured)
	if err := check(s, p); err != nil {
		return "", err
	}
	all["node.id"] = strconv.Itoa(int(s.ID))
	all["process.roles"] = "broker"
	if s.Role == engine.Controller {
		all["process.roles"] = "controller"
	}
	all["controller.quorum.voters"] = voters(s.Voters)
	all["controller.listener.names"] = engine.ControllerListener
	all["log.dirs"] = p.Data
	if s.Zone != "" && s.Role == "" {
		all["broker.rack"] = s.Zone
	}
	listeners(s, p, all)
	authorize(s, all)
	limits(s, all)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b.WriteString(name + "=" + escapeValue(all[name]) + "\n")
	}
	return b.String(), nil
}

// check names every fault of the spec.
func check(s engine.NodeSpec, p Place) error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: "+format, append([]any{ErrSpec}, args...)...))
	}
	if s.Role != "" && s.Role != engine.Controller {
		fault("role %q", s.Role)
	}
	if s.ID < 1 {
		fault("id %d", s.ID)
	}
	if len(s.Voters) == 0 {
		fault("no controllers are named")
	}
	mine := false
	for i, v := range s.Voters {
		if v.ID < 1 || v.Address == "" || slices.ContainsFunc(s.Voters[:i], func(o engine.Voter) bool { return o.ID == v.ID }) {
			fault("controller %d at %q", v.ID, v.Address)
		}
		mine = mine || v.ID == s.ID
	}
	if mine != (s.Role == engine.Controller) {
		fault("node %d is a %s, and its controllers are %s", s.ID, roleName(s.Role), voters(s.Voters))
	}
	if err := engine.CheckListeners(s.Served()); err != nil {
		faults = append(faults, fmt.Errorf("%w: %w", ErrSpec, err))
	}
	for _, l := range s.Served() {
		if (l.Name == engine.ControllerListener) != (s.Role == engine.Controller) {
			fault("a %s has a listener %s", roleName(s.Role), l.Name)
		}
		if l.TLS && (p.KeyStore == "" || p.TrustStore == "") {
			fault("listener %s has TLS, and the node has no certificate", l.Name)
		}
		for _, m := range l.Mechanisms {
			if !strings.HasPrefix(string(m), "SCRAM-") {
				fault("listener %s: Apache Kafka has no login %s", l.Name, m)
			}
		}
	}
	if s.Memory > 0 && s.Memory <= s.Heap {
		fault("%d bytes of memory do not hold a heap of %d", s.Memory, s.Heap)
	}
	return errors.Join(faults...)
}

func roleName(role string) string {
	if role == engine.Controller {
		return role
	}
	return "broker"
}

// voters lists controllers as controller.quorum.voters does.
func voters(all []engine.Voter) string {
	var texts []string
	for _, v := range all {
		texts = append(texts, fmt.Sprintf("%d@%s", v.ID, v.Address))
	}
	return strings.Join(texts, ",")
}

// limits are those of the spec that a node has as properties. Its flows (Limits.In and Out) are quotas of clients, which lie in the metadata.
func limits(s engine.NodeSpec, all map[string]string) {
	set := func(name string, v int64) {
		if v > 0 {
			all[name] = strconv.FormatInt(v, 10)
		}
	}
	connections := s.MaxConnections
	if n := s.Limits.Connections; n > 0 && (connections == 0 || n < connections) {
		connections = n
	}
	set("max.connections", int64(connections))
	set("max.connections.per.ip", int64(s.MaxConnectionsPerIP))
	set("max.connection.creation.rate", int64(s.Limits.ConnectionRate))
	if _, configured := all["message.max.bytes"]; !configured {
		set("message.max.bytes", s.Limits.MessageBytes)
	}
}

// atLeast says that an exact version is of this release or a later one.
func atLeast(version string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(version, "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a > major || a == major && b >= minor
}
