// Package node builds one express broker of its rooms, runs it and takes it
// down again.
//
// Start, in this order, each step with its reason: the directory's lock (the
// broker that held the log before is dead once we have it), the log (replay
// needs nobody else), the catalog (what exists), the claim (a higher leader
// epoch for every partition of ours, so that nobody mistakes us for the incarnation
// before), the coordinators, the partitions that are ours, the registration (others see
// the broker), the listener last: an answer on it means that the broker takes
// produce.
//
// Stop is the same backwards, after others have taken what we own (drain.go): the
// registration goes and the listener closes,
// requests in flight get their answers, the log is made durable and sealed.
//
// # Partitions come and go
//
// Who owns a partition changes in two ways: a new incarnation of the same broker claims it, or the owner releases it to
// another broker. Where logs are in the object store there is a third: the owner is gone, and the controller gives it to another broker. The registry (registry.go) has a slot (slot.go) for each partition that is here, comes or goes, and
// does one step at a time on it, beside the catalog's goroutine:
//
//	none    --the catalog says ours--> coming
//	coming  --claim, manifest, import, Imported, open--> served      (opening.go; after a failure again, with a pause)
//	coming  --the record names a log: seal, fence, replay, Imported--> coming      (replays.go; for all that wait for it at once)
//	served  --ordered elsewhere: shrink, freeze, tail, withdraw--> resting      (leaving.go)
//	resting --Release: nil--> none;  --not released--> served;  --no answer--> resting, asks again
//	any     --the topic is deleted--> none, and what the partition kept is removed by who has it
//
// Invariants, each with a test that would catch its loss:
//
//	N1  At most one incarnation serves a partition at any time: an owner takes up no request for it from before it
//	    asks for the release until it knows that there was none; the new owner nothing before the record names it.
//	N2  A partition is served only when its tail is durable here and the record says so (Imported): what is
//	    acknowledged before that would be lost by a crash, whose successor imports again.
//	N3  A release happens only when nothing is in flight and the tail is durable in the store: so nothing that was
//	    acknowledged is missing at the new owner, and HW, LSO, log start and leader epoch do not go back.
//	N4  A crash of either broker at any step loses nothing, and the move ends or is undone.
//	N5  Requests for a partition that is on its way wait for at most patience, where it was and where it is ordered to;
//	    then they are told where it is, or to ask again. A partition that could not be opened makes nobody wait.
//	N6  A stop gives away what others can take, for at most DrainTimeout, and answers what is on its way to it then; nobody
//	    waits for a broker that cannot come.
//	N7  A partition that cannot be opened is logged, stays offline and is tried again; the others are served.
//	N8  What is left of partitions that are elsewhere or gone is dropped: streams of the log at a start, manifests of
//	    deleted topics at a start, tails and logs by a sweep.
//	N9  What another incarnation has in its log is imported in this order: seal the log, so that it grows and shrinks no
//	    more; fence and load the manifest, so that it is the one that all trims of the log went by; replay; durable
//	    here; Imported; serve. What is durable here is not imported again, and not dropped while the record names our log:
//	    it may be nowhere else. A death at any step leaves the record naming what the next one needs.
//	N10 A broker that was replaced and does not know acknowledges nothing that its heirs do not have: its log is
//	    sealed. It ends when it meets the seal, and starts anew: at the latest when it would register again, so that
//	    nobody gives it partitions that would be offline until it has started anew.
//	N11 Nor does it tell of an end of a partition, or as a coordinator, what its heirs may have said otherwise: with
//	    the log in the object store such answers count only while the lease holds after they were made.
//	N12 Who asks for the leaders of topics (Metadata) is told of leaders that answered after it asked: the answer waits for one
//	    that does not, until it is there again or another leads, a few seconds at most for each silence. No answer
//	    about records waits behind it.
//
// Lock order: registry.mu before those of a partition; none is held over IO.
//
// Files: node.go (the order), rooms.go (what is built of what), registry.go
// (partitions in step with the catalog), slot.go, opening.go, replays.go (from the logs of others), leaving.go, drain.go, coordinators.go (their
// partitions and logs), markers.go (ends of transactions), remote.go (what
// other brokers are asked),
// limits.go (what clients are held to, and the load that is told), usage.go (what they used),
// auditing.go (how what is kept is checked), authorization.go (who may do what),
// engine.go (how an agent runs and probes it).
package node
