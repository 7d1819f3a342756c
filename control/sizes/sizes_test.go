package sizes_test

import (
	"errors"
	"testing"

	"millrace/control/sizes"
	"millrace/engine"
)

func TestTypesAreAWSs(t *testing.T) {
	large, err := sizes.Find("express.m7g.large")
	if err != nil {
		t.Fatal(err)
	}
	want := engine.Limits{
		In: engine.Flow{Sustained: 15_600_000, Max: 23_400_000}, Out: engine.Flow{Sustained: 31_200_000, Max: 58_500_000},
		Replicas: 1500, Connections: 3000, ConnectionRate: 100, CPUs: 2,
	}
	if large.Limits != want || large.Recommended != 1000 {
		t.Errorf("express.m7g.large: %+v", large)
	}
	largest, err := sizes.Find("express.m7g.16xlarge")
	if err != nil {
		t.Fatal(err)
	}
	if l := largest.Limits; l.In.Max != 750_000_000 || l.Out.Max != 1_875_000_000 || l.Replicas != 32_000 {
		t.Errorf("express.m7g.16xlarge: %+v", l)
	}
}

// S1, S3.
func TestLargerTypesPromiseNoLess(t *testing.T) {
	all := sizes.All()
	if len(all) != 7 || len(sizes.Names()) != 7+16 {
		t.Fatalf("%d types", len(all))
	}
	for i, one := range all {
		if err := one.Limits.Validate(); err != nil {
			t.Errorf("%s: %v", one.Name, err)
		}
		if i == 0 {
			continue
		}
		less := all[i-1]
		for name, grows := range map[string]bool{
			"in":         one.Limits.In.Sustained > less.Limits.In.Sustained && one.Limits.In.Max > less.Limits.In.Max,
			"out":        one.Limits.Out.Sustained > less.Limits.Out.Sustained && one.Limits.Out.Max > less.Limits.Out.Max,
			"partitions": one.Limits.Replicas > less.Limits.Replicas && one.Recommended >= less.Recommended && one.Recommended <= one.Limits.Replicas,
			"process":    one.Process.Memory > less.Process.Memory && one.Process.CPUs > less.Process.CPUs,
			"machine":    one.VCPUs > less.VCPUs && one.MemoryGiB > less.MemoryGiB,
		} {
			if !grows {
				t.Errorf("%s of %s is not more than of %s", name, one.Name, less.Name)
			}
		}
	}
}

func TestNamesOfNoExpressType(t *testing.T) {
	for name, want := range map[string]error{
		"kafka.m5.huge": sizes.ErrUnknown, "kafka.": sizes.ErrUnknown, "": sizes.ErrUnknown, "large": sizes.ErrUnknown,
		"express.m7g.huge": sizes.ErrUnknown, "express.m7g.": sizes.ErrUnknown,
	} {
		if _, err := sizes.Find(name); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
}

// S2, S3.
func TestServerlessBrokersAreWorthTheQuotas(t *testing.T) {
	var q sizes.Quotas
	if err := q.Validate(); err != nil {
		t.Fatal(err)
	}
	unit, err := q.Unit()
	if err != nil {
		t.Fatal(err)
	}
	if n := int64(q.Brokers); n*unit.Limits.In.Sustained < q.In || n*unit.Limits.Out.Sustained < q.Out || q.Brokers*unit.Recommended < q.Partitions {
		t.Errorf("%d brokers are not worth %+v", n, q)
	}
	if n := int64(q.Brokers - 1); n*unit.Limits.In.Sustained >= q.In && n*unit.Limits.Out.Sustained >= q.Out {
		t.Errorf("%d brokers would do", n)
	}
	if unit.Limits.Requests != 15_000 || unit.Limits.Partitions != 2400 || unit.Limits.MessageBytes != 8<<20 || unit.Limits.Replicas != 0 {
		t.Errorf("unit %+v", unit.Limits)
	}
}

func TestQuotasThatCannotBe(t *testing.T) {
	for name, q := range map[string]sizes.Quotas{
		"in": {In: -1}, "out": {Out: 1 << 41}, "connections": {Connections: -1}, "brokers": {Brokers: -1}, "many brokers": {Brokers: 2000},
		"type": {BrokerType: "kafka.m5.large"}, "load": {LoadSeconds: -1},
	} {
		if err := q.Validate(); !errors.Is(err, sizes.ErrQuotas) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSizeOfAClustersBrokers(t *testing.T) {
	var q sizes.Quotas
	if err := q.Validate(); err != nil {
		t.Fatal(err)
	}
	unit, err := sizes.Of(true, "", q)
	if err != nil || unit.Limits.Requests != q.Requests {
		t.Errorf("serverless: %+v, %v", unit, err)
	}
	if none, err := sizes.Of(false, "", q); err != nil || none != (sizes.Type{}) {
		t.Errorf("without a type: %+v, %v", none, err)
	}
	if large, err := sizes.Of(false, "express.m7g.large", q); err != nil || large.Limits.Requests != 0 || large.Limits.Replicas != 1500 {
		t.Errorf("express: %+v, %v", large, err)
	}
	if standard, err := sizes.Of(false, "kafka.m5.large", q); err != nil || standard.Process.Heap == 0 {
		t.Errorf("standard: %v", err)
	}
}
