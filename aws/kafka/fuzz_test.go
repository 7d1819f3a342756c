package kafka_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"testing"

	"millrace/aws/kafka/kafkatest"
)

// states are the scenario's worlds, each before the step at the same place is asked.
func states(f testing.TB) ([]*kafkatest.World, []kafkatest.Ask) {
	f.Helper()
	var worlds []*kafkatest.World
	var asks []kafkatest.Ask
	w := kafkatest.New()
	for _, make := range kafkatest.Scenario() {
		step := make(w)
		worlds, asks = append(worlds, w.Copy()), append(asks, step.Ask)
		if _, _, err := w.Call(f.Context(), step.Ask); err != nil {
			f.Fatal(err)
		}
	}
	return worlds, asks
}

// holds asks something of a copy of a world: it is answered, by one of the statuses that clients know, and what is refused has changed
// nothing.
func holds(t *testing.T, w *kafkatest.World, a kafkatest.Ask) {
	t.Helper()
	w = w.Copy()
	before := w.Changes()
	status, answer, err := w.Call(t.Context(), a)
	if err != nil {
		t.Fatalf("%+v: %v", a, err)
	}
	if !json.Valid(answer) {
		t.Fatalf("%+v: %s", a, answer)
	}
	switch status {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusNotFound, http.StatusConflict:
		if w.Changes() != before {
			t.Fatalf("%+v is refused, %s, and has changed something", a, answer)
		}
	default:
		t.Fatalf("%+v: status %d, %s", a, status, answer)
	}
}

// FuzzBody sends any body to any operation.
func FuzzBody(f *testing.F) {
	worlds, asks := states(f)
	for i, a := range asks {
		f.Add(uint(i), a.Body)
	}
	f.Add(uint(0), `{"name":"x","serverProperties":"`)
	f.Add(uint(1), `{"clusterName":"x","brokerNodeGroupInfo":{"clientSubnets":[],"instanceType":"express.m7g.large","storageInfo":{}},"kafkaVersion":"3.9.x","numberOfBrokerNodes":1}`)
	f.Fuzz(func(t *testing.T, i uint, body string) {
		i %= uint(len(asks))
		a := asks[i]
		a.Body = body
		holds(t, worlds[i], a)
	})
}

// FuzzPlace sends any label and any query to any operation.
func FuzzPlace(f *testing.F) {
	worlds, asks := states(f)
	for i, a := range asks {
		for name, value := range a.Params {
			f.Add(uint(i), name, value)
		}
		for name, values := range a.Query {
			f.Add(uint(i), name, values[0])
		}
		f.Add(uint(i), "nextToken", "eyJvIjoieCIsImsiOiJ5In0")
	}
	f.Fuzz(func(t *testing.T, i uint, name, value string) {
		i %= uint(len(asks))
		a := asks[i]
		a.Params, a.Query = maps.Clone(a.Params), maps.Clone(a.Query)
		if _, label := a.Params[name]; label {
			a.Params[name] = value
		} else if a.Query == nil {
			a.Query = url.Values{name: {value}}
		} else {
			a.Query[name] = []string{value}
		}
		holds(t, worlds[i], a)
	})
}
