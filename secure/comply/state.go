package comply

import "time"

// State is what is known of an installation at one time. A nil pointer or slice is a fact that nobody could find out, which is not
// the same as an empty one.
type State struct {
	Time         time.Time
	Installation string // name for the report's head

	Listeners  []Listener
	AtRest     []AtRest // one for each cluster
	Keys       *Keys
	Authority  *Authority
	Users      []User
	RootUsed   *time.Time    // last use of the root key; the zero time: never
	Everybody  []string      // grants that let anybody in or allow everything, as sentences
	Unused     []Unused      // rights that nobody used
	Observed   time.Duration // how long use was observed
	OpenACL    []string      // clusters in which everybody may do everything where no ACL is
	Trail      *Trail
	Alerts     []string // alerts of high severity of the last 30 days
	Backups    []Backup // one for each cluster
	DataAudits []DataAudit
	Retention  []Topic // topics that keep records for ever
	API        *API
}

// Listener is where clients come in.
type Listener struct {
	Cluster    string
	Name       string
	Address    string
	Loopback   bool
	TLS        bool
	Mechanisms []string // of login; "NONE" among them: anybody
	Groups     []string // allow-lists; none: any address
}

// AtRest is whether a cluster's data is encrypted on disk and in the object store.
type AtRest struct {
	Cluster string
	On      bool
	Plain   int // objects and log files that were written before it was turned on
}

// Keys is what data keys are wrapped by.
type Keys struct {
	KMS     string    // name, such as "keyring" or "aws-kms"
	Rotated time.Time // when the newest data key was made
}

// Authority is the installation's CA.
type Authority struct {
	Expires time.Time
	Leaves  int       // certificates in use
	Soonest time.Time // when the first of them ends
	Revoked int
}

// User is who can log in with keys or a password.
type User struct {
	Name    string
	Kind    string // "iam", "scram" or "certificate"
	Created time.Time
	Used    time.Time // zero: never
	Keys    []Key
}

// Key is an access key.
type Key struct {
	ID      string
	Active  bool
	Created time.Time
	Used    time.Time // zero: never
}

// Unused is a right that a principal has and did not use while it was observed.
type Unused struct {
	Principal string
	Right     string
}

// Trail is the state of the audit trail.
type Trail struct {
	Chains   int
	Findings []string // of the last verification
	Oldest   time.Time
	Shipped  bool // copies leave the host
	Lost     int64
}

// Backup is the newest backup of a cluster's metadata.
type Backup struct {
	Cluster string
	At      time.Time // zero: there is none
}

// DataAudit is the last complete look at a cluster's data.
type DataAudit struct {
	Cluster  string
	At       time.Time // zero: there was none
	Findings int
}

// Topic is one that keeps its records without a bound in time.
type Topic struct{ Cluster, Name string }

// API is how the control plane is reached.
type API struct {
	Loopback bool
	TLS      bool
	Signed   bool // every call that changes something needs a signature
}
