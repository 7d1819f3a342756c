package cert

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"millrace/base/kv"
)

// ClientRequest asks for a certificate for a client. The key stays with who asks.
type ClientRequest struct {
	Name         string        `json:"name"`                   // the CN, 1 to 64 characters
	Unit         string        `json:"unit,omitempty"`         // an OU
	Organization string        `json:"organization,omitempty"` // an O
	CSR          []byte        `json:"csr"`                    // DER; only its key counts
	Life         time.Duration `json:"life,omitempty"`         // 0: the authority's default; it ends with the authority at the latest
}

// Issued is a certificate that was made.
type Issued struct {
	Certificate
	Chain string `json:"chain"` // PEM: the certificate, then what leads to a root
	CA    string `json:"ca"`    // PEM: what the client is to trust
}

// Kind says whose a certificate is.
type Kind string

// The kinds of certificates.
const (
	NodeKind    Kind = "node"
	ClientKind  Kind = "client"
	ForeignKind Kind = "foreign" // not issued here, but revoked here
)

// State says whether a certificate counts.
type State string

// The states of certificates.
const (
	Valid   State = "valid"
	Ended   State = "ended"
	Revoked State = "revoked"
)

// Certificate is what is on record of one.
type Certificate struct {
	Serial      string    `json:"serial"`
	Kind        Kind      `json:"kind"`
	Name        string    `json:"name"`
	Subject     string    `json:"subject,omitempty"`
	Names       string    `json:"names,omitempty"` // of a server
	Fingerprint string    `json:"fingerprint,omitempty"`
	Issuer      string    `json:"issuer,omitempty"` // fingerprint of the authority
	Issued      time.Time `json:"issued,omitzero"`
	Ends        time.Time `json:"ends,omitzero"`
	State       State     `json:"state"`
	Revoked     time.Time `json:"revoked,omitzero"`
	Reason      string    `json:"reason,omitempty"`
}

func (r ClientRequest) check() error {
	for what, text := range map[string]string{"name": r.Name, "unit": r.Unit, "organization": r.Organization} {
		const most = 64 // X.509's bound
		if n := utf8.RuneCountInString(text); n > most || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			return fmt.Errorf("%w: %s %q: up to %d characters that can be printed", ErrRequest, what, clip(text), most)
		}
	}
	const mostLife = 100 * 365 * day
	switch {
	case strings.TrimSpace(r.Name) == "":
		return fmt.Errorf("%w: a name is needed", ErrRequest)
	case strings.EqualFold(r.Unit, nodeUnit):
		return fmt.Errorf("%w: the unit %q is that of nodes", ErrRequest, r.Unit)
	case r.Life < 0 || r.Life > mostLife:
		return fmt.Errorf("%w: a life of %s", ErrRequest, r.Life)
	}
	return nil
}

// IssueClient makes a certificate for a client. It returns ErrRequest where it may not have one.
func (a *Authority) IssueClient(ctx context.Context, r ClientRequest) (Issued, error) {
	if err := r.check(); err != nil {
		return Issued{}, err
	}
	public, _, err := readRequest(r.CSR)
	if err != nil {
		return Issued{}, err
	}
	if r.Life == 0 {
		r.Life = a.cfg.ClientLife
	}
	subject := pkix.Name{CommonName: r.Name}
	if r.Unit != "" {
		subject.OrganizationalUnit = []string{r.Unit}
	}
	if r.Organization != "" {
		subject.Organization = []string{r.Organization}
	}
	for {
		now := a.standing()
		at := a.world.Clock.Now()
		leaf, err := now.sign(&x509.Certificate{Subject: subject, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, public, at, r.Life)
		if err != nil {
			return Issued{}, err
		}
		record := clientRecord{
			Format: format, Name: r.Name, Subject: nameOf(leaf), Fingerprint: fingerprint(leaf), Issuer: fingerprint(now.issuer.cert()),
			Issued: at.UTC(), Ends: leaf.NotAfter,
		}
		err = a.putClient(ctx, serialText(leaf.SerialNumber), record, now.rev)
		if err == nil {
			c := record.certificate(serialText(leaf.SerialNumber))
			c.State = Valid
			return Issued{Certificate: c, Chain: now.chain(leaf), CA: encodePEM(now.roots...)}, nil
		}
		if !errors.Is(err, kv.ErrConflict) {
			return Issued{}, err
		}
		if err := a.load(ctx); err != nil && !errors.Is(err, kv.ErrConflict) {
			return Issued{}, err
		}
	}
}

func (a *Authority) putClient(ctx context.Context, serial string, r clientRecord, authority int64) error {
	value, err := encode(r)
	if err != nil {
		return err
	}
	key := clientPrefix + serial
	if _, err := a.world.KV.Txn(ctx, []kv.Cond{kv.ModRevEquals(authorityKey, authority), kv.KeyMissing(key)}, []kv.Op{kv.Put(key, value)}); err != nil {
		return fmt.Errorf("cert: record the certificate: %w", err)
	}
	return nil
}

func (r clientRecord) certificate(serial string) Certificate {
	return Certificate{
		Serial: serial, Kind: ClientKind, Name: r.Name, Subject: r.Subject, Fingerprint: r.Fingerprint, Issuer: r.Issuer, Issued: r.Issued, Ends: r.Ends,
	}
}

func (r nodeRecord) certificate(serial string) Certificate {
	return Certificate{
		Serial: serial, Kind: NodeKind, Name: string(r.Node), Names: r.Names, Fingerprint: r.Fingerprint, Issuer: r.Issuer, Issued: r.Issued, Ends: r.Ends,
	}
}

// Certificates lists what is on record, the latest first. Those that have ended stay on record for a while.
func (a *Authority) Certificates(ctx context.Context) ([]Certificate, error) {
	found := make(map[string]*Certificate)
	err := a.each(ctx, clientPrefix, func(serial string, i kv.Item) error {
		r, err := decode[clientRecord](i.Key, i.Value)
		c := r.certificate(serial)
		found[serial] = &c
		return err
	})
	err = errors.Join(err, a.each(ctx, trustNodes, func(serial string, i kv.Item) error {
		r, err := decode[nodeRecord](i.Key, i.Value)
		c := r.certificate(serial)
		found[serial] = &c
		return err
	}))
	now := a.world.Clock.Now()
	for _, c := range found {
		if c.State = Valid; !now.Before(c.Ends) {
			c.State = Ended
		}
	}
	err = errors.Join(err, a.each(ctx, trustRevoked, func(serial string, i kv.Item) error {
		r, err := decode[revokedRecord](i.Key, i.Value)
		c := found[serial]
		if c == nil {
			c = &Certificate{Serial: serial, Kind: ForeignKind, Ends: r.Ends}
			found[serial] = c
		}
		c.State, c.Revoked, c.Reason = Revoked, r.When, r.Reason
		return err
	}))
	if err != nil {
		return nil, err
	}
	all := make([]Certificate, 0, len(found))
	for _, c := range found {
		all = append(all, *c)
	}
	sort.Slice(all, func(i, j int) bool {
		if !all[i].Issued.Equal(all[j].Issued) {
			return all[i].Issued.After(all[j].Issued)
		}
		return all[i].Serial < all[j].Serial
	})
	return all, nil
}

func (a *Authority) each(ctx context.Context, prefix string, f func(serial string, i kv.Item) error) error {
	items, _, err := a.world.KV.List(ctx, prefix)
	if err != nil {
		return fmt.Errorf("cert: list %s: %w", prefix, err)
	}
	for _, i := range items {
		if err := f(strings.TrimPrefix(i.Key, prefix), i); err != nil {
			return err
		}
	}
	return nil
}

// RevokeRequest says which certificates count no more.
type RevokeRequest struct {
	Serial  string `json:"serial,omitempty"`  // in hex, colons or not
	Name    string `json:"name,omitempty"`    // instead: every certificate of a client or node of this name that still counts
	Reason  string `json:"reason,omitempty"`  // for people; up to 200 bytes
	Foreign bool   `json:"foreign,omitempty"` // the serial number may be of a certificate that was not issued here
}

// Revoke makes certificates count no more, at once and for good: new handshakes are refused, and connections that were opened with them
// are closed. A node whose certificate is revoked asks for another. It returns the certificates, those that were revoked before included,
// or ErrUnknown.
func (a *Authority) Revoke(ctx context.Context, r RevokeRequest) ([]Certificate, error) {
	const most = 200
	if len(r.Reason) > most || !utf8.ValidString(r.Reason) {
		return nil, fmt.Errorf("%w: a reason of %d bytes, at most %d", ErrRequest, len(r.Reason), most)
	}
	if (r.Serial == "") == (r.Name == "") {
		return nil, fmt.Errorf("%w: give a serial number or a name", ErrRequest)
	}
	which, err := a.find(ctx, r)
	if err != nil {
		return nil, err
	}
	for n := range which {
		if which[n].State == Revoked {
			continue
		}
		if err := a.revoke(ctx, &which[n], r.Reason); err != nil {
			return nil, err
		}
	}
	return which, nil
}

// find returns the certificates that a request is about, at least one.
func (a *Authority) find(ctx context.Context, r RevokeRequest) ([]Certificate, error) {
	all, err := a.Certificates(ctx)
	if err != nil {
		return nil, err
	}
	serial := ""
	if r.Serial != "" {
		if serial, err = parseSerial(r.Serial); err != nil {
			return nil, err
		}
	}
	var which []Certificate
	for _, c := range all {
		if c.Serial == serial || serial == "" && c.Name == r.Name && c.State != Ended {
			which = append(which, c)
		}
	}
	if len(which) > 0 {
		return which, nil
	}
	if serial != "" && r.Foreign {
		// When it ends is not known; not after what it leads to.
		return []Certificate{{Serial: serial, Kind: ForeignKind, Ends: a.standing().issuer.anchor().NotAfter}}, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrUnknown, clip(r.Serial+r.Name))
}

func (a *Authority) revoke(ctx context.Context, c *Certificate, reason string) error {
	now := a.world.Clock.Now().UTC()
	value, err := encode(revokedRecord{Format: format, Reason: reason, When: now, Ends: c.Ends})
	if err != nil {
		return err
	}
	key := trustRevoked + c.Serial
	_, err = a.world.KV.Txn(ctx, []kv.Cond{kv.KeyMissing(key)}, []kv.Op{kv.Put(key, value)})
	if err != nil && !errors.Is(err, kv.ErrConflict) { // somebody else was first: revoked it is
		return fmt.Errorf("cert: revoke %s: %w", c.Serial, err)
	}
	c.State, c.Revoked, c.Reason = Revoked, now, reason
	a.world.Log.Info("certificate revoked", "serial", c.Serial, "kind", string(c.Kind), "name", c.Name)
	return nil
}
