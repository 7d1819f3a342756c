package quota

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Kind is what is counted.
type Kind int

// The kinds of quotas.
const (
	Produce     Kind = iota // bytes of Produce requests per second
	Fetch                   // bytes of Fetch responses per second
	Request                 // percent of the time of one thread
	Mutation                // partitions created and deleted per second
	Connections             // connections made per second, by address
	kinds
)

// keys are Kafka's names of the kinds.
func keys() [kinds]string {
	return [kinds]string{
		"producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate", "connection_creation_rate",
	}
}

// String is Kafka's name of the kind: the key of AlterClientQuotas.
func (k Kind) String() string {
	if k < 0 || k >= kinds {
		return "unknown"
	}
	return keys()[k]
}

// kindOf finds a kind by its key.
func kindOf(key string) (Kind, bool) {
	all := keys()
	i := slices.Index(all[:], key)
	return Kind(i), i >= 0
}

// Values are the quotas of one entity by key.
type Values map[string]float64

// Table is all quotas at one moment. It never changes. The zero value has none.
type Table struct {
	entities map[Entity]Values
	limits   [Connections]map[Entity]float64
	byIP     map[netip.Addr]float64
	anyIP    limit
}

// limit is a rate, or none.
type limit struct {
	set  bool
	rate float64
}

// NewTable makes a table. It keeps the maps, which must not change any more. Keys that it does not know, as a newer
// version might write them, are shown and have no effect.
func NewTable(entities map[Entity]Values) *Table {
	t := &Table{entities: entities, byIP: make(map[netip.Addr]float64)}
	for e, values := range entities {
		for key, v := range values {
			kind, ok := kindOf(key)
			switch {
			case !ok:
			case kind == Connections:
				t.addIP(e.IP, v)
			default:
				if t.limits[kind] == nil {
					t.limits[kind] = make(map[Entity]float64)
				}
				t.limits[kind][e] = v
			}
		}
	}
	return t
}

func (t *Table) addIP(ip Name, rate float64) {
	if ip.name == "" {
		t.anyIP = limit{set: ip.named, rate: rate}
		return
	}
	if a, err := netip.ParseAddr(ip.name); err == nil {
		t.byIP[a.Unmap()] = rate
	}
}

// owner names an account: a user, a client id, or both; empty texts are left out.
type owner struct{ user, clientID string }

// find returns the limit that applies to a client, and on whose account.
func (t *Table) find(kind Kind, user, clientID string) (owner, limit) {
	limits := t.limits[kind]
	if len(limits) == 0 {
		return owner{}, limit{}
	}
	both, onlyUser, onlyClient := owner{user, clientID}, owner{user: user}, owner{clientID: clientID}
	u, c := Exactly(user), Exactly(clientID)
	for _, level := range [...]struct {
		Entity
		owner
	}{
		{Entity{User: u, ClientID: c}, both},
		{Entity{User: u, ClientID: Default()}, both},
		{Entity{User: u}, onlyUser},
		{Entity{User: Default(), ClientID: c}, both},
		{Entity{User: Default(), ClientID: Default()}, both},
		{Entity{User: Default()}, onlyUser},
		{Entity{ClientID: c}, onlyClient},
		{Entity{ClientID: Default()}, onlyClient},
	} {
		if level.ClientID.named && clientID == "" {
			continue
		}
		if rate, ok := limits[level.Entity]; ok {
			return level.owner, limit{set: true, rate: rate}
		}
	}
	return owner{}, limit{}
}

// findIP returns the limit on connections from an address.
func (t *Table) findIP(ip netip.Addr) limit {
	if rate, ok := t.byIP[ip]; ok {
		return limit{set: true, rate: rate}
	}
	return t.anyIP
}

// MatchType says how a Component fits names.
type MatchType int8

// How a name is to fit.
const (
	MatchExact     MatchType = 0
	MatchDefault   MatchType = 1
	MatchSpecified MatchType = 2 // any, the default too
)

// Component is what one part of the entities that are looked for must be.
type Component struct {
	Type  string
	Match MatchType
	Name  *string // with MatchExact only
}

// Entry is an entity and its quotas. Both are shared and must not be changed.
type Entry struct {
	Entity Entity
	Values Values
}

// Describe lists the entities that have all components, sorted; strict ones only if they have no other parts. The error
// matches ErrInvalid or ErrUnsupported.
func (t *Table) Describe(filter []Component, strict bool) ([]Entry, error) {
	if err := checkFilter(filter); err != nil {
		return nil, err
	}
	var found []Entry
	if strict && len(filter) == 0 {
		return nil, nil
	}
	for e, values := range t.entities {
		parts := e.Parts()
		fits := !strict || len(parts) == len(filter)
		for _, c := range filter {
			fits = fits && c.in(parts)
		}
		if fits {
			found = append(found, Entry{e, values})
		}
	}
	slices.SortFunc(found, func(a, b Entry) int { return strings.Compare(a.Entity.Key(), b.Entity.Key()) })
	return found, nil
}

// Values returns the quotas of one entity, in a map of the caller's own.
func (t *Table) Values(e Entity) Values { return maps.Clone(t.entities[e]) }

// in reports whether one of the parts fits.
func (c Component) in(parts []Part) bool {
	return slices.ContainsFunc(parts, func(p Part) bool {
		switch {
		case p.Type != c.Type:
			return false
		case c.Match == MatchSpecified:
			return true
		case c.Match == MatchDefault || p.Name == nil:
			return c.Match == MatchDefault && p.Name == nil
		default:
			return *p.Name == *c.Name
		}
	})
}

func checkFilter(filter []Component) error {
	seen := make(map[string]bool, len(filter))
	for _, c := range filter {
		switch {
		case c.Type == "":
			return refuse("Invalid empty entity type.")
		case seen[c.Type]:
			return refuse("Entity type %s cannot appear more than once in the filter.", c.Type)
		case c.Type != TypeUser && c.Type != TypeClientID && c.Type != TypeIP:
			return &refusal{"Unsupported entity type " + clip(c.Type), ErrUnsupported}
		}
		seen[c.Type] = true
		if err := c.checkMatch(); err != nil {
			return err
		}
	}
	if seen[TypeIP] && len(seen) > 1 {
		return refuse("Invalid entity filter component combination. " +
			"IP filter component should not be used with user or clientId filter component.")
	}
	return nil
}

func (c Component) checkMatch() error {
	switch {
	case c.Match == MatchExact && c.Name == nil:
		return refuse("Request specified MATCH_TYPE_EXACT, but set match string to null.")
	case c.Match == MatchDefault && c.Name != nil:
		return refuse("Request specified MATCH_TYPE_DEFAULT, but also specified a match string.")
	case c.Match == MatchSpecified && c.Name != nil:
		return refuse("Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.")
	case c.Match < MatchExact || c.Match > MatchSpecified:
		return refuse("Unknown match type %d", c.Match)
	}
	return nil
}
