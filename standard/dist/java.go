package dist

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

var javaPattern = regexp.MustCompile(`version "([0-9]{1,4})(?:\.([0-9]{1,4}))?[^"]*"`)

// javaRelease reads the release out of what `java -version` prints: 17 of "17.0.15", 8 of "1.8.0_412".
func javaRelease(text string) (int, error) {
	m := javaPattern.FindStringSubmatch(text)
	if m == nil {
		return 0, errors.New("it does not say its version")
	}
	major, err := strconv.Atoi(m[1])
	if major == 1 && m[2] != "" {
		major, err = strconv.Atoi(m[2])
	}
	return major, err
}

// newestWanted is the Java that runs every version in the table.
const newestWanted = 17

// javaKept is how long the host's Java counts as what it was: many nodes start at once, and each would ask it.
const javaKept = 30 * time.Second

// java is what the host's Java said of itself.
type java struct {
	name    string
	release int
	asked   time.Time
}

// checkJava says why the host's Java does not run what needs the given release, and returns what it calls itself.
func (d *Dist) checkJava(ctx context.Context, release int) (name string, err error) {
	has, err := d.askJava(ctx)
	if err != nil {
		return "", err
	}
	if has.release < release {
		return "", fmt.Errorf("%w: %s is Java %d: install a Java runtime of release %d or newer, or say where it is with JAVA_HOME",
			ErrNoJava, d.cfg.Java, has.release, release)
	}
	return has.name, nil
}

// askJava has Java say its version, unless it has just done so.
func (d *Dist) askJava(ctx context.Context) (java, error) {
	d.mu.Lock()
	kept := d.java
	d.mu.Unlock()
	if !kept.asked.IsZero() && d.cfg.Clock.Now().Sub(kept.asked) < javaKept {
		return kept, nil
	}
	text, err := run(ctx, d.cfg.Java, []string{"-version"}, "")
	if ctx.Err() != nil {
		return java{}, ctx.Err()
	}
	if err != nil {
		return java{}, fmt.Errorf("%w: %s cannot be run: install a Java runtime of release %d or newer, or say where it is with JAVA_HOME: %w",
			ErrNoJava, d.cfg.Java, newestWanted, err)
	}
	release, err := javaRelease(text)
	if err != nil {
		return java{}, fmt.Errorf("%w: %s: %w", ErrNoJava, d.cfg.Java, err)
	}
	now := java{name: text, release: release, asked: d.cfg.Clock.Now()}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.java = now
	return now, nil
}
