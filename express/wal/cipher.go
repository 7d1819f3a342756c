package wal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"

	"millrace/kafka/topic"
)

// Keys are what files are encrypted with: secure/keys.Ring. Safe for concurrent use.
type Keys interface {
	// Newest is the id of the data key that new files shall take, from 1.
	Newest() uint32
	// Derive fills out with a key that only the data key of that id, the label and the salt give.
	Derive(ctx context.Context, id uint32, label string, salt, out []byte) error
}

// ErrKey is returned by Open for files that are encrypted with a key that is not at hand, and matched by what Keys refuses. Nothing was changed.
var ErrKey = errors.New("wal: the files cannot be decrypted")

const (
	keyBytes   = 32 // AES-256
	tagBytes   = 16
	nonceBytes = 12
	keyLabel   = "millrace wal 2"
)

// unlock derives the key of a file that is encrypted. The salt is what makes the file another one than any other: broker, incarnation, number,
// predecessor, and random bytes where the file is one that stays.
func (f *file) unlock(ctx context.Context, keys Keys) error {
	if f.key == 0 {
		return nil
	}
	if keys == nil {
		return fmt.Errorf("%w: they are encrypted, and no KMS was named", ErrKey)
	}
	var key [keyBytes]byte
	if err := keys.Derive(ctx, f.key, keyLabel, f.identity(), key[:]); err != nil {
		return fmt.Errorf("%w: %w", ErrKey, err)
	}
	block, err := aes.NewCipher(key[:])
	clear(key[:])
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKey, err) // not with a key of this length
	}
	if f.aead, err = cipher.NewGCM(block); err != nil {
		return fmt.Errorf("%w: %w", ErrKey, err) // nor with this cipher
	}
	return nil
}

// proof shows that the key of a file is the one that it was made with, and that nobody has changed its header.
func (f *file) proof() uint64 {
	nonce := make([]byte, nonceBytes)
	for i := range nonce {
		nonce[i] = 0xff // no run stands there
	}
	return binary.BigEndian.Uint64(f.aead.Seal(nil, nonce, nil, f.identity()))
}

// overhead is what a run takes in the file beside its bytes.
func (f *file) overhead() int {
	if f.aead == nil {
		return 0
	}
	return tagBytes
}

// The nonce of a run is its position in the file. It never comes twice under one key: groups are appended at ascending positions, and
// after a write that failed, and after a restart, the file takes no more groups, so no position is written again.
func nonceAt(pos int64) (nonce [nonceBytes]byte) {
	binary.BigEndian.PutUint64(nonce[:], uint64(pos))
	return nonce
}

// boundBytes is the length of what binds a run's bytes to its place in the log.
const boundBytes = 16 + 4 + 8 + 8 + 4 + 4

// bound is the associated data of a run: an index that was tampered with does not decrypt.
func bound(p topic.Partition, base, last int64, bytes, batches int) (b [boundBytes]byte) {
	copy(b[:], p.Topic[:])
	binary.BigEndian.PutUint32(b[16:], uint32(p.Index))
	binary.BigEndian.PutUint64(b[20:], uint64(base))
	binary.BigEndian.PutUint64(b[28:], uint64(last))
	binary.BigEndian.PutUint32(b[36:], uint32(bytes))
	binary.BigEndian.PutUint32(b[40:], uint32(batches))
	return b
}

// seal appends a run's bytes to dst, encrypted for a position in the file. pieces are the bytes; more than one are put together first.
func (f *file) seal(dst []byte, pos int64, r *row, pieces [][]byte) []byte {
	nonce, aad := nonceAt(pos), bound(r.partition, r.base, r.last, r.bytes, r.batches)
	if len(pieces) == 1 {
		return f.aead.Seal(dst, nonce[:], pieces[0], aad[:])
	}
	start := len(dst)
	for _, piece := range pieces {
		dst = append(dst, piece...)
	}
	return f.aead.Seal(dst[:start], nonce[:], dst[start:], aad[:])
}

// open decrypts in place what seal has put at a position; the first bytes of sealed are then the run's.
func (f *file) open(sealed []byte, pos int64, p topic.Partition, base, last int64, batches int) error {
	bytes := len(sealed) - tagBytes
	nonce, aad := nonceAt(pos), bound(p, base, last, bytes, batches)
	if _, err := f.aead.Open(sealed[:0], nonce[:], sealed, aad[:]); err != nil {
		return damaged("run of %d bytes at %d does not decrypt", bytes, pos)
	}
	return nil
}
