package robust

import (
	"context"
	"errors"
	"os"

	"millrace/test/robust/bank"
	"millrace/test/robust/churn"
	"millrace/test/robust/keys"
	"millrace/test/robust/linear"
	"millrace/test/robust/lives"
	"millrace/test/robust/mix"
	"millrace/test/robust/rules"
	"millrace/test/robust/tape"
	"millrace/test/robust/traffic"
)

// load is work that clients do while a nemesis strikes.
type load struct {
	name     string
	progress func(ctx context.Context, n int64) error // waits until so many things more were done by each client
	faults   func() error                             // what no client of a correct cluster would have been told
	told     func() []string                          // what else clients were told
	drain    func(ctx context.Context) error          // ends the load; it may run beside those of others
	verdict  func()                                   // reports every violation, after drain
}

// nothing is what clients were told who were told nothing worth a word.
func nothing() []string { return nil }

// one makes a wait for one thing of a wait for many: what is slow is not waited for more often.
func one(progress func(context.Context, int64) error) func(context.Context, int64) error {
	return func(ctx context.Context, _ int64) error { return progress(ctx, 1) }
}

// loads starts all loads.
func (v *victim) loads() []load {
	v.t.Helper()
	return []load{v.traffic(), v.mix(), v.keys(), v.lives(), v.bank(), v.churn()}
}

func (v *victim) traffic() load {
	v.t.Helper()
	var err error
	v.load, err = traffic.Start(v.t.Context(), traffic.Config{Bootstrap: v.bootstrap(), Partitions: 6, Producers: 3, Rate: 500})
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(v.load.Stop)
	return load{name: "traffic", progress: v.load.Progress, faults: v.load.Faults, told: nothing, drain: v.load.Drain, verdict: v.verdict}
}

func (v *victim) mix() load {
	v.t.Helper()
	work, err := mix.Start(v.t.Context(), mix.Config{Bootstrap: v.bootstrap()})
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(work.Stop)
	verdict := func() {
		v.t.Helper()
		ops := work.Tape().Ops()
		anomalies, disorders := rules.Judge(ops), linear.Judge(ops)
		report(v.t, anomalies)
		report(v.t, disorders)
		v.t.Logf("mix: %s; %d anomalies, %d keys not linearizable", tape.Summary(ops), len(anomalies), len(disorders))
	}
	return load{name: "mix", progress: one(work.Progress), faults: work.Faults, told: nothing, drain: work.Drain, verdict: verdict}
}

func (v *victim) keys() load {
	v.t.Helper()
	work, err := keys.Start(v.t.Context(), keys.Config{Bootstrap: v.bootstrap()})
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(work.Stop)
	verdict := func() {
		v.t.Helper()
		found, reads := work.Table().Verify()
		report(v.t, found)
		v.t.Logf("keys: read %d times; %d violations", reads, len(found))
	}
	return load{name: "keys", progress: one(work.Progress), faults: work.Faults, told: nothing, drain: work.Drain, verdict: verdict}
}

func (v *victim) lives() load {
	v.t.Helper()
	work := lives.Start(v.t.Context(), v.bootstrap())
	v.t.Cleanup(work.Stop)
	verdict := func() {
		v.t.Helper()
		found, lived := work.Verify()
		if err := errors.Join(found...); err != nil {
			v.t.Error(err)
		}
		v.t.Logf("lives: %d; %d violations", lived, len(found))
	}
	return load{name: "lives", progress: one(work.Progress), faults: work.Faults, told: nothing, drain: work.Drain, verdict: verdict}
}

func (v *victim) bank() load {
	v.t.Helper()
	config := bank.Config{
		Bootstrap: v.bootstrap(), Tellers: 2, Clerks: 2, Orders: 20, Timeout: bankTimeout, Session: bankSession, Logs: os.Getenv(logsVariable),
	}
	work, err := bank.Start(v.t.Context(), config)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(work.Stop)
	b := &bankRun{run: v.run, load: work}
	verdict := func() {
		v.t.Helper()
		ctx, cancel := context.WithTimeout(v.t.Context(), 2*returnLimit)
		defer cancel()
		b.verdict(ctx)
	}
	return load{name: "bank", progress: one(work.Progress), faults: work.Faults, told: work.Told, drain: b.drain, verdict: verdict}
}

func (v *victim) churn() load {
	v.t.Helper()
	config := churn.Config{
		Bootstrap: v.bootstrap(), Protocols: []churn.Protocol{churn.Cooperative, churn.Eager}, Partitions: 24, Members: 8, Rate: 200,
		Away: true, Logs: os.Getenv(logsVariable),
	}
	work, err := churn.Start(v.t.Context(), config)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(work.Stop)
	verdict := func() {
		v.t.Helper()
		found := work.Registry().Verify()
		report(v.t, found)
		v.t.Logf("%+v; %d violations", work.Registry().Counts(), len(found))
		for _, line := range work.Told() {
			v.t.Log(line)
		}
	}
	none := func(ctx context.Context, _ int64) error { return ctx.Err() } // its members wait for sessions of those that have gone
	return load{name: "churn", progress: none, faults: work.Faults, told: work.Told, drain: work.Drain, verdict: verdict}
}
