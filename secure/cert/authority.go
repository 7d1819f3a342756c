package cert

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"millrace/base/kv"
	"millrace/secure/trail"
)

// AuthorityConfig is read once by OpenAuthority. A zero field takes its default.
type AuthorityConfig struct {
	Given      Given         // an authority of the operator's; zero: the one that there is, or one of the installation's own
	Name       string        // of an authority that is made, the first part of its CN; default "Millrace CA"
	Life       time.Duration // of an authority that is made; default 10 years
	NodeLife   time.Duration // of a node's certificate; default 90 days, at least 1 s
	ClientLife time.Duration // of a client's certificate, unless it is asked for another; default 90 days
}

const day = 24 * time.Hour

func (c *AuthorityConfig) fill() error {
	if c.Name == "" {
		c.Name = "Millrace CA"
	}
	if c.Life == 0 {
		c.Life = 3650 * day
	}
	if c.NodeLife == 0 {
		c.NodeLife = 90 * day
	}
	if c.ClientLife == 0 {
		c.ClientLife = 90 * day
	}
	const most = 100 * 365 * day
	for _, l := range []time.Duration{c.Life, c.NodeLife, c.ClientLife} {
		if l < time.Second || l > most {
			return fmt.Errorf("%w: a life of %s", ErrGiven, l)
		}
	}
	return nil
}

// Authority is the certificate authority of an installation, with its key: for the control plane only. Several may be open at a time.
type Authority struct {
	cfg    AuthorityConfig
	sealer Sealer
	world  World

	mu  sync.Mutex // guards now
	now standing
}

// standing is the authority as it was read or written last. It is not changed.
type standing struct {
	issuer  *issuer
	roots   []*x509.Certificate // trusted; the issuer's anchor first
	bridges []*x509.Certificate
	rev     int64 // of the record in etcd
}

// chain is what goes along with a certificate that the issuer signs.
func (s standing) chain(leaf *x509.Certificate) string {
	all := append([]*x509.Certificate{leaf}, s.issuer.sent()...)
	return encodePEM(append(all, s.bridges...)...)
}

// OpenAuthority opens the authority of the installation. One that is given takes the place of another that is there; where none is given
// and none is there, it is made. It returns ErrGiven and ErrSealed with nothing changed.
func OpenAuthority(ctx context.Context, cfg AuthorityConfig, sealer Sealer, w World) (*Authority, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	a := &Authority{cfg: cfg, sealer: sealer, world: w}
	for {
		err := a.open(ctx)
		if !errors.Is(err, kv.ErrConflict) {
			return a, err
		}
	}
}

// open returns kv.ErrConflict where somebody else was first.
func (a *Authority) open(ctx context.Context) error {
	err := a.load(ctx)
	missing := errors.Is(err, kv.ErrNotFound)
	// With an authority given, the key of the former one may be lost for good.
	if err != nil && !missing && (a.cfg.Given.IsZero() || !errors.Is(err, ErrSealed)) {
		return err
	}
	if a.cfg.Given.IsZero() {
		if missing {
			return a.replaceByOwn(ctx)
		}
		return nil
	}
	given, readErr := a.cfg.Given.read(a.world.Clock.Now())
	if readErr != nil {
		return readErr
	}
	if now := a.standing(); now.issuer != nil && now.issuer.cert().Equal(given.cert()) && encodePEM(now.issuer.chain...) == encodePEM(given.chain...) {
		return nil
	}
	return a.replace(ctx, given)
}

func (a *Authority) standing() standing {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now
}

// load reads the authority from etcd. With ErrSealed all but the key is there.
func (a *Authority) load(ctx context.Context) error {
	item, err := a.world.KV.Get(ctx, authorityKey)
	if err != nil {
		return fmt.Errorf("cert: read the authority: %w", err)
	}
	r, err := decode[authorityRecord](authorityKey, item.Value)
	if err != nil {
		return err
	}
	next := standing{rev: item.ModRev}
	chain, err := parsePEM([]byte(r.Chain))
	if err != nil {
		return fmt.Errorf("%s: %w", authorityKey, err)
	}
	trust, err := a.world.KV.Get(ctx, trustAuthority)
	if err != nil {
		return fmt.Errorf("cert: read the trusted authorities: %w", err)
	}
	view, err := decodeTrust(trust.Value)
	if err != nil {
		return err
	}
	if view.issuer != fingerprint(chain[0]) {
		return fmt.Errorf("cert: read the authority: it is being replaced: %w", kv.ErrConflict)
	}
	next.roots, next.bridges = view.roots, view.bridges
	der, err := a.sealer.Open(r.Key, []byte(authorityKey))
	if err == nil {
		var key crypto.Signer
		if key, err = parsePKCS8(der); err == nil {
			next.issuer = &issuer{chain: chain, key: key, given: r.Given}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil || a.now.issuer == nil {
		a.now = next
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSealed, err)
	}
	return nil
}

// Replace makes a new authority for the installation in the place of the present one, which stays trusted. Nodes renew by themselves.
func (a *Authority) Replace(ctx context.Context) error {
	for {
		if err := a.load(ctx); err != nil {
			return err
		}
		if err := a.replaceByOwn(ctx); !errors.Is(err, kv.ErrConflict) {
			return err
		}
	}
}

func (a *Authority) replaceByOwn(ctx context.Context) error {
	next, err := makeIssuer(a.cfg.Name, a.world.Clock.Now(), a.cfg.Life)
	if err != nil {
		return err
	}
	return a.replace(ctx, next)
}

// replace puts next in the place of the present authority, if that is still the one that is known here.
func (a *Authority) replace(ctx context.Context, next *issuer) error {
	now := a.standing()
	after := standing{issuer: next, roots: []*x509.Certificate{next.anchor()}}
	for _, r := range now.roots {
		if a.world.Clock.Now().Before(r.NotAfter) && !r.Equal(next.anchor()) {
			after.roots = append(after.roots, r)
		}
	}
	const mostRoots = 8
	if len(after.roots) > mostRoots {
		return fmt.Errorf("%w: %d former ones are trusted still; distrust some", ErrGiven, len(after.roots)-1)
	}
	if now.issuer != nil && !now.issuer.anchor().Equal(next.anchor()) {
		var err error
		if after.bridges, err = bridge(now.issuer, next); err != nil {
			return err
		}
	}
	key, err := x509.MarshalPKCS8PrivateKey(next.key)
	if err != nil {
		return fmt.Errorf("cert: encode the authority's key: %w", err)
	}
	sealed, err := a.sealer.Seal(key, []byte(authorityKey))
	if err != nil {
		return fmt.Errorf("cert: seal the authority's key: %w", err)
	}
	record, err := encode(authorityRecord{Format: format, Given: next.given, Chain: encodePEM(next.chain...), Key: sealed})
	if err != nil {
		return err
	}
	if err := a.write(ctx, now.rev, record, &after); err != nil {
		return err
	}
	a.world.Log.Info("certificate authority in place", "subject", nameOf(next.cert()), "fingerprint", fingerprint(next.cert()), "given", next.given,
		"ends", next.cert().NotAfter)
	a.world.record(trail.Event{Kind: trail.System, Action: "cert:ReplaceAuthority", Outcome: trail.Accepted,
		Resource: "certificate-authority/" + fingerprint(next.cert())})
	return nil
}

// write makes after the state of etcd, where rev is still that of the authority's record, and then the one here.
func (a *Authority) write(ctx context.Context, rev int64, record []byte, after *standing) error {
	trust, err := encode(trustRecord{
		Format: format, Issuer: fingerprint(after.issuer.cert()), Roots: encodePEM(after.roots...), Bridges: encodePEM(after.bridges...),
	})
	if err != nil {
		return err
	}
	after.rev, err = a.world.KV.Txn(ctx, []kv.Cond{kv.ModRevEquals(authorityKey, rev)},
		[]kv.Op{kv.Put(authorityKey, record), kv.Put(trustAuthority, trust)})
	if err != nil {
		return fmt.Errorf("cert: write the authority: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = *after
	return nil
}

// Distrust ends the trust in a former authority, by the fingerprint of its certificate: what it has signed is refused from now on, and
// connections that were opened with it are closed. The present one cannot be distrusted; replace it first. It returns ErrUnknown.
func (a *Authority) Distrust(ctx context.Context, print string) error {
	for {
		if err := a.load(ctx); err != nil {
			return err
		}
		if err := a.distrust(ctx, print); !errors.Is(err, kv.ErrConflict) {
			return err
		}
	}
}

func (a *Authority) distrust(ctx context.Context, print string) error {
	now := a.standing()
	after := standing{issuer: now.issuer}
	found := false
	for n, r := range now.roots {
		switch {
		case fingerprint(r) != print:
			after.roots = append(after.roots, r)
		case n == 0:
			return fmt.Errorf("%w: this is the present authority; replace it first", ErrRequest)
		default:
			found = true
		}
	}
	if !found {
		return fmt.Errorf("%w: no authority with the fingerprint %s is trusted", ErrUnknown, clip(print))
	}
	after.bridges = keepBridges(now.bridges, after.roots)
	item, err := a.world.KV.Get(ctx, authorityKey)
	if err != nil {
		return fmt.Errorf("cert: read the authority: %w", err)
	}
	if err := a.write(ctx, now.rev, item.Value, &after); err != nil {
		return err
	}
	a.world.Log.Info("former certificate authority distrusted", "fingerprint", print)
	return nil
}

// keepBridges returns the bridges if somebody who trusts one of the roots can still use them.
func keepBridges(bridges, roots []*x509.Certificate) []*x509.Certificate {
	for _, b := range bridges {
		for _, r := range roots {
			if b.CheckSignatureFrom(r) == nil && !selfSigned(b) {
				return bridges
			}
		}
	}
	return nil
}

// CA is what everybody may know of the authority.
type CA struct {
	PEM         string        `json:"pem"`         // what clients trust: the present authority's root and the former ones
	Fingerprint string        `json:"fingerprint"` // SHA-256 of the certificate that signs
	Subject     string        `json:"subject"`
	Given       bool          `json:"given"`
	Ends        time.Time     `json:"ends"`
	Trusted     []TrustedRoot `json:"trusted"` // the present one first
}

// TrustedRoot is a certificate at which trust begins.
type TrustedRoot struct {
	Fingerprint string    `json:"fingerprint"`
	Subject     string    `json:"subject"`
	Ends        time.Time `json:"ends"`
}

// CA describes the authority as this process saw it last.
func (a *Authority) CA() CA {
	now := a.standing()
	c := now.issuer.cert()
	ca := CA{PEM: encodePEM(now.roots...), Fingerprint: fingerprint(c), Subject: nameOf(c), Given: now.issuer.given, Ends: c.NotAfter}
	for _, r := range now.roots {
		ca.Trusted = append(ca.Trusted, TrustedRoot{fingerprint(r), nameOf(r), r.NotAfter})
	}
	return ca
}

// LogValue hides everything but the name.
func (a *Authority) LogValue() slog.Value { return slog.StringValue(a.String()) }

// String hides everything but the name.
func (a *Authority) String() string {
	if now := a.standing(); now.issuer != nil {
		return "authority " + nameOf(now.issuer.cert())
	}
	return "authority"
}

// sign makes a certificate by the template, which lacks its serial number and its times.
func (s standing) sign(template *x509.Certificate, public crypto.PublicKey, now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	by := s.issuer.cert()
	template.SerialNumber = serial
	template.NotBefore = later(now.Add(-backdate(life)), by.NotBefore)
	template.NotAfter = now.Add(life)
	for _, c := range s.issuer.chain {
		template.NotAfter = earlier(template.NotAfter, c.NotAfter)
	}
	if !template.NotAfter.After(now) {
		return nil, fmt.Errorf("%w: the certificate authority has ended on %s", ErrRequest, template.NotAfter.Format(time.DateOnly))
	}
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, by, public, s.issuer.key)
	if err != nil {
		return nil, fmt.Errorf("cert: sign: %w", err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("cert: sign: %w", err)
	}
	return c, nil
}

// isOld says that an authority of the installation's own making should be replaced: a third of its life is left, or less than a
// node's certificate lives.
func (a *Authority) isOld() bool {
	now := a.standing()
	if now.issuer == nil || now.issuer.given {
		return false
	}
	c := now.issuer.cert()
	left := c.NotAfter.Sub(a.world.Clock.Now())
	return left < c.NotAfter.Sub(c.NotBefore)/3
}
