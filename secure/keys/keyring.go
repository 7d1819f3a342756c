package keys

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"strings"
	"sync/atomic"

	"millrace/base/disk"
)

const (
	keyringScheme = "keyring"
	keyringFormat = 1
	keyBytes      = 32 // AES-256
	maxKeyring    = 1 << 20
)

// keyringFile is a local key ring: keys in the clear, in a file that only its owner reads. The last one wraps, all unwrap.
type keyringFile struct {
	Format int          `json:"format"`
	Keys   []keyringKey `json:"keys"`
}

type keyringKey struct {
	ID  uint64 `json:"id,string"` // random
	Key []byte `json:"key"`
}

// keyring is the KMS of a keyringFile.
type keyring struct {
	name  string
	fs    disk.FS
	place string
	now   atomic.Pointer[ringKeys]
}

// ringKeys are the keys of the file as it was read.
type ringKeys struct {
	newest uint64
	keys   map[uint64]cipher.AEAD
}

// CreateKeyring makes the file of a keyring:// URL, with a new key, when there is none; other URLs name what is made elsewhere. Whoever
// loses the file loses what is encrypted under it. It must be called only where nothing was encrypted yet, see Exists: a second key ring
// opens nothing of the first.
func CreateKeyring(rawURL string, fsys disk.FS) error {
	place, ok := strings.CutPrefix(rawURL, keyringScheme+"://")
	if !ok {
		return nil
	}
	if err := checkPlace(place); err != nil {
		return err
	}
	if _, err := fsys.Stat(place); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := fsys.MkdirAll(path.Dir(place), 0o700); err != nil {
		return fmt.Errorf("create key ring: %w", err)
	}
	if err := writeKeyring(place, keyringFile{Format: keyringFormat}, fsys); err != nil {
		return fmt.Errorf("create key ring: %w", err)
	}
	return nil
}

// AddKey adds a key to the file of a keyring:// URL, which is made where there is none, and returns how many it has. The newest wraps from then
// on; those before unwrap what they wrapped, until Rewrap. Who has opened the ring before finds the new key when it is needed.
func AddKey(rawURL string, fsys disk.FS) (n int, err error) {
	place, ok := strings.CutPrefix(rawURL, keyringScheme+"://")
	if !ok {
		return 0, fmt.Errorf("%w: %q is no key ring", ErrBadURL, rawURL)
	}
	if err := checkPlace(place); err != nil {
		return 0, err
	}
	if err := fsys.MkdirAll(path.Dir(place), 0o700); err != nil {
		return 0, fmt.Errorf("add a key: %w", err)
	}
	lock, err := fsys.Lock(place + ".lock")
	if err != nil {
		return 0, fmt.Errorf("add a key: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	file := keyringFile{Format: keyringFormat}
	data, err := readKeyring(place, fsys)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return 0, err
	default:
		if _, err := decodeKeyring(data); err != nil {
			return 0, fmt.Errorf("key ring %s: %w", place, err)
		}
		if err := json.Unmarshal(data, &file); err != nil {
			return 0, fmt.Errorf("key ring %s: %w", place, err)
		}
	}
	if err := writeKeyring(place, file, fsys); err != nil {
		return 0, fmt.Errorf("add a key: %w", err)
	}
	return len(file.Keys) + 1, nil
}

// writeKeyring writes a file with one key more than it had.
func writeKeyring(place string, file keyringFile, fsys disk.FS) error {
	key, id := make([]byte, keyBytes), make([]byte, 8)
	_, _ = rand.Read(key) // never fails
	_, _ = rand.Read(id)
	file.Keys = append(file.Keys, keyringKey{binary.BigEndian.Uint64(id), key})
	data, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return err
	}
	return fsys.WriteFileAtomic(place, append(data, '\n'))
}

func checkPlace(place string) error {
	if !path.IsAbs(place) || path.Clean(place) != place || place == "/" {
		return fmt.Errorf("%w: keyring://%s; use keyring:// and an absolute path", ErrBadURL, place)
	}
	return nil
}

func openKeyring(place string, query url.Values, fsys disk.FS) (KMS, error) {
	if err := errors.Join(checkPlace(place), only(query)); err != nil {
		return nil, err
	}
	k := &keyring{name: keyringScheme + "://" + place, fs: fsys, place: place}
	if err := k.load(); err != nil {
		return nil, err
	}
	return k, nil
}

// load reads the file.
func (k *keyring) load() error {
	data, err := readKeyring(k.place, k.fs)
	if err != nil {
		return err
	}
	read, err := decodeKeyring(data)
	if err != nil {
		return fmt.Errorf("key ring %s: %w", k.place, err)
	}
	k.now.Store(read)
	return nil
}

// readKeyring returns what the file has, if nobody but its owner may use it.
func readKeyring(place string, fsys disk.FS) ([]byte, error) {
	info, err := fsys.Stat(place)
	if err != nil {
		return nil, fmt.Errorf("key ring: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("key ring %s: others than its owner may use it (mode %04o); chmod 600 it", place, info.Mode().Perm())
	}
	if info.Size() > maxKeyring {
		return nil, fmt.Errorf("key ring %s: %d bytes are too many", place, info.Size())
	}
	data, err := fsys.ReadFile(place)
	if err != nil {
		return nil, fmt.Errorf("key ring: %w", err)
	}
	return data, nil
}

// decodeKeyring names no byte of data in its errors.
func decodeKeyring(data []byte) (*ringKeys, error) {
	var file keyringFile
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, errors.New("not the JSON of a key ring")
	}
	if file.Format > keyringFormat {
		return nil, fmt.Errorf("%w: format %d", ErrNewer, file.Format)
	}
	if file.Format < 1 || len(file.Keys) == 0 {
		return nil, errors.New("it has no key")
	}
	k := &ringKeys{keys: make(map[uint64]cipher.AEAD, len(file.Keys))}
	for i, key := range file.Keys {
		if len(key.Key) != keyBytes || k.keys[key.ID] != nil {
			return nil, fmt.Errorf("key %d of %d has not %d bytes, or an id that is there twice", i+1, len(file.Keys), keyBytes)
		}
		k.keys[key.ID], k.newest = newGCM(key.Key), key.ID
	}
	return k, nil
}

func (k *keyring) Name() string { return k.name }

// Format hides the keys, whatever the verb.
func (k *keyring) Format(s fmt.State, _ rune) { _, _ = fmt.Fprint(s, k.name) }

// Wrap takes the newest key that the file had when it was read. It implements KMS.
func (k *keyring) Wrap(_ context.Context, plain, context []byte) ([]byte, error) {
	return k.now.Load().wrap(plain, context), nil
}

// Unwrap implements KMS.
func (k *keyring) Unwrap(_ context.Context, wrapped, context []byte) ([]byte, error) {
	if len(wrapped) < 8 {
		return nil, fmt.Errorf("%w: %d bytes", ErrWrongKMS, len(wrapped))
	}
	id := binary.BigEndian.Uint64(wrapped)
	if k.now.Load().keys[id] == nil { // it may have been added since
		if err := k.load(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	key := k.now.Load().keys[id]
	if key == nil {
		return nil, fmt.Errorf("%w: %s has no key %d, which wrapped this", ErrWrongKMS, k.name, id)
	}
	plain, err := openRandom(key, wrapped[8:], context)
	if err != nil {
		return nil, fmt.Errorf("%w: key %d of %s does not open it", ErrWrongKMS, id, k.name)
	}
	return plain, nil
}

// wrap returns the id of the key, 8 bytes, a nonce, and the ciphertext.
func (r *ringKeys) wrap(plain, context []byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, r.newest)
	return sealRandom(r.keys[r.newest], b, plain, context)
}
