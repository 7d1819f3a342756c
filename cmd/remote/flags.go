package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"millrace/cmd/api"
	"millrace/cmd/terminal"
)

// Flags are the flags of verbs that talk to the control plane.
type Flags struct {
	API    string // URL, or HOST:PORT
	CA     string // file of the authority that the API's certificate is of; empty: those that the system trusts
	NoWait bool   // not to wait for the end of what was begun
}

// Add adds the flags to a verb.
func (f *Flags) Add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.API, "api", DefaultAPI(), "the control plane, as --listen of millrace serve (also from MILLRACE_API)")
	cmd.Flags().StringVar(&f.CA, "api-ca", os.Getenv("MILLRACE_CA"), "certificate authority of a control plane at https://, PEM (also from MILLRACE_CA)")
}

// AddWait adds them to a verb that begins something.
func (f *Flags) AddWait(cmd *cobra.Command) {
	f.Add(cmd)
	cmd.Flags().BoolVar(&f.NoWait, "no-wait", false, "return once the operation has begun")
	cmd.Flags().BoolFunc("wait", "wait for its end and show its steps, as is done anyway", func(text string) error {
		wait, err := strconv.ParseBool(text)
		f.NoWait = !wait
		return err
	})
	cmd.MarkFlagsMutuallyExclusive("wait", "no-wait")
}

// ErrControl: the control plane does not answer.
var ErrControl = errors.New("the control plane does not answer")

// Base is the URL of the control plane, without a slash at its end.
func (f Flags) Base() string {
	base := strings.TrimSuffix(f.API, "/")
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	return base
}

// Unreached is ErrControl, of a request that was not answered, with what to do about it.
func (f Flags) Unreached(err error) error {
	return fmt.Errorf("%w at %s: %w\n%s", ErrControl, f.API, err, hintOf(err))
}

// Call asks the control plane about the default cluster.
func (f Flags) Call(ctx context.Context, method, path string, in, out any) error {
	return f.Ask(ctx, method, api.Root+"/clusters/"+api.DefaultCluster+path, in, out)
}

// Ask asks the control plane: in is sent as JSON, out is filled by the answer. Its error is what the API has said, or ErrControl.
func (f Flags) Ask(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, f.Base()+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: --api %q: %w", terminal.ErrUsage, f.API, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := Send(req, body, DefaultData(), f.CA)
	if err != nil {
		return f.Unreached(err)
	}
	defer resp.Body.Close()
	const answerMost = 16 << 20
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerMost))
	if err != nil {
		return fmt.Errorf("%w at %s: %w", ErrControl, f.API, err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		var fault struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(answer, &fault) != nil || fault.Error == "" {
			fault.Error = resp.Status
		}
		return errors.New(fault.Error + unsigned(resp.StatusCode, f.Base()))
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%w at %s as millrace does: %w", ErrControl, f.API, err)
	}
	return nil
}
