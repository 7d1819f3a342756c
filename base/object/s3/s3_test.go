package s3

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	tests := []struct {
		text string
		want Config
	}{
		{"s3://bucket", Config{Bucket: "bucket"}},
		{"s3://bucket/", Config{Bucket: "bucket"}},
		{"s3://bucket/a/b/", Config{Bucket: "bucket", Prefix: "a/b/"}},
		{"s3://bucket/a?region=eu-west-1", Config{Bucket: "bucket", Prefix: "a/", Region: "eu-west-1"}},
		{"s3://b?endpoint=http://127.0.0.1:7070", Config{Bucket: "b", Endpoint: "http://127.0.0.1:7070", PathStyle: true}},
		{"s3://b?endpoint=https://s3.example&path_style=false", Config{Bucket: "b", Endpoint: "https://s3.example"}},
	}
	for _, tt := range tests {
		got, err := Parse(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v", tt.text, got, err)
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("%s comes back from %s as %+v, %v", tt.text, got, again, err)
		}
	}
	for _, text := range []string{
		"", "bucket", "file:///a", "s3://", "s3:///a", "s3://u:p@bucket", "s3://bucket:80", "s3://b/a//b", "s3://b/../c", "s3://b#x",
		"s3://b?region=a;b", "s3://b?colour=red", "s3://b?path_style=maybe", "s3://b?endpoint=127.0.0.1:7070", "s3://b?endpoint=ftp://a", "s3://%zz",
	} {
		if got, err := Parse(text); !errors.Is(err, ErrURL) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("s3://bucket/a/b?region=r&endpoint=http://127.0.0.1:1&path_style=true")
	f.Fuzz(func(t *testing.T, text string) {
		cfg, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(cfg.String()); err != nil || again != cfg {
			t.Errorf("%q is %+v, and %q is %+v, %v", text, cfg, cfg.String(), again, err)
		}
	})
}

// A vector reads as its parts in one piece do, from wherever.
func TestVector(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOf(rapid.SliceOf(rapid.Byte())).Draw(t, "parts")
		whole := bytes.Join(parts, nil)
		v := newVector(parts)
		if v.size != int64(len(whole)) {
			t.Fatalf("size %d of %d", v.size, len(whole))
		}
		for range 3 {
			from := rapid.Int64Range(0, int64(len(whole))).Draw(t, "from")
			if at, err := v.Seek(from-v.size, io.SeekEnd); err != nil || at != from {
				t.Fatalf("seek: %d, %v", at, err)
			}
			got, err := io.ReadAll(iotest.OneByteReader(v))
			if err != nil || !bytes.Equal(got, whole[from:]) {
				t.Fatalf("from %d: %x, %v", from, got, err)
			}
		}
		if _, err := v.Seek(-1, io.SeekStart); err == nil {
			t.Fatal("went before the begin")
		}
	})
}
