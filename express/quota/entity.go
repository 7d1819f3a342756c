package quota

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// ErrInvalid is returned for entities, keys, values and filters that Kafka answers with INVALID_REQUEST. The message is
// what the client is told.
var ErrInvalid = errors.New("invalid request")

// ErrUnsupported is returned for filters on a type of entity that there is not.
var ErrUnsupported = errors.New("unsupported")

// refusal is what a client did wrong, in Kafka's words, which it is told as they are.
type refusal struct {
	text string
	kind error
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }

func refuse(format string, args ...any) error {
	return &refusal{fmt.Sprintf(format, args...), ErrInvalid}
}

// Types of what an entity is made of.
const (
	TypeUser     = "user"
	TypeClientID = "client-id"
	TypeIP       = "ip"
)

// Name is one part of an entity. The zero value is a part that the entity does not have.
type Name struct {
	named bool
	name  string
}

// Exactly names one user, client id or address; it must not be empty.
func Exactly(name string) Name { return Name{named: true, name: name} }

// Default names all that have no quota of their own.
func Default() Name { return Name{named: true} }

// Get returns the name. ok is false for a part that the entity does not have; the name is empty for the default.
func (n Name) Get() (name string, ok bool) { return n.name, n.named }

// Entity says who a quota is for: a user, a client id, both, or an address. It is comparable.
type Entity struct {
	User     Name
	ClientID Name
	IP       Name
}

// Part is one part of an Entity, as requests and answers list it.
type Part struct {
	Type string
	Name *string // nil: the default
}

// nameMost bounds the length of a name, which becomes part of a key in etcd.
const nameMost = 4096

// NewEntity checks and joins parts, of which the last of a type counts. The error matches ErrInvalid.
func NewEntity(parts []Part) (Entity, error) {
	var e Entity
	for _, p := range parts {
		name := Default()
		if p.Name != nil {
			name = Name{named: true, name: *p.Name}
		}
		switch p.Type {
		case TypeUser:
			e.User = name
		case TypeClientID:
			e.ClientID = name
		case TypeIP:
			e.IP = name
		default:
			return Entity{}, refuse("Unhandled client quota entity type: %s", clip(p.Type))
		}
		switch {
		case p.Name != nil && *p.Name == "":
			return Entity{}, refuse("Empty %s not supported", p.Type)
		case len(name.name) > nameMost:
			return Entity{}, refuse("%s of %d bytes, at most %d", p.Type, len(name.name), nameMost)
		}
	}
	return e, e.check()
}

// check refuses combinations that no client matches.
func (e Entity) check() error {
	alone := !e.User.named && !e.ClientID.named
	switch {
	case !e.IP.named && alone:
		return refuse("Invalid empty client quota entity")
	case e.IP.named && !alone:
		return refuse("Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId") //nolint:misspell // as Kafka spells it
	case e.IP.name != "" && !isAddress(e.IP.name):
		return refuse("%s is not a valid IP or resolvable host.", clip(e.IP.name))
	}
	return nil
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// Parts lists what the entity is made of, in the order in which Kafka happens to.
func (e Entity) Parts() []Part {
	var parts []Part
	for _, p := range []struct {
		kind string
		name Name
	}{{TypeClientID, e.ClientID}, {TypeUser, e.User}, {TypeIP, e.IP}} {
		if !p.name.named {
			continue
		}
		part := Part{Type: p.kind}
		if p.name.name != "" {
			part.Name = &p.name.name
		}
		parts = append(parts, part)
	}
	return parts
}

// String is the entity as Kafka prints it.
func (e Entity) String() string {
	var words []string
	for _, p := range e.Parts() {
		name := "null"
		if p.Name != nil {
			name = *p.Name
		}
		words = append(words, p.Type+"="+name)
	}
	return "ClientQuotaEntity(entries={" + strings.Join(words, ", ") + "})"
}

// Key is the entity as a text that ParseKey reads: "client-id=app,user=alice"; a default has no "=". No two have the same.
func (e Entity) Key() string {
	var words []string
	for _, p := range e.Parts() {
		word := p.Type
		if p.Name != nil {
			word += "=" + url.QueryEscape(*p.Name)
		}
		words = append(words, word)
	}
	return strings.Join(words, ",")
}

// ParseKey reads what Key wrote. The error matches ErrInvalid.
func ParseKey(key string) (Entity, error) {
	var parts []Part
	for word := range strings.SplitSeq(key, ",") {
		kind, text, named := strings.Cut(word, "=")
		p := Part{Type: kind}
		if named {
			name, err := url.QueryUnescape(text)
			if err != nil {
				return Entity{}, refuse("quota entity %q: %v", clip(key), err)
			}
			p.Name = &name
		}
		parts = append(parts, p)
	}
	return NewEntity(parts)
}

// clip keeps a hostile text from filling logs and answers.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
