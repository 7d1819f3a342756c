package manifest

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/express/segment"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// sample has every field set.
func sample() *Manifest {
	p := partition(1)
	first, second := describe(p, 0, 100, "00000000000000000000-0-a"), describe(p, 100, 250, "00000000000000000100-3-b")
	first.Compacted, first.DeleteHorizon, first.MaxTimestamp, first.MaxTimestampOffset = true, 1_700_000_000_000, 1_600_000_000_000, 42
	return &Manifest{
		Partition: p, Version: 7, LogStart: 5, End: 250, CleanedEnd: 100,
		Segments: []segment.Info{first, second}, Epochs: []EpochStart{{Epoch: 0, Start: 0}, {Epoch: 3, Start: 100}},
	}
}

func TestFormatOneStaysReadable(t *testing.T) {
	want := sample()
	file := filepath.Join("testdata", "v1.manifest")
	b, err := encode(want)
	if err != nil {
		t.Fatal(err)
	}
	if *rewrite {
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(golden, b) {
		t.Errorf("the format changed without a new version:\n%s\n%s", golden, b)
	}
	got, err := decode(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !same(got, want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

// sign puts the right checksum behind text.
func sign(text string) []byte { return fmt.Appendf([]byte(text), checksumLine, checksum([]byte(text))) }

func TestDecodeRefuses(t *testing.T) {
	b, err := encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	text := string(b[:len(b)-checksumBytes])
	f := func(name string, b []byte, want error) {
		t.Run(name, func(t *testing.T) {
			if _, err := decode(b); !errors.Is(err, want) {
				t.Fatalf("got %v, want %v", err, want)
			}
		})
	}
	f("nothing", nil, ErrCorrupt)
	f("no checksum", []byte(text), ErrCorrupt)
	f("cut", b[:len(b)-1], ErrCorrupt)
	f("longer", append(bytes.Clone(b), '\n'), ErrCorrupt)
	f("newer", sign(strings.Replace(text, `"format":1`, `"format":2,"new_field":{}`, 1)), ErrNewer)
	f("no format", sign(strings.Replace(text, `"format":1,`, ``, 1)), ErrCorrupt)
	f("unknown field", sign(strings.Replace(text, `"format":1`, `"format":1,"new_field":{}`, 1)), ErrCorrupt)
	f("two values", sign(text+"{}"), ErrCorrupt)
	f("no JSON", sign("rubbish"), ErrCorrupt)
	f("version 0", sign(strings.Replace(text, `"version":7`, `"version":0`, 1)), ErrCorrupt)
	f("gap", sign(strings.Replace(text, `"base":100`, `"base":101`, 1)), ErrCorrupt)
	f("bad topic", sign(strings.Replace(text, `"topic":"`, `"topic":"x`, 1)), ErrCorrupt)

	for i := range b { // any flipped bit is noticed
		damaged := bytes.Clone(b)
		damaged[i] ^= 1 << (i % 8)
		if _, err := decode(damaged); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d damaged: got %v", i, err)
		}
	}
}

func TestDecodePointerRefuses(t *testing.T) {
	const good = `{"format":1,"version":3,"body":"manifests/x","log_start":5,"nonce":"n"}`
	p, err := decodePointer([]byte(good))
	if err != nil || p != (pointer{Format: 1, Version: 3, Body: "manifests/x", LogStart: 5, Nonce: "n"}) {
		t.Fatalf("got %+v, %v", p, err)
	}
	for text, want := range map[string]error{
		"":         ErrCorrupt,
		good + "x": ErrCorrupt,
		strings.Replace(good, `:1`, `:2,"x":1`, 1):    ErrNewer,
		strings.Replace(good, `:3`, `:0`, 1):          ErrCorrupt,
		strings.Replace(good, `:5`, `:-1`, 1):         ErrCorrupt,
		strings.Replace(good, `manifests/x`, ``, 1):   ErrCorrupt,
		strings.Replace(good, `"nonce"`, `"nons"`, 1): ErrCorrupt,
	} {
		if _, err := decodePointer([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", text, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	b, err := encode(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:len(b)-checksumBytes])
	f.Add([]byte(`{"format":1}`))
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, b := range [][]byte{text, sign(string(text))} {
			m, err := decode(b)
			if err != nil {
				if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) {
					t.Fatalf("untyped error %v", err)
				}
				continue
			}
			again, err := encode(m)
			if err != nil {
				t.Fatal(err)
			}
			back, err := decode(again)
			if err != nil || !same(m, back) {
				t.Fatalf("%+v came back as %+v, %v", m, back, err)
			}
		}
	})
}

func FuzzDecodePointer(f *testing.F) {
	f.Add([]byte(`{"format":1,"version":3,"body":"manifests/x","log_start":5,"nonce":"n"}`))
	f.Add([]byte(`{"format":1,"version":3,"body":"","log_start":0,"nonce":"n","fence":4}`))
	f.Add([]byte(`{"format":9}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodePointer(b)
		switch {
		case err == nil && (p.Format != formatVersion || p.Version < 1 || p.Body == "" && p.Fence == 0 || p.LogStart < 0 || p.Fence < 0):
			t.Fatalf("took %+v", p)
		case err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer):
			t.Fatalf("untyped error %v", err)
		}
	})
}
