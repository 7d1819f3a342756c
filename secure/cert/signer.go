package cert

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"strings"
	"time"

	"millrace/base/kv"
	"millrace/secure/trail"
)

// Allow says what a node may be called. An error refuses the node, and is told to it; it should say what is wrong in a few words.
type Allow func(ctx context.Context, n Node) (Names, error)

// Signer answers the requests of nodes. Several may run at a time.
type Signer struct {
	authority *Authority
	allow     Allow
	world     World
}

// NewSigner makes a Signer, which does nothing before Run.
func NewSigner(a *Authority, allow Allow, w World) *Signer {
	return &Signer{authority: a, allow: allow, world: w}
}

const (
	sweepEvery = time.Hour
	retryPause = time.Second // after etcd failed
)

// Run answers requests as they come, makes a new authority when that of its own making grows old, and clears records of certificates that
// have ended, until ctx ends; then it returns nil. While etcd is away it waits.
func (s *Signer) Run(ctx context.Context) error {
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		s.care(ctx)
	}()
	defer func() { <-swept }()
	for ctx.Err() == nil {
		err := kv.Follow(ctx, s.world.KV, requestPrefix,
			func(items []kv.Item, _ int64) error {
				for _, i := range items {
					if err := s.answer(ctx, i); err != nil {
						return err
					}
				}
				return nil
			},
			func(e kv.Event) error {
				if e.Type != kv.EventPut {
					return nil
				}
				return s.answer(ctx, e.Item)
			})
		if ctx.Err() != nil {
			break
		}
		s.world.Log.Warn("requests for certificates cannot be answered; trying again", "retry_in", retryPause, "err", err)
		wait(ctx, retryPause)
	}
	return nil
}

// wait returns when d is over or ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// answer signs or refuses a request, unless that was done. Its error is one of etcd's; what is wrong with the request is its answer.
func (s *Signer) answer(ctx context.Context, item kv.Item) error {
	key := answerPrefix + strings.TrimPrefix(item.Key, requestPrefix)
	r, err := decode[requestRecord](item.Key, item.Value)
	if err == nil && requestPrefix+string(r.Node) != item.Key {
		err = fmt.Errorf("%w: it is at the place of another node", ErrRequest)
	}
	if err == nil {
		err = r.Node.check()
	}
	if err != nil {
		s.world.Log.Warn("request for a certificate cannot be read", "key", clip(item.Key), "err", err)
		return nil // there is nobody to be told
	}
	for {
		before, err := s.answered(ctx, key, r)
		if err != nil || before < 0 {
			return err
		}
		err = s.write(ctx, key, before, r)
		switch {
		case errors.Is(err, kv.ErrConflict): // another Signer, or another authority
			if err := s.authority.load(ctx); err != nil && !errors.Is(err, kv.ErrConflict) {
				return err
			}
		case err == nil || ctx.Err() != nil || !errors.Is(err, kv.ErrUnknown):
			return err
		}
	}
}

// answered returns the revision of the answer that is to be written over, 0 for none, or -1 where this very request was answered.
func (s *Signer) answered(ctx context.Context, key string, r requestRecord) (int64, error) {
	item, err := s.world.KV.Get(ctx, key)
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("cert: read %s: %w", key, err)
	}
	if a, err := decode[answerRecord](key, item.Value); err == nil && a.Request == digest(r.CSR) {
		return -1, nil
	}
	return item.ModRev, nil
}

// write signs or refuses, and writes the answer in the place of the one at revision before.
func (s *Signer) write(ctx context.Context, key string, before int64, r requestRecord) error {
	now := s.authority.standing()
	answer := answerRecord{Format: format, Request: digest(r.CSR)}
	event := trail.Event{Kind: trail.System, Action: "cert:IssueNode", Outcome: trail.Accepted, Resource: "node/" + string(r.Node)}
	conds := []kv.Cond{kv.ModRevEquals(key, before), kv.ModRevEquals(authorityKey, now.rev)}
	var ops []kv.Op
	held, err := s.registered(ctx, r.Node)
	if err != nil {
		return err
	}
	conds = append(conds, held...)
	leaf, names, err := s.sign(ctx, now, r)
	if ctx.Err() != nil {
		return fmt.Errorf("cert: answer %s: %w", r.Node, ctx.Err())
	}
	if err != nil {
		answer.Refused, event.Outcome, event.Reason = err.Error(), trail.Refused, err.Error()
	} else {
		answer.Serial, answer.Chain = serialText(leaf.SerialNumber), now.chain(leaf)
		node, err := encode(nodeRecord{
			Format: format, Node: r.Node, Names: names.String(), Fingerprint: fingerprint(leaf), Issuer: fingerprint(now.issuer.cert()),
			Issued: s.world.Clock.Now().UTC(), Ends: leaf.NotAfter,
		})
		if err != nil {
			return err
		}
		event.Resource += "/" + answer.Serial
		ops = append(ops, kv.Put(trustNodes+answer.Serial, node))
	}
	value, err := encode(answer)
	if err != nil {
		return err
	}
	if _, err := s.world.KV.Txn(ctx, conds, append(ops, kv.Put(key, value))); err != nil {
		return fmt.Errorf("cert: write %s: %w", key, err)
	}
	if answer.Refused != "" {
		s.world.Log.Warn("certificate of a node refused", "node", string(r.Node), "reason", answer.Refused)
	} else {
		s.world.Log.Info("certificate of a node issued", "node", string(r.Node), "serial", answer.Serial, "names", names.String())
	}
	s.world.record(event)
	return nil
}

// sign makes the certificate that a node asks for, if it may have it.
func (s *Signer) sign(ctx context.Context, now standing, r requestRecord) (*x509.Certificate, Names, error) {
	public, names, err := readRequest(r.CSR)
	if err != nil {
		return nil, names, err
	}
	allowed, err := s.allow(ctx, r.Node)
	if err != nil {
		return nil, names, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if names.IsEmpty() {
		return nil, names, fmt.Errorf("%w: it names nothing", ErrRequest)
	}
	if foreign := names.Without(allowed); !foreign.IsEmpty() {
		return nil, names, fmt.Errorf("%w: %s may not be called %s", ErrRequest, r.Node, clip(foreign.String()))
	}
	template := &x509.Certificate{
		Subject:  pkix.Name{CommonName: clipName(r.Node.own()), OrganizationalUnit: []string{nodeUnit}, Organization: []string{"Millrace"}},
		DNSNames: names.DNS, IPAddresses: names.netIPs(),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	leaf, err := now.sign(template, public, s.world.Clock.Now(), s.authority.cfg.NodeLife)
	return leaf, names, err
}

// clipName keeps a CN within what X.509 allows.
func clipName(name string) string {
	const most = 64
	return name[:min(len(name), most)]
}

// care looks after the authority and what is left of certificates that have ended.
func (s *Signer) care(ctx context.Context) {
	every := min(sweepEvery, max(s.authority.cfg.Life/10, time.Second))
	for ctx.Err() == nil {
		err := s.authority.load(ctx)
		if err == nil && s.authority.isOld() {
			err = s.authority.Replace(ctx)
		}
		if err = errors.Join(err, s.sweep(ctx)); err != nil && ctx.Err() == nil {
			s.world.Log.Warn("certificates cannot be looked after; trying again", "retry_in", every, "err", err)
		}
		wait(ctx, every)
	}
}

// keepEnded is for how long records of certificates stay that have ended, for who wants to look at them.
const keepEnded = 30 * day

// sweep removes records of certificates that have ended.
func (s *Signer) sweep(ctx context.Context) error {
	now := s.world.Clock.Now()
	for _, prefix := range []string{trustNodes, trustRevoked, clientPrefix} {
		items, _, err := s.world.KV.List(ctx, prefix)
		if err != nil {
			return fmt.Errorf("cert: list %s: %w", prefix, err)
		}
		for _, i := range items {
			end, err := endOf(i)
			if err != nil || now.Before(end) || prefix == clientPrefix && now.Before(end.Add(keepEnded)) {
				continue // one that cannot be read stays
			}
			if _, err := s.world.KV.Txn(ctx, []kv.Cond{kv.ModRevEquals(i.Key, i.ModRev)}, []kv.Op{kv.Delete(i.Key)}); err != nil && !errors.Is(err, kv.ErrConflict) {
				return fmt.Errorf("cert: remove %s: %w", i.Key, err)
			}
		}
	}
	return nil
}

// endOf is when the certificate ends that a record is about.
func endOf(i kv.Item) (time.Time, error) {
	r, err := decode[revokedRecord](i.Key, i.Value) // the others have the same field
	if err == nil && r.Ends.IsZero() {
		err = ErrRecord
	}
	return r.Ends, err
}
