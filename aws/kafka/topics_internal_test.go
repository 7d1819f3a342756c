package kafka

import (
	"encoding/base64"
	"maps"
	"testing"
)

// FuzzConfigs: what is taken for configs is written so that it is read as the same.
func FuzzConfigs(f *testing.F) {
	for _, plain := range []string{`{}`, `{"a":"b","c":1,"d":true,"e":1.50}`, `{"a":null}`, `[]`, `{"a":{}}`, `{"":"x"}`, `{"a":"\u0000\ud800"}`} {
		f.Add(base64.StdEncoding.EncodeToString([]byte(plain)))
	}
	f.Fuzz(func(t *testing.T, text string) {
		configs, err := decodeConfigs(text)
		if err != nil || configs == nil {
			return
		}
		again, err := encodeConfigs(configs)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > maxConfigs {
			return // escapes may make it longer
		}
		back, err := decodeConfigs(again)
		if err != nil || !maps.Equal(back, configs) {
			t.Fatalf("%q is %v, and read again %v, %v", text, configs, back, err)
		}
	})
}

// TestConfigsBounds: a text that is too long is refused before it is looked at.
func TestConfigsBounds(t *testing.T) {
	long := base64.StdEncoding.EncodeToString(make([]byte, maxConfigs))
	if _, err := decodeConfigs(long); err == nil {
		t.Error("it was read")
	}
	got, err := decodeConfigs("eyJhIjoiYiIsImMiOjEsImQiOnRydWUsImUiOjEuNTB9")
	if want := map[string]string{"a": "b", "c": "1", "d": "true", "e": "1.50"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("configs are %v, %v", got, err)
	}
}
