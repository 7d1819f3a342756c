// Package meter records what clients used of a cluster: bytes that they produced and fetched, what was stored for them and for how long,
// partitions and brokers, by topic and hour, as pay-as-you-go is reckoned.
//
// Flow: express/api counts batches that were accepted and that were sent, on the Topic -> once per interval Meter.Run cuts what has come
// since into a Record, and puts it into the object store -> Read and Report sum records; Roll replaces
// those of old days by sums. docs/formats/usage.md describes the bytes.
//
// Bytes are those of record batches as they are on the wire, in Produce requests that were accepted and in answers to Fetch and
// ShareFetch, compressed as they are. What nodes of the installation do among themselves is not counted (who calls sees to it), nor are
// internal topics. A retry of a batch that was stored before counts as well: it was sent and accepted.
//
// Invariants, each with a test:
//
//	U1  Counting takes no lock and allocates nothing once a topic is known.
//	U2  What was counted is in exactly one record: a record is written under its broker, incarnation and number, only if nothing stands
//	    there, and the same bytes again where it is not known whether they arrived.
//	U3  A clean stop loses nothing. A crash loses what was counted since the last record, so at most one interval while the store
//	    answers. While it does not, records wait, up to a bound; beyond it counting goes on, into one record, and nothing is lost.
//	U4  A record lies within one hour; what is counted within the time of one cut goes to the hour in which the time began.
//	U5  Reading sums each record once, and refuses one that is not what its name says, or that is from a newer version, rather than
//	    sum part of it.
//	U6  Rolling up changes no report. Records of a day that is over are replaced by a sum that names them: what it names is read no more,
//	    and stays for an hour, for reports that have begun. A sum is written once, only if nothing stands under its number, by one who has
//	    read all sums before it; so no record is in two, wherever a writer is broken off or however many there are. A record that comes late,
//	    or comes back, is in a later sum or in none.
//
// A Meter is safe for concurrent use, but Run and Close, which one caller runs after the other. Files: meter.go (counting and cutting),
// sent.go (answers under way), record.go (bytes), report.go (reading), sum.go and roll.go (old records).
package meter
