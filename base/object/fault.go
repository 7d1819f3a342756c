package object

import (
	"context"
	"errors"
	"fmt"
)

// OpKind names a call of a Store.
type OpKind int

// The calls that Faulty shows to its hook. Reads of a Reader and Writes of a Writer are OpRead and OpWrite.
const (
	OpPut OpKind = iota + 1
	OpCreate
	OpWrite
	OpCommit
	OpRead
	OpOpen
	OpStat
	OpList
	OpDelete
)

var opNames = [...]string{
	OpPut: "put", OpCreate: "create", OpWrite: "write", OpCommit: "commit", OpRead: "read", OpOpen: "open",
	OpStat: "stat", OpList: "list", OpDelete: "delete",
}

// String returns the call's name in lower case.
func (k OpKind) String() string {
	if k > 0 && int(k) < len(opNames) {
		return opNames[k]
	}
	return fmt.Sprintf("op(%d)", int(k))
}

// Op is a call that is about to happen.
type Op struct {
	Kind OpKind
	Key  string // or the prefix of a list
	Off  int64  // of a read
	Len  int    // bytes of a read or write
}

// LostAnswer as the error of a hook lets a Put, Commit or Delete take effect before it fails with Err, as a
// network does that loses the answer (O4).
type LostAnswer struct{ Err error }

// Error returns Err's text with a word on the lost answer.
func (l *LostAnswer) Error() string { return fmt.Sprintf("answer lost: %v", l.Err) }

// Unwrap returns Err.
func (l *LostAnswer) Unwrap() error { return l.Err }

// Faulty returns a Store that asks hook before each call and fails it with the hook's error instead of doing
// it (see LostAnswer for the exception). Hook is called from many goroutines at once; it may block, to hold
// a call up.
func Faulty(store Store, hook func(context.Context, Op) error) Store { return faulty{store, hook} }

type faulty struct {
	store Store
	hook  func(context.Context, Op) error
}

func (f faulty) Put(ctx context.Context, key string, body [][]byte, opts PutOptions) error {
	size := 0
	for _, b := range body {
		size += len(b)
	}
	return f.effect(ctx, Op{Kind: OpPut, Key: key, Len: size}, func() error {
		return f.store.Put(ctx, key, body, opts)
	})
}

// effect makes a call that LostAnswer can let happen.
func (f faulty) effect(ctx context.Context, op Op, call func() error) error {
	fault := f.hook(ctx, op)
	var lost *LostAnswer
	if fault != nil && !errors.As(fault, &lost) {
		return fault
	}
	if err := call(); fault == nil {
		return err
	}
	return fault
}

func (f faulty) Create(ctx context.Context, key string) (Writer, error) {
	if err := f.hook(ctx, Op{Kind: OpCreate, Key: key}); err != nil {
		return nil, err
	}
	w, err := f.store.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	return &faultyWriter{Writer: w, faulty: f, ctx: ctx, key: key}, nil
}

func (f faulty) ReadAt(ctx context.Context, key string, p []byte, off int64) (int, error) {
	if err := f.hook(ctx, Op{Kind: OpRead, Key: key, Off: off, Len: len(p)}); err != nil {
		return 0, err
	}
	return f.store.ReadAt(ctx, key, p, off)
}

func (f faulty) Open(ctx context.Context, key string) (Reader, error) {
	if err := f.hook(ctx, Op{Kind: OpOpen, Key: key}); err != nil {
		return nil, err
	}
	r, err := f.store.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	return &faultyReader{Reader: r, faulty: f, ctx: ctx, key: key}, nil
}

func (f faulty) Stat(ctx context.Context, key string) (Info, error) {
	if err := f.hook(ctx, Op{Kind: OpStat, Key: key}); err != nil {
		return Info{}, err
	}
	return f.store.Stat(ctx, key)
}

func (f faulty) List(ctx context.Context, prefix, after string, limit int) ([]Info, error) {
	if err := f.hook(ctx, Op{Kind: OpList, Key: prefix}); err != nil {
		return nil, err
	}
	return f.store.List(ctx, prefix, after, limit)
}

func (f faulty) Delete(ctx context.Context, key string) error {
	return f.effect(ctx, Op{Kind: OpDelete, Key: key}, func() error { return f.store.Delete(ctx, key) })
}

// faultyWriter keeps the context of its Create for the hook's sake.
type faultyWriter struct {
	Writer
	faulty faulty
	ctx    context.Context
	key    string
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	if err := w.faulty.hook(w.ctx, Op{Kind: OpWrite, Key: w.key, Len: len(p)}); err != nil {
		return 0, err
	}
	return w.Writer.Write(p)
}

func (w *faultyWriter) Commit(ctx context.Context) error {
	err := w.faulty.effect(ctx, Op{Kind: OpCommit, Key: w.key}, func() error { return w.Writer.Commit(ctx) })
	if err != nil {
		return errors.Join(err, w.Writer.Abort())
	}
	return nil
}

// faultyReader keeps the context of its Open for the hook's sake.
type faultyReader struct {
	Reader
	faulty faulty
	ctx    context.Context
	key    string
}

func (r *faultyReader) ReadAt(p []byte, off int64) (int, error) {
	if err := r.faulty.hook(r.ctx, Op{Kind: OpRead, Key: r.key, Off: off, Len: len(p)}); err != nil {
		return 0, err
	}
	return r.Reader.ReadAt(p, off)
}
