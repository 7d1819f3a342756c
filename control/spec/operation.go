package spec

import (
	"strconv"
	"strings"
	"time"
)

// Kind says what an operation does.
type Kind string

// The kinds of operations.
const (
	Scale   Kind = "SCALE"   // changes the number of brokers
	Roll    Kind = "ROLL"    // starts every broker anew, one at a time
	Upgrade Kind = "UPGRADE" // as Roll, with another program
	Logins  Kind = "LOGINS"  // as Roll, with other listeners; twice where some come and others go, so that brokers reach one another all the time

	Create  Kind = "CREATE"  // makes the brokers of a cluster; begun by Plane.Create
	Delete  Kind = "DELETE"  // removes everything; begun by Plane.Delete
	Update  Kind = "UPDATE"  // brings a cluster to other Settings
	Reboot  Kind = "REBOOT"  // starts some brokers anew, one at a time
	Replace Kind = "REPLACE" // places the brokers of a lost host elsewhere; begun by the plane
	Patch   Kind = "PATCH"   // as Roll, with the agents' own program of another release; begun by the plane
)

// State says how far an operation, or one of its steps, has come.
type State string

// The states of operations and steps.
const (
	Pending State = "PENDING" // a step whose turn has not come, or an operation that waits for its window
	Running State = "RUNNING"
	Done    State = "DONE"
	Failed  State = "FAILED" // an operation that fails leaves the cluster serving
)

// Request asks for an operation.
type Request struct {
	Kind    Kind   `json:"kind"`
	Brokers int    `json:"brokers,omitempty"` // Scale: how many there shall be, 1 to MaxBrokers
	Binary  string `json:"binary,omitempty"`  // Upgrade: path of the program; "": the agent's own
	Auth    string `json:"auth,omitempty"`    // Logins: which there shall be, as ParseAuth gives them

	Settings  *Settings `json:"settings,omitempty"`  // Update: all that there shall be; it must not be changed any more
	Nodes     []int32   `json:"nodes,omitempty"`     // Reboot, Replace: ids of brokers
	Version   string    `json:"version,omitempty"`   // CurrentVersion that the caller knows; "": any
	Type      string    `json:"type,omitempty"`      // the API's operationType; "": by Kind
	Requester string    `json:"requester,omitempty"` // principal who asked
	Window    bool      `json:"window,omitempty"`    // it waits, Pending, for the cluster's maintenance window
}

// Operation is long work on a cluster, step by step.
type Operation struct {
	Format  int       `json:"format"`
	Number  int64     `json:"number"` // from 1, in the order of their beginning
	Cluster string    `json:"cluster"`
	ID      string    `json:"id,omitempty"` // the end of its ARN
	Type    string    `json:"type,omitempty"`
	Request Request   `json:"request"`
	State   State     `json:"state"`
	Error   string    `json:"error,omitempty"` // why it failed, or will when what it did is undone
	Fault   Fault     `json:"fault,omitzero"`  // the same, with a code
	Before  *Settings `json:"before,omitempty"`
	After   *Settings `json:"after,omitempty"` // that there shall be, of an Update; otherwise as Before
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended,omitzero"`
	Steps   []Step    `json:"steps"`
}

// Step is one part of an operation, done by its action on its brokers.
type Step struct {
	Name    string    `json:"name"` // for people
	Action  Action    `json:"action"`
	Brokers []int32   `json:"brokers"`
	Auth    string    `json:"auth,omitempty"`  // logins that the brokers then have; "": as they have
	First   bool      `json:"first,omitempty"` // with Auth: another pass follows, so nobody is asked for a permission yet who was not before
	Back    bool      `json:"back,omitempty"`  // it undoes: by the Settings before
	Live    bool      `json:"live,omitempty"`  // of ActRoll: nodes are told and go on running; what differs counts at once already
	Taken   []string  `json:"taken,omitempty"` // host:port where brokers were to listen, and another program does
	State   State     `json:"state"`
	Detail  string    `json:"detail,omitempty"` // what it waits for, or what came of it
	Began   time.Time `json:"began,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
}

// Action is what a step does with its brokers.
type Action string

// The actions. Each may be done twice (C4).
const (
	ActStart   Action = "START"   // makes their specs and waits until they serve
	ActRestart Action = "RESTART" // stops each in good order and starts it again, with the operation's program
	ActEven    Action = "EVEN"    // waits until the leaders are evened out over all brokers
	ActDrain   Action = "DRAIN"   // tells them to hand over, and waits until they own nothing
	ActStop    Action = "STOP"    // stops them, and makes sure that they own nothing
	ActRemove  Action = "REMOVE"  // deletes their data and their specs

	ActConfigure Action = "CONFIGURE" // brings a configuration to the cluster
	ActRecord    Action = "RECORD"    // nothing: what changes is only kept
	ActErase     Action = "ERASE"     // stops them, whatever they own, and deletes their data
	ActPurge     Action = "PURGE"     // deletes what the cluster keeps in the object store
	ActHalt      Action = "HALT"      // tells them to stop, and does not wait
	ActRoll      Action = "ROLL"      // of Apache Kafka: starts them anew one at a time, as the cluster bears it
	ActSettle    Action = "SETTLE"    // of Apache Kafka: waits until all replicas and controllers are in step
	ActSpread    Action = "SPREAD"    // of Apache Kafka: moves replicas onto brokers that were added
	ActLeave     Action = "LEAVE"     // of Apache Kafka: takes them out of the cluster's records
	ActFinish    Action = "FINISH"    // of Apache Kafka: raises the feature levels, after which there is no way back
	ActResize    Action = "RESIZE"    // of Apache Kafka: gives them volumes of another size
	ActReplace   Action = "REPLACE"   // places those of lost hosts elsewhere, and waits until they serve
)

// Name says it for people.
func (a Action) Name(brokers []int32) string {
	ids := make([]string, len(brokers))
	for i, id := range brokers {
		ids[i] = strconv.Itoa(int(id))
	}
	kind := "broker"
	if len(brokers) > 0 && Controller(brokers[0]) {
		kind = "controller"
	}
	who := kind + " " + strings.Join(ids, ", ")
	if len(ids) > 1 {
		who = kind + "s " + strings.Join(ids, ", ")
	}
	switch a {
	case ActStart:
		return "start " + who
	case ActRestart:
		return "restart " + who
	case ActEven:
		return "even out the leaders"
	case ActDrain:
		return "move partitions away from " + who
	case ActStop:
		return "stop " + who
	case ActRemove:
		return "delete what is left of " + who
	case ActConfigure:
		return "apply the configuration"
	case ActRecord:
		return "change the settings"
	case ActErase:
		return "stop all brokers and delete their data"
	case ActPurge:
		return "delete what is in the object store"
	case ActHalt:
		return "stop " + who
	case ActRoll:
		return "restart one after the other " + who
	case ActSettle:
		return "wait until all replicas are in sync"
	case ActSpread:
		return "move replicas onto new brokers"
	case ActLeave:
		return "forget " + who
	case ActFinish:
		return "finish the upgrade"
	case ActResize:
		return "resize the volumes of " + who
	case ActReplace:
		return "place elsewhere " + who
	}
	return strings.ToLower(string(a)) + " " + who
}

// IDs are the ids of the brokers from first to last; none where last is below.
func IDs(first, last int) (all []int32) {
	for k := first; k <= last; k++ {
		all = append(all, int32(k))
	}
	return all
}
