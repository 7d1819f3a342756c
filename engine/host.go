package engine

import "time"

// Host is what the agent of a host says of it, under a lease: a host without a record has no agent that could be asked for anything,
// though its nodes may run on.
type Host struct {
	Format  int       `json:"format"`
	Name    string    `json:"name"`
	Zone    string    `json:"zone,omitempty"`    // availability zone; "": none was given
	Address string    `json:"address,omitempty"` // host name or IP at which its nodes listen and are reached; "": that of the cluster
	Public  string    `json:"public,omitempty"`  // host name or IP of its nodes' public listeners, which all ask for a login; "": there are none
	Ports   Ports     `json:"ports,omitzero"`
	Version string    `json:"version,omitempty"` // of the agent's program
	Holder  string    `json:"holder,omitempty"`  // which data directory the agent has; two hosts of one name differ in it
	Boot    string    `json:"boot,omitempty"`    // which run of which machine the agent is part of, see proc.Boot
	Began   time.Time `json:"began"`             // start of the agent
}

// Ports is a range of ports, both ends included. The zero value says that the cluster's numbering holds.
type Ports struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// HostPrefix is where the hosts' records lie.
const HostPrefix = "hosts/"

// Key is where the host's record lies in etcd.
func (h Host) Key() string { return HostPrefix + h.Name }
