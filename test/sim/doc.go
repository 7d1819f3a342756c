// Package sim lives through thousands of plans, each a whole cluster of express brokers that is put under load while things go
// wrong, in a world that is all in memory and whose time is that of a bubble of testing/synctest: no second of it is waited for.
//
// The brokers are node.Run, unchanged. What they touch is simulated: disks that lose what was not synced (base/disk Mem), the store
// and etcd (base/object and base/kv Memory), seen by each process through a gate of its own (gate.go, views.go), the network
// (test/sim/network), and a clock for each process.
//
// Flow: a seed -> Draw makes the Plan (cluster, clients, faults with their times) -> Run starts the machines and the clients, has the
// faults happen, heals everything, waits until every client has its answers, reads every log -> the judges: test/robust/history for
// the idempotent producers, test/robust/ledger for the bank and its clerks, and inside.go, which looks into the brokers all the time.
//
// What a correct cluster shows, besides the rules of history (R1 to R7) and ledger (B1 to B12):
//
//   - N1: one broker serves a partition at a time. With logs in the store, two may while one does not know that it was replaced,
//     never at the same epoch.
//   - E2: with logs in the store, nothing becomes acknowledged at a process whose lease is over by its own clock.
//   - E5: high watermark, last stable offset and log start never go back, from epoch to epoch neither: an owner that was replaced has
//     never told more than its heir tells. LSO <= HW <= end.
//   - Once nothing is wrong any more, everything that was asked is answered within patience.
//   - A topic that is made anew under an old name has another id, and nothing of the one before it: by id at once, by name where
//     the broker that is asked has told the new id (package catalog, C2).
//
// # What goes wrong
//
// See Kind. Of a service (etcd, store, disk) a process can be cut off, and its calls can be refused, slow, or done with the answer
// lost; writes to a disk can be torn. A crash of a machine can be set to the next write of a kind, before it or after it. A list of
// the store may be as old as its answer took; nothing else of the store is ever stale. A process that is stopped (Freeze) does
// nothing at its gate, its network is still, its clock stands, and its timers are seen to end only when it goes on: but what needs
// none of these, such as a computation between two of them, it does all the same. Clocks of processes differ, by a constant; in some
// plans they jump while the process runs, forward and back (Jump): what they show moves, what has passed between two of their times does
// not, since they have a monotonic part, which times in a bubble have not by themselves (clock.go).
//
// In some plans logs in the store are cut into segments all the time, and crashes are set to the writes of that: the commit of a
// manifest, the trim of the log.
//
// A dead process goes on to run down, in a world where everything fails at once; nothing of that reaches anybody.
//
// # What a seed reproduces
//
// The plan is the seed's alone, and so is what each client decides, as far as the answers that it got are the same. The order in
// which goroutines run at one moment of simulated time is the Go scheduler's; package sim_test leaves it one processor, and then one
// run is like the next almost always, to the nanosecond. What differs between runs: the choices of select among several ready cases,
// the order of maps, jitter that the engine itself draws, and the ids of topics. So a seed that has failed fails again nearly always,
// with the same binary; after a change of the engine the seed is as good as any other. Where one fails rarely, -test.count=100.
//
// # How to use it
//
//	go test ./test/sim                          some seconds
//	go test ./test/sim -seeds 3000              what CI does
//	go test ./test/sim -seed 87                 one seed, with all that the brokers log
//	go test ./test/sim -plants -run Planted -v  bugs in the engine, one after the other: each has to be caught
//
// testdata/seeds lists seeds that have found something; they are lived through each time.
//
// Even seeds have the logs in the store, odd ones on disks.
//
// Files: plan.go (seeds), run.go (a run, and its end), world.go, machine.go (processes), gate.go, views.go, clock.go (what stands between them
// and the world), nemesis.go (faults), client.go, producer.go, teller.go, clerk.go, topics.go, reader.go (clients), inside.go.
package sim
