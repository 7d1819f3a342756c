package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/google/uuid"

	"millrace/base/clock"
	"millrace/base/object"
)

// nonceKey is the metadata that tells whose creation an object is (S2).
const nonceKey = "millrace-nonce"

// pageMost is how many keys S3 lists at once.
const pageMost = 1000

// Store keeps objects in a bucket. It implements object.Store; make one with Open.
type Store struct {
	client *s3.Client
	bucket string
	prefix string // of all keys; empty, or ends with a slash
	clock  clock.Clock
	hedge  *hedge
}

// name is how a request says which object it means.
func (s *Store) name(key string) (bucket, full *string) {
	return aws.String(s.bucket), aws.String(s.prefix + key)
}

// Put implements object.Store.
func (s *Store) Put(ctx context.Context, key string, body [][]byte, opts object.PutOptions) error {
	if err := errors.Join(object.ValidKey(key), ctx.Err()); err != nil {
		return fmt.Errorf("put %q: %w", key, err)
	}
	content := newVector(body)
	in := &s3.PutObjectInput{Body: content, ContentLength: aws.Int64(content.size)}
	in.Bucket, in.Key = s.name(key)
	if !opts.IfAbsent {
		if _, err := s.client.PutObject(ctx, in); err != nil {
			return fmt.Errorf("put %q: %w", key, known(err))
		}
		return nil
	}
	nonce := uuid.NewString()
	in.IfNoneMatch, in.Metadata = aws.String("*"), map[string]string{nonceKey: nonce}
	_, err := s.client.PutObject(ctx, in)
	if err = s.settle(ctx, key, nonce, known(err)); err != nil {
		return fmt.Errorf("put %q: %w", key, err)
	}
	return nil
}

// settle gives the outcome of a creation: refused because of an object with its own nonce, it has succeeded, and an answer was lost.
func (s *Store) settle(ctx context.Context, key, nonce string, err error) error {
	if !errors.Is(err, object.ErrExists) {
		return err
	}
	in := &s3.HeadObjectInput{}
	in.Bucket, in.Key = s.name(key)
	head, headErr := s.client.HeadObject(ctx, in)
	switch {
	case headErr == nil && head.Metadata[nonceKey] == nonce:
		return nil
	case headErr == nil || errors.Is(known(headErr), object.ErrNotFound): // another's, even if it is gone by now
		return err
	default:
		// Not ErrExists: whether the object is ours is not known (object.O4).
		return fmt.Errorf("whose object it is: %w", known(headErr))
	}
}

// ReadAt implements object.Store.
func (s *Store) ReadAt(ctx context.Context, key string, p []byte, off int64) (int, error) {
	if err := errors.Join(object.ValidKey(key), ctx.Err()); err != nil {
		return 0, fmt.Errorf("read %q: %w", key, err)
	}
	n, err := s.readRange(ctx, key, "", p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, fmt.Errorf("read %q: %w", key, err)
	}
	return n, err
}

// errNegative refuses what io.ReaderAt forbids.
var errNegative = errors.New("negative offset")

// readRange reads len(p) bytes at off, of the object with the entity tag, if one is given.
func (s *Store) readRange(ctx context.Context, key, tag string, p []byte, off int64) (int, error) {
	switch {
	case off < 0:
		return 0, errNegative
	case len(p) == 0:
		return 0, nil
	}
	in := &s3.GetObjectInput{Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+min(int64(len(p)), math.MaxInt64-off)-1))}
	in.Bucket, in.Key = s.name(key)
	if tag != "" {
		in.IfMatch = aws.String(tag)
	}
	return s.hedge.read(ctx, p, func(ctx context.Context, p []byte) (int, error) { return s.get(ctx, in, p) })
}

// get makes one request for a range and fills p with it.
func (s *Store) get(ctx context.Context, in *s3.GetObjectInput, p []byte) (int, error) {
	out, err := s.client.GetObject(ctx, in)
	if err != nil {
		return 0, known(err)
	}
	defer out.Body.Close()
	n, err := io.ReadFull(out.Body, p)
	if errors.Is(err, io.ErrUnexpectedEOF) && out.ContentLength != nil && int64(n) == *out.ContentLength {
		err = io.EOF // the object ends here
	}
	return n, err
}

// Open implements object.Store. The Reader holds nothing that Close would have to give back.
func (s *Store) Open(ctx context.Context, key string) (object.Reader, error) {
	head, err := s.head(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", key, err)
	}
	return &reader{store: s, ctx: context.WithoutCancel(ctx), key: key, tag: aws.ToString(head.ETag), size: aws.ToInt64(head.ContentLength)}, nil
}

func (s *Store) head(ctx context.Context, key string) (*s3.HeadObjectOutput, error) {
	if err := errors.Join(object.ValidKey(key), ctx.Err()); err != nil {
		return nil, err
	}
	in := &s3.HeadObjectInput{}
	in.Bucket, in.Key = s.name(key)
	head, err := s.client.HeadObject(ctx, in)
	return head, known(err)
}

// Stat implements object.Store.
func (s *Store) Stat(ctx context.Context, key string) (object.Info, error) {
	head, err := s.head(ctx, key)
	if err != nil {
		return object.Info{}, fmt.Errorf("stat %q: %w", key, err)
	}
	return object.Info{Key: key, Size: aws.ToInt64(head.ContentLength), ModTime: aws.ToTime(head.LastModified)}, nil
}

// List implements object.Store.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) ([]object.Info, error) {
	var found []object.Info
	in := &s3.ListObjectsV2Input{Bucket: aws.String(s.bucket), Prefix: aws.String(s.prefix + prefix)}
	if after != "" {
		in.StartAfter = aws.String(s.prefix + after)
	}
	for len(found) < limit {
		in.MaxKeys = aws.Int32(int32(min(limit-len(found), pageMost)))
		page, err := s.client.ListObjectsV2(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("list %q: %w", prefix, known(err))
		}
		for _, o := range page.Contents {
			key := strings.TrimPrefix(aws.ToString(o.Key), s.prefix)
			if key > after && object.ValidKey(key) == nil { // others may keep folders' marks in the bucket
				found = append(found, object.Info{Key: key, Size: aws.ToInt64(o.Size), ModTime: aws.ToTime(o.LastModified)})
			}
		}
		if !aws.ToBool(page.IsTruncated) {
			break
		}
		in.ContinuationToken = page.NextContinuationToken
	}
	return found, nil
}

// Delete implements object.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := errors.Join(object.ValidKey(key), ctx.Err()); err != nil {
		return fmt.Errorf("delete %q: %w", key, err)
	}
	in := &s3.DeleteObjectInput{}
	in.Bucket, in.Key = s.name(key)
	_, err := s.client.DeleteObject(ctx, in)
	if err = known(err); err != nil && !errors.Is(err, object.ErrNotFound) {
		return fmt.Errorf("delete %q: %w", key, err)
	}
	return nil
}

// reader is the object.Reader of a Store.
type reader struct {
	store *Store
	ctx   context.Context // io.ReaderAt has none
	key   string
	tag   string
	size  int64
}

func (r *reader) Size() int64  { return r.size }
func (r *reader) Close() error { return nil }

func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	if off >= r.size && len(p) > 0 {
		return 0, io.EOF
	}
	n, err := r.store.readRange(r.ctx, r.key, r.tag, p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, fmt.Errorf("read %q: %w", r.key, err)
	}
	return n, err
}

// errChanged is known's word for an object that is not the one that was opened.
var errChanged = errors.New("it was replaced since it was opened")

// known turns the store's refusals into object's errors and leaves the rest as it is.
func known(err error) error {
	var named smithy.APIError
	if errors.As(err, &named) && (named.ErrorCode() == "ExistingObjectIsDirectory" || named.ErrorCode() == "ObjectParentIsFile") {
		return fmt.Errorf("%w: %w", object.ErrBadKey, err) // a server that keeps objects as files
	}
	var answer *awshttp.ResponseError
	if !errors.As(err, &answer) {
		return err
	}
	switch answer.HTTPStatusCode() {
	case http.StatusNotFound:
		if strings.Contains(err.Error(), "NoSuchBucket") {
			return err
		}
		return fmt.Errorf("%w: %w", object.ErrNotFound, err)
	case http.StatusPreconditionFailed:
		if answer.Response.Request != nil && answer.Response.Request.Method == http.MethodGet {
			return fmt.Errorf("%w: %w", errChanged, err)
		}
		return fmt.Errorf("%w: %w", object.ErrExists, err)
	case http.StatusRequestedRangeNotSatisfiable:
		return io.EOF
	}
	return err
}

// vector reads buffers one after the other.
type vector struct {
	parts [][]byte
	size  int64
	pos   int64 // over all parts
}

func newVector(parts [][]byte) *vector {
	v := &vector{parts: parts}
	for _, p := range parts {
		v.size += int64(len(p))
	}
	return v
}

// Read implements io.Reader.
func (v *vector) Read(p []byte) (int, error) {
	n, at := 0, v.pos
	for _, part := range v.parts {
		if at >= int64(len(part)) {
			at -= int64(len(part))
			continue
		}
		n += copy(p[n:], part[at:])
		at = 0
		if n == len(p) {
			break
		}
	}
	v.pos += int64(n)
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Seek implements io.Seeker, for signatures and repeated requests.
func (v *vector) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += v.pos
	case io.SeekEnd:
		offset += v.size
	}
	if offset < 0 {
		return 0, errNegative
	}
	v.pos = offset
	return offset, nil
}
