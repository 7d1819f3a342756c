package keys

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/base/disk"
	"millrace/base/kv"
)

func TestBadURLs(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_CONFIG_FILE", "/nowhere")
	for _, url := range []string{
		"", "keyring", "file:///x", "keyring://", "keyring://rel/ative", "keyring:///a/../b", "keyring:///", "keyring:///a?x=y", "aws-kms://",
		"aws-kms://key", "aws-kms://key?region=a&region=b", "aws-kms://key?zone=a", "vault://", "vault://a/b", "vault://k?adr=x", "vault://k?%zz",
	} {
		if _, err := OpenKMS(t.Context(), url, disk.NewMem()); !errors.Is(err, ErrBadURL) {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestKeyringFile(t *testing.T) {
	fsys, dir := disk.OS(""), t.TempDir()
	file := filepath.Join(dir, "secure", "keyring.json")
	url := "keyring://" + file
	if _, err := OpenKMS(t.Context(), url, fsys); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("opened what is not there: %v", err)
	}
	for range 2 { // the second time nothing happens
		if err := CreateKeyring(url, fsys); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	k, err := OpenKMS(t.Context(), url, fsys)
	if err != nil {
		t.Fatal(err)
	}
	store := kv.NewMemory()
	if exists, err := Exists(t.Context(), store); exists || err != nil {
		t.Error(exists, err)
	}
	openRing(t, store, "secrets", k, testWorld())
	if exists, err := Exists(t.Context(), store); !exists || err != nil {
		t.Error(exists, err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKMS(t.Context(), url, fsys); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others may read: %v", err)
	}
	if err := CreateKeyring("aws-kms://key", fsys); err != nil {
		t.Error(err)
	}
}

// TestKeyAddedToARing: who has the ring open unwraps what a key wraps that was added since, and what the keys before wrapped.
func TestKeyAddedToARing(t *testing.T) {
	fsys, url := disk.OS(""), "keyring://"+filepath.Join(t.TempDir(), "secure", "keyring.json")
	for want := 1; want <= 2; want++ {
		if n, err := AddKey(url, fsys); n != want || err != nil {
			t.Fatal(n, err)
		}
	}
	running, err := OpenKMS(t.Context(), url, fsys)
	if err != nil {
		t.Fatal(err)
	}
	before, err := running.Wrap(t.Context(), []byte("old"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := AddKey(url, fsys); err != nil {
		t.Fatal(err)
	}
	fresh, err := OpenKMS(t.Context(), url, fsys)
	if err != nil {
		t.Fatal(err)
	}
	after, err := fresh.Wrap(t.Context(), []byte("new"), nil)
	if err != nil || string(before[:8]) == string(after[:8]) {
		t.Fatalf("the new key does not wrap: %v", err)
	}
	for _, k := range []KMS{running, fresh} {
		if plain, err := k.Unwrap(t.Context(), before, nil); string(plain) != "old" || err != nil {
			t.Errorf("%q, %v", plain, err)
		}
		if plain, err := k.Unwrap(t.Context(), after, nil); string(plain) != "new" || err != nil {
			t.Errorf("%q, %v", plain, err)
		}
	}
	if _, err := AddKey("aws-kms://key", fsys); !errors.Is(err, ErrBadURL) {
		t.Error(err)
	}
}

func TestDamagedKeyringFiles(t *testing.T) {
	for _, data := range []string{
		``, `{}`, `[]`, `{"format":1}`, `{"format":1,"keys":[]}`, `{"format":1,"keys":[{"id":"1","key":"AAAA"}]}`, `{"format":1,"keys":[{"id":"x","key":""}]}`,
	} {
		if _, err := decodeKeyring([]byte(data)); err == nil {
			t.Errorf("%q was taken", data)
		}
	}
	if _, err := decodeKeyring([]byte(`{"format":2,"keys":[]}`)); !errors.Is(err, ErrNewer) {
		t.Errorf("of a newer version: %v", err)
	}
}

func FuzzDecodeKeyring(f *testing.F) {
	f.Add([]byte(`{"format":1,"keys":[{"id":"1","key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := decodeKeyring(b)
		if err != nil {
			return
		}
		ring := &keyring{name: "k"}
		ring.now.Store(k)
		if _, err := ring.Unwrap(t.Context(), k.wrap([]byte("x"), nil), nil); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add("security/datakeys/a/0000000001", []byte(`{"format":1,"wrapped":"AAAA"}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		if purpose, id, ok := parseRecordKey(key); ok && recordKey(purpose, id) != key {
			t.Fatalf("%q", key)
		}
		if rec, err := decodeRecord(value); err == nil {
			if _, err := decodeRecord(rec.encode()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
