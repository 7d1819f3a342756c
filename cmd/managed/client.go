package managed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"millrace/cmd/api"
	"millrace/cmd/remote"
	"millrace/cmd/terminal"
)

// ErrPlain: the API is at an http:// address of another host, so that others could read what is signed.
var ErrPlain = errors.New("requests are signed, and go to other hosts only over https")

// Fault is what the API has refused a request with.
type Fault struct {
	Status    int    // of HTTP
	Code      string // "BadRequestException"
	Message   string
	Parameter string // that is wrong; "": none
}

// Error is for people; the code stands last.
func (f *Fault) Error() string {
	if f.Parameter != "" {
		return fmt.Sprintf("%s (%s, %s)", f.Message, f.Parameter, f.Code)
	}
	return fmt.Sprintf("%s (%s)", f.Message, f.Code)
}

// NotFound says that an error is the API's word for what is not there.
func NotFound(err error) bool {
	f, ok := errors.AsType[*Fault](err)
	return ok && f.Status == http.StatusNotFound
}

// Client asks one installation.
type Client struct {
	flags remote.Flags
	again time.Duration // before a request that was throttled is sent again, the first time
}

// New returns a Client of the installation that flags name.
func New(flags remote.Flags) *Client { return &Client{flags: flags, again: 100 * time.Millisecond} }

// Bounds of one request.
const (
	patience   = time.Minute
	answerMost = 16 << 20 // bytes
	attempts   = 6        // of a request that is throttled
)

// do asks for one operation of the API: in is sent as JSON (nil: no body), out (nil: nobody looks) is filled by the answer.
func (cl *Client) do(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	wait := cl.again
	for attempt := 1; ; attempt++ {
		err := cl.once(ctx, method, path, body, out)
		f, refused := errors.AsType[*Fault](err)
		// M1: these two say that nothing was done.
		if !refused || f.Status != http.StatusTooManyRequests && f.Status != http.StatusServiceUnavailable || attempt == attempts {
			return err
		}
		if pause(ctx, wait) != nil {
			return err
		}
		wait *= 2
	}
}

func (cl *Client) once(ctx context.Context, method, path string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, cl.flags.Base()+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: --api %q: %w", terminal.ErrUsage, cl.flags.API, err)
	}
	if req.URL.Scheme != "https" && !api.Loopback(req.URL.Hostname()) {
		return fmt.Errorf("%w: --api %s", ErrPlain, cl.flags.API)
	}
	data := remote.DefaultData()
	if _, err := remote.FindCredentials(data); err != nil {
		return fmt.Errorf("%w\n`eval \"$(millrace env --data DIR)\"` sets all of it", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := remote.Send(req, body, data, cl.flags.CA)
	if err != nil {
		return cl.flags.Unreached(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerMost))
	if err != nil {
		return cl.flags.Unreached(err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return faultOf(resp, answer)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%w at %s as the MSK API does: %w", remote.ErrControl, cl.flags.API, err)
	}
	return nil
}

func faultOf(resp *http.Response, answer []byte) error {
	var told struct {
		Message   string `json:"message"`
		Parameter string `json:"invalidParameter"`
		Error     string `json:"error"` // of the verbs' API, which answers where nobody else does
	}
	f := &Fault{Status: resp.StatusCode, Code: resp.Header.Get("X-Amzn-Errortype")}
	if json.Unmarshal(answer, &told) == nil {
		f.Message, f.Parameter = told.Message, told.Parameter
		if f.Message == "" {
			f.Message = told.Error
		}
	}
	if f.Message == "" {
		f.Message = "the API answers " + resp.Status
	}
	if f.Code == "" {
		f.Code = resp.Status
	}
	if strings.HasSuffix(f.Code, "SignatureException") || f.Code == "UnrecognizedClientException" || f.Code == "InvalidClientTokenId" {
		f.Message += "; `eval \"$(millrace env --data DIR)\"` sets the key of this installation"
	}
	return f
}

// pause waits, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// of is the path of what an ARN names, below the folder of its kind.
func of(folder, arn string, parts ...string) string {
	path := folder + "/" + url.PathEscape(arn)
	for _, p := range parts {
		path += "/" + url.PathEscape(p)
	}
	return path
}

// Folders of the API.
const (
	v1Clusters     = "/v1/clusters"
	v2Clusters     = "/api/v2/clusters"
	operations     = "/v1/operations"
	configurations = "/v1/configurations"
	tags           = "/v1/tags"
)

// all gathers every page of a list. page returns what one answer holds, and the token of the next; "": it was the last.
func all[T any](ctx context.Context, path string, query url.Values, page func(path string) (list []T, next string, err error)) ([]T, error) {
	if query == nil {
		query = url.Values{}
	}
	query.Set("maxResults", "100")
	var every []T
	for {
		list, next, err := page(path + "?" + query.Encode())
		if err != nil {
			return nil, err
		}
		every = append(every, list...)
		if next == "" || ctx.Err() != nil {
			return every, ctx.Err()
		}
		query.Set("nextToken", next)
	}
}
