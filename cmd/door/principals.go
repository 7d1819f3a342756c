package door

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/cmd/api"
	"millrace/control"
	"millrace/secure/iam"
	"millrace/secure/iam/policy"
	"millrace/secure/identity"
	"millrace/secure/trail"
)

// Principals is the part of the API that makes users, roles, policies, keys and sessions. It asks by itself what its caller may do.
type Principals struct {
	Store  *iam.Store
	View   *iam.View
	Record trail.Recorder
	// Caller is who signed a request; nil: nobody did.
	Caller func(*http.Request) *identity.Identity
	// ClusterARN is that of a cluster by its name, or an error that names no such cluster.
	ClusterARN func(ctx context.Context, cluster string) (string, error)
	Keys       *DataKeys
}

// principals is that part of the API of an installation that has a Guard.
func (i *Installation) principals() *Principals {
	g := i.Guard
	return &Principals{
		Store: g.IAM, View: g.View, Record: g.Trail, Keys: g.Keys,
		Caller: func(r *http.Request) *identity.Identity {
			if who := CallerOf(r.Context()); who != nil || g.API {
				return who
			}
			who, err := g.Requests.Verify(r) // an API for everybody, but for this part of it
			if err != nil {
				g.Log.Debug("request refused", "path", r.URL.Path, "err", err)
				return nil
			}
			return &who
		},
		ClusterARN: func(ctx context.Context, cluster string) (string, error) {
			if _, err := i.Plane.Cluster(ctx, cluster); err != nil {
				return "", err
			}
			return g.clusterARN(ctx, cluster), nil
		},
	}
}

// securityCall is one request to it.
type securityCall struct {
	*Principals
	r    *http.Request
	who  *identity.Identity
	from netip.Addr
}

// route is one thing that can be asked for.
type route struct {
	pattern string
	action  string
	on      func(c *securityCall) string // ARN of what it is done to; nil: "*"
	do      func(c *securityCall) (any, error)
	state   func(c *securityCall) (any, error) // what it changes, as the trail may keep it; nil: it changes nothing that was there
	quiet   bool                               // it changes nothing: nothing is recorded
	free    bool                               // every key may ask; what comes of it is decided within
}

// at makes a route; one that only reads is not recorded.
func at(pattern, action string, on func(*securityCall) string, do func(*securityCall) (any, error)) route {
	return route{pattern: pattern, action: action, on: on, do: do, quiet: strings.HasPrefix(pattern, http.MethodGet)}
}

// of gives a route the state that it changes.
func (r route) of(state func(*securityCall) (any, error)) route {
	r.state = state
	return r
}

// Bounds of a request's body, in bytes.
const securityBodyMost = 256 << 10

// errSecurityBody: what was sent is not what is asked for.
var errSecurityBody = errors.New("the request cannot be read")

// Routes gives its routes, which are below /millrace/v1/security/, to handle.
func (p *Principals) Routes(handle func(pattern string, h func(http.ResponseWriter, *http.Request))) {
	for _, list := range [][]route{userRoutes(), roleRoutes(), policyRoutes(), keyRoutes(), sessionRoutes(), clusterRoutes(), dataKeyRoutes()} {
		for _, one := range list {
			handle(one.pattern, func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, one) })
		}
	}
}

func (p *Principals) serve(w http.ResponseWriter, r *http.Request, one route) {
	r.Body = http.MaxBytesReader(w, r.Body, securityBodyMost)
	c := &securityCall{Principals: p, r: r, who: p.Caller(r), from: hostOf(r)}
	answer, err := c.run(one)
	status := http.StatusOK
	if err != nil {
		status, answer = securityStatus(err), map[string]string{"error": err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store") // there may be a secret in it
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // the client is gone where this fails
}

// run does what is asked for if the caller may, and tells the trail.
func (c *securityCall) run(one route) (any, error) {
	if c.who == nil || c.who.IAM == nil {
		return nil, fmt.Errorf("%w: the request is not signed by an access key", iam.ErrDenied)
	}
	on := "*"
	if one.on != nil {
		on = one.on(c)
	}
	if !one.free {
		if err := c.permit(one.action, on); err != nil {
			return nil, err
		}
	}
	if one.quiet {
		return one.do(c)
	}
	before := c.stands(one)
	answer, err := one.do(c)
	e := c.event(trail.Admin, trail.Accepted, one.action, on)
	switch {
	case err != nil:
		e.Outcome, e.Reason = trail.Failed, err.Error()
	case one.state != nil:
		e.Before, e.After = before, c.stands(one)
	default:
		e.After = told(answer)
	}
	c.Record.Record(e)
	return answer, err
}

// stands is the state that a route changes as it is now; nil: there is none, or it cannot be read. Who changes the same at the same time may be in it:
// theirs is an event of its own.
func (c *securityCall) stands(one route) json.RawMessage {
	if one.state == nil {
		return nil
	}
	state, err := one.state(c)
	if err != nil {
		return nil
	}
	return told(state)
}

// told is what the trail may keep of an answer: not what was told once and to the caller alone.
func told(answer any) json.RawMessage {
	switch v := answer.(type) {
	case iam.NewKey:
		answer = map[string]string{"access_key_id": v.ID, "user": v.User}
	case iam.Session:
		answer = map[string]any{"access_key_id": v.ID, "arn": v.ARN, "expiration": v.Expires}
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return nil
	}
	return text
}

func (c *securityCall) event(kind trail.Kind, outcome trail.Outcome, action, on string) trail.Event {
	return trail.Event{
		Time: clock.System{}.Now(), Kind: kind, Action: action, Outcome: outcome, Principal: c.who.Principal, Mechanism: string(c.who.Mechanism),
		AccessKey: c.who.IAM.AccessKey, From: c.from.String(), Listener: "API", Resource: on,
	}
}

// permit returns nil if the caller's policies allow it; a refusal is told to the trail.
func (c *securityCall) permit(action, on string) error {
	allowed, why := c.View.Allowed(c.who.IAM, action, on, c.from, c.r.TLS != nil)
	if allowed {
		return nil
	}
	e := c.event(trail.Refusal, trail.Refused, action, on)
	e.Reason = why
	c.Record.Record(e)
	return fmt.Errorf("%w: %s is not allowed to perform %s on %s", iam.ErrDenied, c.who.IAM.ARN, action, on)
}

func securityStatus(err error) int {
	var tooLarge *http.MaxBytesError
	if status := keysStatus(err); status != 0 {
		return status
	}
	switch {
	case errors.Is(err, iam.ErrDenied), errors.Is(err, iam.ErrKey):
		return http.StatusForbidden
	case errors.Is(err, iam.ErrNotFound), errors.Is(err, control.ErrNoCluster):
		return http.StatusNotFound
	case errors.Is(err, iam.ErrExists), errors.Is(err, iam.ErrLimit), errors.Is(err, iam.ErrInUse), errors.Is(err, kv.ErrConflict), errors.Is(err, iam.ErrContended):
		return http.StatusConflict
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, iam.ErrInvalid), errors.Is(err, errSecurityBody), errors.Is(err, policy.ErrMalformed):
		return http.StatusBadRequest
	case errors.Is(err, iam.ErrNotReady):
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// body reads what was sent; fields that are not known are refused.
func (c *securityCall) body(v any) error {
	decoder := json.NewDecoder(c.r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", errSecurityBody, err)
	}
	return nil
}

func (c *securityCall) ctx() context.Context { return c.r.Context() }

// ARNs of what calls are about.

func (c *securityCall) arn(kind, name string) string {
	return "arn:aws:iam::" + c.View.Account() + ":" + kind + name
}

func onUser(c *securityCall) string   { return c.arn("user/", c.r.PathValue("name")) }
func onRole(c *securityCall) string   { return c.arn("role/", c.r.PathValue("name")) }
func onPolicy(c *securityCall) string { return c.arn("policy/", c.r.PathValue("name")) }

// States that calls change. None holds a secret.

func userState(c *securityCall) (any, error)   { return c.Store.User(c.ctx(), c.r.PathValue("name")) }
func roleState(c *securityCall) (any, error)   { return c.Store.Role(c.ctx(), c.r.PathValue("name")) }
func policyState(c *securityCall) (any, error) { return c.Store.Policy(c.ctx(), c.r.PathValue("name")) }

// named is an answer of those that have nothing to say.
type named struct {
	Name string `json:"name"`
}

// ownerRoutes are what users and roles have in common.
func ownerRoutes(kind, word string, role bool, on func(*securityCall) string) []route {
	owner := func(c *securityCall) iam.Owner { return iam.Owner{Role: role, Name: c.r.PathValue("name")} }
	one := api.Security + "/" + kind + "/{name}"
	answer := func(c *securityCall, err error) (any, error) { return named{c.r.PathValue("name")}, err }
	state := userState
	if role {
		state = roleState
	}
	routes := []route{
		at("POST "+one+"/tags", "iam:Tag"+word, on, func(c *securityCall) (any, error) {
			var b api.Tags
			if err := c.body(&b); err != nil {
				return nil, err
			}
			return answer(c, c.Store.Tag(c.ctx(), owner(c), b.Set, b.Remove))
		}),
		at("PUT "+one+"/attached/{policy}", "iam:Attach"+word+"Policy", on, func(c *securityCall) (any, error) {
			return answer(c, c.Store.Attach(c.ctx(), owner(c), c.r.PathValue("policy")))
		}),
		at("DELETE "+one+"/attached/{policy}", "iam:Detach"+word+"Policy", on, func(c *securityCall) (any, error) {
			return answer(c, c.Store.Detach(c.ctx(), owner(c), c.r.PathValue("policy")))
		}),
		at("PUT "+one+"/inline/{policy}", "iam:Put"+word+"Policy", on, func(c *securityCall) (any, error) {
			var b api.Document
			if err := c.body(&b); err != nil {
				return nil, err
			}
			return answer(c, c.Store.PutInline(c.ctx(), owner(c), c.r.PathValue("policy"), b.Document))
		}),
		at("DELETE "+one+"/inline/{policy}", "iam:Delete"+word+"Policy", on, func(c *securityCall) (any, error) {
			return answer(c, c.Store.DeleteInline(c.ctx(), owner(c), c.r.PathValue("policy")))
		}),
	}
	for i := range routes {
		routes[i] = routes[i].of(state)
	}
	return routes
}

func userRoutes() []route {
	const all, one = api.Security + "/users", api.Security + "/users/{name}"
	return append(ownerRoutes("users", "User", false, onUser),
		at("GET "+all, "iam:ListUsers", nil, func(c *securityCall) (any, error) {
			users, err := c.Store.Users(c.ctx())
			return map[string]any{"users": users}, err
		}),
		at("POST "+all, "iam:CreateUser", nil, func(c *securityCall) (any, error) {
			var b api.NewOwner
			if err := c.body(&b); err != nil {
				return nil, err
			}
			return c.Store.CreateUser(c.ctx(), b.Name, b.Tags)
		}),
		at("GET "+one, "iam:GetUser", onUser, func(c *securityCall) (any, error) { return c.Store.User(c.ctx(), c.r.PathValue("name")) }),
		at("DELETE "+one, "iam:DeleteUser", onUser, func(c *securityCall) (any, error) {
			return named{c.r.PathValue("name")}, c.Store.DeleteUser(c.ctx(), c.r.PathValue("name"))
		}).of(userState),
		at("GET "+one+"/keys", "iam:ListAccessKeys", onUser, func(c *securityCall) (any, error) {
			if _, err := c.Store.User(c.ctx(), c.r.PathValue("name")); err != nil {
				return nil, err
			}
			keys, err := c.Store.Keys(c.ctx(), c.r.PathValue("name"), false)
			return map[string]any{"keys": keys}, err
		}),
		at("POST "+one+"/keys", "iam:CreateAccessKey", onUser, func(c *securityCall) (any, error) {
			return c.Store.CreateKey(c.ctx(), c.r.PathValue("name"))
		}))
}

func roleRoutes() []route {
	const all, one = api.Security + "/roles", api.Security + "/roles/{name}"
	return append(ownerRoutes("roles", "Role", true, onRole),
		at("GET "+all, "iam:ListRoles", nil, func(c *securityCall) (any, error) {
			roles, err := c.Store.Roles(c.ctx())
			return map[string]any{"roles": roles}, err
		}),
		at("POST "+all, "iam:CreateRole", nil, func(c *securityCall) (any, error) {
			var b api.NewOwner
			if err := c.body(&b); err != nil {
				return nil, err
			}
			return c.Store.CreateRole(c.ctx(), iam.NewRole{
				Name: b.Name, Description: b.Description, Trust: b.Trust, MaxSession: time.Duration(b.MaxSession) * time.Second, Tags: b.Tags,
			})
		}),
		at("GET "+one, "iam:GetRole", onRole, func(c *securityCall) (any, error) { return c.Store.Role(c.ctx(), c.r.PathValue("name")) }),
		at("DELETE "+one, "iam:DeleteRole", onRole, func(c *securityCall) (any, error) {
			return named{c.r.PathValue("name")}, c.Store.DeleteRole(c.ctx(), c.r.PathValue("name"))
		}).of(roleState),
		at("PUT "+one+"/trust", "iam:UpdateAssumeRolePolicy", onRole, func(c *securityCall) (any, error) {
			var b api.Document
			if err := c.body(&b); err != nil {
				return nil, err
			}
			return b, c.Store.SetTrust(c.ctx(), c.r.PathValue("name"), b.Document)
		}).of(roleState))
}

func policyRoutes() []route {
	const all, one = api.Security + "/policies", api.Security + "/policies/{name}"
	return []route{
		at("GET "+all, "iam:ListPolicies", nil, func(c *securityCall) (any, error) {
			policies, err := c.Store.Policies(c.ctx())
			return map[string]any{"policies": policies}, err
		}),
		at("POST "+all, "iam:CreatePolicy", nil, func(c *securityCall) (any, error) {
			var b struct {
				Name string `json:"name"`
				api.Document
			}
			if err := c.body(&b); err != nil {
				return nil, err
			}
			return c.Store.CreatePolicy(c.ctx(), b.Name, b.Description, b.Document.Document)
		}),
		at("GET "+one, "iam:GetPolicy", onPolicy, func(c *securityCall) (any, error) { return c.Store.Policy(c.ctx(), c.r.PathValue("name")) }),
		at("PUT "+one, "iam:CreatePolicyVersion", onPolicy, func(c *securityCall) (any, error) {
			var b api.Document
			if err := c.body(&b); err != nil {
				return nil, err
			}
			return b, c.Store.SetPolicy(c.ctx(), c.r.PathValue("name"), b.Document)
		}).of(policyState),
		at("DELETE "+one, "iam:DeletePolicy", onPolicy, func(c *securityCall) (any, error) {
			return named{c.r.PathValue("name")}, c.Store.DeletePolicy(c.ctx(), c.r.PathValue("name"))
		}).of(policyState),
	}
}
