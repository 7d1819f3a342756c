package engine

import (
	"context"
	"crypto/tls"
)

// The engines, as NodeSpec.Engine names them.
const (
	Express  = "express"  // our own broker, many of which share a log
	Standard = "standard" // Apache Kafka, with replicas and a quorum of controllers
)

// Controller is the NodeSpec.Role of a node of Apache Kafka that keeps the cluster's metadata and serves no clients.
const Controller = "controller"

// ControllerListener is the name of the listener by which a Controller is asked. MSK calls it so too.
const ControllerListener = "CONTROLLER"

// Voter is one controller of a quorum.
type Voter struct {
	ID      int32  `json:"id"`      // node id, of which brokers have none
	Address string `json:"address"` // host:port of its ControllerListener
}

// Target is where a cluster of Apache Kafka can be asked, and how. It is not stored.
type Target struct {
	Cluster     string   // its name
	Bootstrap   []string // host:port of brokers, at the listener of the installation's own
	Controllers []string // host:port of the controllers
	// TLS is how the installation shows a node at some host who it is; ctx bounds it. nil: the listeners are plain.
	TLS   func(ctx context.Context, host string) (*tls.Config, error)
	Zones map[int32]string // of the brokers that there should be, by id
}
