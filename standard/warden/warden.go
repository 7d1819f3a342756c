package warden

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/engine"
	"millrace/standard/warden/moves"
	"millrace/standard/warden/view"
)

// ErrRefused: it cannot be done, and trying again does not help; the message says why.
var ErrRefused = errors.New("refused by the cluster of Apache Kafka")

// Config is read once by New. The zero value is a good one.
type Config struct {
	Timeout  time.Duration // for one node to be connected to, or to answer; default 5 s
	Throttle int64         // bytes per second that each broker gives, and takes, of replicas that move; 0: no bound
	Limits   moves.Limits  // of what moves at once
}

// Warden does so for any number of clusters. It is safe for concurrent use and has nothing to close. ctx bounds each call.
type Warden struct {
	cfg Config
}

// New makes a Warden.
func New(cfg Config) *Warden {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	return &Warden{cfg: cfg}
}

// with runs a function with a session, and says of its error what was done to which cluster.
func (w *Warden) with(ctx context.Context, c engine.Target, what string, do func(*session) error) error {
	s := &session{cfg: w.cfg, target: c, peers: map[int32]peer{}}
	defer s.close()
	if err := do(s); err != nil {
		return fmt.Errorf("%s cluster %s: %w", what, c.Cluster, err)
	}
	return nil
}

// Order is the order in which nodes are started anew: controllers that do not take part, those that do (the active one last), brokers that
// do not run, those that do; by id where that leaves it open.
func (w *Warden) Order(ctx context.Context, c engine.Target, nodes []int32) (ordered []int32, err error) {
	err = w.with(ctx, c, "order the nodes of", func(s *session) error {
		now, err := s.read(ctx, replicas)
		if errors.Is(err, errNoBroker) {
			err = nil // they come all after the controllers
		}
		ordered = view.Order(now, nodes)
		return err
	})
	if err != nil {
		return nil, err
	}
	return ordered, nil
}

// MayStop says why a node must not stop now; "": it may. A partition would fall below its min.insync.replicas or lose its last replica in
// sync, or the quorum its majority. Of a node that does not run it says why it must not be given up, and started with an empty disk: it may
// have the last replica of a partition that is complete.
func (w *Warden) MayStop(ctx context.Context, c engine.Target, node int32) (why string, err error) {
	err = w.with(ctx, c, "look at", func(s *session) error {
		now, err := s.read(ctx, replicas|settings|eligible)
		if err == nil {
			why = view.MayStop(now, node)
		}
		return err
	})
	return why, err
}

// Settled says what is not yet as before a restart; "": all is. Replicas are out of sync, voters lag, brokers of Target.Zones are away.
func (w *Warden) Settled(ctx context.Context, c engine.Target) (why string, err error) {
	err = w.with(ctx, c, "look at", func(s *session) error {
		now, err := s.read(ctx, replicas)
		if err == nil {
			why = view.Settled(now)
		}
		return err
	})
	return why, err
}

// Health says what is wrong with partitions, and because of whom.
func (w *Warden) Health(ctx context.Context, c engine.Target) (health view.Health, err error) {
	err = w.with(ctx, c, "examine", func(s *session) error {
		now, err := s.read(ctx, replicas|settings|eligible)
		if err == nil {
			health = view.Examine(now)
		}
		return err
	})
	return health, err
}
