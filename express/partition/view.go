package partition

import (
	"context"
	"slices"

	"millrace/base/slab"
	"millrace/express/manifest"
)

// View is what a partition consists of at one moment, for who checks it from the outside.
type View struct {
	Offsets
	Manifest *manifest.Manifest    // the current one, not to be changed
	Epochs   []manifest.EpochStart // of segments and log, ascending; the caller's
	Leaving  bool                  // it is closed, or frozen on its way to another broker: what is found may be another owner's doing
}

// View is where the partition stands now.
func (p *Partition) View() View {
	p.mu.Lock()
	defer p.mu.Unlock()
	return View{Offsets: p.offsetsLocked(), Manifest: p.manifest, Epochs: slices.Clone(p.epochs), Leaving: p.closed || p.frozen != nil}
}

// Scan is Read up to the high watermark that counts as nobody's traffic; a batch larger than maxBytes comes alone.
func (p *Partition) Scan(ctx context.Context, dst *slab.Chain, from int64, maxBytes int) (Offsets, error) {
	return p.read(ctx, dst, from, maxBytes, true, false)
}
