package robust

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"millrace/test/harness"
	"millrace/test/robust/churn"
)

const (
	// churnVariable is the environment variable that says how long each of the group tests goes on.
	churnVariable = "MILLRACE_CHURN"
	// churnLength is how long each goes on in an ordinary run.
	churnLength = 6 * time.Second
)

// TestGroupChurnEager lets members of the classic protocol come and go who give up everything in each rebalance.
func TestGroupChurnEager(t *testing.T) {
	churned(t, churn.Config{Protocols: []churn.Protocol{churn.Eager}})
}

// TestGroupChurnCooperative is the same with members who give up only what others are to have.
func TestGroupChurnCooperative(t *testing.T) {
	churned(t, churn.Config{Protocols: []churn.Protocol{churn.Cooperative}})
}

// TestGroupChurnConsumer is the same with the protocol in which the coordinator assigns (KIP-848).
func TestGroupChurnConsumer(t *testing.T) {
	churned(t, churn.Config{Protocols: []churn.Protocol{churn.Consumer}})
}

// TestGroupChurnMixed has members of both protocols in one group.
func TestGroupChurnMixed(t *testing.T) {
	churned(t, churn.Config{Protocols: []churn.Protocol{churn.Consumer, churn.Cooperative}})
}

// churned runs one churn and judges it.
func churned(t *testing.T, config churn.Config) {
	harness.Long(t, "make soak")
	cluster := startServer(t) // before the others run, so that no two take the same ports
	t.Parallel()              // most of its time is waiting
	r := &run{t: t, cluster: cluster}
	t.Cleanup(r.showBrokerLogs)
	config.Bootstrap, config.Logs = cluster.Bootstrap, os.Getenv(logsVariable)
	if cluster.Engine == harness.Millrace && config.Protocols[0] == churn.Consumer {
		// The least session of the consumer protocol is the coordinator's to say, and that of a server that cannot be told
		// otherwise is 45 s. Only a long run can wait for so long whenever a member crashes.
		config.Session = 45 * time.Second
		config.Leave = os.Getenv(churnVariable) == ""
	}
	load, err := churn.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(load.Stop)
	timer := time.NewTimer(length(t, churnVariable, churnLength))
	defer timer.Stop()
	<-timer.C
	ctx, cancel := context.WithTimeout(t.Context(), 2*returnLimit)
	defer cancel()
	if err := errors.Join(load.Drain(ctx), load.Faults()); err != nil {
		t.Error(err)
	}
	found := load.Registry().Verify()
	report(t, found)
	t.Logf("%s: %+v; %d violations", cluster.Bootstrap, load.Registry().Counts(), len(found))
	for _, line := range load.Told() {
		t.Log(line)
	}
}
