package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api"
	"millrace/express/api/histogram"
	"millrace/express/audit"
	"millrace/express/quota"
	"millrace/express/share"
	"millrace/express/sharing"
	"millrace/express/telemetry"
	"millrace/kafka/kerr"
	"millrace/kafka/server"
	"millrace/secure/login"
)

// figures collects what one broker counts, at each reading. What clients pushed comes with it, as it is: their names are
// put below kafka_client_, and their kinds are not told, since two clients may differ about them.
type figures struct {
	server     *server.Metrics
	api        *api.Metrics
	logins     *login.Metrics
	quotas     *quota.Manager
	whole      *quota.Whole
	partitions func() int
	sharing    *sharing.Manager
	telemetry  *telemetry.Manager
	series     *telemetry.Series
	audit      func() audit.Stats
}

// Describe tells nothing: what there is depends on what clients push.
func (f *figures) Describe(chan<- *prometheus.Desc) {}

// Collect gives all figures of the moment.
func (f *figures) Collect(out chan<- prometheus.Metric) {
	f.connections(out)
	f.requests(out)
	f.records(out)
	f.shares(out)
	f.throttles(out)
	f.clients(out)
	f.audits(out)
}

// figure is one number, with names and values of labels in turn.
func figure(out chan<- prometheus.Metric, kind prometheus.ValueType, name, help string, v float64, labels ...string) {
	var names, values []string
	for i := 0; i < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	m, err := prometheus.NewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, v, values...)
	if err != nil {
		m = prometheus.NewInvalidMetric(prometheus.NewDesc(name, help, names, nil), err)
	}
	out <- m
}

func (f *figures) connections(out chan<- prometheus.Metric) {
	figure(out, prometheus.GaugeValue, "millrace_connections", "Open connections of clients.", float64(f.server.Open.Load()))
	for _, c := range []struct {
		name, help string
		n          int64
	}{
		{"millrace_connections_accepted_total", "Connections that were let in.", f.server.Accepted.Load()},
		{"millrace_connections_refused_total", "Connections that were turned away.", f.server.Refused.Load()},
		{"millrace_connections_displaced_total", "Connections that were closed before login because newer ones came.", f.server.Displaced.Load()},
		{"millrace_connections_cut_total", "Connections that were closed because they are not allowed any more.", f.server.Cut.Load()},
		{"millrace_tls_handshakes_failed_total", "TLS handshakes that failed.", f.server.TLSFailed.Load()},
		{"millrace_connections_idle_ended_total", "Connections that were closed because nothing came.", f.server.IdleEnded.Load()},
		{"millrace_connections_slow_ended_total", "Connections that were closed because the client read too slowly.", f.server.SlowEnded.Load()},
		{"millrace_logins_accepted_total", "Logins, with those that renewed one.", f.logins.Accepted.Load()},
		{"millrace_logins_refused_total", "Logins that were refused.", f.logins.Refused.Load()},
		{"millrace_logins_renewed_total", "Logins by which a connection renewed an earlier one.", f.logins.Reauthenticated.Load()},
		{"millrace_logins_expired_total", "Connections that were closed because their login was over.", f.logins.Expired.Load()},
		{"millrace_requests_rejected_total", "Requests that could not be read, or are not served.", f.server.Rejected.Load()},
		{"millrace_panics_total", "Requests that failed by a fault of the broker.", f.server.Panics.Load()},
		{"millrace_network_received_bytes_total", "Bytes of requests.", f.server.BytesIn.Load()},
		{"millrace_network_sent_bytes_total", "Bytes of responses.", f.server.BytesOut.Load()},
	} {
		figure(out, prometheus.CounterValue, c.name, c.help, float64(c.n))
	}
	for _, c := range f.server.TLS() {
		labels := []string{"version", c.Version, "suite", c.Suite, "key_exchange", c.Curve}
		figure(out, prometheus.GaugeValue, "millrace_tls_connections", "Open connections with TLS, by what was agreed on.", float64(c.Open), labels...)
		figure(out, prometheus.CounterValue, "millrace_tls_handshakes_total", "TLS handshakes, by what was agreed on.", float64(c.Handshakes), labels...)
		figure(out, prometheus.CounterValue, "millrace_tls_handshakes_resumed_total", "Those that resumed a session.", float64(c.Resumed), labels...)
	}
}

func (f *figures) requests(out chan<- prometheus.Metric) {
	for key := range f.server.Requests {
		if n := f.server.Requests[key].Load(); n > 0 {
			figure(out, prometheus.CounterValue, "millrace_requests_total", "Requests by API key.", float64(n), "api", kmsg.NameForKey(int16(key)))
		}
	}
	for i := range f.api.Errors {
		if n := f.api.Errors[i].Load(); n > 0 {
			figure(out, prometheus.CounterValue, "millrace_errors_total", "Errors in responses by code.", float64(n), "code", kerr.Code(i-1).Name())
		}
	}
	for _, h := range []struct {
		name, help string
		h          *histogram.Histogram
	}{
		{"millrace_produce_seconds", "Time from the last byte of a Produce request to its response.", &f.api.ProduceLatency},
		{"millrace_fetch_seconds", "Time that a Fetch request took, without waiting for records.", &f.api.FetchLatency},
	} {
		count, sum, buckets := h.h.Read()
		m, err := prometheus.NewConstHistogram(prometheus.NewDesc(h.name, h.help, nil, nil), count, sum, buckets)
		if err == nil {
			out <- m
		}
	}
}

func (f *figures) records(out chan<- prometheus.Metric) {
	const counter = prometheus.CounterValue
	m := f.api
	figure(out, prometheus.GaugeValue, "millrace_partitions", "Partitions that this broker owns.", float64(f.partitions()))
	figure(out, counter, "millrace_produced_bytes_total", "Bytes of record batches appended for clients.", float64(m.ProduceBytes.Load()))
	figure(out, counter, "millrace_produced_records_total", "Records appended for clients.", float64(m.ProduceRecords.Load()))
	figure(out, counter, "millrace_fetched_bytes_total", "Bytes of record batches sent to clients.", float64(m.FetchBytes.Load()))
}

// shares shows what share groups do.
func (f *figures) shares(out chan<- prometheus.Metric) {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	l, m := f.sharing.Load(), f.sharing.Metrics()
	figure(out, gauge, "millrace_share_sessions", "Members of share groups that fetch here.", float64(l.Sessions))
	figure(out, gauge, "millrace_share_partitions", "Partitions that share groups read here, for each group.", float64(l.Partitions))
	figure(out, gauge, "millrace_share_in_flight_records", "Records from the start offset on that share groups acquired.", float64(l.InFlight))
	figure(out, counter, "millrace_share_delivered_records_total", "Deliveries of records to share groups.", float64(m.Delivered.Load()))
	figure(out, counter, "millrace_share_lock_timeouts_total", "Records that came back because their lock ran out.", float64(m.TimedOut.Load()))
	for kind, name := range [...]string{share.Gap: "gap", share.Accept: "accept", share.Release: "release", share.Reject: "reject", share.Renew: "renew"} {
		figure(out, counter, "millrace_share_acknowledgements_total", "Records that share groups acknowledged, by the kind of it.",
			float64(m.Acknowledged[kind].Load()), "type", name)
	}
}

func (f *figures) throttles(out chan<- prometheus.Metric) {
	const counter = prometheus.CounterValue
	for _, kind := range []quota.Kind{quota.Produce, quota.Fetch, quota.Request, quota.Mutation, quota.Connections} {
		times, millis := f.quotas.Throttled(kind)
		seconds, name := float64(millis)/1000, kind.String()
		figure(out, counter, "millrace_throttled_total", "How often clients were told to wait, by quota.", float64(times), "quota", name)
		figure(out, counter, "millrace_throttled_seconds_total", "How long clients were told to wait, by quota.", seconds, "quota", name)
	}
	t := f.whole.Traffic()
	figure(out, counter, "millrace_limited_total", "How often clients were told to wait because all together went beyond a limit of the broker.", float64(t.Throttled))
	figure(out, counter, "millrace_limited_connections_total", "Connections turned away because the broker had as many as it may.", float64(f.whole.Refused()))
	figure(out, prometheus.GaugeValue, "millrace_quota_accounts", "Accounts of quotas in use.", float64(f.quotas.Accounts()))
}

// clients shows what clients pushed. Values that are told apart only by what was cut off their labels are shown once.
func (f *figures) clients(out chan<- prometheus.Metric) {
	f.telemetry.Sweep()
	count, bytes, dropped := f.series.Count()
	figure(out, prometheus.GaugeValue, "millrace_client_metrics_instances", "Clients that were told what to push.", float64(f.telemetry.Instances()))
	figure(out, prometheus.GaugeValue, "millrace_client_metrics_series", "Series pushed by clients.", float64(count))
	figure(out, prometheus.GaugeValue, "millrace_client_metrics_bytes", "Memory that these series count.", float64(bytes))
	figure(out, prometheus.CounterValue, "millrace_client_metrics_dropped_total", "Values pushed for which there was no room.", float64(dropped))
	all := f.series.All()
	same := func(a, b telemetry.Sample) bool {
		return a.Name == b.Name && slices.Equal(sorted(a.Labels), sorted(b.Labels))
	}
	for i, s := range all {
		if s.Name == "" || i > 0 && same(all[i-1], s) {
			continue
		}
		var labels []string
		for _, l := range s.Labels {
			labels = append(labels, l.Name, l.Value)
		}
		figure(out, prometheus.UntypedValue, "kafka_client_"+s.Name, "Pushed by clients.", s.Value, labels...)
	}
}

func sorted(labels []telemetry.Label) []telemetry.Label {
	return slices.SortedFunc(slices.Values(labels), func(a, b telemetry.Label) int { return cmp.Compare(a.Name, b.Name) })
}

// metricsTimeout bounds one reading of the page.
const metricsTimeout = 10 * time.Second

// showMetrics shows the figures as Prometheus reads them, at /metrics of the address, until ctx ends. Without an address it
// only waits.
func (b *broker) showMetrics(ctx context.Context, address string) error {
	if address == "" {
		<-ctx.Done()
		return nil
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(b.figures); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen for metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, Timeout: metricsTimeout,
	}))
	s := &http.Server{Handler: mux, ReadTimeout: metricsTimeout, WriteTimeout: 2 * metricsTimeout, MaxHeaderBytes: 16 << 10}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("metrics: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err = s.Shutdown(stop)
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}
