package control_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"millrace/base/kv"
	"millrace/control"
	"millrace/engine"
)

// storm is a control plane that is asked for things, dies and comes back, above hosts that come and go.
type storm struct {
	t     *testing.T
	store kv.KV
	farm  *farm
	log   string
	stop  func()
	told  []string // what was done, for messages
}

func (s *storm) plane() *control.Plane {
	o := options()
	o.Like.Log = s.log
	return newPlane(s.store).With(o)
}

// begin starts the control plane, which dies after some writes.
func (s *storm) begin(writes int) {
	ctx, cancel := context.WithCancel(context.Background())
	o := options()
	o.Like.Log = s.log
	plane := newPlane(&cut{KV: s.store, left: writes, applies: writes%2 == 0, stop: cancel}).With(o)
	done := make(chan error, 1)
	go func() { done <- plane.Run(ctx) }()
	s.stop = func() {
		cancel()
		must(s.t, <-done)
	}
}

// act does one thing. What is refused is refused for a reason that callers can test.
func (s *storm) act(what, name string, n int) {
	ctx, plane := context.Background(), s.plane()
	var err error
	switch what {
	case "create":
		_, err = plane.Create(ctx, name, control.Settings{Brokers: n}, nil)
	case "delete":
		_, err = plane.Delete(ctx, name, "")
	case "reboot":
		_, err = plane.Begin(ctx, name, control.Request{Kind: control.Reboot, Nodes: []int32{int32(n)}})
	case "brokers", "type", "logins":
		var c control.Cluster
		if c, err = plane.Cluster(ctx, name); err != nil {
			break
		}
		set := c.Settings
		switch what {
		case "brokers":
			set.Brokers = n
		case "type":
			set.BrokerType = []string{"", "express.m7g.large", "express.m7g.xlarge"}[n%3]
		case "logins":
			set.Auth = []string{"plaintext", "iam", "tls"}[n%3]
		}
		_, err = plane.Begin(ctx, name, control.Request{Kind: control.Update, Settings: &set, Version: control.CurrentVersion(c)})
	case "lose":
		if host := fmt.Sprint("n", n%3+1); !s.farm.cut[host] {
			s.farm.lose(host)
		}
	case "join":
		s.farm.joinAt(fmt.Sprint("n", n%3+1))
	case "crash":
		s.stop()
		s.begin(3 * n)
	}
	s.told = append(s.told, fmt.Sprintf("%s %s %d: %v", what, name, n, err))
	for _, known := range []error{nil, control.ErrExists, control.ErrNoCluster, control.ErrBusy, control.ErrState, control.ErrSpec, control.ErrLost} {
		if errors.Is(err, known) {
			return
		}
	}
	s.t.Errorf("%s of %s: %v", what, name, err)
}

// calm has all hosts come back and the control plane live, and says what is not as the records say.
func (s *storm) calm() (faults []string) {
	for _, host := range []string{"n1", "n2", "n3"} {
		s.farm.joinAt(host)
	}
	s.stop()
	s.begin(never)
	later(time.Hour)
	synctest.Wait()
	ctx, plane := context.Background(), s.plane()
	all, err := plane.Clusters(ctx)
	must(s.t, err)
	running := 0
	for _, c := range all {
		var ids []string
		for id := 1; id <= c.Settings.Brokers; id++ {
			ids = append(ids, fmt.Sprint(id))
		}
		want := strings.Join(ids, " ")
		if c.Phase == control.Broken {
			want = ""
		}
		if got := s.farm.ids(c.Name); got != want || c.Operation != 0 || c.Phase != control.Active && c.Phase != control.Broken || c.Brokers != c.Settings.Brokers {
			op, err := plane.Operation(ctx, c.Name, c.Operations)
			faults = append(faults, fmt.Sprintf("%s runs %q, wants %q: %+v, last %+v, %v", c.Name, got, want, c, op, err))
		}
		running += len(strings.Fields(want))
	}
	items, _, err := s.store.List(ctx, engine.AllSpecs)
	must(s.t, err)
	for _, item := range items {
		if strings.Contains(string(item.Value), `"moved"`) {
			faults = append(faults, "left: "+item.Key)
		}
	}
	if running != len(s.farm.running) {
		faults = append(faults, fmt.Sprintf("%d processes, want %d", len(s.farm.running), running))
	}
	for name := range s.farm.objects {
		if !slices.ContainsFunc(all, func(c control.Cluster) bool { return c.Name == name }) {
			faults = append(faults, "objects of "+name+" are left")
		}
	}
	return append(faults, s.farm.faults...)
}

// Whatever is asked for, wherever the control plane dies and whichever hosts go: when all are back, everything is as the records say, no
// two brokers had one address or one id, and nothing is left of what was deleted.
func TestStorm(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type event struct {
			what, name string
			n          int
			pause      time.Duration
		}
		log := rapid.SampledFrom([]string{"object", "file"}).Draw(rt, "log")
		var events []event
		for range rapid.IntRange(3, 14).Draw(rt, "events") {
			events = append(events, event{
				rapid.SampledFrom([]string{"create", "create", "delete", "brokers", "type", "logins", "reboot", "lose", "join", "crash"}).Draw(rt, "what"),
				rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "name"), rapid.IntRange(1, 4).Draw(rt, "n"),
				time.Duration(rapid.SampledFrom([]int{0, 1, 5, 20, 60}).Draw(rt, "pause")) * time.Second,
			})
		}
		var faults, told []string
		synctest.Test(t, func(t *testing.T) {
			store := kv.NewMemory()
			defer func() { must(t, store.Close()) }()
			ctx, cancel := context.WithCancel(context.Background())
			f := newFarm(t, store)
			ended := make(chan struct{})
			go func() { defer close(ended); f.run(ctx) }()
			for _, host := range []string{"h", "n1", "n2", "n3"} {
				f.joinAt(host)
			}
			s := &storm{t: t, store: store, farm: f, log: log}
			s.begin(never)
			for _, e := range events {
				s.act(e.what, e.name, e.n)
				later(e.pause)
				synctest.Wait()
			}
			faults = s.calm()
			told = s.told
			s.stop()
			cancel()
			<-ended
		})
		if len(faults) > 0 {
			rt.Fatalf("%s\nafter\n%s", strings.Join(faults, "\n"), strings.Join(told, "\n"))
		}
	})
}
