// Package disk is the only door to data files.
//
// Rooms take an FS and reach every byte that must survive through it. OS is the real one; Mem keeps all
// in memory, knows what has been synced, and can make what a crash may leave; Faulty fails operations of
// another FS on purpose. Package disktest holds the suite that every FS passes.
//
// What survives a crash (of the machine, not only of the process):
//
// D1: Bytes and size of a file survive once Sync or Datasync has returned nil after they were written.
// Earlier, each 512-byte sector may or may not survive, in any order.
// D2: A directory entry (create, remove, rename, link) survives once SyncDir of its directory has returned
// nil. Earlier it may or may not, but a rename is never half done, and within one directory an entry
// never survives without those changed before it.
// D3: MkdirAll and WriteFileAtomic are durable when they return nil.
// D4: A lock belongs to the open file: it ends with Close or with the process, however that dies, and is
// not inherited by child processes.
// D5: After a failed Sync or Datasync nothing is known about the unsynced bytes; the caller must write
// them again elsewhere or give up, and never just sync again.
//
// Names are slash-separated. Every FS and File is safe for concurrent use, as far as concurrent writes
// to overlapping ranges make sense. Operations block on the device and do not take a context.
//
// Files: disk.go (contract), os.go, os_linux.go, os_darwin.go (the machine), mem.go, memfile.go, crash.go
// (memory), fault.go (errors on purpose).
package disk
