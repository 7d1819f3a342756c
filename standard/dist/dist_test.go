package dist

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"millrace/base/disk"
)

// host is one with programs that stand in for Java and Maven.
type host struct {
	t    *testing.T
	dir  string
	jars string // folder that the Maven here copies
	cfg  Config
}

// The Java here knows its version, formats, and says that a node has started; it counts its starts.
const fakeJava = `#!/bin/sh
case "$*" in
-version) echo 'openjdk version "RELEASE"' >&2;;
*StorageTool*) mkdir -p data && echo bootstrap > data/bootstrap.checkpoint; echo format >> COUNT;;
*) echo node >> COUNT; for a in "$@"; do case $a in -XX:ArchiveClassesAtExit=*) echo classes > "${a#*=}";; esac; done; echo "Kafka Server started";;
esac
`

const fakeMaven = `#!/bin/sh
[ "$1" = --version ] && exit 0
for a in "$@"; do case $a in -DoutputDirectory=*) out=${a#*=};; esac; done
mkdir -p "$out"
echo maven >> COUNT
FAIL
cp JARS/* "$out"
`

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir()}
	h.jars = filepath.Join(h.dir, "repository")
	must(t, os.Mkdir(h.jars, 0o700))
	h.cfg = Config{Dir: filepath.Join(h.dir, "kafka"), FS: disk.OS(""), Log: slog.New(slog.DiscardHandler)}
	h.cfg.Java, h.cfg.Maven = filepath.Join(h.dir, "java"), filepath.Join(h.dir, "mvn")
	h.java("17.0.1")
	h.maven("")
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (h *host) script(name, text string) {
	h.t.Helper()
	text = strings.ReplaceAll(strings.ReplaceAll(text, "COUNT", filepath.Join(h.dir, "count")), "JARS", h.jars)
	must(h.t, os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o700))
}

func (h *host) java(release string) {
	h.script("java", strings.ReplaceAll(fakeJava, "RELEASE", release))
}
func (h *host) maven(fail string) { h.script("mvn", strings.ReplaceAll(fakeMaven, "FAIL", fail)) }

// count is how often something was run.
func (h *host) count(what string) int {
	text, _ := os.ReadFile(filepath.Join(h.dir, "count"))
	return strings.Count(string(text), what+"\n")
}

// open is a Dist whose table has one version more than the real one: 9.9.1 with two jars, which the Maven here has.
func (h *host) open() *Dist {
	h.t.Helper()
	d, err := New(h.cfg)
	must(h.t, err)
	p := pin{version: "9.9.1", java: 17, artifacts: [][3]string{{"g", "a", "9.9.1"}}, sums: map[string]string{}}
	k := kind{version: "9.9.1", java: 17, pin: &p}
	for _, name := range []string{"a.jar", "b.jar"} {
		sum := sha256.Sum256([]byte(name))
		p.sums[name] = hex.EncodeToString(sum[:])
		must(h.t, os.WriteFile(filepath.Join(h.jars, name), []byte(name), 0o600))
		k.jars = append(k.jars, filepath.Join(h.cfg.Dir, "9.9.1", "libs", name))
	}
	d.kinds = append([]kind{k}, d.kinds...)
	return d
}

func (h *host) get(d *Dist) (Kafka, []string, error) {
	var told []string
	k, err := d.Get(h.t.Context(), "9.9.x", func(s string) { told = append(told, s) })
	return k, told, err
}

// TestTableHasThreeReleases, each with every jar that a broker needs.
func TestTableHasThreeReleases(t *testing.T) {
	d := newHost(t).open()
	for name, want := range map[string]string{
		"4.3.x": "4.3.1", "4.1.x": "4.1.2", "3.9.x": "3.9.2", "3.9.x.kraft": "3.9.2", "4.1.2": "4.1.2",
	} {
		got, err := d.Resolve(name)
		if err != nil || got != want {
			t.Errorf("%s is %q, %v; want %s", name, got, err, want)
			continue
		}
		k := d.find(got)
		for _, jar := range []string{"kafka_2.13-" + want, "kafka-clients-" + want, "slf4j-"} {
			if !slices.ContainsFunc(k.jars, func(j string) bool { return strings.HasPrefix(filepath.Base(j), jar) }) {
				t.Errorf("%s has no %s", want, jar)
			}
		}
	}
	for _, name := range []string{"", "4", "4.x", "x", "4.1", "4.1.99", "2.8.x", "..x", "4.1.x.x", "3.9.2/../.."} {
		if got, err := d.Resolve(name); !errors.Is(err, ErrVersion) {
			t.Errorf("%q is %q, %v", name, got, err)
		}
	}
	if err := d.Usable(t.Context(), "2.8.x"); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
}

// TestGetOnce: it is fetched, checked and primed the first time, and only found after that.
func TestGetOnce(t *testing.T) {
	h := newHost(t)
	d := h.open()
	must(t, d.Usable(t.Context(), "9.9.x"))
	named, err := d.Named("9.9.x")
	must(t, err)
	k, told, err := h.get(d)
	must(t, err)
	if k != named {
		t.Errorf("%+v was named %+v", k, named)
	}
	if len(told) != 2 {
		t.Errorf("told %q", told)
	}
	for _, name := range append(filepath.SplitList(k.ClassPath), k.Archive, k.Checkpoint) {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
	_, told, err = h.get(h.open())
	must(t, err)
	if len(told) != 0 || h.count("maven") != 1 || h.count("format") != 1 || h.count("node") != 1 {
		t.Errorf("the second time: %q, Maven ran %d times, the tool %d, a node %d", told, h.count("maven"), h.count("format"), h.count("node"))
	}
	h.java("21.0.2") // another Java: what the former one has written is not for it
	_, _, err = h.get(h.open())
	must(t, err)
	if h.count("maven") != 1 || h.count("node") != 2 {
		t.Errorf("with another Java, Maven ran %d times and a node %d", h.count("maven"), h.count("node"))
	}
	left, err := os.ReadDir(h.cfg.Dir)
	must(t, err)
	if len(left) != 3 { // lock, primed, 9.9.1
		t.Errorf("left: %v", left)
	}
}

// TestGetByMany fetches once (D3).
func TestGetByMany(t *testing.T) {
	h := newHost(t)
	one, two := h.open(), h.open() // as two processes, for the lock excludes within one, too
	var work sync.WaitGroup
	for i := range 6 {
		work.Go(func() {
			d := one
			if i%2 == 1 {
				d = two
			}
			if _, err := d.Get(t.Context(), "9.9.x", func(string) {}); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if h.count("maven") != 1 || h.count("node") != 1 {
		t.Errorf("Maven ran %d times, a node %d", h.count("maven"), h.count("node"))
	}
}

// TestWrongJarsAreNotUsed: one that was changed, one more, one less (D2).
func TestWrongJarsAreNotUsed(t *testing.T) {
	for what, spoil := range map[string]func(h *host){
		"changed": func(h *host) { must(t, os.WriteFile(filepath.Join(h.jars, "a.jar"), []byte("evil"), 0o600)) },
		"more":    func(h *host) { must(t, os.WriteFile(filepath.Join(h.jars, "c.jar"), []byte("evil"), 0o600)) },
		"less":    func(h *host) { must(t, os.Remove(filepath.Join(h.jars, "b.jar"))) },
	} {
		h := newHost(t)
		d := h.open()
		spoil(h)
		if _, _, err := h.get(d); !errors.Is(err, ErrChecksum) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Stat(filepath.Join(h.cfg.Dir, "9.9.1")); err == nil {
			t.Errorf("%s: the version is there", what)
		}
		d = h.open() // puts the right jars back
		_ = os.Remove(filepath.Join(h.jars, "c.jar"))
		if _, _, err := h.get(d); err != nil {
			t.Errorf("%s, then right: %v", what, err)
		}
	}
}

// TestHostsThatLackSomething are told what to install (D4).
func TestHostsThatLackSomething(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(h *host)
		want  error
		hint  string
	}{
		"no Java":     {func(h *host) { must(t, os.Remove(h.cfg.Java)) }, ErrNoJava, "install a Java"},
		"an old Java": {func(h *host) { h.java("1.8.0_412") }, ErrNoJava, "is Java 8"},
		"a dumb Java": {func(h *host) { h.java("none\\\"") }, ErrNoJava, ""},
		"no Maven":    {func(h *host) { must(t, os.Remove(h.cfg.Maven)) }, ErrNoMaven, "install Maven"},
		"no network":  {func(h *host) { h.maven("echo 'no route to host'; exit 1") }, ErrFetch, "no route to host"},
		"no jars":     {func(h *host) { h.maven("exit 0") }, ErrChecksum, "0 jars came"},
	} {
		h := newHost(t)
		d := h.open()
		c.spoil(h)
		_, _, err := h.get(d)
		if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.hint) {
			t.Errorf("%s: %v", what, err)
		}
		if errors.Is(c.want, ErrNoJava) || errors.Is(c.want, ErrNoMaven) {
			if err := d.Usable(t.Context(), "9.9.x"); !errors.Is(err, c.want) {
				t.Errorf("%s: usable: %v", what, err)
			}
		}
	}
}

// TestCutOffDownloadIsThrownAway (D1).
func TestCutOffDownloadIsThrownAway(t *testing.T) {
	h := newHost(t)
	d := h.open()
	ctx, cancel := context.WithCancel(t.Context())
	began := filepath.Join(h.dir, "began")
	h.maven("echo half > \"$out/a.jar\"; touch " + began + "; sleep 600")
	done := make(chan error, 1)
	go func() {
		_, err := d.Get(ctx, "9.9.1", func(string) {})
		done <- err
	}()
	for {
		if _, err := os.Stat(began); err == nil {
			break
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	h.maven("")
	if _, _, err := h.get(h.open()); err != nil {
		t.Error(err)
	}
}

// TestArchiveThatCannotBeMadeKeepsNobodyFromStarting (D5).
func TestArchiveThatCannotBeMadeKeepsNobodyFromStarting(t *testing.T) {
	h := newHost(t)
	h.script("java", strings.ReplaceAll(strings.ReplaceAll(fakeJava, "RELEASE", "17"), "echo node >> COUNT;", "exit 1;"))
	if _, _, err := h.get(h.open()); err != nil {
		t.Error(err)
	}
}

// TestHomes: an unpacked distribution is used as it is, with any patch, and is no folder of another kind.
func TestHomes(t *testing.T) {
	h := newHost(t)
	home := filepath.Join(h.dir, "home")
	must(t, os.MkdirAll(filepath.Join(home, "libs"), 0o700))
	h.cfg.Homes = []string{home}
	if _, err := New(h.cfg); !errors.Is(err, ErrHome) {
		t.Error(err)
	}
	for _, name := range []string{"kafka_2.13-4.1.7.jar", "kafka_2.13-4.1.7-sources.jar", "x.jar", "x.txt"} {
		must(t, os.WriteFile(filepath.Join(home, "libs", name), nil, 0o600))
	}
	must(t, os.Remove(h.cfg.Maven))
	d, err := New(h.cfg)
	must(t, err)
	must(t, d.Usable(t.Context(), "4.1.x"))
	k, err := d.Get(t.Context(), "4.1.x", func(string) {})
	must(t, err)
	if want := filepath.Join(home, "libs", "kafka_2.13-4.1.7.jar") + ":" + filepath.Join(home, "libs", "x.jar"); k.Version != "4.1.7" || k.ClassPath != want {
		t.Errorf("%+v", k)
	}
	h.cfg.Homes = []string{filepath.Join(h.dir, "nowhere")}
	if _, err := New(h.cfg); !errors.Is(err, ErrHome) {
		t.Error(err)
	}
}

// TestPatchesAreOrderedByNumber, not by text.
func TestPatchesAreOrderedByNumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.IntRange(0, 30)
		a := [3]int{number.Draw(t, "a"), number.Draw(t, "b"), number.Draw(t, "c")}
		b := [3]int{number.Draw(t, "d"), number.Draw(t, "e"), number.Draw(t, "f")}
		want := slices.Compare(a[:], b[:])
		if got := compare(fmt.Sprintf("%d.%d.%d", a[0], a[1], a[2]), fmt.Sprintf("%d.%d.%d", b[0], b[1], b[2])); got != want {
			t.Fatalf("%v and %v: %d, want %d", a, b, got, want)
		}
	})
}

// TestPinsAreReadStrictly: a line that is not understood is a jar that is not checked.
func TestPinsAreReadStrictly(t *testing.T) {
	good := "java 17\nartifact g:a:1\njar " + strings.Repeat("0", 64) + " a.jar\n"
	if _, err := parsePin("1.0.0", good); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "java 17", good + "\n", good + "jar 00 b.jar", good + "artifact g:a", good + "java x", good + "jar " + strings.Repeat("0", 64) + " ../b.jar"} {
		if _, err := parsePin("1.0.0", bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestJavaRelease(t *testing.T) {
	for text, want := range map[string]int{
		"openjdk version \"17.0.15\" 2025-04-15\nOpenJDK": 17, `java version "1.8.0_412"`: 8, `openjdk version "21" 2023-09-19`: 21, `openjdk version "24-ea"`: 24,
		"": 0, "17": 0, `version "x"`: 0,
	} {
		if got, err := javaRelease(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

// FuzzJavaRelease takes anything for what a program prints.
func FuzzJavaRelease(f *testing.F) {
	f.Add(`openjdk version "17.0.15" 2025-04-15`)
	f.Add(`java version "1.8"`)
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := javaRelease(text); err == nil && (n < 0 || n > 9999) {
			t.Fatalf("%q: %d", text, n)
		}
	})
}
