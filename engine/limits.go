package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrLimits: limits that cannot be kept; the message says which.
var ErrLimits = errors.New("limits")

// Flow is a rate of bytes: Sustained per second in the long run, Max per second at any time. Zero, both: unbounded; else
// 0 < Sustained <= Max.
type Flow struct {
	Sustained int64 `json:"sustained,omitempty"`
	Max       int64 `json:"max,omitempty"`
}

// Limits are what a broker holds its clients to, all of them together, whatever client quotas say. What nodes of the installation do
// among themselves is not counted. A zero field is no limit. Limits are comparable plain data.
type Limits struct {
	In  Flow `json:"in,omitzero"`  // of what clients produce
	Out Flow `json:"out,omitzero"` // of what clients fetch

	Requests       int   `json:"requests,omitempty"`        // per second
	Connections    int   `json:"connections,omitempty"`     // of clients, open at once
	ConnectionRate int   `json:"connection_rate,omitempty"` // new ones per second
	MessageBytes   int64 `json:"message_bytes,omitempty"`   // the largest record batch
	FetchBytes     int64 `json:"fetch_bytes,omitempty"`     // records in one answer

	Replicas          int `json:"replicas,omitempty"`           // of partitions, for each broker of the cluster, as Kafka counts them
	Partitions        int `json:"partitions,omitempty"`         // of the cluster, without internal topics
	TopicChanges      int `json:"topic_changes,omitempty"`      // topics created, deleted or enlarged per second
	PartitionChanges  int `json:"partition_changes,omitempty"`  // partitions created and deleted per PartitionsSeconds
	PartitionsSeconds int `json:"partitions_seconds,omitempty"` // the period that PartitionChanges is over

	CPUs        int `json:"cpus,omitempty"`         // processors that the process uses at a time, where the host has as many
	LoadSeconds int `json:"load_seconds,omitempty"` // every so many seconds the broker says what it has to do (Load)
}

// Validate names every fault, joined; the error matches ErrLimits.
func (l Limits) Validate() error {
	var faults []error
	for _, f := range []struct {
		name string
		Flow
	}{{"in", l.In}, {"out", l.Out}} {
		if f.Flow != (Flow{}) && (f.Sustained <= 0 || f.Max < f.Sustained || f.Max > 1<<40) {
			faults = append(faults, fmt.Errorf("%w: %s: %d bytes per second, at most %d", ErrLimits, f.name, f.Sustained, f.Max))
		}
	}
	for _, n := range []struct {
		name string
		v    int64
	}{
		{"requests", int64(l.Requests)}, {"connections", int64(l.Connections)}, {"connection_rate", int64(l.ConnectionRate)},
		{"message_bytes", l.MessageBytes}, {"fetch_bytes", l.FetchBytes}, {"replicas", int64(l.Replicas)}, {"partitions", int64(l.Partitions)},
		{"topic_changes", int64(l.TopicChanges)}, {"partition_changes", int64(l.PartitionChanges)},
		{"partitions_seconds", int64(l.PartitionsSeconds)}, {"cpus", int64(l.CPUs)}, {"load_seconds", int64(l.LoadSeconds)},
	} {
		if n.v < 0 || n.v > 1<<30 {
			faults = append(faults, fmt.Errorf("%w: %s is %d", ErrLimits, n.name, n.v))
		}
	}
	if (l.PartitionChanges > 0) != (l.PartitionsSeconds > 0) {
		faults = append(faults, fmt.Errorf("%w: partition_changes and partitions_seconds go together", ErrLimits))
	}
	return errors.Join(faults...)
}

// FormatLimits writes limits as ParseLimits reads them: JSON on one line. It is "" for none.
func FormatLimits(l Limits) (string, error) {
	if l == (Limits{}) {
		return "", nil
	}
	b, err := json.Marshal(l)
	return string(b), err
}

// ParseLimits reads what FormatLimits wrote, strictly: a field that it does not know would be a limit that is not kept. It returns
// ErrLimits for what cannot be.
func ParseLimits(text string) (Limits, error) {
	var l Limits
	if text == "" {
		return l, nil
	}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return Limits{}, fmt.Errorf("%w: %w", ErrLimits, err)
	}
	if d.More() {
		return Limits{}, fmt.Errorf("%w: more than one set", ErrLimits)
	}
	if err := l.Validate(); err != nil {
		return Limits{}, err
	}
	return l, nil
}

// Load is what one broker has to do, as it says itself every Limits.LoadSeconds at LoadKey, below the cluster's keys. A record that is
// not renewed is old: its broker is gone.
type Load struct {
	Format      int       `json:"format"`
	Broker      int32     `json:"broker"`
	Incarnation int64     `json:"incarnation"` // of the broker; what follows began with it
	Number      int64     `json:"number"`      // of the report, from 1
	At          time.Time `json:"at"`          // by the broker's clock; to be shown, not to be reckoned with

	In          float64 `json:"in"`          // bytes per second since the report before, that clients tried to produce
	Out         float64 `json:"out"`         // likewise, fetched
	Requests    float64 `json:"requests"`    // likewise, per second
	Throttled   int64   `json:"throttled"`   // how often since then clients were told to wait by a limit of the broker
	Connections int     `json:"connections"` // of clients, open
	Partitions  int     `json:"partitions"`  // that the broker owns, without internal topics
}

// LoadPrefix is where the brokers of a cluster put their Loads, below the cluster's keys.
const LoadPrefix = "load/"

// LoadKey is where a broker puts its Load, below the cluster's keys.
func LoadKey(broker int32) string { return fmt.Sprintf("%s%d", LoadPrefix, broker) }
