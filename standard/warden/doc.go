// Package warden asks a cluster of Apache Kafka how it is, and does to it what its life asks for: which node may stop, where replicas and
// leaders go, what is configured, which feature levels hold, how full it is.
//
// Flow: Warden method -> session (clients to the Target's brokers and controllers, closed when the method ends) -> read (view.Cluster) ->
// pure decision (view, moves, volume) -> requests. Nothing is kept between calls, so a call may be repeated after a crash at any point,
// by another process too; methods that return how much is left are called again until it is 0.
//
// Invariants, each with a test:
//
//	W1  What is decided by was told by a broker that keeps up with the controllers: one that is cut off still answers, with what was.
//	W2  Who is hung or dead delays an answer by no more than Config.Timeout.
//	W3  Drain and Spread begin only what moves.Plan.Batch gives; the throttle holds what is under way, and nothing else: who ends or
//	    crashes leaves a throttle that the next call takes away.
//	W4  A drained broker is cordoned, where the metadata.version has that, before its first replica goes; Spread and Leave take it back.
//	W5  Leave takes only a broker out that does not run and has no replica, not even one on its way.
//	W6  Finish lowers no level.
//	W7  Apply changes nothing where any of the properties is refused.
//
// All errors are temporary but ErrRefused. Files: warden.go (Warden, decisions), dial.go (session), read.go (View), move.go (Drain, Spread,
// Elect), throttle.go, cordon.go (cordons, Leave), feature.go (Finish, Levels), apply.go, storage.go (volumes, client quotas).
package warden
