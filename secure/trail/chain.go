package trail

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"millrace/base/disk"
)

// suffix is that of the files; before it stands the number of the first line, in digits that sort.
const suffix = ".jsonl"

func directory(root, writer string) string { return filepath.Join(root, writer) }

func fileName(first uint64) string { return fmt.Sprintf("%020d%s", first, suffix) }

// files lists the files of a chain, oldest first.
func files(fsys disk.FS, dir string) ([]string, error) {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list trail: %w", err)
	}
	var names []string
	for _, e := range entries {
		if _, ok := firstOf(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// firstOf is the number of the first line of a file.
func firstOf(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0
}

// chain is the files of a writer and the end of what is in them. It belongs to one goroutine.
type chain struct {
	fs        disk.FS
	dir       string
	fileBytes int64

	file disk.File // nil: the next line begins one
	size int64     // bytes of whole lines in file
	dirt bool      // there may be something behind size
	head Point
}

// open finds the end of the chain; anchored is what was durable for certain. An end behind it that is no whole chain is what a crash
// left of a write that was never finished, and is cut off; torn is its size in bytes. Where less is there than was anchored, nothing is changed.
func (c *chain) open(anchored Point) (torn int64, err error) {
	names, err := files(c.fs, c.dir)
	if err != nil {
		return 0, err
	}
	for i, name := range slices.Backward(names) {
		first, _ := firstOf(name)
		data, err := c.fs.ReadFile(filepath.Join(c.dir, name))
		if err != nil {
			return 0, fmt.Errorf("read trail: %w", err)
		}
		head, size := scan(data, first)
		if size == 0 && i > 0 && first > anchored.N {
			if err := c.fs.Remove(filepath.Join(c.dir, name)); err != nil { // begun, and nothing of it is durable
				return 0, fmt.Errorf("empty file of the trail: %w", err)
			}
			torn += int64(len(data))
			continue
		}
		c.head = head
		if head.N < anchored.N {
			return torn, nil // jump follows; what is there stays as evidence
		}
		c.file, err = c.fs.OpenFile(filepath.Join(c.dir, name), os.O_RDWR, 0o600)
		if err != nil {
			return 0, fmt.Errorf("open trail: %w", err)
		}
		c.size, c.dirt = size, int64(len(data)) > size
		return torn + int64(len(data)) - size, c.clean()
	}
	return torn, nil
}

// scan follows the chain of a file to the last line that is whole and fits: the point it has come to, and the bytes up to there.
func scan(data []byte, first uint64) (head Point, size int64) {
	head.N = first - 1
	for begun := false; ; begun = true {
		end := bytes.IndexByte(data[size:], '\n')
		if end < 0 {
			return head, size
		}
		l, hash, err := decodeLine(data[size : size+int64(end)])
		if err != nil || l.N != head.N+1 || begun && l.Prev != head.Hash {
			return head, size
		}
		head = Point{N: l.N, Hash: hash}
		size += int64(end) + 1
	}
}

// has says whether the line of a point is there as it was.
func (c *chain) has(p Point) (bool, error) {
	if p.N == 0 {
		return true, nil
	}
	names, err := files(c.fs, c.dir)
	if err != nil {
		return false, err
	}
	for _, name := range slices.Backward(names) {
		first, _ := firstOf(name)
		if first > p.N {
			continue
		}
		data, err := c.fs.ReadFile(filepath.Join(c.dir, name))
		if err != nil {
			return false, fmt.Errorf("read trail: %w", err)
		}
		for n := first; n <= p.N; n++ {
			b, rest, _ := bytes.Cut(data, []byte("\n"))
			if n == p.N {
				l, hash, err := decodeLine(b)
				return err == nil && l.N == p.N && hash == p.Hash, nil
			}
			data = rest
		}
	}
	return false, nil
}

// jump goes on behind a point whose lines are not here, in a file of its own.
func (c *chain) jump(to Point) { c.head = to }

// append writes events as lines and syncs once. After an error nothing of them counts as written.
func (c *chain) append(events []Event) error {
	if len(events) == 0 {
		return nil
	}
	if err := c.clean(); err != nil {
		return err
	}
	if c.file == nil || c.size >= c.fileBytes {
		if err := c.roll(); err != nil {
			return err
		}
	}
	head := c.head
	var buf bytes.Buffer
	for _, e := range events {
		b, hash, err := line{N: head.N + 1, Prev: head.Hash, Event: e}.encode()
		if err != nil {
			return err
		}
		buf.Write(b)
		buf.WriteByte('\n')
		head = Point{N: head.N + 1, Hash: hash}
	}
	c.dirt = true
	if err := c.file.WritevSync([][]byte{buf.Bytes()}, c.size); err != nil {
		return fmt.Errorf("write trail: %w", err)
	}
	c.dirt = false
	c.size += int64(buf.Len())
	c.head = head
	return nil
}

// clean cuts off what an unfinished write may have left behind the last whole line.
func (c *chain) clean() error {
	if !c.dirt {
		return nil
	}
	if err := c.file.Truncate(c.size); err != nil {
		return fmt.Errorf("cut trail: %w", err)
	}
	if err := c.file.Sync(); err != nil {
		return fmt.Errorf("cut trail: %w", err)
	}
	c.dirt = false
	return nil
}

// roll begins the next file.
func (c *chain) roll() error {
	name := filepath.Join(c.dir, fileName(c.head.N+1))
	file, err := c.fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("begin file of the trail: %w", err)
	}
	if err := c.fs.SyncDir(c.dir); err != nil {
		return errors.Join(fmt.Errorf("begin file of the trail: %w", err), file.Close())
	}
	err = c.close()
	c.file, c.size = file, 0
	return err
}

func (c *chain) close() error {
	if c.file == nil {
		return nil
	}
	err := c.file.Close()
	c.file = nil
	return err
}

// surplus names the oldest files that are beyond keep bytes together, and the last line in them. The newest file stays.
func (c *chain) surplus(keep int64) (names []string, base Point, err error) {
	all, err := files(c.fs, c.dir)
	if err != nil {
		return nil, Point{}, err
	}
	var sizes []int64
	var total int64
	for _, name := range all {
		info, err := c.fs.Stat(filepath.Join(c.dir, name))
		if err != nil {
			return nil, Point{}, fmt.Errorf("trail: %w", err)
		}
		sizes = append(sizes, info.Size())
		total += info.Size()
	}
	i := 0
	for ; i < len(all)-1 && total > keep; i++ {
		total -= sizes[i]
	}
	if i == 0 {
		return nil, Point{}, nil
	}
	data, err := c.fs.ReadFile(filepath.Join(c.dir, all[i]))
	if err != nil {
		return nil, Point{}, fmt.Errorf("trail: %w", err)
	}
	b, _, _ := bytes.Cut(data, []byte("\n"))
	if next, _, err := decodeLine(b); err == nil { // a damaged one is evidence, and so is all before it
		return all[:i], Point{N: next.N - 1, Hash: next.Prev}, nil
	}
	return nil, Point{}, nil
}

// remove deletes files that surplus named.
func (c *chain) remove(names []string) error {
	for _, name := range names {
		if err := c.fs.Remove(filepath.Join(c.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove old file of the trail: %w", err)
		}
	}
	return nil
}
