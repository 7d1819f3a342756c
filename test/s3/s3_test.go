package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace/base/clock"
	"millrace/base/object"
	"millrace/base/object/objecttest"
	"millrace/base/object/s3"
	"millrace/test/harness"
)

// credentials puts the server's into the environment of this process.
func credentials(t *testing.T, server *harness.S3) {
	for _, pair := range server.Env() {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
}

func open(t *testing.T, url string) *s3.Store {
	t.Helper()
	cfg, err := s3.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	store, err := s3.Open(t.Context(), cfg, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestStore(t *testing.T) {
	server := harness.StartS3(t)
	credentials(t, server)
	var stores atomic.Int64
	objecttest.RunFlat(t, func(t *testing.T) object.Store {
		return open(t, server.URL(fmt.Sprintf("suite/%d", stores.Add(1)), ""))
	})
}

// between is a proxy in front of the server that does something to the requests that it is asked to.
type between struct {
	*httptest.Server
	mu   sync.Mutex
	what func(w http.ResponseWriter, r *http.Request, on http.Handler) // nil: hand on
}

func startBetween(t *testing.T, server *harness.S3) *between {
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	b := &between{}
	on := &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host },
		ErrorLog: nil,
	}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		what := b.what
		b.mu.Unlock()
		if what == nil {
			on.ServeHTTP(w, r)
			return
		}
		what(w, r, on)
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *between) do(what func(w http.ResponseWriter, r *http.Request, on http.Handler)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.what = what
}

// hangUp ends the connection of a request without an answer.
func hangUp(http.ResponseWriter) { panic(http.ErrAbortHandler) }

// An answer that is lost leads to a second request, which the store refuses because of the first. That is a success (S2).
func TestLostAnswers(t *testing.T) {
	server := harness.StartS3(t)
	credentials(t, server)
	proxy := startBetween(t, server)
	store := open(t, server.URL("lost", proxy.URL))
	once := object.PutOptions{IfAbsent: true}

	lose := func(method, query string) *atomic.Int64 {
		var lost atomic.Int64
		proxy.do(func(w http.ResponseWriter, r *http.Request, on http.Handler) {
			if r.Method == method && strings.Contains(r.URL.RawQuery, query) && lost.Add(1) == 1 {
				on.ServeHTTP(httptest.NewRecorder(), r)
				hangUp(w)
			}
			on.ServeHTTP(w, r)
		})
		return &lost
	}
	lost := lose(http.MethodPut, "")
	if err := store.Put(t.Context(), "a", [][]byte{[]byte("mine")}, once); err != nil || lost.Load() < 2 {
		t.Errorf("put: %v after %d requests", err, lost.Load())
	}
	proxy.do(nil)
	if err := store.Put(t.Context(), "a", [][]byte{[]byte("mine")}, once); !errors.Is(err, object.ErrExists) {
		t.Errorf("put of what is another's: %v", err)
	}

	w, err := store.Create(t.Context(), "large")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 20<<20)); err != nil {
		t.Fatal(err)
	}
	lost = lose(http.MethodPost, "uploadId")
	if err := w.Commit(t.Context()); err != nil || lost.Load() < 2 {
		t.Errorf("commit: %v after %d requests", err, lost.Load())
	}
	proxy.do(nil)
	if info, err := store.Stat(t.Context(), "large"); err != nil || info.Size != 20<<20 {
		t.Errorf("the object: %+v, %v", info, err)
	}
}

// A store that is overloaded for a moment is asked again; one that stays so gives its error.
func TestOverload(t *testing.T) {
	harness.Long(t, "make suite SUITE=s3")
	server := harness.StartS3(t)
	credentials(t, server)
	proxy := startBetween(t, server)
	store := open(t, server.URL("overload", proxy.URL))
	var left atomic.Int64
	proxy.do(func(w http.ResponseWriter, r *http.Request, on http.Handler) {
		if left.Add(-1) >= 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		on.ServeHTTP(w, r)
	})
	left.Store(2)
	if err := store.Put(t.Context(), "a", [][]byte{[]byte("x")}, object.PutOptions{IfAbsent: true}); err != nil {
		t.Errorf("put: %v", err)
	}
	left.Store(2)
	if n, err := store.ReadAt(t.Context(), "a", make([]byte, 1), 0); n != 1 {
		t.Errorf("read: %d, %v", n, err)
	}
	left.Store(1 << 30)
	if _, err := store.Stat(t.Context(), "a"); err == nil || errors.Is(err, object.ErrNotFound) {
		t.Errorf("stat: %v", err)
	}
}

// A read that hangs is asked for again, and the second answer counts.
func TestHedgedRead(t *testing.T) {
	server := harness.StartS3(t)
	credentials(t, server)
	proxy := startBetween(t, server)
	store := open(t, server.URL("hedge", proxy.URL))
	if err := store.Put(t.Context(), "a", [][]byte{[]byte("0123456789")}, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	var reads atomic.Int64
	proxy.do(func(w http.ResponseWriter, r *http.Request, on http.Handler) {
		if r.Method == http.MethodGet && reads.Add(1) == 1 {
			<-r.Context().Done() // until the reader gives it up
			hangUp(w)
		}
		on.ServeHTTP(w, r)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := make([]byte, 4)
	if n, err := store.ReadAt(ctx, "a", p, 3); err != nil || string(p[:n]) != "3456" || reads.Load() != 2 {
		t.Errorf("read %q, %v, with %d requests", p[:n], err, reads.Load())
	}
}

// A Reader never reads another object than the one that it has opened (S3).
func TestReaderOfReplacedObject(t *testing.T) {
	server := harness.StartS3(t)
	credentials(t, server)
	store := open(t, server.URL("replaced", ""))
	put := func(text string) {
		t.Helper()
		if err := store.Put(t.Context(), "a", [][]byte{[]byte(text)}, object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	put("old")
	r, err := store.Open(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 3)
	if _, err := r.ReadAt(p, 0); err != nil || string(p) != "old" {
		t.Errorf("read %q, %v", p, err)
	}
	put("new")
	if n, err := r.ReadAt(p, 0); err == nil {
		t.Errorf("read %q of another object", p[:n])
	}
}

// A store that forgets the condition is refused before anything is entrusted to it (S1).
func TestStoreWithoutConditions(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	var mu sync.Mutex
	objects := make(map[string]string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch r.Method {
		case http.MethodPut:
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			objects[r.URL.Path] = string(body)
		case http.MethodDelete:
			delete(objects, r.URL.Path)
			w.WriteHeader(http.StatusNoContent)
		default:
			fmt.Fprint(w, objects[r.URL.Path])
		}
	}))
	defer server.Close()
	_, err := s3.Open(t.Context(), s3.Config{Bucket: "b", Region: "r", Endpoint: server.URL, PathStyle: true}, clock.System{})
	if !errors.Is(err, s3.ErrUnconditional) {
		t.Errorf("open: %v", err)
	}
	if len(objects) != 0 {
		t.Errorf("the probe left %v", objects)
	}
}
