package api

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/express/telemetry"
	"millrace/kafka/kerr"
)

// subscribe sets keys of a telemetry subscription; an empty value deletes.
func subscribe(c *conn, name string, keys ...string) kmsg.IncrementalAlterConfigsResponseResource {
	q := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.IncrementalAlterConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeClientMetrics, ResourceName: name}
	for i := 0; i < len(keys); i += 2 {
		op := kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: keys[i], Value: kmsg.StringPtr(keys[i+1])}
		if keys[i+1] == "" {
			op.Op, op.Value = kmsg.IncrementalAlterConfigOpDelete, nil
		}
		r.Configs = append(r.Configs, op)
	}
	q.Resources = append(q.Resources, r)
	return ask[*kmsg.IncrementalAlterConfigsResponse](c, 1, q).Resources[0]
}

func TestTelemetryIsListedWhereItIsTaken(t *testing.T) {
	e := newEnv(t, options{})
	if _, _, ok := e.api.Versions(int16(kmsg.PushTelemetry)); ok {
		t.Error("served without a receiver")
	}
	e = newEnv(t, options{telemetry: true})
	for _, key := range []kmsg.Key{kmsg.GetTelemetrySubscriptions, kmsg.PushTelemetry} {
		if low, high, ok := e.api.Versions(int16(key)); !ok || low != 0 || high != 0 {
			t.Errorf("%s: %d to %d, %t", key.Name(), low, high, ok)
		}
	}
}

func TestTelemetryGoesByTheSubscriptions(t *testing.T) {
	e := newEnv(t, options{telemetry: true})
	c := e.dial()
	if r := subscribe(c, "all", "metrics", "*", "interval.ms", "100", "match", "client_id=test"); r.ErrorCode != 0 {
		t.Fatalf("%+v", r)
	}
	get := ask[*kmsg.GetTelemetrySubscriptionsResponse](c, 0, kmsg.NewPtrGetTelemetrySubscriptionsRequest())
	if get.ErrorCode != 0 || get.ClientInstanceID == [16]byte{} || !slices.Equal(get.RequestedMetrics, []string{"*"}) || get.PushIntervalMillis != 100 ||
		get.TelemetryMaxBytes != telemetry.MaxBytes || !get.DeltaTemporality || !slices.Equal(get.AcceptedCompressionTypes, []int8{4, 3, 1, 2}) {
		t.Fatalf("%+v", get)
	}
	again := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
	again.ClientInstanceID = get.ClientInstanceID
	if resp := ask[*kmsg.GetTelemetrySubscriptionsResponse](c, 0, again); kerr.Code(resp.ErrorCode) != kerr.ThrottlingQuotaExceeded {
		t.Errorf("asked again: %+v", resp)
	}
	push := kmsg.NewPtrPushTelemetryRequest()
	push.ClientInstanceID, push.SubscriptionID = get.ClientInstanceID, get.SubscriptionID
	push.Metrics = []byte{0xff}
	if resp := ask[*kmsg.PushTelemetryResponse](c, 0, push); kerr.Code(resp.ErrorCode) != kerr.InvalidRecord {
		t.Errorf("a push that cannot be read: %+v", resp)
	}
	if resp := ask[*kmsg.PushTelemetryResponse](c, 0, kmsg.NewPtrPushTelemetryRequest()); kerr.Code(resp.ErrorCode) != kerr.InvalidRequest {
		t.Errorf("a push of nobody: %+v", resp)
	}
}

func TestClientMetricsAreConfigured(t *testing.T) {
	e := newEnv(t, options{})
	c := e.dial()
	for _, tc := range []struct {
		name, key, value string
		want             kerr.Code
	}{
		{"sub", "metrics", "a.", kerr.None},
		{"sub", "nope", "1", kerr.InvalidRequest},
		{"", "metrics", "a.", kerr.InvalidRequest},
		{"sub", "match", "a=b", kerr.InvalidConfig},
		{"other", "match", "", kerr.None}, // removes what is not there
	} {
		if r := subscribe(c, tc.name, tc.key, tc.value); kerr.Code(r.ErrorCode) != tc.want {
			t.Errorf("%s %s=%s: %d", tc.name, tc.key, tc.value, r.ErrorCode)
		}
	}
	describe := func(name string) kmsg.DescribeConfigsResponseResource {
		q := kmsg.NewPtrDescribeConfigsRequest()
		q.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeClientMetrics, ResourceName: name}}
		return ask[*kmsg.DescribeConfigsResponse](c, 4, q).Resources[0]
	}
	if r := describe("sub"); len(r.Configs) != 3 || *r.Configs[0].Value != "300000" || *r.Configs[2].Value != "a." ||
		r.Configs[2].Source != kmsg.ConfigSourceClientMetricsConfig || r.Configs[0].Source != kmsg.ConfigSourceDefaultConfig {
		t.Errorf("%+v", r)
	}
	if r := describe(""); kerr.Code(r.ErrorCode) != kerr.InvalidRequest {
		t.Errorf("%+v", r)
	}
	list := func() (names []string) {
		for _, r := range ask[*kmsg.ListConfigResourcesResponse](c, 0, kmsg.NewPtrListConfigResourcesRequest()).ConfigResources {
			names = append(names, r.Name)
		}
		return names
	}
	if names := list(); !slices.Equal(names, []string{"sub"}) {
		t.Errorf("listed %q", names)
	}
	if r := subscribe(c, "sub", "metrics", ""); r.ErrorCode != 0 || len(list()) != 0 {
		t.Errorf("after its last key went: %+v, listed %q", r, list())
	}
}

func newTelemetry(e *env) *telemetry.Manager {
	return telemetry.New(clock.System{}, e.catalog.Subscriptions, telemetry.NewSeries())
}
