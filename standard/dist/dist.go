package dist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"millrace/base/clock"
	"millrace/base/disk"
)

// Errors to be tested with errors.Is.
var (
	// ErrNoJava: the host has no Java, or one that is too old.
	ErrNoJava = errors.New("no Java for Apache Kafka")
	// ErrNoMaven: a version is on no disk here, and there is no Maven to get it.
	ErrNoMaven = errors.New("no Maven to get Apache Kafka with")
	// ErrVersion: there is no such version, or its name is none.
	ErrVersion = errors.New("unknown version of Apache Kafka")
	// ErrChecksum: what was downloaded is not what it should be.
	ErrChecksum = errors.New("checksum of Apache Kafka")
	// ErrFetch: Maven could not get a version, for want of a network perhaps; trying again may help.
	ErrFetch = errors.New("no download of Apache Kafka")
	// ErrHome: a folder that was given is no unpacked distribution.
	ErrHome = errors.New("no distribution of Apache Kafka")
)

// Config is read once by New.
type Config struct {
	Dir   string       // where what is downloaded and made is kept; made when it is needed
	Homes []string     // unpacked distributions, each with a folder libs
	Java  string       // program; "": that of JAVA_HOME, or else of PATH
	Maven string       // program; "": mvn of PATH
	FS    disk.FS      // the real one, on which programs work too; required
	Log   *slog.Logger // required
	Clock clock.Clock  // nil: the system's
}

// Dist is made by New.
type Dist struct {
	cfg   Config
	kinds []kind        // newest first
	turn  chan struct{} // capacity 1: who works in Dir, in this process

	mu   sync.Mutex
	java java // guarded by mu
}

// kind is a version that can be had.
type kind struct {
	version string
	java    int
	jars    []string // paths, sorted
	pin     *pin     // nil: of a home
}

// Kafka is a version, ready to be run.
type Kafka struct {
	Version    string // exact
	Java       string // program
	ClassPath  string
	Archive    string // of classes that Java need not read from jars (-XX:SharedArchiveFile); there may be no such file
	Checkpoint string // file of bootstrap metadata, of which every node's storage gets a copy
}

var corePattern = regexp.MustCompile(`^kafka_2\.13-([0-9]+\.[0-9]+\.[0-9]+)\.jar$`)

// New looks at the homes; it returns ErrHome for one that is none. Nothing is run or downloaded.
func New(cfg Config) (*Dist, error) {
	cfg.Maven = cmp.Or(cfg.Maven, "mvn")
	if home := os.Getenv("JAVA_HOME"); cfg.Java == "" && home != "" {
		cfg.Java = filepath.Join(home, "bin", "java")
	}
	cfg.Java = cmp.Or(cfg.Java, "java")
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	d := &Dist{cfg: cfg, turn: make(chan struct{}, 1)}
	for _, home := range cfg.Homes {
		k, err := d.home(home)
		if err != nil {
			return nil, err
		}
		if d.find(k.version) == nil {
			d.kinds = append(d.kinds, k)
		}
	}
	pinned, err := pins()
	if err != nil {
		return nil, err
	}
	for _, p := range pinned {
		if d.find(p.version) != nil {
			continue // the home is nearer
		}
		k := kind{version: p.version, java: p.java, pin: &p}
		for name := range p.sums {
			k.jars = append(k.jars, filepath.Join(cfg.Dir, p.version, "libs", name))
		}
		slices.Sort(k.jars)
		d.kinds = append(d.kinds, k)
	}
	slices.SortFunc(d.kinds, func(a, b kind) int { return -compare(a.version, b.version) })
	return d, nil
}

// home reads the version of a distribution off the name of its main jar.
func (d *Dist) home(dir string) (kind, error) {
	entries, err := d.cfg.FS.ReadDir(filepath.Join(dir, "libs"))
	if err != nil {
		return kind{}, fmt.Errorf("%w in %s: %w", ErrHome, dir, err)
	}
	k := kind{java: newestWanted}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasSuffix(name, ".jar") || strings.HasSuffix(name, "-sources.jar") || strings.HasSuffix(name, "-javadoc.jar") {
			continue
		}
		if m := corePattern.FindStringSubmatch(name); m != nil {
			k.version = m[1]
		}
		k.jars = append(k.jars, filepath.Join(dir, "libs", name))
	}
	if k.version == "" {
		return kind{}, fmt.Errorf("%w in %s: there is no libs/kafka_2.13-VERSION.jar", ErrHome, dir)
	}
	if compare(k.version, "4.0.0") < 0 {
		k.java = 11
	}
	slices.Sort(k.jars)
	return k, nil
}

func (d *Dist) find(version string) *kind {
	for i := range d.kinds {
		if d.kinds[i].version == version {
			return &d.kinds[i]
		}
	}
	return nil
}

// Versions are those that can be had, newest first. Those that need a download are among them.
func (d *Dist) Versions() []string {
	var all []string
	for _, k := range d.kinds {
		all = append(all, k.version)
	}
	return all
}

// Resolve says which version a name stands for: an exact one for itself, "4.1.x" (and "4.1.x.kraft") for the newest patch that can be had. It
// returns ErrVersion where there is none.
func (d *Dist) Resolve(name string) (string, error) {
	line, patch := strings.CutSuffix(strings.TrimSuffix(name, ".kraft"), ".x")
	for _, k := range d.kinds {
		if k.version == line || patch && strings.HasPrefix(k.version, line+".") && strings.Count(line, ".") == 1 {
			return k.version, nil
		}
	}
	return "", fmt.Errorf("%w: %q; there are %s, and those of unpacked distributions (--kafka-home)", ErrVersion, name, strings.Join(d.Versions(), ", "))
}

// compare orders exact versions by their numbers.
func compare(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		n, errN := strconv.Atoi(x)
		m, errM := strconv.Atoi(y)
		if errN != nil || errM != nil {
			return cmp.Compare(x, y)
		}
		return cmp.Compare(n, m)
	})
}

// Named is what Get will return for a name, whether it is on this host by now or not.
func (d *Dist) Named(name string) (Kafka, error) {
	version, err := d.Resolve(name)
	if err != nil {
		return Kafka{}, err
	}
	return d.kafka(d.find(version)), nil
}

func (d *Dist) kafka(k *kind) Kafka {
	made := d.primed(k.version)
	return Kafka{
		Version: k.version, Java: d.cfg.Java, ClassPath: strings.Join(k.jars, string(filepath.ListSeparator)),
		Archive: filepath.Join(made, archiveFile), Checkpoint: filepath.Join(made, checkpointFile),
	}
}

// Usable says why a version cannot be run on this host, nor got: the name is none, Java or Maven are missing. ctx bounds it.
func (d *Dist) Usable(ctx context.Context, name string) error {
	version, err := d.Resolve(name)
	if err != nil {
		return err
	}
	k := d.find(version)
	if _, err := d.checkJava(ctx, k.java); err != nil {
		return err
	}
	if d.there(k) {
		return nil
	}
	return d.checkMaven(ctx)
}

// there says that the jars are on this host.
func (d *Dist) there(k *kind) bool {
	if k.pin == nil {
		return true
	}
	_, err := d.cfg.FS.Stat(filepath.Join(d.cfg.Dir, k.version, "libs"))
	return err == nil
}

// lockPause is between looks at the lock of another process.
const lockPause = 200 * time.Millisecond

// Get returns a version that is ready to be run; the first time, it gets it. tell is called with each stage, from this goroutine. ctx bounds it.
func (d *Dist) Get(ctx context.Context, name string, tell func(stage string)) (Kafka, error) {
	version, err := d.Resolve(name)
	if err != nil {
		return Kafka{}, err
	}
	k := d.find(version)
	java, err := d.checkJava(ctx, k.java)
	if err != nil {
		return Kafka{}, err
	}
	if d.there(k) && d.isPrimed(version, java) {
		return d.kafka(k), nil
	}
	unlock, err := d.lock(ctx, tell)
	if err != nil {
		return Kafka{}, err
	}
	defer unlock()
	if !d.there(k) {
		tell("getting Apache Kafka " + version)
		d.cfg.Log.Info("apache kafka is being downloaded", "version", version)
		if err := d.fetch(ctx, k); err != nil {
			return Kafka{}, err
		}
		d.cfg.Log.Info("apache kafka is downloaded", "version", version)
	}
	if !d.isPrimed(version, java) {
		tell("preparing Apache Kafka " + version + " for fast starts")
		if err := d.prime(ctx, k, java); err != nil {
			return Kafka{}, err
		}
	}
	return d.kafka(k), nil
}

// lock takes Dir for this call (D3).
func (d *Dist) lock(ctx context.Context, tell func(string)) (unlock func(), err error) {
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() {
		if err != nil {
			<-d.turn
		}
	}()
	if err := d.cfg.FS.MkdirAll(d.cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of Apache Kafka: %w", err)
	}
	told := false
	for {
		held, err := d.cfg.FS.Lock(filepath.Join(d.cfg.Dir, "lock"))
		if err == nil {
			return func() {
				_ = held.Close() // the file stays, what it held is freed by the end of the process at the latest
				<-d.turn
			}, nil
		}
		if !errors.Is(err, disk.ErrLocked) {
			return nil, fmt.Errorf("folder of Apache Kafka: %w", err)
		}
		if !told {
			tell("waiting for another process that gets Apache Kafka")
			told = true
		}
		t := time.NewTimer(lockPause)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		case <-t.C:
		}
	}
}
