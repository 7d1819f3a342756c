package object

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"millrace/base/clock"
)

// Memory is a Store in this process. Make one with NewMemory.
type Memory struct {
	clock clock.Clock

	mu      sync.Mutex // guards the rest
	objects map[string]memObject
}

type memObject struct {
	info Info
	data []byte // never changed
}

// NewMemory returns an empty store. The clock gives objects their times.
func NewMemory(clk clock.Clock) *Memory {
	return &Memory{clock: clk, objects: make(map[string]memObject)}
}

// Put implements Store.
func (m *Memory) Put(ctx context.Context, key string, body [][]byte, opts PutOptions) error {
	if err := m.put(ctx, key, bytes.Join(body, nil), opts); err != nil {
		return fmt.Errorf("put %q: %w", key, err)
	}
	return nil
}

// put stores data, which is the store's from then on.
func (m *Memory) put(ctx context.Context, key string, data []byte, opts PutOptions) error {
	if err := errors.Join(ValidKey(key), ctx.Err()); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, taken := m.objects[key]; taken && opts.IfAbsent {
		return ErrExists
	}
	for other := range m.objects {
		if isBelow(other, key) || isBelow(key, other) {
			return fmt.Errorf("%w: %q is an object", ErrBadKey, other)
		}
	}
	info := Info{Key: key, Size: int64(len(data)), ModTime: m.clock.Now()}
	m.objects[key] = memObject{info, data}
	return nil
}

// isBelow says whether a key would be in the folder that dir is the name of.
func isBelow(key, dir string) bool {
	return len(key) > len(dir) && key[len(dir)] == '/' && key[:len(dir)] == dir
}

// Create implements Store.
func (m *Memory) Create(ctx context.Context, key string) (Writer, error) {
	if err := errors.Join(ValidKey(key), ctx.Err()); err != nil {
		return nil, fmt.Errorf("create %q: %w", key, err)
	}
	return &memWriter{store: m, key: key}, nil
}

// ReadAt implements Store.
func (m *Memory) ReadAt(ctx context.Context, key string, p []byte, off int64) (int, error) {
	r, err := m.Open(ctx, key)
	if err != nil {
		return 0, err
	}
	return r.ReadAt(p, off)
}

// Open implements Store.
func (m *Memory) Open(ctx context.Context, key string) (Reader, error) {
	o, err := m.find(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", key, err)
	}
	return memReader{bytes.NewReader(o.data)}, nil
}

// Stat implements Store.
func (m *Memory) Stat(ctx context.Context, key string) (Info, error) {
	o, err := m.find(ctx, key)
	if err != nil {
		return Info{}, fmt.Errorf("stat %q: %w", key, err)
	}
	return o.info, nil
}

func (m *Memory) find(ctx context.Context, key string) (memObject, error) {
	if err := errors.Join(ValidKey(key), ctx.Err()); err != nil {
		return memObject{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	if !ok {
		return memObject{}, ErrNotFound
	}
	return o, nil
}

// List implements Store.
func (m *Memory) List(ctx context.Context, prefix, after string, limit int) ([]Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list %q: %w", prefix, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []Info
	for _, key := range slices.Sorted(maps.Keys(m.objects)) {
		if len(found) < limit && key > after && strings.HasPrefix(key, prefix) {
			found = append(found, m.objects[key].info)
		}
	}
	return found, nil
}

// Delete implements Store.
func (m *Memory) Delete(ctx context.Context, key string) error {
	if err := errors.Join(ValidKey(key), ctx.Err()); err != nil {
		return fmt.Errorf("delete %q: %w", key, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
	return nil
}

type memWriter struct {
	store *Memory
	key   string
	data  []byte
	ended bool
}

func (w *memWriter) Write(p []byte) (int, error) {
	if w.ended {
		return 0, ErrClosed
	}
	w.data = append(w.data, p...)
	return len(p), nil
}

func (w *memWriter) Commit(ctx context.Context) error {
	err := ErrClosed
	if !w.ended {
		w.ended = true
		err = w.store.put(ctx, w.key, w.data, PutOptions{IfAbsent: true})
	}
	if err != nil {
		return fmt.Errorf("create %q: %w", w.key, err)
	}
	return nil
}

func (w *memWriter) Abort() error {
	w.ended = true
	w.data = nil
	return nil
}

// memReader reads the bytes of one object.
type memReader struct{ *bytes.Reader }

func (memReader) Close() error { return nil }
