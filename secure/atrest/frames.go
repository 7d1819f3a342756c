package atrest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrSealed: an object is not one of an encrypted store, is damaged or was tampered with, or its key is not at hand.
var ErrSealed = errors.New("atrest: object cannot be decrypted")

// Keys are what objects are encrypted with: secure/keys.Ring. Safe for concurrent use.
type Keys interface {
	// Newest is the id of the data key that new objects shall take, from 1.
	Newest() uint32
	// Derive fills out with a key that only the data key of that id, the label and the salt give.
	Derive(ctx context.Context, id uint32, label string, salt, out []byte) error
}

// The layout of an object; docs/formats/sealed-object.md has it in words. Numbers are big-endian.
const (
	magic      = "MLRCobj\n"
	version    = 1
	headBytes  = 32
	saltBytes  = 16
	frameBytes = 64 << 10 // of content
	tagBytes   = 16
	boxBytes   = frameBytes + tagBytes
	nonceBytes = 12
	keyBytes   = 32
	label      = "millrace object 1"
)

// storedBytes is what a content takes in the store.
func storedBytes(content int64) int64 {
	return headBytes + content + max(1, (content+frameBytes-1)/frameBytes)*tagBytes
}

// contentBytes is the inverse; ok is false where no content takes so much.
func contentBytes(stored int64) (content int64, ok bool) {
	body := stored - headBytes
	if body < tagBytes {
		return 0, false
	}
	frames := (body + boxBytes - 1) / boxBytes
	content = body - frames*tagBytes
	return content, content >= 0 && storedBytes(content) == stored
}

// box encrypts and decrypts the frames of one object.
type box struct {
	aead cipher.AEAD
	name []byte // of the object: associated data
}

// newHead draws a salt and gives the head of a new object, and its box.
func newHead(ctx context.Context, keys Keys, name string) ([]byte, *box, error) {
	head := make([]byte, headBytes)
	copy(head, magic)
	binary.BigEndian.PutUint16(head[8:], version)
	binary.BigEndian.PutUint32(head[12:], keys.Newest())
	_, _ = rand.Read(head[headBytes-saltBytes:]) // never fails
	b, err := openHead(ctx, keys, name, head)
	return head, b, err
}

// openHead makes the box of an object with that head.
func openHead(ctx context.Context, keys Keys, name string, head []byte) (*box, error) {
	if len(head) < headBytes || string(head[:8]) != magic {
		return nil, fmt.Errorf("%w: %s is not encrypted", ErrSealed, name)
	}
	if v := binary.BigEndian.Uint16(head[8:]); v != version {
		return nil, fmt.Errorf("%w: %s has format %d, this version reads %d", ErrSealed, name, v, version)
	}
	var key [keyBytes]byte
	if err := keys.Derive(ctx, binary.BigEndian.Uint32(head[12:]), label, head[:headBytes], key[:]); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %s: %w", ErrSealed, name, err)
	}
	block, err := aes.NewCipher(key[:])
	clear(key[:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSealed, err) // not with a key of this length
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSealed, err) // nor with this cipher
	}
	return &box{aead: aead, name: []byte(name)}, nil
}

// nonce is that of a frame: its number, and whether it is the last, so that an object cannot be cut or extended at a frame's end.
func nonce(index int64, last bool) (n [nonceBytes]byte) {
	binary.BigEndian.PutUint64(n[:], uint64(index))
	if last {
		n[nonceBytes-1] = 1
	}
	return n
}

// seal appends an encrypted frame to dst.
func (b *box) seal(dst, frame []byte, index int64, last bool) []byte {
	n := nonce(index, last)
	return b.aead.Seal(dst, n[:], frame, b.name)
}

// open decrypts a frame in place. Where it may be the last one or not, it must be one of the two.
func (b *box) open(sealed []byte, index int64, last, maybe bool) ([]byte, error) {
	n := nonce(index, last)
	if maybe {
		// A failed Open clears what it was given, so the guess works on a copy.
		if frame, err := b.aead.Open(nil, n[:], sealed, b.name); err == nil {
			return frame, nil
		}
		n = nonce(index, !last)
	}
	frame, err := b.aead.Open(sealed[:0], n[:], sealed, b.name)
	if err != nil {
		return nil, fmt.Errorf("%w: frame %d of %s", ErrSealed, index, b.name)
	}
	return frame, nil
}
