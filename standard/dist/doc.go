// Package dist gets Apache Kafka onto a host: which versions there are, the jars of one, a Java that runs them, and what is made of them once
// so that nodes start fast.
//
// Flow: New looks at the unpacked distributions that it is told of (Homes) -> Resolve says which patch a name such as "4.1.x" stands for -> Get
// has Maven resolve that one where no home has it: poms from the pinned artifacts -> staging folder -> every jar held against its checksum ->
// rename; then primes it: one run of Kafka's StorageTool, whose bootstrap metadata is the same for every node, and one start of a node whose
// classes Java keeps in an archive -> Kafka, of which command lines are made.
//
// Invariants:
//
//	D1  What a version's folder holds was complete and had the checksums of the table in this package when it was put there, in one step. What is
//	    half done has another name, and is thrown away by the next Get; what Maven has downloaded it does not download again.
//	D2  No jar but those of the table is used; those of a home are its owner's.
//	D3  One Get at a time works in a folder, whichever process it is of.
//	D4  A fault of the host is told apart: ErrNoJava, ErrNoMaven, ErrVersion, ErrChecksum; the message says what to do.
//	D5  An archive of classes only makes a start faster: where none can be made, or Java is another by now, nodes start without it.
//	D6  Nothing that a program prints is kept without a bound.
//
// Everything exported is safe for concurrent use. Files: dist.go (versions, Get), maven.go (resolve, check), prime.go (made once), java.go (which
// Java), pins.go (the table; pins/ has the data), run.go (programs).
package dist
