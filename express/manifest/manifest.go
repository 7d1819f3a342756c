package manifest

import (
	"errors"
	"slices"

	"millrace/express/segment"
	"millrace/kafka/topic"
)

var (
	// ErrConflict is returned by Commit when somebody else committed since prev was loaded; nothing was changed. Load again.
	ErrConflict = errors.New("manifest: changed by someone else")
	// ErrCorrupt is wrapped by the errors for a pointer or body that cannot be what Commit wrote, or for a body that is gone.
	ErrCorrupt = errors.New("manifest: corrupt")
	// ErrNewer is wrapped by the errors for a pointer or body of a format that this build does not know.
	ErrNewer = errors.New("manifest: written by a newer version")
	// ErrFenced is returned by Commit when a later owner has fenced the manifest: the caller owns the partition no more.
	ErrFenced = errors.New("manifest: fenced by a later owner")
	// ErrGap tells of a body that it leaves offsets to no segment (M1). ErrCorrupt is wrapped too.
	ErrGap = errors.New("manifest: offsets are in no segment")
	// ErrOverlap tells of a body that it leaves offsets to two segments (M1). ErrCorrupt is wrapped too.
	ErrOverlap = errors.New("manifest: offsets are in two segments")
	// ErrInvalid is wrapped by Commit's error when next breaks an invariant; nothing was changed.
	ErrInvalid = errors.New("manifest: breaks an invariant")
)

// EpochStart says at which offset a leader epoch began.
type EpochStart struct {
	Epoch int32 `json:"epoch"`
	Start int64 `json:"start"`
}

// Manifest says which segments a partition consists of. It is immutable once loaded or committed: Clone it, change the
// clone, commit the clone. It may be read by many goroutines.
type Manifest struct {
	Partition  topic.Partition
	Version    int64          // counts commits; 0: nothing was ever committed
	LogStart   int64          // first offset that readers may see; only goes forward, even beyond End (records deleted that are not cut yet)
	End        int64          // next offset after the last segment; LogStart when there is none
	CleanedEnd int64          // offsets below are compacted; 0: none
	Segments   []segment.Info // ascending and gapless; the first may begin below LogStart
	Epochs     []EpochStart   // ascending

	fence   int32 // leader epoch of the owner that fenced it; 0: nobody has
	rev     int64 // kv revision of the pointer; 0: there is none
	bodyKey string
}

// Fence is the leader epoch of the owner that fenced the manifest last; 0: none has.
func (m *Manifest) Fence() int32 { return m.fence }

// Clone gives a manifest that may be changed and then committed over m.
func (m *Manifest) Clone() *Manifest {
	c := *m
	c.Segments = slices.Clone(m.Segments)
	c.Epochs = slices.Clone(m.Epochs)
	return &c
}

// sameBody says whether a and b differ in LogStart, and what follows from it, at most.
func sameBody(a, b *Manifest) bool {
	return a.CleanedEnd == b.CleanedEnd && slices.Equal(a.Segments, b.Segments) && slices.Equal(a.Epochs, b.Epochs)
}

// Body is the object key of the manifest's body; "" where nothing was ever committed.
func (m *Manifest) Body() string { return m.bodyKey }

// Same says whether a and b are one generation: the same version with the same content.
func Same(a, b *Manifest) bool {
	return a.Version == b.Version && a.LogStart == b.LogStart && a.bodyKey == b.bodyKey && sameBody(a, b)
}
