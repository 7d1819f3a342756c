package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"millrace/base/kv"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sample() *Backup {
	b := &Backup{Header: Header{Taken: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Revision: 77}}
	for i := range 5 {
		b.Items = append(b.Items, kv.Item{Key: fmt.Sprintf("clusters/c/catalog/topics/t%d", i), Value: []byte{0, 255, byte(i), '\n', '"'}})
	}
	b.Items = append(b.Items, kv.Item{Key: "empty", Value: []byte{}})
	return b
}

func encoded(t *testing.T, b *Backup) []byte {
	t.Helper()
	var out bytes.Buffer
	must(t, b.Write(&out))
	return out.Bytes()
}

func TestBackupIsReadAsItWasWritten(t *testing.T) {
	b := sample()
	got, err := Read(bytes.NewReader(encoded(t, b)))
	must(t, err)
	same := func(x, y kv.Item) bool { return x.Key == y.Key && bytes.Equal(x.Value, y.Value) }
	if got.Header != b.Header || got.Sum != b.Sum || !slices.EqualFunc(got.Items, b.Items, same) {
		t.Errorf("%+v, want %+v", got, b)
	}
}

// Whatever byte flips, and wherever the file ends, the backup is refused (B1).
func TestDamagedBackupIsRefused(t *testing.T) {
	whole := encoded(t, sample())
	for at := range whole {
		for bit := range 8 {
			b := slices.Clone(whole)
			b[at] ^= 1 << bit
			got, err := Read(bytes.NewReader(b))
			if err == nil && at != len(b)-1 { // the last newline says nothing
				t.Fatalf("byte %d, bit %d flipped: read as %+v", at, bit, got)
			}
			if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) {
				t.Fatalf("byte %d flipped: %v", at, err)
			}
		}
		if _, err := Read(bytes.NewReader(whole[:at])); !errors.Is(err, ErrCorrupt) && at < len(whole)-1 {
			t.Fatalf("cut at byte %d: %v", at, err)
		}
	}
	if _, err := Read(bytes.NewReader(append(whole, '\n'))); !errors.Is(err, ErrCorrupt) {
		t.Errorf("longer: %v", err)
	}
	newer := bytes.Replace(whole, []byte(`"version":1`), []byte(`"version":2`), 1)
	if _, err := Read(bytes.NewReader(newer)); !errors.Is(err, ErrNewer) {
		t.Errorf("newer: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	var out bytes.Buffer
	if err := sample().Write(&out); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Add([]byte(`{"format":"millrace-backup","version":1,"keys":9000000}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := Read(bytes.NewReader(in))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) {
				t.Fatal(err)
			}
			return
		}
		again, err := Read(bytes.NewReader(encoded(t, b)))
		if err != nil || len(again.Items) != len(b.Items) {
			t.Fatalf("not read again: %v", err)
		}
	})
}

func TestTakeLeavesOutWhatBelongsToProcesses(t *testing.T) {
	ctx, store := context.Background(), kv.NewMemory()
	if _, err := Take(ctx, store, time.Now()); err == nil {
		t.Error("a backup of nothing")
	}
	lease, err := store.Grant(ctx, time.Minute)
	must(t, err)
	_, err = store.Txn(ctx, nil, []kv.Op{
		kv.Put("clusters/c/catalog/topics/t", nil), kv.Put("clusters/c/audited/1", nil), kv.Put("clusters/c/audit/ask", nil), kv.Put("status/local/c/1", nil),
		kv.Put("hosts/h", nil), kv.Put("control/clusters/c", nil), kv.PutLeased("clusters/c/catalog/brokers/1", nil, lease.ID()),
	})
	must(t, err)
	b, err := Take(ctx, store, time.Now())
	must(t, err)
	var keys []string
	for _, item := range b.Items {
		keys = append(keys, item.Key)
	}
	if want := []string{"clusters/c/catalog/topics/t", "control/clusters/c"}; !slices.Equal(keys, want) {
		t.Errorf("kept %v, want %v", keys, want)
	}
	_, err = store.Txn(ctx, nil, []kv.Op{kv.Put(marker, nil)})
	must(t, err)
	if _, err := Take(ctx, store, time.Now()); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("during a restore: %v", err)
	}
}
