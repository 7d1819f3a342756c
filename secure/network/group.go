package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Errors, to be tested with errors.Is.
var (
	// ErrInvalid: a name, a network or a limit cannot be so; the message says why.
	ErrInvalid = errors.New("network: not valid")
	// ErrUnknown: there is no group, listener or connection of this name.
	ErrUnknown = errors.New("network: no such thing")
	// ErrExists: the name is taken.
	ErrExists = errors.New("network: it exists already")
	// ErrInUse: a group that a listener or a connection names.
	ErrInUse = errors.New("network: it is in use")
	// ErrState: a connection that is in another state than what is asked for needs.
	ErrState = errors.New("network: not in this state")
	// ErrNewer: a record was written by a newer version of Millrace.
	ErrNewer = errors.New("network: record written by a newer version of millrace")
	// ErrRefused: the rules do not let a connection in, or not any more.
	ErrRefused = errors.New("network: refused")
	// ErrBusy: a limit on new connections is reached.
	ErrBusy = errors.New("network: too many new connections")
)

// format of all records here.
const format = 1

// Bounds of records.
const (
	maxGroups   = 500
	maxNetworks = 1000
	maxName     = 64
	maxText     = 256
)

// Group is a named allow-list of networks.
type Group struct {
	Format      int            `json:"format"`
	Name        string         `json:"name"` // letters, digits, dots, dashes and underscores, 1 to 64
	Description string         `json:"description,omitempty"`
	Allow       []netip.Prefix `json:"allow"` // none: it lets nobody in
}

// ParseNetwork reads a network ("10.0.0.0/8") or an address, which stands for itself alone. It returns ErrInvalid for what is none, or
// has bits set that the mask leaves out: whoever writes 10.1.2.3/8 means something else than it says.
func ParseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, fmt.Errorf("%w: %q is neither an address nor a network such as 10.0.0.0/8", ErrInvalid, text)
	case p.Addr().Is4In6():
		return p, fmt.Errorf("%w: %q: write it as an IPv4 network", ErrInvalid, text)
	case p != p.Masked():
		return p, fmt.Errorf("%w: %q has bits beyond its mask; the network is %s", ErrInvalid, text, p.Masked())
	}
	return p, nil
}

// Validate names every fault of the group.
func (g Group) Validate() error {
	faults := []error{checkName("group", g.Name)}
	if len(g.Description) > maxText {
		faults = append(faults, fmt.Errorf("%w: the description has %d characters, %d can be", ErrInvalid, len(g.Description), maxText))
	}
	if len(g.Allow) > maxNetworks {
		faults = append(faults, fmt.Errorf("%w: %d networks, %d can be", ErrInvalid, len(g.Allow), maxNetworks))
	}
	for _, p := range g.Allow {
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
			faults = append(faults, fmt.Errorf("%w: network %s", ErrInvalid, p))
		}
	}
	return errors.Join(faults...)
}

// Has says whether the group lets an address in.
func (g Group) Has(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(g.Allow, func(p netip.Prefix) bool { return p.Contains(a) })
}

func checkName(what, name string) error {
	good := name != "" && len(name) <= maxName && strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	}) < 0
	if !good {
		return fmt.Errorf("%w: %s name %q: use letters, digits, dots, dashes and underscores, at most %d", ErrInvalid, what, name, maxName)
	}
	return nil
}

// decode reads a record of one of the two kinds, and checks it.
func decode[T interface{ Validate() error }](b []byte) (T, error) {
	var head struct {
		Format int `json:"format"`
	}
	var v T
	if err := json.Unmarshal(b, &head); err != nil {
		return v, fmt.Errorf("network record: %w", err)
	}
	if head.Format > format || head.Format < 1 {
		return v, fmt.Errorf("%w: format %d, this program reads up to %d", ErrNewer, head.Format, format)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("network record: %w", err)
	}
	return v, v.Validate()
}
