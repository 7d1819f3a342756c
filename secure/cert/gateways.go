package cert

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"millrace/base/kv"
)

// Registration is a gateway that an administrator lets have certificates, with all that it may be called by. Nobody else writes one: a
// gateway stands at the edge, and what it asks for by itself proves nothing.
type Registration struct {
	Name       string    `json:"name"`      // as --name of millrace gateway
	Addresses  []string  `json:"addresses"` // hosts and IPs at which clients reach it; 1 to 32
	Registered time.Time `json:"registered,omitzero"`
}

const maxAddresses = 32

func (r Registration) check() error {
	if err := Gateway(r.Name).check(); err != nil {
		return err
	}
	if len(r.Addresses) == 0 || len(r.Addresses) > maxAddresses {
		return fmt.Errorf("%w: %d addresses of gateway %s; 1 to %d can be", ErrRequest, len(r.Addresses), r.Name, maxAddresses)
	}
	for _, a := range r.Addresses {
		names := namesOf(a)
		if names.IsEmpty() {
			return fmt.Errorf("%w: %q is no address at which a gateway can be reached: use a host name or an IP", ErrRequest, clip(a))
		}
		for _, d := range names.DNS {
			if strings.HasSuffix(d, ownSuffix) {
				return fmt.Errorf("%w: %q is a name of the installation's own", ErrRequest, clip(a))
			}
		}
	}
	return nil
}

func (r Registration) names() Names { return Gateway(r.Name).Names(r.Addresses...) }

func readRegistration(item kv.Item) (Registration, error) {
	r, err := decode[gatewayRecord](item.Key, item.Value)
	if err == nil && gatewayPrefix+r.Name != item.Key {
		err = fmt.Errorf("%w: %s is at the place of another gateway", ErrRecord, clip(item.Key))
	}
	return r.Registration, err
}

// GatewayNames is what a gateway may be called by: what it was registered with. It returns ErrUnknown for one that is not.
func GatewayNames(ctx context.Context, store kv.KV, n Node) (Names, error) {
	key, ok := n.registration()
	if !ok {
		return Names{}, fmt.Errorf("%w: %q is no gateway", ErrUnknown, clip(string(n)))
	}
	item, err := store.Get(ctx, key)
	if errors.Is(err, kv.ErrNotFound) {
		return Names{}, fmt.Errorf("%s is not registered with `millrace cert gateway add`: %w", clip(string(n)), ErrUnknown)
	}
	if err != nil {
		return Names{}, fmt.Errorf("cert: read %s: %w", key, err)
	}
	r, err := readRegistration(item)
	if err != nil {
		return Names{}, err
	}
	return r.names(), nil
}

// RegisterGateway lets a gateway have certificates for its addresses, in the place of those it was registered with before: where it loses a
// name, its certificates are revoked, and it gets another by itself. It returns ErrRequest for what cannot be.
func (a *Authority) RegisterGateway(ctx context.Context, r Registration) (Registration, error) {
	if err := r.check(); err != nil {
		return Registration{}, err
	}
	r.Registered = a.world.Clock.Now().UTC()
	value, err := encode(gatewayRecord{Format: format, Registration: r})
	if err != nil {
		return Registration{}, err
	}
	node := Gateway(r.Name)
	if _, err := a.world.KV.Txn(ctx, nil, []kv.Op{kv.Put(gatewayPrefix+r.Name, value)}); err != nil {
		return Registration{}, fmt.Errorf("cert: register %s: %w", node, err)
	}
	_, err = a.revokeNode(ctx, node, "registered with other addresses", func(c Certificate) bool {
		return !subset(c.Names, r.names())
	})
	return r, err
}

// subset says that every name of a list, as Names.String has it, is among names.
func subset(list string, names Names) bool {
	allowed := strings.Split(names.String(), ", ")
	for name := range strings.SplitSeq(list, ", ") {
		found := false
		for _, a := range allowed {
			found = found || a == name
		}
		if !found {
			return false
		}
	}
	return true
}

// RemoveGateway ends a registration: the gateway gets no certificate any more, and those that it has are revoked, which are returned. It
// may be repeated after it broke off, and returns ErrUnknown where nothing is left to do.
func (a *Authority) RemoveGateway(ctx context.Context, name string) ([]Certificate, error) {
	node := Gateway(name)
	if err := node.check(); err != nil {
		return nil, err
	}
	key := gatewayPrefix + name
	item, err := a.world.KV.Get(ctx, key)
	missing := errors.Is(err, kv.ErrNotFound)
	if err != nil && !missing {
		return nil, fmt.Errorf("cert: read %s: %w", key, err)
	}
	if !missing {
		// Before the certificates are revoked: a Signer that is at it just then finds its condition broken, or its certificate among them.
		if _, err := a.world.KV.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, item.ModRev)}, []kv.Op{kv.Delete(key)}); err != nil {
			return nil, fmt.Errorf("cert: remove %s: %w", node, err)
		}
	}
	revoked, err := a.revokeNode(ctx, node, "gateway removed", func(Certificate) bool { return true })
	if err == nil && missing && len(revoked) == 0 {
		err = fmt.Errorf("%w: gateway %s is not registered", ErrUnknown, clip(name))
	}
	return revoked, err
}

// revokeNode revokes those certificates of a node that count and that which chooses.
func (a *Authority) revokeNode(ctx context.Context, n Node, reason string, which func(Certificate) bool) (revoked []Certificate, err error) {
	all, err := a.Certificates(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		if c.Kind != NodeKind || c.Name != string(n) || c.State != Valid || !which(c) {
			continue
		}
		if err := a.revoke(ctx, &c, reason); err != nil {
			return revoked, err
		}
		revoked = append(revoked, c)
	}
	return revoked, nil
}

// Gateways lists those that are registered, by name.
func (a *Authority) Gateways(ctx context.Context) ([]Registration, error) {
	all := []Registration{}
	err := a.each(ctx, gatewayPrefix, func(_ string, i kv.Item) error {
		r, err := readRegistration(i)
		all = append(all, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all, nil
}

// registered is the condition that a gateway's registration is still as Allow is about to find it; other nodes have none.
func (s *Signer) registered(ctx context.Context, n Node) ([]kv.Cond, error) {
	key, ok := n.registration()
	if !ok {
		return nil, nil
	}
	item, err := s.world.KV.Get(ctx, key)
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return []kv.Cond{kv.KeyMissing(key)}, nil
	case err != nil:
		return nil, fmt.Errorf("cert: read %s: %w", key, err)
	}
	return []kv.Cond{kv.ModRevEquals(key, item.ModRev)}, nil
}
