package telemetry

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"google.golang.org/protobuf/encoding/protowire"

	"millrace/base/clock"
	"millrace/kafka/record"
)

// message appends a message in a field.
func message(to []byte, num protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(to, num, protowire.BytesType), content)
}

func number(to []byte, num protowire.Number, bits uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(to, num, protowire.Fixed64Type), bits)
}

// attr is one attribute, in the field num.
func attr(num protowire.Number, key, value string) []byte {
	kv := message(nil, keyValueKey, []byte(key))
	kv = message(kv, keyValueValue, message(nil, anyString, []byte(value)))
	return message(nil, num, kv)
}

// metric is a push of one metric with one point.
func metric(name string, delta bool, value float64, attrs ...string) []byte {
	p := number(nil, pointDouble, math.Float64bits(value))
	for i := 0; i < len(attrs); i += 2 {
		p = append(p, attr(pointAttr, attrs[i], attrs[i+1])...)
	}
	data, kind := message(nil, gaugePoint, p), metricGauge
	if delta { // the temporality after the points, and the name after both: order means nothing
		data = protowire.AppendVarint(protowire.AppendTag(data, sumTemporality, protowire.VarintType), temporalityDelta)
		kind = metricSum
	}
	m := message(nil, kind, data)
	m = message(m, metricName, []byte(name))
	resource := message(nil, rmResource, attr(resourceAttr, "client_rack", "r1"))
	return message(nil, dataResourceMetrics, append(message(nil, rmScope, message(nil, scopeMetric, m)), resource...))
}

// bench is a Manager under a clock that the test moves.
type bench struct {
	t       *testing.T
	clock   *clock.Manual
	table   atomic.Pointer[Table]
	series  *Series
	manager *Manager
}

func newBench(t *testing.T, configs map[string]map[string]string) *bench {
	b := &bench{t: t, clock: clock.NewManual(time.Unix(1_700_000_000, 0)), series: NewSeries()}
	b.table.Store(NewTable(configs))
	b.manager = New(b.clock, b.table.Load, b.series)
	return b
}

func everything() map[string]map[string]string {
	return map[string]map[string]string{"all": {KeyMetrics: "*", KeyInterval: "1000"}}
}

func client(n byte) Client {
	return Client{Instance: ID{n, 1}, ClientID: "app", SoftwareName: "apache-kafka-java", SoftwareVersion: "4.1.0", Address: "127.0.0.1", Port: "5000"}
}

func (b *bench) get(c Client) Subscription {
	b.t.Helper()
	s, err := b.manager.Get(c)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (b *bench) push(s Subscription, metrics []byte) error {
	c := client(0)
	c.Instance = s.Instance
	return b.manager.Push(Push{Client: c, SubscriptionID: s.ID, Metrics: metrics})
}

func TestSubscriptionsThatMatchAreJoined(t *testing.T) {
	table := NewTable(map[string]map[string]string{
		"java":    {KeyMetrics: "a.,b.", KeyInterval: "5000", KeyMatch: "client_software_name=apache-.*"},
		"local":   {KeyMetrics: "b., c.", KeyInterval: "2000", KeyMatch: "client_source_address=127\\..*,client_id=app"},
		"nobody":  {KeyMetrics: "*", KeyInterval: "100", KeyMatch: "client_id=ap"}, // the whole value has to match
		"default": {KeyMetrics: "d."},
	})
	if metrics, interval := table.find(client(1)); !slices.Equal(metrics, []string{"a.", "b.", "c.", "d."}) || interval != 2000 {
		t.Errorf("%q every %d ms", metrics, interval)
	}
	other := client(1)
	other.SoftwareName, other.ClientID = "librdkafka", "ap"
	if metrics, interval := table.find(other); !slices.Equal(metrics, []string{all}) || interval != 100 {
		t.Errorf("%q every %d ms", metrics, interval)
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, key, value string
		kind             error
		text             string
	}{
		{"", KeyInterval, "1000", ErrRequest, "Subscription name can't be empty"},
		{"s", "nope", "1", ErrRequest, "Unknown client metrics configuration: nope"},
		{"s", KeyInterval, "99", ErrRequest, "Invalid value 99 for interval.ms, interval must be between 100 and 3600000 (1 hour)"},
		{"s", KeyInterval, "3600001", ErrRequest, "Invalid value 3600001 for interval.ms, interval must be between 100 and 3600000 (1 hour)"},
		{"s", KeyInterval, "abc", ErrConfig, "Invalid value abc for configuration interval.ms: Not a number of type INT"},
		{"s", KeyMatch, "foo=bar", ErrConfig, "Illegal client matching pattern: foo=bar"},
		{"s", KeyMatch, "client_id", ErrConfig, "Illegal client matching pattern: client_id"},
		{"s", KeyMatch, "client_id=", ErrConfig, "Illegal client matching pattern: client_id="},
		{"s", KeyMatch, "client_id=a=b", ErrConfig, "Illegal client matching pattern: client_id=a=b"},
		{"s", KeyMatch, "client_id=(", ErrConfig, "Illegal client matching pattern: client_id=("},
	} {
		if err := Check(c.name, map[string]string{c.key: c.value}); !errors.Is(err, c.kind) || err.Error() != c.text {
			t.Errorf("%s %s=%s: %v", c.name, c.key, c.value, err)
		}
	}
}

func TestLifeOfAClient(t *testing.T) {
	b := newBench(t, everything())
	s := b.get(Client{ClientID: "app"})
	if s.Instance == (ID{}) || !slices.Equal(s.Metrics, []string{all}) || s.IntervalMillis != 1000 {
		t.Fatalf("told %+v", s)
	}
	if _, err := b.manager.Get(Client{Instance: s.Instance}); !errors.Is(err, ErrThrottled) {
		t.Errorf("asked again at once: %v", err)
	}
	if err := b.push(s, metric("m", false, 1)); err != nil {
		t.Errorf("the first push, at any time: %v", err)
	}
	if err := b.push(s, metric("m", false, 2)); !errors.Is(err, ErrThrottled) {
		t.Errorf("the second at once: %v", err)
	}
	b.clock.Advance(time.Second)
	wrong := s
	wrong.ID++
	if err := b.push(wrong, nil); !errors.Is(err, ErrUnknownSubscription) {
		t.Errorf("with another subscription's id: %v", err)
	}
	if again := b.get(Client{Instance: s.Instance, ClientID: "app"}); again.ID != s.ID {
		t.Errorf("asked after that, told %+v", again)
	}
	b.clock.Advance(time.Second)
	if err := b.push(s, metric("m", false, 3)); err != nil {
		t.Error(err)
	}
	last := Push{Client: Client{Instance: s.Instance}, SubscriptionID: s.ID, Terminating: true, Metrics: metric("m", false, 4)}
	if err := b.manager.Push(last); err != nil {
		t.Errorf("the last push, at any time: %v", err)
	}
	b.clock.Advance(time.Second)
	if err := b.push(s, metric("m", false, 5)); !errors.Is(err, ErrInstance) {
		t.Errorf("a push after the last: %v", err)
	}
	if got := b.series.All(); len(got) != 1 || got[0].Value != 4 || got[0].Name != "m" {
		t.Errorf("kept %+v", got)
	}
	b.clock.Advance(time.Minute + time.Second)
	b.manager.Sweep()
	if n := b.manager.Instances(); n != 0 || len(b.series.All()) != 0 {
		t.Errorf("a silent client is still there: %d, %+v", n, b.series.All())
	}
	if series, bytes, _ := b.series.Count(); series != 0 || bytes != 0 {
		t.Errorf("%d series and %d bytes are left", series, bytes)
	}
}

func TestChangedSubscriptionsAreToldBeforeTheNextPush(t *testing.T) {
	b := newBench(t, everything())
	s := b.get(client(1))
	b.table.Store(NewTable(map[string]map[string]string{"all": {KeyMetrics: "m", KeyInterval: "1000"}}))
	if err := b.push(s, metric("m", false, 1)); !errors.Is(err, ErrUnknownSubscription) {
		t.Errorf("a push by the old subscription: %v", err)
	}
	now := b.get(client(1))
	if now.ID == s.ID || !slices.Equal(now.Metrics, []string{"m"}) {
		t.Errorf("told %+v, before %+v", now, s)
	}
	b.clock.Advance(time.Second)
	if err := b.push(now, metric("m", false, 1)); err != nil {
		t.Error(err)
	}
}

func TestPushesThatAreRefused(t *testing.T) {
	bomb := new(bytes.Buffer)
	w := gzip.NewWriter(bomb)
	_, _ = w.Write(make([]byte, MaxBytes+1))
	_ = w.Close()
	for _, c := range []struct {
		name string
		push Push
		want error
	}{
		{"no id", Push{}, ErrInstance},
		{"a reserved id", Push{Client: Client{Instance: ID{15: 1}}}, ErrInstance},
		{"unknown compression", Push{Client: client(1), Codec: 9}, ErrCompression},
		{"too large", Push{Client: client(1), Metrics: make([]byte, MaxBytes+1)}, ErrTooLarge},
		{"too large inside", Push{Client: client(1), Codec: record.Gzip, Metrics: bomb.Bytes()}, ErrTooLarge},
		{"not compressed", Push{Client: client(1), Codec: record.Zstd, Metrics: []byte("zstd?")}, ErrRecord},
		{"no metrics", Push{Client: client(1), Metrics: []byte{0xff}}, ErrRecord},
		{"cut off", Push{Client: client(1), Metrics: metric("m", false, 1)[:20]}, ErrRecord},
	} {
		b := newBench(t, everything())
		if c.push.Instance != (ID{}) {
			c.push.SubscriptionID = b.get(c.push.Client).ID
		}
		if err := b.manager.Push(c.push); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if n := len(b.series.All()); n != 0 {
			t.Errorf("%s: %d series are kept", c.name, n)
		}
	}
}

func TestEveryCompressionIsRead(t *testing.T) {
	b := newBench(t, everything())
	for i, codec := range append(Accepted(), record.Uncompressed) {
		c := client(byte(i + 1))
		packed := compressed(t, codec, metric("m", false, float64(i)))
		if err := b.manager.Push(Push{Client: c, SubscriptionID: b.get(c).ID, Codec: codec, Metrics: packed}); err != nil {
			t.Errorf("%v: %v", codec, err)
		}
	}
	if n := len(b.series.All()); n != 5 {
		t.Errorf("%d series", n)
	}
}

// compressed packs b as clients do.
func compressed(t *testing.T, codec record.Codec, b []byte) []byte {
	t.Helper()
	out := new(bytes.Buffer)
	var w io.WriteCloser
	switch codec {
	case record.Gzip:
		w = gzip.NewWriter(out)
	case record.LZ4:
		w = lz4.NewWriter(out)
	case record.Zstd:
		z, err := zstd.NewWriter(out)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	case record.Snappy:
		return s2.EncodeSnappy(nil, b)
	default:
		return b
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestSumsOfDifferencesAreAdded(t *testing.T) {
	b := newBench(t, everything())
	s := b.get(client(1))
	for range 3 {
		if err := b.push(s, append(metric("org.apache.kafka.sent", true, 5, "node-id", "1"), metric("gauge", false, 5)...)); err != nil {
			t.Fatal(err)
		}
		b.clock.Advance(time.Second)
	}
	got := b.series.All()
	if len(got) != 2 || got[0].Value != 5 || got[1].Name != "org_apache_kafka_sent" || got[1].Value != 15 {
		t.Fatalf("%+v", got)
	}
	want := []Label{{"client_instance_id", client(1).Instance.String()}, {"client_id", "app"}, {"node_id", "1"}, {"client_rack", "r1"}}
	if !slices.Equal(got[1].Labels, want) {
		t.Errorf("labels %+v, want %+v", got[1].Labels, want)
	}
}

func TestSeriesAreBounded(t *testing.T) {
	b := newBench(t, everything())
	flood := func(n byte) {
		var push []byte
		for i := range seriesPerClient + 100 {
			push = append(push, metric(fmt.Sprintf("m%d", i), false, 1, "a", string(make([]byte, 50)))...)
		}
		if err := b.push(b.get(client(n)), push); err != nil {
			t.Fatal(err)
		}
	}
	flood(1)
	if series, _, dropped := b.series.Count(); series != seriesPerClient || dropped != 100 {
		t.Errorf("%d series of a client, %d dropped", series, dropped)
	}
	for n := range byte(40) {
		if n > 1 {
			flood(n)
		}
	}
	if series, bytes, dropped := b.series.Count(); series > seriesInAll || bytes > bytesInAll || dropped < 1000 {
		t.Errorf("%d series in all, %d bytes, %d dropped", series, bytes, dropped)
	}
	long := metric(string(make([]byte, 10_000)), false, 1)
	if err := b.push(b.get(client(200)), long); err != nil {
		t.Fatal(err)
	}
	for _, s := range b.series.All() {
		if len(s.Name) > textMost {
			t.Fatalf("a name of %d bytes", len(s.Name))
		}
	}
}

func TestInstancesAreBounded(t *testing.T) {
	b := newBench(t, everything())
	b.manager.most = 10
	first := b.get(client(1))
	if err := b.push(first, metric("m", false, 1)); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		b.get(Client{})
	}
	if n := b.manager.Instances(); n != 10 {
		t.Errorf("%d instances, at most 10", n)
	}
	if n := len(b.series.All()); n != 0 {
		t.Errorf("%d series of clients that were forgotten", n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(metric("m", false, 1, "a", "b"))
	f.Add(metric("m", true, 1))
	f.Add([]byte{0x0a, 0x00})
	f.Fuzz(func(t *testing.T, push []byte) {
		s := NewSeries()
		err := decode(push, func(p point) {
			if math.IsNaN(p.value) {
				return
			}
		})
		if err != nil {
			if !errors.Is(err, errMalformed) {
				t.Fatalf("error %v", err)
			}
			return
		}
		s.put(client(1), push)
		for _, sample := range s.All() {
			for i, l := range sample.Labels {
				if l.Name == "" || slices.ContainsFunc(sample.Labels[:i], func(o Label) bool { return o.Name == l.Name }) {
					t.Fatalf("labels %+v", sample.Labels)
				}
			}
		}
		s.forget(client(1).Instance)
		if series, bytes, _ := s.Count(); series != 0 || bytes != 0 {
			t.Fatalf("%d series and %d bytes are left", series, bytes)
		}
	})
}

func FuzzPush(f *testing.F) {
	f.Add(int8(0), metric("m", false, 1))
	f.Add(int8(1), []byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, codec int8, metrics []byte) {
		b := newBench(t, everything())
		err := b.manager.Push(Push{Client: client(1), SubscriptionID: b.get(client(1)).ID, Codec: record.Codec(codec), Metrics: metrics})
		if err != nil && !errors.Is(err, ErrRecord) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrCompression) {
			t.Fatalf("error %v", err)
		}
	})
}

// FuzzCheck takes any configurations of a subscription: they make one, or are refused with an error that can be told.
func FuzzCheck(f *testing.F) {
	f.Add("s", "org.apache.kafka.,", "60000", "client_id=a.*, client_software_name=b")
	f.Add("", "", "-1", "client_id=(")
	f.Add("s", "*", "3600001", "a=b=c,=")
	f.Fuzz(func(t *testing.T, name, metrics, interval, match string) {
		configs := map[string]string{KeyMetrics: metrics, KeyInterval: interval, KeyMatch: match}
		if err := Check(name, configs); err != nil {
			if !errors.Is(err, ErrRequest) && !errors.Is(err, ErrConfig) {
				t.Fatalf("error %v", err)
			}
			return
		}
		for _, s := range NewTable(map[string]map[string]string{name: configs}).subscriptions {
			s.matches(client(1))
		}
	})
}
