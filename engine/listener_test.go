package engine_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"millrace/engine"
	"millrace/secure/identity"
)

func TestListenersThatCannotBe(t *testing.T) {
	good := engine.Listener{Name: "CLIENT_IAM", Address: "127.0.0.1:9098", TLS: true, Mechanisms: []identity.Mechanism{identity.MSKIAM}}
	if err := engine.CheckListeners([]engine.Listener{good}); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*engine.Listener){
		"no name":                       func(l *engine.Listener) { l.Name = "" },
		"no port":                       func(l *engine.Listener) { l.Address = "127.0.0.1" },
		"a bad address told":            func(l *engine.Listener) { l.Advertise = "b-1" },
		"a password in the clear":       func(l *engine.Listener) { l.TLS = false },
		"PLAIN":                         func(l *engine.Listener) { l.Mechanisms = []identity.Mechanism{"PLAIN"} },
		"a login that is none":          func(l *engine.Listener) { l.Mechanisms = []identity.Mechanism{identity.None} },
		"certificates without TLS":      func(l *engine.Listener) { l.TLS, l.Mechanisms, l.ClientCert = false, nil, engine.CertNeed },
		"certificates that are unknown": func(l *engine.Listener) { l.ClientCert = "required" },
	} {
		l := good
		spoil(&l)
		if err := engine.CheckListeners([]engine.Listener{l}); !errors.Is(err, engine.ErrListener) {
			t.Errorf("%s: %v", what, err)
		}
	}
	other := good
	other.Name = "OTHER"
	for _, all := range [][]engine.Listener{nil, {good, good}, {good, other}} {
		if err := engine.CheckListeners(all); !errors.Is(err, engine.ErrListener) {
			t.Errorf("%+v: %v", all, err)
		}
	}
}

// TestSpecWithListenersIsRefused by who does not know them: an agent would run the node without them, open to everybody.
func TestSpecWithListenersIsRefused(t *testing.T) {
	b, err := json.Marshal(map[string]any{"format": engine.Format + 1, "id": 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Decode[engine.NodeSpec](b); !errors.Is(err, engine.ErrNewer) {
		t.Error(err)
	}
	if engine.First >= engine.Secured || engine.Secured >= engine.Format {
		t.Error("a spec with listeners has the format of one without")
	}
}

// FuzzParseListeners takes any text for a broker's listeners.
func FuzzParseListeners(f *testing.F) {
	f.Add(`[{"name":"CLIENT","address":"127.0.0.1:9092"},{"name":"CLIENT_IAM","address":"[::1]:9098","advertise":"b:1","tls":true,"client_cert":"none","mechanisms":["AWS_MSK_IAM"]}]`)
	f.Add(`[{"name":"X","address":":0","login":"none"}]`)
	f.Fuzz(func(t *testing.T, text string) {
		all, err := engine.ParseListeners(text)
		if err != nil {
			if !errors.Is(err, engine.ErrListener) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		written, err := engine.FormatListeners(all)
		if err != nil || strings.ContainsRune(written, '\n') {
			t.Fatalf("%q: %q, %v", text, written, err)
		}
		again, err := engine.ParseListeners(written)
		if err != nil {
			t.Fatalf("%q became %q: %v", text, written, err)
		}
		if rewritten, err := engine.FormatListeners(again); err != nil || rewritten != written {
			t.Fatalf("%q became %q, then %q: %v", text, written, rewritten, err)
		}
	})
}
