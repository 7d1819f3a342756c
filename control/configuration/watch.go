package configuration

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

const (
	lookEvery = 5 * time.Minute
	lookMost  = 30 * time.Second // for one cluster
	saidMost  = 10               // properties that one line of the log names
)

// Watch looks for drift at the clusters that clusters names, one after the other, every five minutes until ctx ends, and says in the log
// where it has changed. What cannot be reached is looked at the next time.
func (a *Applier) Watch(ctx context.Context, clusters func(ctx context.Context) ([]string, error), log *slog.Logger) error {
	known := map[string]string{} // what was said of a cluster last
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		names, err := clusters(ctx)
		if err != nil {
			log.Warn("clusters could not be compared with their configurations, trying again later", "err", err)
			continue
		}
		now := map[string]string{}
		for _, cluster := range names {
			looking, cancel := context.WithTimeout(ctx, lookMost)
			found, err := a.Drift(looking, cluster)
			cancel()
			if err != nil { // its brokers may be down, which others say
				now[cluster] = known[cluster]
				log.Debug("a cluster could not be compared with its configuration", "cluster", cluster, "err", err)
				continue
			}
			now[cluster] = fmt.Sprint(found)
			if was, looked := known[cluster]; was != now[cluster] && (looked || len(found) > 0) {
				tell(log, cluster, found)
			}
		}
		known = now
	}
}

// tell says what has drifted, or that nothing does any more.
func tell(log *slog.Logger, cluster string, found []Drift) {
	if len(found) == 0 {
		log.Info("brokers go by their configuration again", "cluster", cluster)
		return
	}
	var names []string
	for _, d := range found {
		if !slices.Contains(names, d.Name) {
			names = append(names, d.Name)
		}
	}
	log.Warn("brokers do not go by their configuration", "cluster", cluster, "values", len(found), "properties", names[:min(len(names), saidMost)])
}
