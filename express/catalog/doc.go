// Package catalog knows the topics, configurations, brokers and partition owners of one cluster: a local
// view fed by a watch, and the writes that change them by compare-and-swap.
//
// Flow: a write puts records into the kv store -> the watch of every broker brings them into its view ->
// subscribers are told what changed. A write returns once its change is in the local view and the
// subscribers know it, so a client finds it with its next request.
//
// Keys below Config.Prefix, all values JSON with a version:
//
//	cluster                       the cluster's id, where its logs are kept, the version of this format
//	topics/<name>                 id, number of partitions, replication factor, configs
//	partitions/<topic id>/<index> owner, leader epoch, the owner's incarnation; the broker that it shall move
//	                              to, and the tail or the log that its owner must import first
//	brokers/<id>                  a live broker, under its lease; whether it is draining
//	controller                    the broker that plans for the cluster, under the lease of its registration
//	configs/brokers/<id|default>  broker configurations set at runtime
//	configs/client-metrics/<name> telemetry subscriptions, the name escaped
//	quotas/<entity>               client quotas, under quota.Entity.Key
//	configs/groups/<group>        configurations of a group, whose name is escaped as in a URL
//	producer-ids                  the next free block of producer ids
//
// C1: A topic is visible once its record is there, and its record is written after all its partitions; what
// a crash leaves of a creation has no record and is swept later.
// C2: A topic that is deleted and created again has a new id, and its partitions have keys of their own.
// What a deletion that was acknowledged does not promise is that every broker knows of it: one that is cut off from the store, or whose
// watch lags, takes the name for the topic of before, and serves that by name, until it hears of the deletion. Apache Kafka promises no
// more (Admin.deleteTopics: "It may take several seconds … for all the brokers to become aware that the topics are gone"). What it
// never does, nor does this house: once a broker has told the new topic's id, the name means the new topic there, and a request by id
// is never given anything of another topic. A deletion that waited for all brokers would have to wait for the leases of those that do
// not answer, and brokers would have to serve nothing once theirs is over: with logs on files they serve on while etcd is away (E9).
// C3: The leader epoch of a partition only grows: whoever changes a partition's record compares it first.
// C4: A value that cannot be read is logged and left out; what it described keeps its last readable state.
// C5: A broker whose registration was taken over by another incarnation never registers again (ErrFenced).
// C6: The owner of a partition changes only by Release, called by the incarnation that serves it; the same
// broker's next incarnation claims what it finds (Claim, ClaimOne); where logs are in the object store others
// take what nobody registered owns (Take). So one incarnation at most may serve an
// epoch, whatever answers are lost: Release says that a partition is still ours only after a write of its
// own that makes every earlier attempt fail, and that it is given away only where our log is not needed for it.
// C7: A new owner serves a partition with a tail or a log only after Imported: nothing but the owner clears them.
// Where logs are in the object store, a record names the log of the incarnation before from the moment on at
// which it names another one, unless that had something to import itself: then that stays. So at every moment
// manifest, tail, log, and what the log of the incarnation in the record holds, are all that was acknowledged.
// C8: No partition is created at a broker, or released to one, that has set draining or withdrawn its
// registration: both compare the registration that they go by. So a broker that drains and sees that it owns
// nothing will own nothing. The last broker of a cluster is excepted, as far as creation goes.
// C9: One process at most is elected controller, and its office ends with its registration. Orders to move
// (To) may come from anybody; they are compared and swapped, and change nothing until the owner follows.
//
// C10: A lost watch, and a registration that is gone though its lease seems to hold, are found out within a few
// seconds by polling the registrations, as far as these have changed.
// C11: All brokers of a cluster keep their logs in the same way, fixed when it was made (ErrLogKind).
// C12: A broker whose lease was lost registers again only while what World.Standing names holds, in the same transaction; what it was
// replaced in meanwhile ends it before (ErrReplaced). Between a Take and the heir's seal there is a moment in which it still comes back,
// and ends a little later.
//
// Reads never block on the store. Lock order: feeding (one batch of changes at a time, subscribers told)
// before mu (the view). Files: catalog.go (types, Open, reads), record.go (the JSON), view.go (changes to
// topics), follow.go (the watch), register.go (lease), poll.go (C10), claim.go, handover.go (C6,
// C7), take.go, batch.go (many records in few transactions), move.go, elect.go, topics.go, place.go, replicas.go, configs.go, producerid.go, quotas.go,
// subscriptions.go, sweep.go.
package catalog
