package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"millrace/engine"
	"millrace/standard/render"
)

// Fetch gets the version that the spec names.
func (e Engine) Fetch(ctx context.Context, s engine.NodeSpec, tell func(stage string)) error {
	_, err := e.Dist.Get(ctx, s.Version, tell)
	return err
}

// Prepare gets the version, the certificate and the storage, and writes what the process reads.
func (e Engine) Prepare(ctx context.Context, s engine.NodeSpec, tell func(stage string)) error {
	if _, _, err := e.Command(s); err != nil {
		return err // nothing is got for a node that cannot be
	}
	kafka, err := e.Dist.Get(ctx, s.Version, tell)
	if err != nil {
		return err
	}
	dir, place := e.dir(s), e.place(s)
	for _, d := range []string{dir, place.Logs} {
		if err := e.FS.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("folder of node %d: %w", s.ID, err)
		}
	}
	if err := e.certify(ctx, s, tell); err != nil {
		return err
	}
	if err := e.format(s, kafka.Checkpoint); err != nil {
		return fmt.Errorf("storage of node %d: %w", s.ID, err)
	}
	text, err := render.Properties(s, kafka.Version, place)
	if err != nil {
		return err
	}
	if err := errors.Join(
		e.FS.WriteFileAtomic(filepath.Join(dir, propertiesFile), []byte(text)),
		e.FS.WriteFileAtomic(place.Logging, []byte(render.Logging(kafka.Version, place))),
	); err != nil {
		return fmt.Errorf("properties of node %d: %w", s.ID, err)
	}
	return nil
}

// certify gets a node with TLS listeners its certificate.
func (e Engine) certify(ctx context.Context, s engine.NodeSpec, tell func(stage string)) error {
	if !slices.ContainsFunc(s.Served(), func(l engine.Listener) bool { return l.TLS }) {
		return nil
	}
	if e.Certificate == nil {
		return ErrNoCertificate
	}
	tell("waiting for its certificate")
	dir := filepath.Join(e.dir(s), certDir)
	got, err := e.Certificate(ctx, s, dir)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoCertificate, err)
	}
	if got != Files(dir) {
		return fmt.Errorf("%w: it lies in %s", ErrNoCertificate, got.KeyStore)
	}
	return nil
}
