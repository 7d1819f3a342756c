package api

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/features"
	"millrace/kafka/kerr"
	"millrace/kafka/server"
)

// ApiVersions: v0-4.
//
//   - v1 throttle, v3 flexible, client software (KIP-511) and features (KIP-584)
//   - v4 features that are supported from level 0 (KAFKA-17492)
//
// A version that is not served is answered in version 0 with UNSUPPORTED_VERSION and the range of this key,
// so that a newer client can step down. The response header is always version 0 (package wire).

func (a *API) apiVersions(_ context.Context, r *server.Request) {
	_, highest, _ := a.Versions(int16(kmsg.ApiVersions))
	version := r.Header.Version
	if version < 0 || version > highest {
		resp := kmsg.NewPtrApiVersionsResponse()
		resp.ErrorCode = int16(kerr.UnsupportedVersion)
		resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{a.versionsOf(int16(kmsg.ApiVersions))}
		r.Reply(server.Response{Msg: resp})
		return
	}
	req, err := decode[*kmsg.ApiVersionsRequest](a, r)
	if err != nil {
		a.refuse(r, err)
		return
	}
	if version >= 3 {
		software := server.Software{Name: req.ClientSoftwareName, Version: req.ClientSoftwareVersion}
		if !software.Valid() {
			resp := kmsg.NewPtrApiVersionsResponse()
			resp.ErrorCode = int16(kerr.InvalidRequest)
			r.Reply(server.Response{Msg: resp})
			return
		}
		r.Conn.SetSoftware(software)
	}
	a.reply(r, quotasOf(r), a.apiVersionsResponse(version, features.All()))
}

func (a *API) apiVersionsResponse(version int16, all []features.Feature) *kmsg.ApiVersionsResponse {
	resp := kmsg.NewPtrApiVersionsResponse()
	for _, key := range slices.Sorted(maps.Keys(a.table)) {
		resp.ApiKeys = append(resp.ApiKeys, a.versionsOf(key))
	}
	for _, f := range all {
		if f.Min > 0 || version >= 4 { // clients of that time take 0 for an error
			s := kmsg.NewApiVersionsResponseSupportedFeature()
			s.Name, s.MinVersion, s.MaxVersion = f.Name, f.Min, f.Max
			resp.SupportedFeatures = append(resp.SupportedFeatures, s)
		}
		if f.Finalized > 0 {
			l := kmsg.NewApiVersionsResponseFinalizedFeature()
			l.Name, l.MinVersionLevel, l.MaxVersionLevel = f.Name, f.Finalized, f.Finalized
			resp.FinalizedFeatures = append(resp.FinalizedFeatures, l)
		}
	}
	resp.FinalizedFeaturesEpoch = 0
	return resp
}

func (a *API) versionsOf(key int16) kmsg.ApiVersionsResponseApiKey {
	e := a.table[key]
	k := kmsg.NewApiVersionsResponseApiKey()
	k.ApiKey, k.MinVersion, k.MaxVersion = key, e.listed, e.max
	return k
}
