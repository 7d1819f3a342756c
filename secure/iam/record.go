package iam

import (
	"encoding/json"
	"fmt"
	"time"
)

// The keys in etcd; docs/security/iam.md tells the values.
const (
	prefix        = "security/iam/"
	keyAccount    = prefix + "account"
	dirUsers      = prefix + "users/"
	dirRoles      = prefix + "roles/"
	dirPolicies   = prefix + "policies/"
	dirKeys       = prefix + "keys/"
	dirUsed       = "security/used/"
	currentFormat = 1
)

// Account is the installation as IAM sees it.
type Account struct {
	Format  int       `json:"format"`
	ID      string    `json:"account"` // 12 digits
	Created time.Time `json:"created"`
	Keys    []string  `json:"keys"` // ids of root's access keys
}

// Permissions is what users and roles have in common.
type Permissions struct {
	Format   int                        `json:"format"`
	Name     string                     `json:"name"`
	ID       string                     `json:"id"` // AIDA… or AROA…, never used again
	Created  time.Time                  `json:"created"`
	Tags     map[string]string          `json:"tags,omitempty"`
	Attached []string                   `json:"attached,omitempty"` // names of policies, in order
	Inline   map[string]json.RawMessage `json:"inline,omitempty"`   // policies of its own
}

// User is somebody with access keys.
type User struct {
	Permissions
	Keys []string `json:"keys,omitempty"` // ids of access keys, two at most
}

// Role is what somebody becomes for a while.
type Role struct {
	Permissions
	Description string          `json:"description,omitempty"`
	Trust       json.RawMessage `json:"trust"`       // who may assume it
	MaxSession  int             `json:"max_session"` // seconds, 3,600 to 43,200
}

// Managed is a policy that can be attached to many.
type Managed struct {
	Format      int             `json:"format"`
	Name        string          `json:"name"`
	ID          string          `json:"id"` // ANPA…; "" for one of ours
	Created     time.Time       `json:"created,omitzero"`
	Changed     time.Time       `json:"changed,omitzero"`
	Description string          `json:"description,omitempty"`
	Document    json.RawMessage `json:"document"`
	Attachments int             `json:"attachments"` // users and roles that have it; not counted for one of ours
}

// keyRecord is an access key in etcd.
type keyRecord struct {
	Format  int       `json:"format"`
	ID      string    `json:"id"`
	User    string    `json:"user,omitempty"` // "": root
	Enabled bool      `json:"enabled"`
	Created time.Time `json:"created"`
	Sealed  []byte    `json:"sealed"` // the secret
}

// Key is what may be told of an access key.
type Key struct {
	ID      string    `json:"access_key_id"`
	User    string    `json:"user,omitempty"` // "": root
	Enabled bool      `json:"enabled"`
	Created time.Time `json:"created"`
	Used    *Use      `json:"used,omitempty"` // nil: never
}

// Use is when a key was used last, to a minute.
type Use struct {
	Format  int       `json:"format"`
	At      time.Time `json:"at"`
	Service string    `json:"service"` // kafka-cluster, iam
	From    string    `json:"from,omitempty"`
}

// formatted is any record.
type formatted interface{ format() int }

func (a Account) format() int     { return a.Format }
func (p Permissions) format() int { return p.Format }
func (m Managed) format() int     { return m.Format }
func (k keyRecord) format() int   { return k.Format }
func (u Use) format() int         { return u.Format }

// decode reads a record. The error is ErrNewFormat for a later format.
func decode[T formatted](value []byte) (T, error) {
	var r T
	if err := json.Unmarshal(value, &r); err != nil {
		return r, fmt.Errorf("%w: %w", errBroken, err)
	}
	if f := r.format(); f != currentFormat {
		return r, fmt.Errorf("%w: format %d", ErrNewFormat, f)
	}
	return r, nil
}

// encode writes a record; records always can be.
func encode(r any) []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic("iam: a record that cannot be encoded: " + err.Error())
	}
	return b
}

// The ARNs of an account.

func arnOfRoot(account string) string       { return "arn:aws:iam::" + account + ":root" }
func arnOfUser(account, name string) string { return "arn:aws:iam::" + account + ":user/" + name }
func arnOfRole(account, name string) string { return "arn:aws:iam::" + account + ":role/" + name }
func arnOfSession(account, role, name string) string {
	return "arn:aws:sts::" + account + ":assumed-role/" + role + "/" + name
}
