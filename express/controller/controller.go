package controller

import (
	"context"
	"log/slog"
	"time"

	"millrace/base/clock"
	"millrace/express/catalog"
)

// Config says how often to look. A zero field takes its default.
type Config struct {
	Every time.Duration // between looks when nothing changes; default 5 s
	Pause time.Duration // between looks while things change, and to the store when it is away; default 100 ms
}

// World is what a controller touches outside itself.
type World struct {
	Cluster *catalog.Catalog // open; it need not run or be registered yet
	Clock   clock.Clock
	Log     *slog.Logger
}

// Controller runs for the office, and plans for the cluster while this process holds it.
type Controller struct {
	cfg   Config
	world World
}

// lookShare: a look of a large cluster is followed by a pause of so many times its length.
const lookShare = 9

// New fills in defaults.
func New(cfg Config, w World) *Controller {
	if cfg.Every <= 0 {
		cfg.Every = 5 * time.Second
	}
	if cfg.Pause <= 0 {
		cfg.Pause = 100 * time.Millisecond
	}
	return &Controller{cfg: cfg, world: w}
}

// Run works until ctx ends, and then returns nil. A store that is away is logged and tried again.
func (c *Controller) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		changed := c.world.Cluster.Changed()
		began := c.world.Clock.Now()
		if err := c.look(ctx); err != nil && ctx.Err() == nil {
			c.world.Log.Warn("partitions could not be ordered to move", "err", err)
		}
		took := c.world.Clock.Now().Sub(began)
		wait(ctx, max(c.cfg.Pause, lookShare*took), nil)
		wait(ctx, c.cfg.Every, changed)
	}
	return nil
}

// look does what is to be done once.
func (c *Controller) look(ctx context.Context) error {
	// Orders are small; an answer that does not come is asked for again.
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Every)
	defer cancel()
	if err := c.world.Cluster.Campaign(ctx); err != nil {
		return err
	}
	if !c.world.Cluster.IsController() {
		return nil
	}
	moves := Plan(State{Brokers: c.world.Cluster.Brokers(), Topics: c.world.Cluster.Topics()})
	if len(moves) == 0 {
		return nil
	}
	c.world.Log.Info("partitions are ordered to move", "partitions", len(moves))
	return c.world.Cluster.Move(ctx, moves)
}

// wait ends after d, when wake is closed, or with ctx.
func wait(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-ctx.Done():
	}
}
