package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/telemetry"
	"millrace/kafka/record"
)

// PushTelemetry: v0 (KIP-714).

func (a *API) pushTelemetry(_ context.Context, c caller, req *kmsg.PushTelemetryRequest) *kmsg.PushTelemetryResponse {
	resp := kmsg.NewPtrPushTelemetryResponse()
	err := a.world.Telemetry.Push(telemetry.Push{
		Client: c.telemetry(req.ClientInstanceID), SubscriptionID: req.SubscriptionID, Terminating: req.Terminating,
		Codec: record.Codec(req.CompressionType), Metrics: req.Metrics,
	})
	resp.ErrorCode = int16(a.code(err))
	return resp
}
