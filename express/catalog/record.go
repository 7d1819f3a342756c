package catalog

import (
	"encoding/json"
	"fmt"

	"millrace/express/quota"
	"millrace/express/settings"
	"millrace/kafka/topic"
)

// formatVersion is the version of every record here. A record of a higher version is not read.
const formatVersion = 1

// clusterRecord is written once.
type clusterRecord struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
	Created int64  `json:"created_ms"`

	Log LogKind `json:"log,omitempty"` // missing: LogFile
}

// topicRecord is written after the partitions it counts.
type topicRecord struct {
	Version           int               `json:"version"`
	ID                topic.ID          `json:"id"`
	Partitions        int32             `json:"partitions"`
	ReplicationFactor int16             `json:"replication_factor"`
	Configs           map[string]string `json:"configs,omitempty"`
	Created           int64             `json:"created_ms"`

	rev int64
}

// partitionRecord says who owns a partition. There is one in memory for each, so it is kept small.
type partitionRecord struct {
	Version     int32  `json:"version"`
	Owner       int32  `json:"owner"`
	Epoch       int32  `json:"epoch"`
	To          int32  `json:"to,omitempty"`
	Incarnation uint64 `json:"incarnation"` // of the owner that serves or will serve this epoch
	Tail        string `json:"tail,omitempty"`
	Log         string `json:"log,omitempty"` // at most one of Tail and Log is there

	rev int64 // 0: not known
}

// partition is what readers see of the record.
func (r partitionRecord) partition() Partition {
	return Partition{Owner: r.Owner, Epoch: r.Epoch, Incarnation: r.Incarnation, To: r.To, Tail: r.Tail, Log: r.Log}
}

// inherit makes the partition that of another incarnation, which must import what the one before has in its log: or what
// that had still to import itself, since then it has served nothing. One that came from a backup was nobody's; its record names
// what there is.
func (r *partitionRecord) inherit(heir Broker, kind LogKind) {
	if kind == LogObject && r.Tail == "" && r.Log == "" && r.Incarnation != 0 {
		r.Log = LogID(r.Owner, r.Incarnation)
	}
	r.Owner, r.Incarnation = heir.ID, heir.Incarnation
	r.Epoch++
}

// imports tells whether the owner has something to import.
func (r partitionRecord) imports() bool { return r.Tail != "" || r.Log != "" }

// imported is the record when that is done.
func (r partitionRecord) imported() partitionRecord {
	r.Tail, r.Log = "", ""
	return r
}

// newRecord is the record of a partition that nobody has served.
func newRecord(p Partition) partitionRecord {
	return partitionRecord{Version: formatVersion, Owner: p.Owner, Epoch: p.Epoch, Incarnation: p.Incarnation}
}

// servedBy tells whether it is this very process that serves the partition at epoch.
func (r partitionRecord) servedBy(b Broker, epoch int32) bool {
	return r.Owner == b.ID && r.Incarnation == b.Incarnation && r.Epoch == epoch
}

// brokerRecord is a live broker.
type brokerRecord struct {
	Version     int    `json:"version"`
	Incarnation uint64 `json:"incarnation"`
	Host        string `json:"host"`
	Port        int32  `json:"port"`
	Rack        string `json:"rack,omitempty"`
	Draining    bool   `json:"draining,omitempty"`

	Endpoints []Endpoint `json:"endpoints,omitempty"` // missing: one, Client, at Host and Port
}

// controllerRecord names the process that plans for the cluster, under the lease of its registration.
type controllerRecord struct {
	Version     int    `json:"version"`
	Broker      int32  `json:"broker"`
	Incarnation uint64 `json:"incarnation"`
}

// configRecord holds runtime configurations.
type configRecord struct {
	Version int               `json:"version"`
	Configs map[string]string `json:"configs"`
}

// quotaRecord holds the quotas of one entity.
type quotaRecord struct {
	Version int          `json:"version"`
	Values  quota.Values `json:"values"`
}

// producerIDRecord is the first producer id that was never given out.
type producerIDRecord struct {
	Version int   `json:"version"`
	Next    int64 `json:"next"`
}

// encode cannot fail: the records hold only numbers, strings and maps of them.
func encode(record any) []byte {
	b, err := json.Marshal(record)
	if err != nil {
		panic(fmt.Sprintf("catalog: encode %T: %v", record, err))
	}
	return b
}

// decode reads a record and refuses a newer version.
func decode[T any](b []byte) (T, error) {
	var head struct {
		Version int `json:"version"`
	}
	var record T
	if err := json.Unmarshal(b, &head); err != nil {
		return record, fmt.Errorf("decode record: %w", err)
	}
	if head.Version > formatVersion || head.Version < 1 {
		return record, fmt.Errorf("%w: record version %d, this program reads up to %d", ErrNewer, head.Version, formatVersion)
	}
	if err := json.Unmarshal(b, &record); err != nil {
		return record, fmt.Errorf("decode record: %w", err)
	}
	return record, nil
}

func readCluster(b []byte) (clusterRecord, error) {
	r, err := decode[clusterRecord](b)
	if err != nil {
		return r, fmt.Errorf("cluster record: %w", err)
	}
	if r.ID == "" {
		return r, fmt.Errorf("cluster record has no id: %q", b)
	}
	if r.Log == "" {
		r.Log = LogFile
	}
	return r, nil
}

// wants says what is wrong where a broker that keeps its log in a certain way comes to the cluster.
func (r clusterRecord) wants(kind LogKind) error {
	if r.Log != kind {
		return fmt.Errorf("%w: it was made with the log kind %q, and this broker is started with %q", ErrLogKind, r.Log, kind)
	}
	return nil
}

// readTopic also checks what the rest of the house relies on.
func readTopic(name string, b []byte, rev int64) (topicRecord, error) {
	r, err := decode[topicRecord](b)
	switch {
	case err != nil:
		return r, err
	case topic.ValidateName(name) != nil:
		return r, fmt.Errorf("read topic: %w", topic.ValidateName(name))
	case r.ID == topic.ID{}:
		return r, fmt.Errorf("read topic: %w: no id", topic.ErrInvalidName)
	case r.Partitions < 1 || r.Partitions > settings.MaxPartitions:
		return r, fmt.Errorf("%w: %d", ErrInvalidPartitions, r.Partitions)
	}
	r.rev = rev
	return r, nil
}
