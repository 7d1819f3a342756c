package door

import (
	"encoding/json"
	"errors"
	"math"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

type inner struct {
	Type  string `json:"instanceType" aws:"required,min=5,max=32"`
	Size  int    `json:"volumeSize" aws:"min=1,max=16384"`
	Blob  []byte `json:"blob" aws:"max=3"`
	Inner *inner `json:"inner"`
}

type input struct {
	ARN     string            `path:"clusterArn" aws:"required"`
	Version string            `query:"currentVersion" aws:"required"`
	Most    *int              `query:"most" aws:"min=1"`
	Flag    bool              `query:"flag"`
	Keys    []string          `query:"tagKeys"`
	Name    *string           `json:"clusterName" aws:"required,min=1,max=3"`
	Mode    string            `json:"mode" aws:"enum=LOCAL|TIERED"`
	Modes   []string          `json:"modes" aws:"enum=A|B,max=2"`
	Group   inner             `json:"group"`
	Groups  []inner           `json:"groups"`
	Tags    map[string]string `json:"tags" aws:"max=2"`
	ID      float64           `json:"id"`
	Long    int64             `json:"long"`
	On      *bool             `json:"on"`
	Raw     json.RawMessage   `json:"raw"`
}

func callOf(body string) *Call {
	return &Call{Params: map[string]string{"clusterArn": "arn"}, Query: url.Values{"currentVersion": {"K1"}}, Body: []byte(body)}
}

func TestDecode(t *testing.T) {
	c := callOf(`{"clusterName":"äöü","mode":"TIERED","modes":["A","B"],"group":{"instanceType":"12345","volumeSize":3.0,"blob":"AQID","more":1,
		"inner":{"instanceType":"abcde"}},"groups":[{"instanceType":"xxxxx"}],"tags":{"a":"b","c":null},"id":1.5,"long":9007199254740993,"on":false,"raw":{"x":[1,2.50]},"other":{"a":1}}`)
	c.Query["tagKeys"], c.Query["flag"], c.Query["most"] = []string{"a", "b"}, []string{"true"}, []string{"7"}
	got, err := Decode[input](c)
	if err != nil {
		t.Fatal(err)
	}
	name, on, most := "äöü", false, 7
	want := input{
		ARN: "arn", Version: "K1", Most: &most, Flag: true, Keys: []string{"a", "b"}, Name: &name, Mode: "TIERED", Modes: []string{"A", "B"},
		Group:  inner{Type: "12345", Size: 3, Blob: []byte{1, 2, 3}, Inner: &inner{Type: "abcde"}},
		Groups: []inner{{Type: "xxxxx"}}, Tags: map[string]string{"a": "b"}, ID: 1.5, Long: 9007199254740993, On: &on, Raw: json.RawMessage(`{"x":[1,2.50]}`),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if _, err := Decode[struct{}](&Call{}); err != nil {
		t.Errorf("no input at all: %v", err)
	}
}

// TestDecodeRefuses: whatever is wrong, however deep, the innermost name is told.
func TestDecodeRefuses(t *testing.T) {
	deep := strings.Repeat(`{"instanceType":"abcde","inner":`, 40) + "null" + strings.Repeat("}", 40)
	for body, param := range map[string]string{
		``: "clusterName", `{}`: "clusterName", `{"clusterName":null}`: "clusterName", `{"ClusterName":"a"}`: "clusterName", `{"clusterName":""}`: "clusterName",
		`{"clusterName":"abcd"}`: "clusterName", `{"clusterName":1}`: "clusterName", `{"clusterName":["a"]}`: "clusterName", `[]`: "", `1`: "", `{`: "", `{}{}`: "", `{} x`: "", "\xff": "",
		`{"clusterName":"a","mode":"local"}`: "mode", `{"clusterName":"a","modes":["A","C"]}`: "modes", `{"clusterName":"a","modes":["A","A","B"]}`: "modes", `{"clusterName":"a","modes":[null]}`: "modes",
		`{"clusterName":"a","group":{}}`: "instanceType", `{"clusterName":"a","groups":[{"instanceType":"abcde"},{"instanceType":"abc"}]}`: "instanceType",
		`{"clusterName":"a","group":{"instanceType":"abcde","volumeSize":0}}`: "volumeSize", `{"clusterName":"a","group":{"instanceType":"abcde","volumeSize":1.5}}`: "volumeSize",
		`{"clusterName":"a","group":{"instanceType":"abcde","volumeSize":1e400}}`: "volumeSize", `{"clusterName":"a","group":{"instanceType":"abcde","volumeSize":"1"}}`: "volumeSize",
		`{"clusterName":"a","group":{"instanceType":"abcde","blob":"!"}}`: "blob", `{"clusterName":"a","group":{"instanceType":"abcde","blob":"AQIDBA=="}}`: "blob",
		`{"clusterName":"a","group":{"instanceType":"abcde","blob":[1]}}`: "blob", `{"clusterName":"a","group":[]}`: "group", `{"clusterName":"a","groups":{}}`: "groups",
		`{"clusterName":"a","tags":{"a":1}}`: "tags", `{"clusterName":"a","tags":{"a":"","b":"","c":""}}`: "tags", `{"clusterName":"a","tags":[]}`: "tags", `{"clusterName":"a","on":"true"}`: "on",
		`{"clusterName":"a","id":"1"}`: "id", `{"clusterName":"a","long":9223372036854775808}`: "long", `{"clusterName":"a","group":` + deep + `}`: "",
	} {
		_, err := Decode[input](callOf(body))
		var e *Error
		if !errors.As(err, &e) || e.Code != "BadRequestException" || e.Status != 400 || e.InvalidParameter != param || e.Message == "" {
			t.Errorf("%s: %v, want one of %q", body, err, param)
		}
	}
	for name, change := range map[string]func(*Call){
		"clusterArn": func(c *Call) { delete(c.Params, "clusterArn") }, "currentVersion": func(c *Call) { c.Query.Del("currentVersion") },
		"most": func(c *Call) { c.Query.Set("most", "0") }, "flag": func(c *Call) { c.Query.Set("flag", "TRUE") },
	} {
		c := callOf(`{"clusterName":"a"}`)
		change(c)
		_, err := Decode[input](c)
		var e *Error
		if !errors.As(err, &e) || e.InvalidParameter != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"clusterName":"a","group":{"instanceType":"abcde","volumeSize":3.0,"blob":"AQID"},"tags":{"a":"b"},"id":1.5,"raw":[1]}`), "currentVersion=1&most=2")
	f.Add([]byte(`{"clusterName":"a","long":1e3,"modes":["A"]}`), "tagKeys=1&tagKeys=2")
	f.Fuzz(func(t *testing.T, body []byte, query string) {
		c := callOf(string(body))
		c.Query, _ = url.ParseQuery(query)
		in, err := Decode[input](c)
		var e *Error
		switch {
		case err != nil && (!errors.As(err, &e) || e.Status != 400):
			t.Fatal(err)
		case err != nil:
		case in.Name == nil || in.Version == "" && !c.Query.Has("currentVersion") || len(in.Tags) > 2 || len(in.Group.Blob) > 3 || in.Group.Size > 16384 || math.IsNaN(in.ID):
			t.Fatalf("%+v", in)
		}
	})
}
