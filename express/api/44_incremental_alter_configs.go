package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/settings"
	"millrace/kafka/kerr"
)

// IncrementalAlterConfigs: v0-1, v1 flexible (KIP-339). SET, DELETE, APPEND and SUBTRACT; the last two work on
// the effective value of a list, not only on what was overridden.

func (a *API) incrementalAlterConfigs(ctx context.Context, c caller, req *kmsg.IncrementalAlterConfigsRequest) *kmsg.IncrementalAlterConfigsResponse {
	ctx, cancel := withTimeout(ctx, int32(timeoutMost.Milliseconds()))
	defer cancel()
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	mentions := make(map[resourceKey]int, len(req.Resources))
	for _, r := range req.Resources {
		mentions[resourceKey{r.ResourceType, r.ResourceName}]++
	}
	for _, r := range req.Resources {
		key := resourceKey{r.ResourceType, r.ResourceName}
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
		err := checkMentions(key, mentions)
		if err == nil {
			err = a.changeConfigs(ctx, c, key, req.ValidateOnly, func(now map[string]string) (map[string]string, error) {
				return a.increment(key, now, r.Configs)
			})
		}
		if err != nil {
			code := a.code(err)
			out.ErrorCode, out.ErrorMessage = int16(code), message(code, err)
		}
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

// increment applies the changes to the overrides of a resource.
func (a *API) increment(key resourceKey, now map[string]string, configs []kmsg.IncrementalAlterConfigsRequestResourceConfig) (map[string]string, error) {
	seen := make(map[string]bool, len(configs))
	for _, c := range configs {
		if seen[c.Name] {
			return nil, fmt.Errorf("%w: %s is listed twice", kerr.InvalidRequest, c.Name)
		}
		seen[c.Name] = true
		if c.Value == nil && c.Op != kmsg.IncrementalAlterConfigOpDelete {
			return nil, fmt.Errorf("%w: %s has no value", kerr.InvalidRequest, c.Name)
		}
		switch c.Op {
		case kmsg.IncrementalAlterConfigOpSet:
			now[c.Name] = *c.Value
		case kmsg.IncrementalAlterConfigOpDelete:
			delete(now, c.Name)
		case kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract:
			value, err := a.incrementList(key, now, c)
			if err != nil {
				return nil, err
			}
			now[c.Name] = value
		default:
			return nil, fmt.Errorf("%w: %s: unknown operation %d", kerr.InvalidRequest, c.Name, c.Op)
		}
	}
	return now, nil
}

// incrementList adds elements to the list that c names, or takes them off.
func (a *API) incrementList(key resourceKey, now map[string]string, c kmsg.IncrementalAlterConfigsRequestResourceConfig) (string, error) {
	if key.kind == kmsg.ConfigResourceTypeClientMetrics {
		return "", say(kerr.InvalidConfig, "Can't %s to key %s because its type is not LIST.", c.Op, clip(c.Name)) // whatever its type, as in Kafka
	}
	defs := settings.BrokerDefinitions()
	switch key.kind {
	case kmsg.ConfigResourceTypeTopic:
		defs = settings.TopicDefinitions()
	case kmsg.ConfigResourceTypeGroupConfig:
		defs = settings.GroupDefinitions()
	default:
	}
	at := slices.IndexFunc(defs, func(d settings.Definition) bool { return d.Name == c.Name })
	if at < 0 || !defs[at].List {
		return "", fmt.Errorf("%w: %q is not a list, so nothing can be appended to or subtracted from it", settings.ErrInvalid, c.Name)
	}
	value, overridden := now[c.Name]
	if !overridden {
		value = a.inherited(defs[at])
	}
	list := settings.SplitList(value)
	for _, e := range settings.SplitList(*c.Value) {
		has := slices.Contains(list, e)
		switch {
		case c.Op == kmsg.IncrementalAlterConfigOpAppend && !has:
			list = append(list, e)
		case c.Op == kmsg.IncrementalAlterConfigOpSubtract && has:
			list = slices.DeleteFunc(list, func(have string) bool { return have == e })
		}
	}
	return strings.Join(list, ","), nil
}

// inherited is the value that holds where nothing is overridden.
func (a *API) inherited(d settings.Definition) string {
	for _, e := range a.catalog.BrokerSettings().Describe() {
		if e.Name == d.Synonym && e.HasValue {
			return e.Value
		}
	}
	return d.Default
}
