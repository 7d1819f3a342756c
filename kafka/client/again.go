package client

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	// awayMost is how long Again goes on: a broker that dies or hangs is back, or others have what it led, in less.
	awayMost = 6 * time.Second
	// awayPause lies between two attempts.
	awayPause = 100 * time.Millisecond
)

// Again asks, and for a moment asks again while the answer is that a broker is not there: franz-go does not dial a broker a second time
// for requests that go to one broker only, such as those for offsets. The answer and the error are those of the last attempt. Ask is
// called several times; it must be for something that may happen twice.
func Again[T any](ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	limit := time.NewTimer(awayMost)
	defer limit.Stop()
	for {
		answer, err := ask(ctx)
		if err == nil || !isAway(err) {
			return answer, err
		}
		pause := time.NewTimer(awayPause)
		select {
		case <-pause.C:
		case <-limit.C:
			pause.Stop()
			return answer, err
		case <-ctx.Done():
			pause.Stop()
			return answer, err
		}
	}
}

// Offsets lists offsets with one of the listing methods of kadm.Client, as Again does; partitions that have no leader for the moment are
// asked for again, too. What is wrong with a partition in the end is with the partition.
func Offsets(
	ctx context.Context, list func(context.Context, ...string) (kadm.ListedOffsets, error), topics ...string,
) (kadm.ListedOffsets, error) {
	var fault error // of the whole answer
	listed, _ := Again(ctx, func(ctx context.Context) (listed kadm.ListedOffsets, err error) {
		if listed, fault = list(ctx, topics...); fault != nil {
			return listed, fault
		}
		return listed, awayError(listed)
	})
	return listed, fault
}

// awayError is the error of some partition whose leader is away; nil: there is none.
func awayError(listed kadm.ListedOffsets) error {
	for _, partitions := range listed {
		for _, o := range partitions {
			if o.Err != nil && isAway(o.Err) {
				return o.Err
			}
		}
	}
	return nil
}

// isAway tells whether an error may pass by itself soon: every part of it says that a broker is not there, or leads no more.
func isAway(err error) bool {
	var shards *kadm.ShardErrors
	if errors.As(err, &shards) {
		// What a broker did not say itself is about the way to it.
		return !slices.ContainsFunc(shards.Errs, func(s kadm.ShardError) bool { return isSaid(s.Err) && !isMoving(s.Err) || isOurs(s.Err) })
	}
	if isSaid(err) {
		return isMoving(err)
	}
	var dial *net.OpError
	return !isOurs(err) && (errors.As(err, &dial) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF))
}

// isOurs tells the end of the caller's patience from what is wrong with a broker, and a cluster that is away from a broker that is.
func isOurs(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnreachable)
}

// isSaid tells whether an error is the code of an answer.
func isSaid(err error) bool {
	var code *kerr.Error
	return errors.As(err, &code)
}

// isMoving tells whether the code is that of something that has no place for the moment, or another one.
func isMoving(err error) bool {
	for _, code := range []*kerr.Error{
		kerr.LeaderNotAvailable, kerr.NotLeaderForPartition, kerr.BrokerNotAvailable, kerr.ReplicaNotAvailable, kerr.NetworkException,
		kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch, kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.NotCoordinator,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}
