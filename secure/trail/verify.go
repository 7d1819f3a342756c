package trail

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"millrace/base/disk"
)

// Finding is something in a trail that is not as it was written.
type Finding struct {
	Writer string `json:"writer"`
	File   string `json:"file,omitempty"` // "" where it concerns the whole chain
	N      uint64 `json:"n,omitempty"`    // line at which it shows; 0: none
	What   string `json:"what"`
}

// Chain is what was read of one writer.
type Chain struct {
	Writer   string    `json:"writer"`
	First    uint64    `json:"first"` // lines that are kept; 0: none
	Last     uint64    `json:"last"`
	Anchored uint64    `json:"anchored"` // last line whose change or loss would have been found; 0: no anchor
	Newest   time.Time `json:"newest,omitzero"`
}

// Report is what Verify found.
type Report struct {
	Chains   []Chain   `json:"chains"`
	Findings []Finding `json:"findings"`
}

// Verify reads the chains of the writers below root and compares them with their anchors. A writer that is named and has nothing there is a
// finding; with no names, all are checked that have a directory or, where all writers of the installation keep theirs below root, which
// whole says, an anchor. With nil anchors only the links between lines are checked.
// Lines that are written meanwhile are not missed: an anchor is read before the files.
func Verify(ctx context.Context, fsys disk.FS, root string, anchors *Anchors, writers []string, whole bool) (Report, error) {
	var known map[string]Anchor
	var faults map[string]error
	if anchors != nil {
		var err error
		if known, faults, err = anchors.list(ctx); err != nil {
			return Report{}, err
		}
	}
	if len(writers) == 0 {
		here, err := Writers(fsys, root)
		if err != nil {
			return Report{}, err
		}
		if whole {
			here = append(here, slices.Collect(maps.Keys(known))...)
		}
		slices.Sort(here)
		writers = slices.Compact(here)
	}
	var report Report
	for _, writer := range writers {
		c := &check{fs: fsys, dir: directory(root, writer), chain: Chain{Writer: writer}}
		anchor, anchored := known[writer]
		if err := faults[writer]; err != nil {
			c.find("", 0, err.Error())
		}
		if err := c.run(ctx, anchor, anchored); err != nil {
			return report, err
		}
		report.Chains = append(report.Chains, c.chain)
		report.Findings = append(report.Findings, c.findings...)
	}
	return report, nil
}

// check follows one chain.
type check struct {
	fs       disk.FS
	dir      string
	chain    Chain
	findings []Finding

	at     Point // last line that was read
	linked bool  // the next line must name it
	passed bool  // the anchor's head was met
}

// mostFindings bounds what is told of one chain.
const mostFindings = 100

func (c *check) find(file string, n uint64, what string) {
	if len(c.findings) < mostFindings {
		c.findings = append(c.findings, Finding{Writer: c.chain.Writer, File: file, N: n, What: what})
	}
}

func (c *check) run(ctx context.Context, anchor Anchor, anchored bool) error {
	names, err := files(c.fs, c.dir)
	if err != nil {
		return err
	}
	for _, g := range anchor.Gaps {
		c.find("", g.Until.N, fmt.Sprintf("lines %d to %d were missing or changed at a start, %s", g.After.N+1, g.Until.N, g.Found.UTC().Format(time.RFC3339)))
	}
	if anchored {
		c.at, c.linked, c.passed = anchor.Base, true, anchor.Head == anchor.Base
		c.chain.Anchored = anchor.Head.N
	}
	for i, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if next := i + 1; next < len(names) {
			if first, _ := firstOf(names[next]); first <= anchor.Base.N+1 {
				continue // no longer kept
			}
		}
		data, err := c.fs.ReadFile(filepath.Join(c.dir, name))
		if err != nil {
			return fmt.Errorf("read trail: %w", err)
		}
		c.file(name, data, anchor, i == len(names)-1)
	}
	if anchored && !c.passed {
		c.find("", anchor.Head.N, fmt.Sprintf("the end is missing: line %d is the last one here, line %d was the last one anchored", c.at.N, anchor.Head.N))
	}
	return nil
}

// file follows the lines of one file; the newest may end in the midst of a line.
func (c *check) file(name string, data []byte, anchor Anchor, newest bool) {
	for len(data) > 0 {
		b, rest, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			if !newest {
				c.find(name, c.at.N+1, "the file ends in the midst of a line")
			}
			return
		}
		data = rest
		l, hash, err := decodeLine(b)
		if err != nil {
			c.find(name, c.at.N+1, err.Error())
			c.linked = false
			continue
		}
		if c.linked && (l.N != c.at.N+1 || l.Prev != c.at.Hash) && !gapBefore(anchor.Gaps, l) {
			c.find(name, l.N, fmt.Sprintf("line %d does not follow line %d: one of them was changed, or lines were taken out or put in", l.N, c.at.N))
		}
		c.at, c.linked = Point{N: l.N, Hash: hash}, true
		if c.at.N == anchor.Head.N && anchor.Head.N > 0 {
			c.passed = true
			if hash != anchor.Head.Hash {
				c.find(name, l.N, fmt.Sprintf("line %d is another than the one that was anchored", l.N))
			}
		}
		if c.chain.First == 0 {
			c.chain.First = l.N
		}
		c.chain.Last, c.chain.Newest = l.N, l.Event.Time
	}
}

// gapBefore says that the line goes on behind a gap that is told of already.
func gapBefore(gaps []Gap, l line) bool {
	return slices.ContainsFunc(gaps, func(g Gap) bool { return l.N == g.Until.N+1 && l.Prev == g.Until.Hash })
}
