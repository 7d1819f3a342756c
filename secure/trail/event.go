package trail

import (
	"encoding/json"
	"time"
)

// Kind says what an Event is about.
type Kind string

// The kinds of events.
const (
	Login   Kind = "login"   // somebody logged in, or was refused
	Refusal Kind = "refusal" // somebody asked for what they may not do
	Admin   Kind = "admin"   // somebody changed something, or tried to
	Call    Kind = "call"    // somebody asked the API for something, and nothing changed
	System  Kind = "system"  // the installation itself did something: a key was rotated, a certificate renewed
)

// Outcome says how it ended.
type Outcome string

// The outcomes.
const (
	Accepted Outcome = "accepted"
	Refused  Outcome = "refused" // by a rule
	Failed   Outcome = "failed"  // by a fault
)

// Event is one thing that happened. It holds no secret: neither passwords nor keys nor tokens, only their names.
type Event struct {
	Time      time.Time       `json:"time"`
	Kind      Kind            `json:"kind"`
	Action    string          `json:"action"` // "kafka:CreateTopics", "kafka-cluster:Connect", "iam:CreateUser"
	Outcome   Outcome         `json:"outcome"`
	Principal string          `json:"principal,omitempty"` // Kafka's name or an ARN; "" where nobody could be made out
	Mechanism string          `json:"mechanism,omitempty"`
	AccessKey string          `json:"access_key,omitempty"` // id
	From      string          `json:"from,omitempty"`       // address of the client, without the port
	Listener  string          `json:"listener,omitempty"`
	ClientID  string          `json:"client_id,omitempty"`
	Cluster   string          `json:"cluster,omitempty"`
	Resource  string          `json:"resource,omitempty"` // "topic/orders", or an ARN
	Reason    string          `json:"reason,omitempty"`   // of a refusal or a failure
	Before    json.RawMessage `json:"before,omitempty"`   // state that an administrative call changed
	After     json.RawMessage `json:"after,omitempty"`
	Bytes     int64           `json:"bytes,omitempty"` // read or written, where that is what is told
	Count     int64           `json:"count,omitempty"` // how many alike this one stands for; 0: only itself
}

// Recorder takes events. Record does not block; an implementation is safe for concurrent use.
type Recorder interface {
	Record(Event)
}

// Discard is a Recorder that drops everything, for tests and for where no trail is kept.
type Discard struct{}

// Record drops the event.
func (Discard) Record(Event) {}
