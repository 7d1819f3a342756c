package cloudwatch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/secure/ship"
	"millrace/secure/trail"
)

// group is a server that has one log group.
type group struct {
	mu       sync.Mutex
	streams  map[string][]string // messages
	refuse   int                 // calls that fail first
	rejected bool
}

func (g *group) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var in struct {
		LogGroupName, LogStreamName string
		LogEvents                   []struct {
			Message   string
			Timestamp int64
		}
	}
	fault := func(code int, kind string) {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"__type":%q,"message":"no"}`, kind)
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256") || in.LogGroupName != "audit/log" {
		fault(400, "InvalidParameterException")
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	switch _, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "."); op {
	case "CreateLogStream":
		if _, ok := g.streams[in.LogStreamName]; ok {
			fault(400, "ResourceAlreadyExistsException")
			return
		}
		g.streams[in.LogStreamName] = []string{}
		fmt.Fprint(w, `{}`)
	case "PutLogEvents":
		if _, ok := g.streams[in.LogStreamName]; !ok {
			fault(400, "ResourceNotFoundException")
			return
		}
		if g.refuse > 0 {
			g.refuse--
			fault(400, "InvalidOperationException")
			return
		}
		size, latest := 0, int64(0)
		for _, e := range in.LogEvents {
			size += len(e.Message) + 26
			if e.Timestamp < latest {
				fault(400, "InvalidParameterException")
				return
			}
			latest = e.Timestamp
			g.streams[in.LogStreamName] = append(g.streams[in.LogStreamName], e.Message)
		}
		if size > 1<<20 || len(in.LogEvents) > 10_000 || in.LogEvents[len(in.LogEvents)-1].Timestamp-in.LogEvents[0].Timestamp >= 86_400_000 {
			fault(400, "InvalidParameterException")
			return
		}
		if g.rejected {
			fmt.Fprint(w, `{"rejectedLogEventsInfo":{"tooOldLogEventEndIndex":1}}`)
			return
		}
		fmt.Fprint(w, `{}`)
	default:
		fault(400, "UnknownOperationException")
	}
}

func TestSink(t *testing.T) {
	g := &group{streams: map[string][]string{}}
	server := httptest.NewServer(g)
	defer server.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	var logged bytes.Buffer
	sink, err := Open(t.Context(), "cloudwatch://audit/log?region=us-east-1&prefix=host1/&endpoint="+server.URL, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	batch := ship.Batch{Writer: "default-1"}
	for i := range 25_000 {
		at := time.Unix(1_700_000_000+int64(i*10), 0)
		if i%100 == 99 {
			at = at.Add(-time.Minute) // a clock that goes back
		}
		batch.Entries = append(batch.Entries, trail.Entry{Writer: "default-1", N: uint64(i + 1), Event: trail.Event{Time: at}, Raw: fmt.Appendf(nil, "line %d %s", i, strings.Repeat("x", i%500))})
	}
	if err := sink.Put(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	got := g.streams["host1/default-1"]
	if len(got) != 25_000 || !strings.HasPrefix(got[24_999], "line 24999 ") {
		t.Error(len(got))
	}
	one := ship.Batch{Writer: "default-1", Entries: batch.Entries[len(batch.Entries)-1:]}
	g.refuse = 1
	if err := sink.Put(t.Context(), one); err == nil {
		t.Error("a refusal is no success")
	}
	g.rejected = true
	if err := sink.Put(t.Context(), one); err != nil || !strings.Contains(logged.String(), "refused lines") {
		t.Error(err, logged.String())
	}
	if strings.Contains(logged.String(), "secret") {
		t.Error("a secret was logged")
	}
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"", "cloudwatch://", "s3://b", "cloudwatch://g?color=red", "cloudwatch://%zz"} {
		if _, err := Open(t.Context(), bad, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrURL) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
