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
	Pause time.Duration // between looks while things change, and to the store when it is away; default 50 ms
	// Takes has what brokers own that are gone taken by others. Their logs must be in the object store.
	Takes bool
	Grace time.Duration // how long an owner is waited for that was never live here, and may be starting; default 5 s
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

	absence absence // Run's
}

// planShare: a plan for a large cluster is followed by a pause of so many times the time that it took.
const planShare = 9

// takeMost bounds one call that has partitions taken; what it has done by then stays.
const takeMost = 30 * time.Second

// New fills in defaults.
func New(cfg Config, w World) *Controller {
	if cfg.Every <= 0 {
		cfg.Every = 5 * time.Second
	}
	if cfg.Pause <= 0 {
		cfg.Pause = 50 * time.Millisecond
	}
	if cfg.Grace <= 0 {
		cfg.Grace = 5 * time.Second
	}
	return &Controller{cfg: cfg, world: w}
}

// Run works until ctx ends, and then returns nil. A store that is away is logged and tried again.
func (c *Controller) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		changed := c.world.Cluster.Changed()
		planned, err := c.look(ctx)
		if err != nil && ctx.Err() == nil {
			c.world.Log.Warn("partitions could not be ordered to move", "err", err)
		}
		wait(ctx, c.cfg.Pause, nil)
		c.rest(ctx, planShare*planned)
		if len(c.gone()) == 0 {
			every := c.cfg.Every
			if c.absence.waits() {
				every = min(every, c.cfg.Grace/4)
			}
			wait(ctx, every, changed)
		}
	}
	return nil
}

// rest waits for d, but not while partitions have nobody to serve them.
func (c *Controller) rest(ctx context.Context, d time.Duration) {
	until := c.world.Clock.Now().Add(d)
	for ctx.Err() == nil {
		changed := c.world.Cluster.Changed()
		left := until.Sub(c.world.Clock.Now())
		if left <= 0 || len(c.gone()) > 0 {
			return
		}
		wait(ctx, left, changed)
	}
}

// look does what is to be done once, and gives the time that the plan took. How long the store takes for the orders is left
// out: who moves waits for the next of them.
func (c *Controller) look(all context.Context) (planned time.Duration, err error) {
	// Orders are small; an answer that does not come is asked for again.
	ctx, cancel := context.WithTimeout(all, c.cfg.Every)
	defer cancel()
	gone := c.gone()
	if err := c.world.Cluster.Campaign(ctx); err != nil {
		return 0, err
	}
	if !c.world.Cluster.IsController() {
		return 0, nil
	}
	takes := Takes(State{Brokers: c.world.Cluster.Brokers(), Topics: c.world.Cluster.Topics(), Gone: gone})
	if len(takes) > 0 {
		c.world.Log.Info("partitions are taken from brokers that are gone", "partitions", len(takes), "owners", len(gone))
		taking, cancel := context.WithTimeout(all, takeMost)
		defer cancel()
		if err := c.world.Cluster.Take(taking, takes); err != nil {
			return 0, err
		}
	}
	began := c.world.Clock.Now()
	moves := Plan(State{Brokers: c.world.Cluster.Brokers(), Topics: c.world.Cluster.Topics()})
	planned = c.world.Clock.Now().Sub(began)
	if len(moves) == 0 {
		return planned, nil
	}
	c.world.Log.Info("partitions are ordered to move", "partitions", len(moves))
	return planned, c.world.Cluster.Move(ctx, moves)
}

// gone gives the owners whose partitions others shall take.
func (c *Controller) gone() map[Owner]bool {
	if !c.cfg.Takes {
		return nil
	}
	return c.absence.look(c.world.Clock.Now(), c.world.Cluster.Brokers(), c.world.Cluster.Topics(), c.cfg.Grace)
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
