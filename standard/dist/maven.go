package dist

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"

	"millrace/base/disk"
)

// copyGoal is the plugin of Maven that gathers jars, by its version, so that what it does stays the same.
const copyGoal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"

// checkMaven says why there is no Maven.
func (d *Dist) checkMaven(ctx context.Context) error {
	if _, err := run(ctx, d.cfg.Maven, []string{"--version"}, ""); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %s cannot be run: install Maven, or give unpacked distributions with --kafka-home: %w", ErrNoMaven, d.cfg.Maven, err)
	}
	return nil
}

// fetch has Maven gather the jars of a version, and puts them in place once each is what it should be (D1).
func (d *Dist) fetch(ctx context.Context, k *kind) error {
	if err := d.checkMaven(ctx); err != nil {
		return err
	}
	staging := filepath.Join(d.cfg.Dir, "staging")
	if err := disk.RemoveAll(d.cfg.FS, staging); err != nil {
		return fmt.Errorf("throw away a download that was cut off: %w", err)
	}
	if err := d.cfg.FS.MkdirAll(staging, 0o700); err != nil {
		return fmt.Errorf("folder for a download: %w", err)
	}
	pom := filepath.Join(staging, "pom.xml")
	if err := d.cfg.FS.WriteFileAtomic(pom, []byte(k.pin.pom())); err != nil {
		return fmt.Errorf("list for Maven: %w", err)
	}
	args := []string{
		"--quiet", "--batch-mode", "--file", pom, copyGoal,
		"-DincludeScope=runtime", "-DoutputDirectory=" + filepath.Join(staging, "libs"),
	}
	if said, err := run(ctx, d.cfg.Maven, args, staging); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d.cfg.Log.Warn("maven could not get apache kafka", "version", k.version, "said", said)
		return fmt.Errorf("%w: version %s: check the network and the settings of Maven, or give an unpacked distribution with --kafka-home: %w",
			ErrFetch, k.version, err)
	}
	if err := d.check(*k.pin, filepath.Join(staging, "libs")); err != nil {
		return err
	}
	if err := d.cfg.FS.SyncDir(filepath.Join(staging, "libs")); err != nil {
		return fmt.Errorf("keep Apache Kafka: %w", err)
	}
	if err := d.cfg.FS.Rename(staging, filepath.Join(d.cfg.Dir, k.version)); err != nil {
		return fmt.Errorf("keep Apache Kafka: %w", err)
	}
	return d.cfg.FS.SyncDir(d.cfg.Dir)
}

// check holds a folder against the table: all of its jars, as they should be, and no other (D2).
func (d *Dist) check(p pin, dir string) error {
	entries, err := d.cfg.FS.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("%w: version %s: %w", ErrFetch, p.version, err)
	}
	for _, e := range entries {
		want, ok := p.sums[e.Name()]
		if !ok {
			return fmt.Errorf("%w %s: %s does not belong to it", ErrChecksum, p.version, e.Name())
		}
		body, err := d.cfg.FS.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return fmt.Errorf("check %s: %w", e.Name(), err)
		}
		if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != want {
			return fmt.Errorf("%w %s: %s is another file than the one that was tried: look at the repositories that Maven takes it from, "+
				"and delete it from the local one", ErrChecksum, p.version, e.Name())
		}
	}
	if len(entries) != len(p.sums) {
		return fmt.Errorf("%w %s: %d jars came, of %d", ErrChecksum, p.version, len(entries), len(p.sums))
	}
	return nil
}
