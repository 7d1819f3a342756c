package proxy

import (
	"bytes"
	"context"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Rule says how the store fails. The shares, from 0 to 1, are those of requests that meet with the fault; their sum is at most 1.
type Rule struct {
	Refused float64       // answered with 503, and not done
	Reset   float64       // the connection breaks, and nothing is done
	Lost    float64       // done, and the connection breaks before the answer
	Torn    float64       // done, and the answer breaks off half way
	Delay   time.Duration // the most that every request waits before it is passed on
	Hang    bool          // requests wait until the rule is taken away, and their connections break then
}

// Store is a proxy before an object store that speaks HTTP.
type Store struct {
	url     string
	server  *http.Server
	forward *httputil.ReverseProxy
	serving sync.WaitGroup
	count   atomic.Int64

	mu     sync.Mutex // guards what follows
	random *rand.Rand
	rule   Rule
	lifted chan struct{} // closed when the rule is taken away
	strike *strike       // what to do at the next request that fits; nil: nothing
}

// strike is something to do once, at a request.
type strike struct {
	fits  func(*http.Request) bool
	after bool // when the store has done what it was asked for, and before the client hears of it
	do    func()
}

// StartStore starts a proxy on a free port of an address of this host.
func StartStore(upstream, address string, seed uint64) (*Store, error) {
	target, err := url.Parse(upstream)
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return nil, err
	}
	silent := log.New(io.Discard, "", 0)
	s := &Store{
		url: "http://" + listener.Addr().String(), random: rand.New(rand.NewPCG(seed, 1)), lifted: make(chan struct{}),
		forward: &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
				r.Out.Host = r.In.Host
			},
			Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100},
			ErrorLog:  silent,
		},
	}
	s.server = &http.Server{Handler: s, ErrorLog: silent, ReadHeaderTimeout: time.Minute}
	s.serving.Go(func() {
		_ = s.server.Serve(listener) // it ends with Close
	})
	return s, nil
}

// URL is where clients reach the store.
func (s *Store) URL() string { return s.url }

// Requests returns how many requests have come so far.
func (s *Store) Requests() int64 { return s.count.Load() }

// Set puts a rule in the place of the one before. The zero Rule lets everything pass.
func (s *Store) Set(rule Rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rule = rule
	close(s.lifted)
	s.lifted = make(chan struct{})
}

// Strike calls do once, from a goroutine of the proxy's, at the next request that fits: before it is passed on, or after the
// store has done it. Nil fits take the call back.
func (s *Store) Strike(fits func(*http.Request) bool, after bool, do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strike = nil
	if fits != nil {
		s.strike = &strike{fits: fits, after: after, do: do}
	}
}

// Close ends the proxy and all connections through it.
func (s *Store) Close() error {
	s.Set(Rule{})
	err := s.server.Close()
	s.serving.Wait()
	return err
}

// take returns what a request meets.
func (s *Store) take(r *http.Request) (rule Rule, lifted <-chan struct{}, fate, delay float64, hit *strike) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.strike != nil && s.strike.fits(r) {
		hit, s.strike = s.strike, nil
	}
	return s.rule, s.lifted, s.random.Float64(), s.random.Float64(), hit
}

// ServeHTTP passes a request on, or does not.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.count.Add(1)
	rule, lifted, fate, delay, hit := s.take(r)
	if hit != nil && !hit.after {
		hit.do()
	}
	if rule.Hang {
		s.wait(r, lifted, 0)
		panic(http.ErrAbortHandler)
	}
	if rule.Delay > 0 && !s.wait(r, lifted, time.Duration(delay*float64(rule.Delay))) {
		panic(http.ErrAbortHandler)
	}
	switch {
	case fate < rule.Refused:
		refuse(w, r)
		return
	case fate < rule.Refused+rule.Reset:
		panic(http.ErrAbortHandler)
	}
	if hit != nil && !hit.after {
		hit = nil
	}
	switch fate -= rule.Refused + rule.Reset; {
	case fate < rule.Lost:
		s.forward.ServeHTTP(newKept(), r)
		panic(http.ErrAbortHandler)
	case fate < rule.Lost+rule.Torn:
		answer := newKept()
		s.forward.ServeHTTP(answer, r)
		answer.send(w, answer.body.Len()/2)
		panic(http.ErrAbortHandler)
	case hit != nil:
		answer := newKept()
		s.forward.ServeHTTP(answer, r)
		hit.do()
		answer.send(w, answer.body.Len())
	default:
		s.forward.ServeHTTP(w, r)
	}
}

// wait waits for the duration, or for ever where that is 0, but no longer than for the end of the rule; false: the client has gone.
func (s *Store) wait(r *http.Request, lifted <-chan struct{}, d time.Duration) bool {
	var over <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
		return true
	case <-lifted:
		return true
	case <-r.Context().Done():
		return false
	}
}

// refuse answers as S3 does when it is asked for too much.
func refuse(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // the client's side of the exchange is its own
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusServiceUnavailable)
	if r.Method != http.MethodHead {
		const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>planted</Message></Error>`
		_, _ = io.WriteString(w, body) // a client that has gone hears nothing
	}
}

// kept is an answer of the store that has not been passed on yet.
type kept struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func newKept() *kept { return &kept{header: http.Header{}, code: http.StatusOK} }

// Header is that of the answer.
func (k *kept) Header() http.Header { return k.header }

// WriteHeader keeps the status.
func (k *kept) WriteHeader(code int) { k.code = code }

// Write keeps a part of the body.
func (k *kept) Write(p []byte) (int, error) { return k.body.Write(p) }

// send passes on the head and so many bytes of the body.
func (k *kept) send(w http.ResponseWriter, n int) {
	for name, values := range k.header {
		w.Header()[name] = values
	}
	w.WriteHeader(k.code)
	if _, err := w.Write(k.body.Bytes()[:n]); err == nil {
		_ = http.NewResponseController(w).Flush()
	}
}
