package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// upstream is a server that counts what it has done and answers with what it was sent and by which name it was asked.
func upstream(t *testing.T) (url string, done *atomic.Int64) {
	t.Helper()
	done = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		done.Add(1)
		fmt.Fprintf(w, "%s %s %s", r.Host, r.URL.EscapedPath(), body)
	}))
	t.Cleanup(server.Close)
	return server.URL, done
}

func start(t *testing.T, upstream string) *Store {
	t.Helper()
	s, err := StartStore(upstream, "127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// put sends one request on a connection of its own.
func put(s *Store, path, body string) (code int, answer string, err error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPut, s.URL()+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.GetBody = nil // so that the client does not try again by itself
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

func TestEverythingPasses(t *testing.T) {
	url, _ := upstream(t)
	s := start(t, url)
	code, answer, err := put(s, "/bucket/a%2Fb%20c", "body")
	if want := strings.TrimPrefix(s.URL(), "http://") + " /bucket/a%2Fb%20c body"; err != nil || code != 200 || answer != want {
		t.Errorf("%d %q %v, want %q", code, answer, err, want)
	}
}

// TestFaults: what the client hears, and whether the store has done it.
func TestFaults(t *testing.T) {
	url, done := upstream(t)
	s := start(t, url)
	for _, f := range []struct {
		name string
		rule Rule
		code int  // 0: an error in its place
		torn bool // the answer has a head, and not its whole body
		done int64
	}{
		{"refused", Rule{Refused: 1}, 503, false, 0},
		{"reset", Rule{Reset: 1}, 0, false, 0},
		{"lost", Rule{Lost: 1}, 0, false, 1},
		{"torn", Rule{Torn: 1}, 200, true, 1},
		{"slow", Rule{Delay: time.Millisecond}, 200, false, 1},
		{"none", Rule{}, 200, false, 1},
	} {
		before := done.Load()
		s.Set(f.rule)
		code, _, err := put(s, "/k", "v")
		if code != f.code || (err != nil) != (f.torn || f.code == 0) || done.Load()-before != f.done {
			t.Errorf("%s: code %d, error %v, done %d", f.name, code, err, done.Load()-before)
		}
	}
}

// TestHang: a request waits until the rule is taken away.
func TestHang(t *testing.T) {
	url, done := upstream(t)
	s := start(t, url)
	s.Set(Rule{Hang: true})
	ended := make(chan error, 1)
	go func() {
		_, _, err := put(s, "/k", "v")
		ended <- err
	}()
	for s.Requests() == 0 {
		select {
		case err := <-ended:
			t.Fatalf("it has not waited: %v", err)
		default:
		}
	}
	s.Set(Rule{})
	if err := <-ended; err == nil || done.Load() != 0 {
		t.Errorf("error %v, done %d", err, done.Load())
	}
}

// TestStrike: once, at the request that fits, before or after the store has done it.
func TestStrike(t *testing.T) {
	url, done := upstream(t)
	s := start(t, url)
	for _, after := range []bool{false, true} {
		var seen []int64
		before := done.Load()
		s.Strike(func(r *http.Request) bool { return r.URL.Path == "/k" }, after, func() { seen = append(seen, done.Load()-before) })
		for _, path := range []string{"/other", "/k", "/k"} {
			if code, _, err := put(s, path, "v"); code != 200 || err != nil {
				t.Errorf("%d %v", code, err)
			}
		}
		want := int64(1)
		if after {
			want = 2
		}
		if len(seen) != 1 || seen[0] != want {
			t.Errorf("after %v: struck when %v were done, want [%d]", after, seen, want)
		}
	}
}
