package door

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"millrace/aws/arn"
	"millrace/secure/iam/policy"
	"millrace/secure/trail"
)

// permit returns nil if policies allow a call all that it needs.
func (h *Handler) permit(ctx context.Context, s *room, c *Call) error {
	o := c.operation
	if o.Resource != nil {
		c.resource = o.Resource(c)
	}
	if o.Action == "" {
		return nil
	}
	needs := []Need{{o.Action, c.resource}}
	if o.Needs != nil {
		needs = append(needs, o.Needs(c)...)
	}
	more := requestTags(c)
	for _, n := range needs {
		if err := h.allow(ctx, s, c, n, more); err != nil {
			return err
		}
	}
	return nil
}

// requestTags are the condition keys of the tags that a request is about.
func requestTags(c *Call) map[string][]string {
	tags := c.operation.Tags
	if tags == nil {
		tags = usualTags
	}
	set, removed := tags(c)
	more := make(map[string][]string, len(set)+1)
	for _, k := range slices.Sorted(maps.Keys(set)) {
		more["aws:requesttag/"+strings.ToLower(k)] = []string{set[k]}
	}
	if keys := append(slices.Sorted(maps.Keys(set)), removed...); len(keys) > 0 {
		more["aws:tagkeys"] = keys
	}
	return more
}

// usualTags are those that a request of REST has in "tags" of its body and takes away by "tagKeys" of its query. What Decode would refuse as
// tags is none: the request comes to nothing.
func usualTags(c *Call) (set map[string]string, removed []string) {
	if c.Params == nil { // no REST
		return nil, nil
	}
	in, err := Decode[struct {
		Tags    map[string]string `json:"tags"`
		Removed []string          `query:"tagKeys"`
	}](c)
	if err != nil {
		return nil, nil
	}
	return in.Tags, in.Removed
}

// allow asks policies for one permission. A refusal is told to the trail, with its reason, and to the client without.
func (h *Handler) allow(ctx context.Context, s *room, c *Call, n Need, more map[string][]string) error {
	r := &policy.Request{Action: n.Action, Resource: n.Resource, Source: c.Source(), TLS: c.Request.TLS != nil, ResourceTags: map[string]string{}, More: more}
	var own *policy.Policy
	if n.Resource == "" {
		r.Resource = "*"
	} else {
		var err error
		if r.ResourceTags, own, err = s.about(ctx, n.Resource); err != nil {
			return err
		}
	}
	d, broken := h.world.Policies.DecideOn(c.Caller.IAM, r, own)
	if broken == "" && d.Allowed {
		return nil
	}
	if broken == "" {
		broken = d.Why()
	}
	h.record(s, c, n.Action, trail.Refusal, trail.Refused, broken)
	message := fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s", c.Caller.IAM.ARN, n.Action, clip(r.Resource))
	if d.Explicit {
		message += " with an explicit deny"
	}
	return Fail(http.StatusForbidden, "AccessDeniedException", "", "%s", message)
}

// about is what a service knows of a resource that policies ask for.
func (s *room) about(ctx context.Context, resource string) (tags map[string]string, own *policy.Policy, err error) {
	if s.Tags != nil {
		tags = s.Tags(ctx, resource)
	}
	if tags == nil {
		tags = map[string]string{}
	}
	if s.Policy == nil {
		return tags, nil, nil
	}
	document, err := s.Policy(ctx, resource)
	if err != nil || document == nil {
		return tags, nil, err
	}
	if own, err = policy.Parse(document, policy.Resource, "the policy of the resource"); err != nil {
		return nil, nil, fmt.Errorf("policy of %s: %w", resource, err)
	}
	return tags, own, nil
}

// record tells the trail of a call.
func (h *Handler) record(s *room, c *Call, action string, kind trail.Kind, outcome trail.Outcome, reason string) {
	e := trail.Event{Kind: kind, Action: action, Outcome: outcome, Reason: reason, Resource: c.resource, Listener: "API"}
	if at, err := arn.Parse(c.resource); err == nil && at.Kind != arn.Configuration && at.Kind != arn.Replicator {
		e.Cluster = at.Name
	}
	if kind == trail.Admin && c.changed {
		e.Before, e.After = state(c.before), state(c.after)
	}
	h.recordBy(c, e)
}

// recordBy tells the trail, with who calls.
func (h *Handler) recordBy(c *Call, e trail.Event) {
	e.Time, e.Principal, e.Mechanism = h.world.Clock.Now(), c.Caller.Principal, string(c.Caller.Mechanism)
	if from := c.Source(); from.IsValid() {
		e.From = from.String()
	}
	if c.Caller.IAM != nil {
		e.AccessKey = c.Caller.IAM.AccessKey
	}
	h.world.Trail.Record(e)
}

// state is what the trail keeps of a state; nil: there was none.
func state(v any) json.RawMessage {
	if v == nil {
		return nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return text
}
