package door

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"millrace/base/clock"
	"millrace/secure/iam/policy"
	"millrace/secure/identity"
	"millrace/secure/sigv4"
	"millrace/secure/trail"
)

// ErrConfig: a Handler cannot be made of what it was given.
var ErrConfig = errors.New("door: not a valid configuration")

// Config is read once by New. A zero field takes its default.
type Config struct {
	Services   []Service     // at least one, each with its own name
	Reads      Rate          // of calls that change nothing, of each principal; default 100 a second, 200 at once
	Writes     Rate          // of the others; default 25 a second, 100 at once
	Concurrent int           // calls at a time, of all; what comes beyond is told to come again; default 256
	BodyTime   time.Duration // in which a body has to arrive; default 10 s
}

// Signatures finds out who has signed a request. It reads the body, which can be read again afterwards. login.Requests is one.
type Signatures interface {
	Verify(r *http.Request) (identity.Identity, error)
}

// Policies decide by the policies of an identity, and that of what it asks for. iam.View is one.
type Policies interface {
	DecideOn(who *identity.IAM, r *policy.Request, resource *policy.Policy) (d policy.Decision, broken string)
}

// World is all that a Handler touches outside itself; everything is needed.
type World struct {
	Signatures Signatures
	Policies   Policies
	Trail      trail.Recorder
	Clock      clock.Clock
	Log        *slog.Logger
}

// Handler serves AWS services. Make one with New. It is safe for concurrent use.
type Handler struct {
	cfg   Config
	world World
	rooms []*room
	calls *buckets
	slots chan struct{}
}

// room is a service with its ways to operations.
type room struct {
	*Service
	router *router               // of RestJSON
	byName map[string]*Operation // of the others
}

// New returns a Handler, or ErrConfig.
func New(cfg Config, w World) (*Handler, error) {
	cfg.Reads, cfg.Writes = cfg.Reads.or(Rate{100, 200}), cfg.Writes.or(Rate{25, 100})
	if cfg.Concurrent == 0 {
		cfg.Concurrent = 256
	}
	if cfg.BodyTime == 0 {
		cfg.BodyTime = 10 * time.Second
	}
	if len(cfg.Services) == 0 || cfg.Concurrent < 0 || cfg.BodyTime < 0 || w.Signatures == nil || w.Policies == nil || w.Trail == nil || w.Clock == nil || w.Log == nil {
		return nil, fmt.Errorf("%w: services, the whole World and bounds above zero are needed", ErrConfig)
	}
	h := &Handler{cfg: cfg, world: w, calls: newBuckets(w.Clock), slots: make(chan struct{}, cfg.Concurrent)}
	for i := range cfg.Services {
		one, err := newRoom(&cfg.Services[i])
		if err != nil {
			return nil, err
		}
		if h.room(one.Name) != nil {
			return nil, fmt.Errorf("%w: two services %q", ErrConfig, one.Name)
		}
		h.rooms = append(h.rooms, one)
	}
	return h, nil
}

func newRoom(s *Service) (_ *room, err error) {
	r := &room{Service: s, byName: make(map[string]*Operation)}
	if s.Name == "" || s.Protocol == JSON11 && s.Target == "" {
		return nil, fmt.Errorf("%w: service %q", ErrConfig, s.Name)
	}
	for i := range s.Operations {
		o := &s.Operations[i]
		if _, twice := r.byName[o.Name]; twice || o.Name == "" || o.Handle == nil {
			return nil, fmt.Errorf("%w: operation %s:%s", ErrConfig, s.Name, o.Name)
		}
		r.byName[o.Name] = o
	}
	if s.Protocol == RestJSON {
		r.router, err = newRouter(s.Operations)
	}
	return r, err
}

// room returns the service of a name; nil: there is none.
func (h *Handler) room(name string) *room {
	for _, r := range h.rooms {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &Call{Request: r, ID: uuid.NewString(), Header: http.Header{}}
	s := h.room(sigv4.ServiceOf(r))
	speaks := s
	if speaks == nil {
		speaks = h.guess(r)
	}
	answer, err := h.answer(r.Context(), s, c, http.NewResponseController(w))
	speaks.write(w, c, answer, h.told(c, speaks, err))
}

// guess is the service whose protocol a request speaks, which has not said for which one it is signed.
func (h *Handler) guess(r *http.Request) *room {
	target, _, _ := strings.Cut(r.Header.Get(headerTarget), ".")
	for _, s := range h.rooms {
		switch s.Protocol {
		case JSON11:
			if target == s.Target {
				return s
			}
		case Query:
			if target == "" && r.Method == http.MethodPost && isForm(r) {
				return s
			}
		case RestJSON:
			if _, _, err := s.router.find(r); err == nil {
				return s
			}
		}
	}
	return h.rooms[0]
}

// neighbours are where the paths of others begin who share the address: they are signed for the same services.
func neighbours() []string { return []string{"millrace", "healthz", "readyz", "metrics", "console"} }

// Takes says whether a request is for this Handler, where others share the address: it is signed for one of its services, or asks for
// something that only they have.
func (h *Handler) Takes(r *http.Request) bool {
	first := segments(r.URL.EscapedPath())[0]
	if slices.Contains(neighbours(), first) {
		return false
	}
	if h.room(sigv4.ServiceOf(r)) != nil || r.Header.Get(headerTarget) != "" {
		return true
	}
	for _, s := range h.rooms {
		if s.Protocol == RestJSON && s.router.root.literal[first] != nil || s.Protocol == Query && first == "" && r.Method == http.MethodPost {
			return true
		}
	}
	return false
}

// answer does what a call asks for, if its caller may. s is nil where the call is for none of the services.
func (h *Handler) answer(ctx context.Context, s *room, c *Call, conn *http.ResponseController) (any, error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		return nil, errBusy()
	}
	if err := h.authenticate(s, c, conn); err != nil {
		return nil, err
	}
	if err := s.route(c); err != nil {
		h.record(s, c, s.Name+":UnknownOperation", trail.Refusal, trail.Refused, err.Code)
		return nil, err
	}
	action := s.Name + ":" + c.operation.Name
	if !h.calls.take(c.Caller.IAM, c.operation.Reads, h.rate(c.operation)) {
		h.record(s, c, action, trail.Refusal, trail.Refused, "too many calls")
		return nil, errThrottled()
	}
	if err := h.permit(ctx, s, c); err != nil {
		return nil, err
	}
	answer, err := h.handle(ctx, c)
	kind, outcome, reason := trail.Admin, trail.Accepted, ""
	if c.operation.Reads {
		kind = trail.Call
	}
	var told *Error
	switch {
	case errors.As(err, &told) && told.Status == http.StatusForbidden:
		kind, outcome, reason = trail.Refusal, trail.Refused, err.Error()
	case err != nil:
		outcome, reason = trail.Failed, err.Error()
	}
	h.record(s, c, action, kind, outcome, reason)
	return answer, err
}

func (h *Handler) rate(o *Operation) Rate {
	if o.Reads {
		return h.cfg.Reads
	}
	return h.cfg.Writes
}

// handle runs the operation. A panic in it is its fault, and costs nobody else anything.
func (h *Handler) handle(ctx context.Context, c *Call) (answer any, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			answer, err = nil, fmt.Errorf("panic: %v\n%s", fault, debug.Stack())
		}
	}()
	return c.operation.Handle(ctx, c)
}

// route finds the operation of a call, and what it is given.
func (s *room) route(c *Call) *Error {
	r := c.Request
	var err error
	if c.Body, err = io.ReadAll(r.Body); err != nil { // it is in memory already
		return errBodyUnread()
	}
	if c.Query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return BadRequest("", "The query cannot be read.")
	}
	switch s.Protocol {
	case JSON11:
		target, name, _ := strings.Cut(r.Header.Get(headerTarget), ".")
		if target != s.Target || r.Method != http.MethodPost {
			return unknownOperation(http.StatusNotFound)
		}
		c.operation = s.byName[name]
	case Query:
		return s.routeQuery(c)
	default:
		var fault *Error
		if c.operation, c.Params, fault = s.router.find(r); fault != nil {
			return fault
		}
	}
	if c.operation == nil {
		return unknownOperation(http.StatusNotFound)
	}
	return s.checkType(c)
}

// routeQuery takes the form of a Query service, which stands in the body of a POST or in the query of a GET.
func (s *room) routeQuery(c *Call) *Error {
	if c.Request.Method == http.MethodPost && len(c.Body) > 0 {
		form, err := url.ParseQuery(string(c.Body))
		if err != nil || !isForm(c.Request) {
			return Fail(http.StatusBadRequest, "MalformedInput", "", "The form in the body cannot be read.")
		}
		for name, values := range form {
			c.Query[name] = append(c.Query[name], values...)
		}
	}
	name, version := c.Query.Get("Action"), c.Query.Get("Version")
	if name == "" {
		return Fail(http.StatusBadRequest, "MissingAction", "", "The request has no parameter Action.")
	}
	if c.operation = s.byName[name]; c.operation == nil || version != "" && version != s.Version {
		return Fail(http.StatusBadRequest, "InvalidAction", "", "Could not find operation %s for version %s", clip(name), clip(version))
	}
	return nil
}

// clip shortens what is told of a stranger's words.
func clip(s string) string {
	const most = 128
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
