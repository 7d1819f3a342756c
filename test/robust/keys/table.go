package keys

import (
	"fmt"
	"sync"
)

// Violation is one thing that a correct cluster could not have shown.
type Violation struct {
	Kind string // stale, disordered or phantom
	Key  int
	Text string
}

// String gives the violation in one line.
func (v Violation) String() string { return fmt.Sprintf("%s: key %d: %s", v.Kind, v.Key, v.Text) }

// Table is what was written.
type Table struct {
	mu    sync.Mutex
	keys  []history
	found []Violation
	reads int
}

// history is that of a key: number n is at n-1.
type history struct {
	deleted []bool // by number: whether it was a deletion
	acked   int    // the latest number that was acknowledged
}

// NewTable returns an empty table of so many keys.
func NewTable(keys int) *Table { return &Table{keys: make([]history, keys)} }

// Write is called before a key is written or deleted, and gives the number to write.
func (t *Table) Write(key int, deletion bool) (number int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := &t.keys[key]
	h.deleted = append(h.deleted, deletion)
	return len(h.deleted)
}

// Stands is called when a write was acknowledged.
func (t *Table) Stands(key, number int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys[key].acked = max(t.keys[key].acked, number)
}

// Pass is one reading from the beginning to the end.
type Pass struct {
	table *Table
	acked []int // when it began
	last  []int // by key: the latest number that it was given
}

// Begin is called before a reader asks for the first record.
func (t *Table) Begin() *Pass {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &Pass{table: t, acked: make([]int, len(t.keys)), last: make([]int, len(t.keys))}
	for key := range t.keys {
		p.acked[key] = t.keys[key].acked
	}
	return p
}

// See is called for each record that the reader is given.
func (p *Pass) See(key, number int, deletion bool) {
	t := p.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if key < 0 || key >= len(t.keys) || number < 1 || number > len(t.keys[key].deleted) || t.keys[key].deleted[number-1] != deletion {
		t.fault("phantom", key, "number %d, deletion %v, was never written", number, deletion)
		return
	}
	if number <= p.last[key] {
		t.fault("disordered", key, "number %d after %d", number, p.last[key])
	}
	p.last[key] = number
}

// End is called when the reader has reached the end that the topic had when it began, or a later one.
func (p *Pass) End() {
	t := p.table
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reads++
	for key, h := range t.keys {
		if p.last[key] >= p.acked[key] || gone(h.deleted, p.acked[key]) {
			continue
		}
		t.fault("stale", key, "number %d at last, and %d was acknowledged before the beginning", p.last[key], p.acked[key])
	}
}

// gone says that a deletion with this number or a later one was sent: its record may be gone with all before it.
func gone(deleted []bool, from int) bool {
	for _, d := range deleted[from-1:] {
		if d {
			return true
		}
	}
	return false
}

func (t *Table) fault(kind string, key int, format string, args ...any) {
	t.found = append(t.found, Violation{Kind: kind, Key: key, Text: fmt.Sprintf(format, args...)})
}

// Verify returns what was found, and how many passes have ended.
func (t *Table) Verify() (found []Violation, reads int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.found, t.reads
}
