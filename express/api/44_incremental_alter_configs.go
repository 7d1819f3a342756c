package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/configs"
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
				return configs.Increment(a.catalog.BrokerSettings(), key.kind, now, r.Configs)
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
