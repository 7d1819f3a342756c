package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/configs"
	"millrace/express/catalog"
	"millrace/express/settings"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// AlterConfigs: v0-2. v1 throttle, v2 flexible. It replaces all overrides of a resource; newer clients use
// IncrementalAlterConfigs.

// resourceKey names a configured resource.
type resourceKey struct {
	kind kmsg.ConfigResourceType
	name string
}

func (a *API) alterConfigs(ctx context.Context, c caller, req *kmsg.AlterConfigsRequest) *kmsg.AlterConfigsResponse {
	ctx, cancel := withTimeout(ctx, int32(timeoutMost.Milliseconds()))
	defer cancel()
	resp := kmsg.NewPtrAlterConfigsResponse()
	mentions := make(map[resourceKey]int, len(req.Resources))
	for _, r := range req.Resources {
		mentions[resourceKey{r.ResourceType, r.ResourceName}]++
	}
	for _, r := range req.Resources {
		key := resourceKey{r.ResourceType, r.ResourceName}
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
		err := checkMentions(key, mentions)
		if err == nil {
			err = a.changeConfigs(ctx, c, key, req.ValidateOnly, func(map[string]string) (map[string]string, error) {
				return configs.Replacement(r.Configs)
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

// checkMentions refuses a resource that a request names more than once.
func checkMentions(key resourceKey, mentions map[resourceKey]int) error {
	if n := mentions[key]; n > 1 {
		return fmt.Errorf("%w: resource %q is listed %d times", kerr.InvalidRequest, key.name, n)
	}
	return nil
}

// changeConfigs authorizes and makes one change of the overrides of a resource, and writes it down.
func (a *API) changeConfigs(ctx context.Context, c caller, key resourceKey, validateOnly bool, change func(map[string]string) (map[string]string, error)) error {
	note := adminConfigs(key)
	err := a.setConfigs(ctx, c, key, validateOnly, func(now map[string]string) (map[string]string, error) {
		note.before = configs.Told(now)
		next, err := change(now)
		note.after = configs.Told(next)
		return next, err
	})
	if note.err = err; !validateOnly && note.resource != "" {
		a.recordAdmin(c, note)
	}
	return err
}

func (a *API) setConfigs(ctx context.Context, c caller, key resourceKey, validateOnly bool, change func(map[string]string) (map[string]string, error)) error {
	switch key.kind {
	case kmsg.ConfigResourceTypeTopic:
		if !a.mayTopic(c, kmsg.ACLOperationAlterConfigs, key.name) {
			return kerr.TopicAuthorizationFailed
		}
		if key.name == "" {
			return fmt.Errorf("%w: topics have no default configuration", kerr.InvalidRequest)
		}
		if err := topic.ValidateName(key.name); err != nil {
			return err
		}
		return a.catalog.SetTopicConfigs(ctx, key.name, validateOnly, change)
	case kmsg.ConfigResourceTypeBroker:
		if !a.mayCluster(c, kmsg.ACLOperationAlterConfigs) {
			return kerr.ClusterAuthorizationFailed
		}
		err := a.catalog.SetBrokerConfigs(ctx, key.name, validateOnly, change)
		if errors.Is(err, settings.ErrInvalid) || errors.Is(err, catalog.ErrUnknownBroker) {
			err = fmt.Errorf("%w: %w", kerr.InvalidRequest, err) // INVALID_CONFIG is said of topics only
		}
		return err
	case kmsg.ConfigResourceTypeGroupConfig:
		if !a.mayGroup(c, kmsg.ACLOperationAlterConfigs, key.name) {
			return kerr.GroupAuthorizationFailed
		}
		if key.name == "" {
			return say(kerr.InvalidRequest, "Default group resources are not allowed.")
		}
		return a.catalog.SetGroupConfigs(ctx, key.name, validateOnly, change)
	case kmsg.ConfigResourceTypeClientMetrics:
		if !a.mayCluster(c, kmsg.ACLOperationAlterConfigs) {
			return kerr.ClusterAuthorizationFailed
		}
		return a.catalog.SetSubscription(ctx, key.name, validateOnly, change)
	default:
		return fmt.Errorf("%w: resources of type %d have no configuration here", kerr.InvalidRequest, key.kind)
	}
}
