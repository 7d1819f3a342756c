package api

import (
	"context"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/telemetry"
)

// GetTelemetrySubscriptions: v0 (KIP-714). It is served where the broker shows metrics: clients that see it push theirs.

// addTelemetry lists the keys of telemetry, if there is somebody to take it.
func (a *API) addTelemetry(table map[int16]entry) {
	if a.world.Telemetry == nil {
		return
	}
	table[int16(kmsg.GetTelemetrySubscriptions)] = entry{handle: answer(a, a.getTelemetrySubscriptions)}
	table[int16(kmsg.PushTelemetry)] = entry{handle: answer(a, a.pushTelemetry)}
}

func (a *API) getTelemetrySubscriptions(_ context.Context, c caller, req *kmsg.GetTelemetrySubscriptionsRequest) *kmsg.GetTelemetrySubscriptionsResponse {
	resp := kmsg.NewPtrGetTelemetrySubscriptionsResponse()
	s, err := a.world.Telemetry.Get(c.telemetry(req.ClientInstanceID))
	if err != nil {
		resp.ErrorCode = int16(a.code(err))
		return resp
	}
	resp.ClientInstanceID, resp.SubscriptionID, resp.RequestedMetrics = s.Instance, s.ID, s.Metrics
	resp.PushIntervalMillis, resp.TelemetryMaxBytes, resp.DeltaTemporality = s.IntervalMillis, telemetry.MaxBytes, true
	for _, codec := range telemetry.Accepted() {
		resp.AcceptedCompressionTypes = append(resp.AcceptedCompressionTypes, int8(codec))
	}
	return resp
}

// telemetry is the caller as subscriptions match it.
func (c caller) telemetry(instance [16]byte) telemetry.Client {
	address, port, _ := net.SplitHostPort(c.conn.RemoteAddr().String())
	software := c.conn.Software()
	return telemetry.Client{
		Instance: instance, ClientID: c.clientID, SoftwareName: software.Name, SoftwareVersion: software.Version, Address: address, Port: port,
	}
}
