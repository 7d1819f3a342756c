package configuration

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// format of all records here.
const format = 1

// The keys in etcd.
const (
	dirConfigurations = "control/configurations/"
	dirRevisions      = "control/revisions/"
	keySerial         = "control/configuration-serial"
)

func configurationKey(name string) string { return dirConfigurations + name }
func revisionsOf(name string) string      { return dirRevisions + name + "/" }
func revisionKey(name string, number int64) string {
	return fmt.Sprintf("%s%04d", revisionsOf(name), number)
}

// State is how far a configuration has come, in the words of the MSK API.
type State string

// The states of a configuration.
const (
	Active   State = "ACTIVE"
	Deleting State = "DELETING"
)

// Configuration is a named list of properties, in revisions.
type Configuration struct {
	Format        int       `json:"format"`
	ID            string    `json:"id"` // "NAME/UUID-N", the end of its ARN
	Name          string    `json:"name"`
	Description   string    `json:"description,omitempty"`
	KafkaVersions []string  `json:"kafka_versions,omitempty"` // that it is said to be for; none: any
	Created       time.Time `json:"created"`
	State         State     `json:"state"`
	Latest        Revision  `json:"latest"`
}

// Revision is what a configuration was from some time on.
type Revision struct {
	Format      int       `json:"format"`
	Number      int64     `json:"number"` // from 1
	Created     time.Time `json:"created"`
	Description string    `json:"description,omitempty"`
	Properties  []byte    `json:"properties,omitempty"` // the text, as it was given; left out in a Configuration and in lists
}

// told is the revision without its properties.
func (r Revision) told() Revision {
	r.Properties = nil
	return r
}

// serial changes whenever a configuration is made.
type serial struct {
	Format int   `json:"format"`
	Made   int64 `json:"made"`
}

// applied is what stands at a cluster of its configuration (F5).
type applied struct {
	Format int      `json:"format"`
	ID     string   `json:"id,omitempty"`     // of the configuration
	Number int64    `json:"number,omitempty"` // of the revision
	Names  []string `json:"names,omitempty"`  // of Live properties that are or may be set, sorted
	Done   bool     `json:"done"`             // they are, and no others
}

func (c Configuration) version() int { return c.Format }
func (r Revision) version() int      { return r.Format }
func (s serial) version() int        { return s.Format }
func (a applied) version() int       { return a.Format }

// decode reads a record. The error is ErrNewer for a later format.
func decode[T interface{ version() int }](value []byte) (T, error) {
	var r T
	if err := json.Unmarshal(value, &r); err != nil {
		return r, fmt.Errorf("configuration record: %w", err)
	}
	if r.version() != format {
		return r, fmt.Errorf("%w: format %d", ErrNewer, r.version())
	}
	return r, nil
}

// nameOf is the first part of an ID.
func nameOf(id string) string {
	name, _, _ := strings.Cut(id, "/")
	return name
}
