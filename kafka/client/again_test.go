package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

var refused error = &net.OpError{Op: "dial", Net: "tcp", Err: &os.SyscallError{Syscall: "connect", Err: syscall.ECONNREFUSED}}

func shards(errs ...error) error {
	s := &kadm.ShardErrors{Name: "ListOffsets"}
	for _, err := range errs {
		s.Errs = append(s.Errs, kadm.ShardError{Err: err})
	}
	return s
}

func TestWhatIsAskedAgain(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{refused, true},
		{fmt.Errorf("unable to dial: %w", refused), true},
		{io.EOF, true},
		{shards(refused), true},
		{shards(errors.New("unknown broker")), true},
		{shards(refused, kerr.NotLeaderForPartition), true},
		{shards(refused, kerr.TopicAuthorizationFailed), false},
		{shards(context.DeadlineExceeded), false},
		{kerr.LeaderNotAvailable, true},
		{kerr.UnknownTopicOrPartition, false},
		{fmt.Errorf("%w at 127.0.0.1:1: %w", ErrUnreachable, refused), false},
		{context.Canceled, false},
		{errors.New("nonsense"), false},
	} {
		if got := isAway(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

func TestAgainEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		ask := func(fail int, err error) func(context.Context) (int, error) {
			asked = 0
			return func(context.Context) (int, error) {
				if asked++; asked > fail {
					return asked, nil
				}
				return -1, err
			}
		}
		if n, err := Again(t.Context(), ask(20, refused)); n != 21 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if n, err := Again(t.Context(), ask(20, kerr.UnknownTopicOrPartition)); n != -1 || asked != 1 || !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("%d, %v after %d", n, err, asked)
		}
		began := time.Now()
		if _, err := Again(t.Context(), ask(1000, refused)); !errors.Is(err, syscall.ECONNREFUSED) || time.Since(began) != awayMost {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		if _, err := Again(ctx, ask(1000, refused)); !errors.Is(err, syscall.ECONNREFUSED) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// What is wrong with a partition stays with it when it does not pass.
func TestOffsets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		list := func(until int, err error) func(context.Context, ...string) (kadm.ListedOffsets, error) {
			asked = 0
			return func(_ context.Context, topics ...string) (kadm.ListedOffsets, error) {
				o := kadm.ListedOffset{Topic: topics[0], Offset: 7}
				if asked++; asked < until {
					o.Err = err
				}
				return kadm.ListedOffsets{topics[0]: {0: o}}, nil
			}
		}
		if l, err := Offsets(t.Context(), list(5, kerr.LeaderNotAvailable), "t"); err != nil || l.Error() != nil || asked != 5 {
			t.Errorf("%v, %v after %d", l, err, asked)
		}
		if l, err := Offsets(t.Context(), list(1000, kerr.LeaderNotAvailable), "t"); err != nil || !errors.Is(l.Error(), kerr.LeaderNotAvailable) {
			t.Errorf("%v, %v after %d", l, err, asked)
		}
		if l, err := Offsets(t.Context(), list(1000, kerr.UnknownTopicOrPartition), "t"); err != nil || asked != 1 || l.Error() == nil {
			t.Errorf("%v, %v after %d", l, err, asked)
		}
	})
}
