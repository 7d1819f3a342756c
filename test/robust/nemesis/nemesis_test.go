package nemesis

import (
	"reflect"
	"slices"
	"testing"
)

var all = []Kind{Kill, KillAgain, KillAll, KillServe, Crash, Torn, Pause, Hang, PauseServe, Freeze, Roll, Scale, SlowEtcd, Twin, DiskFull,
	StoreErrors, StoreLost, StoreSlow, StoreHang, StoreTorn, StoreCrash, StoreCrash2,
	KillHost, KillAgent, KillEtcd, PauseEtcd, Isolate, CutEtcd, CutStore, CutPeers, CutClients}

// TestNemesis holds many rounds of many seeds against N1 to N3.
func TestNemesis(t *testing.T) {
	const brokers = 3
	for seed := range uint64(200) {
		a, b := New(seed, all, brokers), New(seed, all, brokers)
		for range 3 {
			var led []Kind
			for range all {
				r := a.Next()
				if again := b.Next(); !reflect.DeepEqual(r, again) {
					t.Fatalf("seed %d: %v and %v", seed, r, again)
				}
				led = append(led, r.Faults[0].Kind)
				check(t, r, brokers)
			}
			slices.Sort(led)
			if want := slices.Sorted(slices.Values(all)); !slices.Equal(led, want) {
				t.Fatalf("seed %d: a pass is led by %v, want %v", seed, led, want)
			}
		}
	}
}

func check(t *testing.T, r Round, brokers int) {
	t.Helper()
	stores, serves, networks := 0, 0, 0
	for i, f := range r.Faults {
		if f.Broker < 1 || f.Broker > brokers || i > 0 && !slices.Contains(companions, f.Kind) {
			t.Errorf("%v: fault %d", r, i)
		}
		if f.Kind.store() {
			stores++
		}
		if f.Kind.serve() {
			serves++
		}
		if f.Kind.network() {
			networks++
		}
	}
	if len(r.Faults) < 1 || len(r.Faults) > 3 || stores > 1 || serves > 1 || networks > 1 || r.Calm < 1 {
		t.Errorf("%v", r)
	}
}

// TestKindsThatAreNotThere: a run without an object store that can fail has none of its faults.
func TestKindsThatAreNotThere(t *testing.T) {
	n := New(1, []Kind{Kill, Roll}, 3)
	for range 100 {
		for _, f := range n.Next().Faults {
			if f.Kind != Kill && f.Kind != Roll {
				t.Fatalf("%v", f)
			}
		}
	}
}
