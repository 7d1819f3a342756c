package acl

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// format is the version of what is stored; a newer one is refused.
const format = 1

// ErrFormat says that etcd holds what this program does not understand.
var ErrFormat = errors.New("acl: record not understood")

// record is a binding in etcd.
type record struct {
	Format     int    `json:"format"`
	Resource   string `json:"resource"`
	Name       string `json:"name"`
	Pattern    string `json:"pattern"`
	Principal  string `json:"principal"`
	Host       string `json:"host"`
	Operation  string `json:"operation"`
	Permission string `json:"permission"`
}

// twoPhaseCommit is what the codec has no name for.
const twoPhaseCommit = "TWO_PHASE_COMMIT"

func encode(b Binding) []byte {
	r := record{
		Format: format, Resource: b.Resource.String(), Name: b.Name, Pattern: b.Pattern.String(), Principal: b.Principal, Host: b.Host,
		Operation: operationName(b.Operation), Permission: b.Permission.String(),
	}
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and a number
	}
	return text
}

func decode(text []byte) (Binding, error) {
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return Binding{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if r.Format != format {
		return Binding{}, fmt.Errorf("%w: format %d, this program knows %d", ErrFormat, r.Format, format)
	}
	b := Binding{Name: r.Name, Principal: r.Principal, Host: r.Host}
	var errs [4]error
	b.Resource, errs[0] = kmsg.ParseACLResourceType(r.Resource)
	b.Pattern, errs[1] = kmsg.ParseACLResourcePatternType(r.Pattern)
	b.Permission, errs[2] = kmsg.ParseACLPermissionType(r.Permission)
	if b.Operation = TwoPhaseCommit; r.Operation != twoPhaseCommit {
		b.Operation, errs[3] = kmsg.ParseACLOperation(r.Operation)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return Binding{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err := b.Validate(); err != nil {
		return Binding{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return b, nil
}

func operationName(op kmsg.ACLOperation) string {
	if op == TwoPhaseCommit {
		return twoPhaseCommit
	}
	return op.String()
}

// name is what a binding's key ends with: the same for the same binding.
func name(b Binding) string {
	sum := sha256.Sum256(encode(b))
	return hex.EncodeToString(sum[:16])
}
