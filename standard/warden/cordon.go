package warden

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine"
	"millrace/standard/warden/view"
)

const (
	cordoned     = "cordoned.log.dirs"
	allDirs      = "*"
	cordonsSince = 30 // level of metadata.version: 4.3-IV0
)

// cordons tells whether the cluster knows cordoned directories.
func (s *session) cordons(ctx context.Context) (bool, error) {
	levels, err := s.features(ctx)
	return levels[metadataVersion].finalized >= cordonsSince, err
}

// cordon has brokers that run given no new replicas (W4). One that does not run cannot be told, and is given some last of all.
func (s *session) cordon(ctx context.Context, now view.Cluster, brokers []int32) error {
	if ok, err := s.cordons(ctx); err != nil || !ok {
		return err
	}
	for _, id := range brokers {
		if !now.Brokers[id].Alive || now.Brokers[id].Cordoned {
			continue
		}
		value := allDirs
		if err := s.alterOne(ctx, id, map[string]*string{cordoned: &value}, false); err != nil {
			return fmt.Errorf("cordon broker %d: %w", id, err)
		}
	}
	return nil
}

// uncordon takes the cordons of all brokers back that cordon set. A user's own, of single directories, stay.
func (s *session) uncordon(ctx context.Context, now *view.Cluster) error {
	for _, id := range slices.Sorted(maps.Keys(now.Brokers)) {
		b := now.Brokers[id]
		if !b.Alive || !b.Cordoned {
			continue
		}
		set, err := s.own(ctx, id, cordoned)
		if err != nil {
			return err
		}
		if set[cordoned] != allDirs {
			continue
		}
		err = s.alterOne(ctx, id, map[string]*string{cordoned: nil}, false)
		if err != nil {
			return fmt.Errorf("take back the cordon of broker %d: %w", id, err)
		}
		b.Cordoned = false
		now.Brokers[id] = b
	}
	return nil
}

// Leave takes a broker that is stopped and empty out of the cluster's records, and with it what was set for it alone. It may be repeated.
// ErrRefused: it has replicas. A broker that runs is an error that passes when it stops.
func (w *Warden) Leave(ctx context.Context, c engine.Target, broker int32) error {
	return w.with(ctx, c, fmt.Sprintf("take broker %d out of", broker), func(s *session) error {
		now, err := s.read(ctx, replicas)
		if err != nil {
			return err
		}
		if now.Brokers[broker].Alive {
			return errors.New("it still runs")
		}
		for _, p := range now.Partitions {
			if slices.Contains(p.Replicas, broker) {
				return fmt.Errorf("%w: it has a replica of %s", ErrRefused, p.Name())
			}
		}
		if err := s.forget(ctx, broker); err != nil {
			return err
		}
		req := kmsg.NewPtrUnregisterBrokerRequest()
		req.BrokerID = broker
		answer, err := request[*kmsg.UnregisterBrokerResponse](ctx, s.fresh, req)
		if err != nil {
			return err
		}
		if err := told(answer.ErrorCode, answer.ErrorMessage); !errors.Is(err, kerr.BrokerIDNotRegistered) {
			return err
		}
		return nil
	})
}

// forget takes away what Drain set for a broker that does not run: one that comes later by its id would be cordoned. Only the active
// controller can be told, as a broker changes only what is set for itself.
func (s *session) forget(ctx context.Context, broker int32) error {
	if s.active == nil {
		return nil // no controllers' addresses are known
	}
	changes := map[string]*string{leaderRate: nil, followerRate: nil}
	if ok, err := s.cordons(ctx); err != nil {
		return err
	} else if ok {
		changes[cordoned] = nil
	}
	err := s.alter(ctx, *s.active, kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(broker)), changes, false)
	if err != nil && !errors.Is(err, kerr.BrokerIDNotRegistered) {
		return fmt.Errorf("forget what is set for it: %w", err)
	}
	return nil
}
