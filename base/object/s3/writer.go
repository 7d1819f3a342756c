package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/uuid"

	"millrace/base/object"
)

const (
	// partBytes is the size of all parts of an upload but the last. Up to it an object is stored with one request. S3 allows 10,000
	// parts, so an object may have up to 80 GB.
	partBytes   = 8 << 20
	partsAtOnce = 3 // that are in memory or on their way
	abortTime   = 10 * time.Second
)

// errEnded: the Writer was committed or aborted.
var errEnded = fmt.Errorf("%w: the upload has ended", object.ErrClosed)

// Create implements object.Store.
func (s *Store) Create(ctx context.Context, key string) (object.Writer, error) {
	if err := errors.Join(object.ValidKey(key), ctx.Err()); err != nil {
		return nil, fmt.Errorf("create %q: %w", key, err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	return &writer{store: s, key: key, run: run, stop: stop, slots: make(chan struct{}, partsAtOnce), nonce: uuid.NewString()}, nil
}

// writer uploads one object. Parts are sent in the background while the next one is filled.
type writer struct {
	store *Store
	key   string
	nonce string
	run   context.Context // of all requests until the end
	stop  context.CancelFunc
	ended bool

	buf    []byte
	id     string // of the upload; empty: no part was full yet
	number int32  // of the last part
	slots  chan struct{}
	sent   sync.WaitGroup

	mu    sync.Mutex // guards the rest
	parts []types.CompletedPart
	fault error // of the first part that failed
}

// Write implements object.Writer.
func (w *writer) Write(p []byte) (n int, err error) {
	if w.ended {
		return 0, errEnded
	}
	for len(p) > 0 {
		if w.buf == nil {
			w.buf = make([]byte, 0, partBytes)
		}
		k := min(len(p), partBytes-len(w.buf))
		w.buf = append(w.buf, p[:k]...)
		p, n = p[k:], n+k
		if len(w.buf) == partBytes {
			if err := w.send(); err != nil {
				return n, fmt.Errorf("create %q: %w", w.key, err)
			}
		}
	}
	return n, nil
}

// send uploads the buffer as the next part, and waits until there is room for another.
func (w *writer) send() error {
	if err := w.begin(); err != nil {
		return err
	}
	w.number++
	number, body := w.number, w.buf
	w.buf = nil
	w.slots <- struct{}{} // parts end by themselves: their requests are bounded
	w.sent.Go(func() {
		defer func() { <-w.slots }()
		in := &s3.UploadPartInput{UploadId: aws.String(w.id), PartNumber: aws.Int32(number), Body: bytes.NewReader(body), ContentLength: aws.Int64(int64(len(body)))}
		in.Bucket, in.Key = w.store.name(w.key)
		out, err := w.store.client.UploadPart(w.run, in)
		w.mu.Lock()
		defer w.mu.Unlock()
		if err != nil {
			w.fault = errors.Join(w.fault, fmt.Errorf("part %d: %w", number, known(err)))
			return
		}
		w.parts = append(w.parts, types.CompletedPart{ETag: out.ETag, PartNumber: aws.Int32(number)})
	})
	return w.failed()
}

// begin starts the upload before the first part.
func (w *writer) begin() error {
	if w.id != "" {
		return w.failed()
	}
	in := &s3.CreateMultipartUploadInput{Metadata: map[string]string{nonceKey: w.nonce}}
	in.Bucket, in.Key = w.store.name(w.key)
	out, err := w.store.client.CreateMultipartUpload(w.run, in)
	if err != nil {
		return known(err)
	}
	w.id = aws.ToString(out.UploadId)
	return nil
}

func (w *writer) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fault
}

// Commit implements object.Writer.
func (w *writer) Commit(ctx context.Context) error {
	if w.ended {
		return errEnded
	}
	err := w.commit(ctx)
	if err == nil {
		w.ended = true
		w.stop()
		return nil
	}
	return errors.Join(fmt.Errorf("create %q: %w", w.key, err), w.Abort())
}

func (w *writer) commit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.id == "" {
		return w.store.Put(ctx, w.key, [][]byte{w.buf}, object.PutOptions{IfAbsent: true})
	}
	if len(w.buf) > 0 {
		if err := w.send(); err != nil {
			return err
		}
	}
	w.sent.Wait()
	if w.fault != nil {
		return w.fault
	}
	slices.SortFunc(w.parts, func(a, b types.CompletedPart) int { return int(*a.PartNumber - *b.PartNumber) })
	in := &s3.CompleteMultipartUploadInput{
		UploadId: aws.String(w.id), MultipartUpload: &types.CompletedMultipartUpload{Parts: w.parts}, IfNoneMatch: aws.String("*"),
	}
	in.Bucket, in.Key = w.store.name(w.key)
	_, err := w.store.client.CompleteMultipartUpload(ctx, in)
	return w.settle(ctx, known(err))
}

// settle finds out what became of the upload: refused, or "no such upload" because a repeated request came after the one that had
// completed it.
func (w *writer) settle(ctx context.Context, err error) error {
	if !errors.Is(err, object.ErrNotFound) {
		return w.store.settle(ctx, w.key, w.nonce, err)
	}
	if owned := w.store.settle(ctx, w.key, w.nonce, object.ErrExists); owned == nil {
		return nil
	}
	return err
}

// Abort implements object.Writer.
func (w *writer) Abort() error {
	if w.ended {
		return nil
	}
	w.ended = true
	w.stop() // parts on their way are not needed
	w.sent.Wait()
	w.buf = nil
	if w.id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.run), abortTime)
	defer cancel()
	in := &s3.AbortMultipartUploadInput{UploadId: aws.String(w.id)}
	in.Bucket, in.Key = w.store.name(w.key)
	if _, err := w.store.client.AbortMultipartUpload(ctx, in); err != nil && !errors.Is(known(err), object.ErrNotFound) {
		return fmt.Errorf("abort the upload of %q: %w", w.key, err)
	}
	return nil
}
