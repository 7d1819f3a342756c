package atrest

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"millrace/base/object"
)

// Store encrypts what is put into another object.Store. Make one with New.
type Store struct {
	object.Store
	keys Keys

	mu    sync.Mutex // guards the rest
	heads map[string]*list.Element
	order *list.List // of *known, the last used first
}

// known is the box of an object that was read lately.
type known struct {
	key string
	box *box
}

// mostHeads bounds the boxes that are kept, about half a KiB each.
const mostHeads = 2048

// New makes a Store that encrypts with keys what goes into inner, which must hold nothing else.
func New(inner object.Store, keys Keys) *Store {
	return &Store{Store: inner, keys: keys, heads: map[string]*list.Element{}, order: list.New()}
}

// Put implements object.Store.
func (s *Store) Put(ctx context.Context, key string, body [][]byte, opts object.PutOptions) error {
	if err := object.ValidKey(key); err != nil {
		return err
	}
	head, b, err := newHead(ctx, s.keys, key)
	if err != nil {
		return err
	}
	var content int64
	for _, part := range body {
		content += int64(len(part))
	}
	w := framer{box: b, out: append(make([]byte, 0, storedBytes(content)), head...)}
	for _, part := range body {
		for len(part) > 0 {
			part = w.take(part)
		}
	}
	w.finish()
	s.forget(key)
	return s.Store.Put(ctx, key, [][]byte{w.out}, opts)
}

// ReadAt implements object.Store. Reading from the begin takes one request, from elsewhere two, unless the object was read lately.
func (s *Store) ReadAt(ctx context.Context, key string, p []byte, off int64) (int, error) {
	if off < 0 {
		return s.Store.ReadAt(ctx, key, p, off) // refuses it
	}
	b, isKnown := s.recall(key)
	n, err := s.readAt(ctx, key, b, p, off)
	if isKnown && errors.Is(err, ErrSealed) { // it may have been replaced
		s.forget(key)
		return s.readAt(ctx, key, nil, p, off)
	}
	return n, err
}

func (s *Store) readAt(ctx context.Context, key string, b *box, p []byte, off int64) (int, error) {
	first := off / frameBytes
	from := headBytes + first*boxBytes
	end := headBytes + (off+int64(len(p))+frameBytes-1)/frameBytes*boxBytes
	if len(p) == 0 {
		end = from + boxBytes
	}
	skip := int64(0) // of what is read before the first frame
	if b == nil && first == 0 {
		from, skip = 0, headBytes
	} else if b == nil {
		head := make([]byte, headBytes)
		if n, err := s.Store.ReadAt(ctx, key, head, 0); err != nil && (n < headBytes || !errors.Is(err, io.EOF)) {
			return 0, readFault(key, err)
		}
		var err error
		if b, err = s.learn(ctx, key, head); err != nil {
			return 0, err
		}
	}
	buf := make([]byte, end-from)
	n, err := s.Store.ReadAt(ctx, key, buf, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	ended := err != nil
	buf = buf[:n]
	if skip > 0 {
		if n < headBytes {
			return 0, fmt.Errorf("%w: %s is not encrypted", ErrSealed, key)
		}
		if b, err = s.learn(ctx, key, buf[:headBytes]); err != nil {
			return 0, err
		}
		buf = buf[headBytes:]
	}
	return b.read(p, off-first*frameBytes, buf, first, ended)
}

// readFault is what a read of a head has failed with: an object that is shorter than one is no encrypted object.
func readFault(key string, err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %s is not encrypted", ErrSealed, key)
	}
	return err
}

// read decrypts the frames in sealed, the first of which has a number, and copies what p wants, from skip bytes into the first on. With
// ended the last of them ends the object.
func (b *box) read(p []byte, skip int64, sealed []byte, index int64, ended bool) (n int, err error) {
	for done := false; !done; index++ {
		if len(sealed) == 0 {
			return n, io.EOF
		}
		piece := sealed[:min(len(sealed), boxBytes)]
		sealed = sealed[len(piece):]
		if len(piece) < tagBytes {
			return 0, fmt.Errorf("%w: %s is cut off", ErrSealed, b.name)
		}
		// A short frame is the last. The last whole one that was read is, where the object ends there; otherwise it may be.
		short, end := len(piece) < boxBytes, len(sealed) == 0
		frame, err := b.open(piece, index, short || end && ended, end && !short && !ended)
		if err != nil {
			return 0, err
		}
		if skip > int64(len(frame)) {
			return n, io.EOF
		}
		n += copy(p[n:], frame[skip:])
		skip = 0
		done = n == len(p)
		if !done && short {
			return n, io.EOF
		}
	}
	return n, nil
}

// Open implements object.Store.
func (s *Store) Open(ctx context.Context, key string) (object.Reader, error) {
	inner, err := s.Store.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	size, ok := contentBytes(inner.Size())
	head := make([]byte, headBytes)
	if ok {
		if n, rerr := inner.ReadAt(head, 0); n < headBytes {
			err = rerr
		}
	} else {
		err = fmt.Errorf("%w: %s is not encrypted", ErrSealed, key)
	}
	var b *box
	if err == nil {
		b, err = s.learn(ctx, key, head)
	}
	if err != nil {
		return nil, errors.Join(err, inner.Close())
	}
	return &reader{inner: inner, box: b, size: size}, nil
}

// Create implements object.Store.
func (s *Store) Create(ctx context.Context, key string) (object.Writer, error) {
	inner, err := s.Store.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	head, b, err := newHead(ctx, s.keys, key)
	if err != nil {
		return nil, errors.Join(err, inner.Abort())
	}
	s.forget(key)
	return &writer{inner: inner, framer: framer{box: b, out: head}}, nil
}

// Stat implements object.Store.
func (s *Store) Stat(ctx context.Context, key string) (object.Info, error) {
	info, err := s.Store.Stat(ctx, key)
	if err == nil {
		info.Size = sizeOf(info.Size)
	}
	return info, err
}

// List implements object.Store.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) ([]object.Info, error) {
	infos, err := s.Store.List(ctx, prefix, after, limit)
	for i := range infos {
		infos[i].Size = sizeOf(infos[i].Size)
	}
	return infos, err
}

// sizeOf is the size of an object's content. One that is no encrypted object keeps its size, and is found out when it is read.
func sizeOf(stored int64) int64 {
	if content, ok := contentBytes(stored); ok {
		return content
	}
	return stored
}

// Delete implements object.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	s.forget(key)
	return s.Store.Delete(ctx, key)
}

// learn opens a head and remembers it.
func (s *Store) learn(ctx context.Context, key string, head []byte) (*box, error) {
	b, err := openHead(ctx, s.keys, key, head)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.heads[key]; e != nil {
		s.order.Remove(e)
	}
	s.heads[key] = s.order.PushFront(&known{key, b})
	if s.order.Len() > mostHeads {
		oldest := s.order.Back()
		s.order.Remove(oldest)
		delete(s.heads, oldest.Value.(*known).key)
	}
	return b, nil
}

func (s *Store) recall(key string) (*box, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.heads[key]
	if e == nil {
		return nil, false
	}
	s.order.MoveToFront(e)
	return e.Value.(*known).box, true
}

func (s *Store) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.heads[key]; e != nil {
		s.order.Remove(e)
		delete(s.heads, key)
	}
}
