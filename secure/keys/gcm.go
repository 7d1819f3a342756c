package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
)

const (
	nonceBytes = 12
	tagBytes   = 16
)

// newGCM returns AES-256-GCM under a key of keyBytes.
func newGCM(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("keys: " + err.Error()) // a wrong length, which callers rule out
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic("keys: " + err.Error())
	}
	return gcm
}

// sealRandom appends to dst a random nonce and the ciphertext.
func sealRandom(gcm cipher.AEAD, dst, plain, context []byte) []byte {
	var nonce [nonceBytes]byte
	_, _ = rand.Read(nonce[:]) // never fails
	return gcm.Seal(append(dst, nonce[:]...), nonce[:], plain, context)
}

// openRandom is the inverse of sealRandom.
func openRandom(gcm cipher.AEAD, sealed, context []byte) ([]byte, error) {
	if len(sealed) < nonceBytes+tagBytes {
		return nil, ErrSealed
	}
	plain, err := gcm.Open(nil, sealed[:nonceBytes], sealed[nonceBytes:], context)
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}
