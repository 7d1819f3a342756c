// Package tenure records who owned which partition of a topic in a consumer group, what was consumed and what was committed,
// and decides whether a correct group coordinator could have brought that about.
//
// Flow: each member calls Assigned and Revoked from its callbacks, Consumed for each record, Committing and Acknowledged
// around its commits; whoever makes it crash or freeze calls Gone; a monitor calls Logged for each commit that stands in
// the log of offsets, in its order, and Told for the answers to its questions; producers call Produced. At the end Verify
// looks for what is missing.
//
// A tenure of a partition begins when the member's callback for its assignment begins and ends when the callback for its
// revocation has ended, with its last commit answered. In a correct cluster:
//
//   - G1: no tenure begins while another of the same partition lasts (shared).
//   - G2: no member loses its membership that was heard by the coordinator all along (evicted).
//   - G3: committed offsets never go back, neither in the log's order (backwards) nor in the order of the answers (unsaid).
//   - G4: a tenure begins at the committed offset: not below one whose commit was acknowledged (behind), not above any that
//     was ever asked for (ahead).
//   - G5: no commit of a member that has left is accepted (intruder).
//   - G6: at the end every record was consumed (skipped), and the committed offsets, logged and told, are the partitions'
//     ends (unfinished).
//
// What counts for members that do not leave in good order. A member that crashes, or is frozen, does nothing from that
// moment on, so its tenures end with it: the coordinator may hand its partitions over, or not yet. What a frozen one commits
// when it thaws is judged by G3 like anything else. A member that is told it is no member any more (lost) was so for some time before; if it had not been
// heard by the coordinator, its tenures are no evidence against those that began meanwhile, and if it had, that is G2.
//
// The package is pure: it talks to nobody and knows no time. A Registry and its members are safe for concurrent use; Verify
// is called once, when all of that has ended.
//
// Files: registry.go (partitions and commits), member.go (tenures), violation.go.
package tenure
