package managed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"millrace/cmd/remote"
)

// scripted answers requests one after the other, the last for ever, and keeps what was asked.
type scripted struct {
	asked   []string // METHOD path body
	answers []answer
}

type answer struct {
	status int
	code   string
	body   string
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.asked = append(s.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
	a := s.answers[min(len(s.asked), len(s.answers))-1]
	if a.status == 0 { // nobody answers
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = conn.Close()
		}
		return
	}
	w.Header().Set("X-Amzn-Errortype", a.code)
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

func script(t *testing.T, answers ...answer) (*Client, *scripted) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	s := &scripted{answers: answers}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	c := New(remote.Flags{API: server.URL})
	c.again = time.Millisecond
	return c, s
}

const someARN = "arn:aws:kafka:us-east-1:1:cluster/a/u-1"

// TestSentAgain (M1): only what was certainly not done.
func TestSentAgain(t *testing.T) {
	throttled, away := answer{429, "TooManyRequestsException", `{"message":"slow down"}`}, answer{503, "ServiceUnavailableException", `{"message":"later"}`}
	for name, c := range map[string]struct {
		answers []answer
		sent    int
		fails   bool
	}{
		"at once":   {[]answer{{200, "", `{"clusterArn":"x"}`}}, 1, false},
		"throttled": {[]answer{throttled, away, {200, "", `{"clusterArn":"x"}`}}, 3, false},
		"for ever":  {[]answer{throttled}, attempts, true},
		"refused":   {[]answer{{409, "ConflictException", `{"message":"taken","invalidParameter":"clusterName"}`}}, 1, true},
		"internal":  {[]answer{{500, "InternalServerErrorException", `{"message":"who knows"}`}}, 1, true},
		"nobody":    {[]answer{{}}, 1, true},
	} {
		client, s := script(t, c.answers...)
		arn, err := client.Create(t.Context(), Cluster{Name: "a", Serverless: &Serverless{}})
		if len(s.asked) != c.sent || (err != nil) != c.fails || err == nil && arn != "x" {
			t.Errorf("%s: sent %d times, %q, %v", name, len(s.asked), arn, err)
		}
	}
}

func TestFaultsOfTheAPI(t *testing.T) {
	client, s := script(t, answer{400, "BadRequestException", `{"message":"no such type","invalidParameter":"instanceType"}`})
	_, err := client.Begin(t.Context(), Cluster{ARN: someARN, Version: "K1"}, UpdateType("x"))
	f, ok := errors.AsType[*Fault](err)
	if !ok || f.Code != "BadRequestException" || f.Parameter != "instanceType" || err.Error() != "no such type (instanceType, BadRequestException)" {
		t.Errorf("%v", err)
	}
	if want := `PUT /v1/clusters/arn:aws:kafka:us-east-1:1:cluster%2Fa%2Fu-1/nodes/type {"currentVersion":"K1","targetInstanceType":"x"}`; s.asked[0] != want {
		t.Errorf("asked %s\nwant %s", s.asked[0], want)
	}
	client, _ = script(t, answer{404, "NotFoundException", "<html>"})
	if _, err := client.Find(t.Context(), someARN); !errors.Is(err, ErrNoCluster) {
		t.Errorf("an ARN of nothing: %v", err)
	}
	client, _ = script(t, answer{200, "", "<html>"})
	if _, err := client.Clusters(t.Context(), "", ""); !errors.Is(err, remote.ErrControl) {
		t.Errorf("not JSON: %v", err)
	}
	if _, err := New(remote.Flags{API: "http://192.0.2.1"}).Clusters(t.Context(), "", ""); !errors.Is(err, ErrPlain) {
		t.Errorf("in the open: %v", err)
	}
}

// TestNameIsExact (M2), over pages.
func TestNameIsExact(t *testing.T) {
	pages := []answer{
		{200, "", `{"clusterInfoList":[{"clusterName":"orders-old","clusterArn":"1"}],"nextToken":"n"}`},
		{200, "", `{"clusterInfoList":[{"clusterName":"orders","clusterArn":"2"},{"clusterName":"ordersx","clusterArn":"3"}]}`},
	}
	client, s := script(t, pages...)
	c, err := client.Find(t.Context(), "orders")
	if err != nil || c.ARN != "2" || !strings.Contains(s.asked[1], "nextToken=n") {
		t.Errorf("%+v, %v, asked %q", c, err, s.asked)
	}
	client, _ = script(t, pages...)
	if _, err := client.Find(t.Context(), "order"); !errors.Is(err, ErrNoCluster) {
		t.Errorf("the beginning of a name: %v", err)
	}
}

func operation(state string) answer {
	return answer{200, "", fmt.Sprintf(`{"clusterOperationInfo":{"operationArn":"o","clusterArn":%q,"operationType":"UPDATE","operationState":%q,
		"errorInfo":{"errorCode":"E","errorString":"no room"},"operationSteps":[]}}`, someARN, state)}
}

// TestWaiting (M3): through a control plane that is away, to the end or the failure that the API tells.
func TestWaiting(t *testing.T) {
	client, s := script(t, operation("PENDING"), answer{}, answer{}, operation("UPDATE_IN_PROGRESS"), operation("UPDATE_COMPLETE"))
	if _, err := client.Done(t.Context(), "o", &Progress{}); err != nil || len(s.asked) != 5 {
		t.Errorf("%v after %d questions", err, len(s.asked))
	}
	client, _ = script(t, operation("UPDATE_IN_PROGRESS"), operation("UPDATE_FAILED"))
	if _, err := client.Done(t.Context(), "o", &Progress{}); !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "no room") {
		t.Errorf("of one that failed: %v", err)
	}
	client, s = script(t, answer{403, "AccessDeniedException", `{"message":"not you"}`})
	if _, err := client.Done(t.Context(), "o", &Progress{}); err == nil || len(s.asked) != 1 {
		t.Errorf("who may not look waits: %v after %d questions", err, len(s.asked))
	}
	client, _ = script(t, operation("UPDATE_IN_PROGRESS"))
	ctx, cancel := context.WithTimeout(t.Context(), 2*lookEvery)
	defer cancel()
	if _, err := client.Done(ctx, "o", &Progress{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a context that ends: %v", err)
	}
	broken := fmt.Sprintf(`{"clusterInfo":{"clusterName":"a","clusterArn":%q,"state":"FAILED","stateInfo":{"message":"no ports"}}}`, someARN)
	client, _ = script(t, answer{200, "", broken})
	if _, err := client.Settle(t.Context(), someARN, &Progress{}); !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "no ports") {
		t.Errorf("of a broken cluster: %v", err)
	}
	client, _ = script(t, answer{404, "NotFoundException", `{"message":"gone"}`})
	if err := client.Gone(t.Context(), someARN, &Progress{}); err != nil {
		t.Errorf("of one that is gone: %v", err)
	}
}

func TestLoginsThereAndBack(t *testing.T) {
	for _, names := range [][]string{{LoginIAM}, {LoginIAM, LoginScram}, LoginNames(), {LoginNone}} {
		text, err := json.Marshal(AuthenticationOf(names))
		var back Authentication
		if err != nil || json.Unmarshal(text, &back) != nil || strings.Join(back.Names(), " ") != strings.Join(names, " ") {
			t.Errorf("%q: %s", names, text)
		}
	}
	if (*Authentication)(nil).Names() != nil || (*Encryption)(nil).ClientBroker() != "" {
		t.Error("nothing has something")
	}
}

func TestRevisionNames(t *testing.T) {
	list := answer{200, "", `{"configurations":[{"name":"c","arn":"arn:c","latestRevision":{"revision":4}}]}`}
	for text, want := range map[string]Revision{"c": {"arn:c", 4}, "c:2": {"arn:c", 2}, "arn:c": {"arn:c", 4}, "arn:c:3": {"arn:c", 3}, "d": {}, "c:0": {}, "c:x": {}} {
		client, _ := script(t, list)
		r, err := client.Revision(t.Context(), text)
		if r != want || (err != nil) != (want == Revision{}) || err != nil && !errors.Is(err, ErrNoConfiguration) {
			t.Errorf("%s: %+v, %v", text, r, err)
		}
	}
}
