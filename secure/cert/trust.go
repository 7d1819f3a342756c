package cert

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"maps"
	"strings"

	"millrace/base/kv"
)

// view is what a Keeper knows of the installation: whom to trust, which certificates are nodes', which are revoked. It is not
// changed once a reader may have it.
type view struct {
	issuer  string // fingerprint of what signs now; "": no authority was seen
	roots   []*x509.Certificate
	bridges []*x509.Certificate
	pool    *x509.CertPool
	anchors map[[sha256.Size]byte]bool
	nodes   map[string]nodeRecord
	revoked map[string]bool
}

func newView() *view {
	return &view{pool: x509.NewCertPool(), nodes: make(map[string]nodeRecord), revoked: make(map[string]bool)}
}

// decodeTrust reads the authority's part of a view.
func decodeTrust(value []byte) (*view, error) {
	r, err := decode[trustRecord](trustAuthority, value)
	if err != nil {
		return nil, err
	}
	v := newView()
	if v.roots, err = parsePEM([]byte(r.Roots)); err != nil {
		return nil, fmt.Errorf("%s: %w", trustAuthority, err)
	}
	if r.Bridges != "" {
		if v.bridges, err = parsePEM([]byte(r.Bridges)); err != nil {
			return nil, fmt.Errorf("%s: %w", trustAuthority, err)
		}
	}
	v.issuer, v.anchors = r.Issuer, make(map[[sha256.Size]byte]bool)
	for _, c := range v.roots {
		v.pool.AddCert(c)
		v.anchors[sha256.Sum256(c.Raw)] = true
	}
	return v, nil
}

// apply returns the view after a change; kept are records that it does not read, by reason of their error.
func (v *view) apply(e kv.Event) (*view, error) {
	next := *v
	kind, serial, _ := strings.Cut(strings.TrimPrefix(e.Item.Key, trustPrefix), "/")
	put := e.Type == kv.EventPut
	switch kind {
	case "authority":
		if !put {
			return nil, fmt.Errorf("%w: %s is gone", ErrRecord, trustAuthority)
		}
		read, err := decodeTrust(e.Item.Value)
		if err != nil {
			return nil, err
		}
		read.nodes, read.revoked = v.nodes, v.revoked
		return read, nil
	case "nodes":
		next.nodes = maps.Clone(v.nodes)
		delete(next.nodes, serial)
		if put {
			r, err := decode[nodeRecord](e.Item.Key, e.Item.Value)
			if err != nil {
				return nil, err
			}
			next.nodes[serial] = r
		}
	case "revoked":
		// What the record says besides is for people: one that cannot be read revokes all the same.
		next.revoked = maps.Clone(v.revoked)
		delete(next.revoked, serial)
		if put {
			next.revoked[serial] = true
		}
	}
	return &next, nil
}

// readView makes a view of all records. What cannot be read is left out and told by the error.
func readView(items []kv.Item) (*view, []error) {
	v := newView()
	var faults []error
	for _, i := range items {
		kind, serial, _ := strings.Cut(strings.TrimPrefix(i.Key, trustPrefix), "/")
		switch kind {
		case "revoked":
			v.revoked[serial] = true
		case "nodes":
			r, err := decode[nodeRecord](i.Key, i.Value)
			if err != nil {
				faults = append(faults, err)
				continue
			}
			v.nodes[serial] = r
		default:
			read, err := v.apply(kv.Event{Type: kv.EventPut, Item: i})
			if err != nil {
				faults = append(faults, err)
				continue
			}
			v = read
		}
	}
	return v, faults
}

// node returns the record of a node's certificate.
func (v *view) node(c *x509.Certificate) (nodeRecord, bool) {
	r, ok := v.nodes[serialText(c.SerialNumber)]
	return r, ok && r.Fingerprint == fingerprint(c)
}

// chainCounts says that a chain leads to a trusted root and that nothing in it is revoked.
func (v *view) chainCounts(chain []*x509.Certificate) error {
	if len(chain) == 0 || !v.anchors[sha256.Sum256(chain[len(chain)-1].Raw)] {
		return fmt.Errorf("%w: its authority is not trusted", ErrRefused)
	}
	for _, c := range chain {
		if v.revoked[serialText(c.SerialNumber)] {
			return fmt.Errorf("%w: %s is revoked", ErrRefused, serialText(c.SerialNumber))
		}
	}
	return nil
}

// anyCounts says that one of the chains does.
func (v *view) anyCounts(chains [][]*x509.Certificate) error {
	err := fmt.Errorf("%w: it leads to no authority", ErrRefused)
	for _, c := range chains {
		if err = v.chainCounts(c); err == nil {
			return nil
		}
	}
	return err
}
