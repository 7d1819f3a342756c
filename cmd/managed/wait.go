package managed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/cmd/remote"
)

const (
	// lookEvery is between two looks at what is waited for.
	lookEvery = 200 * time.Millisecond
	// awayMost is how many looks in a row may find nobody who answers: two minutes.
	awayMost = int(2 * time.Minute / lookEvery)
)

// ErrFailed: what was waited for has failed; the message is the API's.
var ErrFailed = errors.New("failed")

// until looks again and again until look says that it is over. It bears a control plane that is away for a while (M3).
func until(ctx context.Context, p *Progress, look func() (over bool, err error)) error {
	defer p.clear()
	for away := 0; ; {
		over, err := look()
		switch {
		case errors.Is(err, remote.ErrControl) && ctx.Err() == nil && away < awayMost:
			away++
		case over || err != nil:
			return err
		default:
			away = 0
		}
		if err := pause(ctx, lookEvery); err != nil {
			return err
		}
	}
}

// Settle waits until nothing is done to a cluster any more, and returns it: ACTIVE, or FAILED with ErrFailed.
func (cl *Client) Settle(ctx context.Context, arn string, p *Progress) (c Cluster, err error) {
	last := ""
	err = until(ctx, p, func() (bool, error) {
		if c, err = cl.Describe(ctx, arn); err != nil {
			return false, err
		}
		if c.Operation != "" {
			last = c.Operation
		}
		if last == "" {
			p.waiting(c)
		} else if op, err := cl.Operation(ctx, last); err == nil {
			p.show(op)
		}
		switch c.State {
		case Active:
			return true, nil
		case Broken:
			return true, fmt.Errorf("cluster %s is FAILED: %w: %s; `millrace cluster delete %s` takes it away", c.Name, ErrFailed, c.StateInfo.Message, c.Name)
		}
		return false, nil
	})
	return c, err
}

// Gone waits until a cluster is deleted.
func (cl *Client) Gone(ctx context.Context, arn string, p *Progress) error {
	return until(ctx, p, func() (bool, error) {
		c, err := cl.Describe(ctx, arn)
		switch {
		case NotFound(err):
			return true, nil
		case err != nil:
			return false, err
		case c.State == Broken:
			return true, fmt.Errorf("cluster %s: its deletion %w: %s", c.Name, ErrFailed, c.StateInfo.Message)
		}
		if op, err := cl.Operation(ctx, c.Operation); c.Operation != "" && err == nil {
			p.show(op)
		} else {
			p.waiting(c)
		}
		return false, nil
	})
}

// Done waits for the end of an operation. Its error is ErrFailed where the operation has failed; the cluster is then as it was before.
func (cl *Client) Done(ctx context.Context, operation string, p *Progress) (op Operation, err error) {
	err = until(ctx, p, func() (bool, error) {
		if op, err = cl.Operation(ctx, operation); err != nil {
			return false, err
		}
		p.show(op)
		switch op.State {
		case operationDone:
			return true, nil
		case operationFailed:
			text := ""
			if op.Error != nil {
				text = ": " + op.Error.Text
			}
			return true, fmt.Errorf("%s of cluster %s %w%s", op.Type, Short(op.Cluster), ErrFailed, text)
		}
		return false, nil
	})
	return op, err
}

// TopicActive waits until each partition of a topic has a leader.
func (cl *Client) TopicActive(ctx context.Context, cluster, name string) error {
	return until(ctx, &Progress{}, func() (bool, error) {
		t, err := cl.Topic(ctx, cluster, name)
		if NotFound(err) { // the broker that was asked has not heard of it yet
			return false, nil
		}
		return t.Status == Active, err
	})
}
