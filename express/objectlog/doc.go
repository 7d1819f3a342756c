// Package objectlog keeps the log of a broker in the object store, one object for each commit group, so that another broker can
// take over where this one ends.
//
// A log has one writer, an incarnation of a broker. Its objects are numbered from 1 without a gap, its record in kv says what the
// objects cannot: from which number on they may exist, and whether a successor has begun to seal it.
//
// Flow of a group: wal -> Writer.Put -> a conditional PUT of its number, several in flight -> in order of number: stored, all before
// it stored, lease valid -> done -> wal publishes and acknowledges. Flow of a take-over: Seal -> Replay of each group -> the
// successor's own log. Flow of removal: wal says what it needs no more -> Trim -> record -> objects deleted; later Sweep.
//
// States of a log: open (the record says nothing) -> sealing (the record says so; objects below first may still be deleted, no other
// ever is) -> sealed (the record has the end) -> swept (first = end; the seal object stays) -> gone (a week later: no object, no
// record). A log goes through them in this order, and each step is safe to repeat by any broker.
//
// States of number n of a log: empty -> group | seal, by the conditional PUT that came first -> deleted, when below first. The end
// of the log is the lowest number at or above first that holds a seal while all between hold groups.
//
// Invariants, each with a test:
//
// L1: Done(nil) of a group is called only when it and all groups before it are stored.
// L2: Done is called once for each Put, in order, and after an error never again without one.
// L3: A number is written once: every PUT is conditional. Where another's object stands at our number, the log is sealed, and the
// writer dead (ErrSealed). What stands there after a lost answer is compared byte by byte, so that our own is not taken for a seal.
// L4: The end of a log is one number for all who seal it, and never changes. Every group that was done and is not trimmed lies below
// it, and after the seal stands no group is done any more: a done group's number was taken, and so were all below it, so the seal came
// above it; the number of the seal is never the writer's, so nothing at or above it is ever done.
// L5: Nothing at or above the record's first is deleted before the record has the end. Trim therefore moves first before it deletes,
// and fails for ever once the record says sealing; a sealer says so before it looks at first. Without this a sealer could meet a number
// that was used and deleted, and seal the log in the past.
// L6: A sealer may skip a number only if it has seen an object there. A listing may be old, or show a later number and not an earlier
// one that is still in flight; so only what it shows without a gap from first on counts, and not beyond a seal.
// L7: Done(nil) is called only before the lease's deadline (E2). A group that was held for the sake of the lease is done only when the
// record still stands and says nothing of sealing.
// L8: Replay gives the groups of [First, End), each checked byte for byte, in order, or an error; never less without one.
// L9: Sweep deletes no group of a log that somebody needs, and no seal before its log is swept for a week: until then a writer that
// was away all the time still finds the seal at the number where it goes on.
// L10: Memory is bounded: a Writer holds what it was given by Put, which wal bounds; a Replay 64 MiB of objects that were fetched
// ahead, or one object that is larger.
//
// L11: Survey, which goes by objects alone, gives for each log a first at or below which nothing that is needed was deleted and above
// which nothing that is needed lies behind a gap: a Seal from there on meets the log's end.
//
// What a store must do is in base/object: conditional creation (O2) and no lost writes (O1). That a listing is current (O3) is not
// relied on. The writer relies on nobody else using its ID; the incarnation is unique for that.
//
// Why a swept number cannot be used a second time with other content: a number below the end was taken when the seal was put, so the
// writer has no other bytes for it than those that stood there; and it is never the number of a new group.
//
// The format is described in docs/formats/objectlog.md.
//
// Files: id.go (names and keys), store.go (Store, errors), record.go (what kv holds), format.go (bytes), writer.go (in flight, order,
// lease), put.go (one group, its attempts), trim.go (Trim), seal.go, replay.go, sweep.go,
// survey.go.
package objectlog
