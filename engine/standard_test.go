package engine_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"millrace/engine"
)

// TestLeastFormatOfASpec is that of the youngest field that the spec uses: every field of Apache Kafka's nodes asks for the newest.
func TestLeastFormatOfASpec(t *testing.T) {
	plain := engine.NodeSpec{Format: engine.First, Host: "h", Cluster: "c", ID: 1, Engine: engine.Express, Zone: "a", Listen: "h:1", Memory: 1, Round: 3}
	if got := plain.Least(); got != engine.First {
		t.Errorf("a plain spec has format %d", got)
	}
	secured := plain
	secured.Secure.Authorize = true
	if got := secured.Least(); got != engine.Secured {
		t.Errorf("a spec with logins has format %d", got)
	}
	for _, set := range []func(*engine.NodeSpec){
		func(s *engine.NodeSpec) { s.Engine = engine.Standard },
		func(s *engine.NodeSpec) { s.Role = engine.Controller },
		func(s *engine.NodeSpec) { s.Version = "4.1.x" },
		func(s *engine.NodeSpec) { s.ClusterID = "AAAAAAAAAAAAAAAAAAAAAA" },
		func(s *engine.NodeSpec) { s.Voters = []engine.Voter{{ID: 10001, Address: "h:2"}} },
		func(s *engine.NodeSpec) { s.Properties = "a=b" },
		func(s *engine.NodeSpec) { s.Heap = 1 },
		func(s *engine.NodeSpec) { s.Volume = 1 },
	} {
		s := secured
		set(&s)
		if got := s.Least(); got != engine.Format {
			t.Errorf("%+v has format %d", s, got)
		}
		s.Format = s.Least()
		b, err := engine.Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := engine.Decode[engine.NodeSpec](b); err != nil || !reflect.DeepEqual(back, s) {
			t.Errorf("%s became %+v: %v", b, back, err)
		}
		newer := strings.Replace(string(b), `"format":3`, `"format":4`, 1)
		if _, err := engine.Decode[engine.NodeSpec]([]byte(newer)); !errors.Is(err, engine.ErrNewer) {
			t.Errorf("%s: %v", newer, err)
		}
	}
}
