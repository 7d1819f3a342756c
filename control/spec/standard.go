package spec

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"millrace/engine"
)

// Controllers of a cluster of Apache Kafka: how many there are, and the id of the first. MSK has as many, by these ids.
const (
	Controllers     = 3
	FirstController = 10001
)

// standardTypes is what the names of broker types begin with that are Apache Kafka itself.
const standardTypes = "kafka."

// Standard says that a cluster with these Settings is Apache Kafka itself.
func (s Settings) Standard() bool { return strings.HasPrefix(s.BrokerType, standardTypes) }

// Engine is what runs the cluster's nodes, as engine.NodeSpec names it.
func (c Cluster) Engine() string {
	if c.Settings.Standard() {
		return engine.Standard
	}
	return engine.Express
}

// ControllerIDs are those of the cluster's controllers; an express cluster has none.
func (c Cluster) ControllerIDs() []int32 {
	if !c.Settings.Standard() {
		return nil
	}
	return IDs(FirstController, FirstController+Controllers-1)
}

// Controller says whether a node id is that of a controller.
func Controller(id int32) bool { return id >= FirstController }

// Tell fills in what the spec of a node of Apache Kafka says beside what every node's does; of an express cluster it leaves the spec as it is.
func (c Cluster) Tell(s *engine.NodeSpec) {
	if !c.Settings.Standard() {
		return
	}
	s.Engine, s.Version, s.ClusterID, s.Heap, s.Log, s.Store = engine.Standard, c.Settings.KafkaVersion, c.KafkaID(), c.Heap, "", ""
	s.Volume = int64(c.Settings.VolumeGiB) << 30
	if Controller(s.ID) {
		s.Role, s.Volume, s.Memory, s.Heap, s.Limits = engine.Controller, 0, controllerMemory, controllerHeap, engine.Limits{}
	}
}

// Of a controller of Apache Kafka, in bytes: of the process, and of its heap. It keeps what topics there are, and none of their records.
const (
	controllerMemory = 512 << 20
	controllerHeap   = 256 << 20
)

// KafkaID is what Apache Kafka calls the cluster: the first part of its ID, a UUID, in Kafka's writing of UUIDs.
func (c Cluster) KafkaID() string {
	const length = 36 // of a UUID as text
	id, err := uuid.Parse(c.ID[:min(len(c.ID), length)])
	if err != nil {
		return c.ID
	}
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// NodeListeners are those of a node of the cluster whose numbering begins at base; see Listeners. A controller has one, for nodes.
func (c Cluster) NodeListeners(id int32, auth, base, public string) ([]engine.Listener, error) {
	if !c.Settings.Standard() {
		return Listeners(auth, base, public)
	}
	secure := auth != ""
	switch {
	case Controller(id) && secure:
		return []engine.Listener{{Name: engine.ControllerListener, Address: base, TLS: true, ClientCert: engine.CertNeed}}, nil
	case Controller(id):
		return []engine.Listener{{Name: engine.ControllerListener, Address: base}}, nil
	case !secure:
		return []engine.Listener{{Name: engine.Client, Address: base}}, nil
	}
	return Listeners(auth, base, public)
}

// CheckStandard says why a cluster of Apache Kafka cannot go from the Settings before, the zero value for a new one, to those after;
// ErrSpec.
func CheckStandard(before, after Settings) error {
	switch {
	case before.Type != "" && before.Standard() != after.Standard():
		return fmt.Errorf("%w: broker type %q: a cluster is either of express or of standard broker types", ErrSpec, after.BrokerType)
	case !after.Standard():
		return nil
	case after.Type == Serverless:
		return fmt.Errorf("%w: a serverless cluster has no broker type", ErrSpec)
	case Offers(after.Auth, LoginIAM):
		return fmt.Errorf("%w: brokers of type %s have no IAM login yet; use TLS, mTLS or SCRAM", ErrSpec, after.BrokerType)
	case before.Type != "" && (before.Auth == "") != (after.Auth == ""):
		return fmt.Errorf("%w: whether nodes of Apache Kafka talk to each other by TLS is said when the cluster is made", ErrSpec)
	case before.Type != "" && before.KafkaVersion != after.KafkaVersion && before.Brokers != after.Brokers:
		return fmt.Errorf("%w: an upgrade and another number of brokers are two updates", ErrSpec)
	case before.Type != "" && OlderVersion(after.KafkaVersion, before.KafkaVersion):
		return fmt.Errorf("%w: Kafka %s is older than %s, to which there is no way back", ErrSpec, after.KafkaVersion, before.KafkaVersion)
	}
	return nil
}

// OlderVersion says whether a version of Kafka, as "3.9.x" or "4.1.2", is of an older release than b. Patches are not compared, and what is no
// version is not older.
func OlderVersion(a, b string) bool {
	one, two := release(a), release(b)
	return one != [2]int{} && two != [2]int{} && (one[0] < two[0] || one[0] == two[0] && one[1] < two[1])
}

func release(version string) (r [2]int) {
	parts := strings.Split(version, ".")
	if len(parts) < len(r) {
		return r
	}
	for i := range r {
		n, err := strconv.Atoi(parts[i])
		if err != nil {
			return [2]int{}
		}
		r[i] = n
	}
	return r
}
