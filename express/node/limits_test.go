package node_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"millrace/base/kv"
	"millrace/engine"
	"millrace/express/node"
)

// A broker that is to say what it has to do does so below the cluster's keys, and takes it back when it stops.
func TestBrokerTellsItsLoad(t *testing.T) {
	e := newEnv(t)
	e.cfg.Limits = engine.Limits{In: engine.Flow{Sustained: 1 << 30, Max: 1 << 30}, LoadSeconds: 1}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	key := e.cfg.Prefix + engine.LoadKey(1)
	told := e.world.KV.Watch(ctx, key, 0)
	stop := e.run()
	_, err := e.admin().CreateTopic(ctx, 3, 1, nil, "orders")
	must(t, err)
	e.produce("orders", 0, 10)
	var sum engine.Load
	for last := int64(0); sum.In == 0 || sum.Requests == 0 || sum.Partitions != 3 || sum.Connections == 0; {
		event, ok := <-told
		if !ok {
			t.Fatal("the watch ended")
		}
		one, err := engine.Decode[engine.Load](event.Item.Value)
		must(t, err)
		if one.Broker != 1 || one.Number != last+1 || one.Incarnation == 0 {
			t.Fatalf("told %+v after number %d", one, last)
		}
		last = one.Number
		sum.In, sum.Requests = sum.In+one.In, sum.Requests+one.Requests
		sum.Partitions, sum.Connections = one.Partitions, max(sum.Connections, one.Connections)
	}
	must(t, stop())
	if _, err := e.world.KV.Get(ctx, key); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("after the stop: %v", err)
	}
}

func TestLimitsAreFlags(t *testing.T) {
	eng := node.Engine{Binary: "millrace", Data: "/data", Etcd: "e", Store: "file:///s"}
	_, args, err := eng.Command(engine.NodeSpec{Cluster: "c", ID: 1, Listen: "127.0.0.1:1"})
	must(t, err)
	if strings.Contains(strings.Join(args, " "), "--limits") {
		t.Errorf("flags %q", args)
	}
	l := engine.Limits{Connections: 3, CPUs: 2}
	_, args, err = eng.Command(engine.NodeSpec{Cluster: "c", ID: 1, Listen: "127.0.0.1:1", Limits: l})
	must(t, err)
	for i, a := range args {
		if a != "--limits" {
			continue
		}
		if back, err := engine.ParseLimits(args[i+1]); err != nil || back != l {
			t.Errorf("%s: %v", args[i+1], err)
		}
		return
	}
	t.Errorf("flags %q", args)
}
