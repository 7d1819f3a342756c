package door

import (
	"context"
	"net/http"
	"time"

	"millrace/cmd/api"
)

// driftMost bounds the time in which all brokers of a cluster are asked.
const driftMost = 10 * time.Second

// handleDrift answers which properties brokers of a cluster go by that its configuration does not say.
func (i *Installation) handleDrift(handle Handle) {
	handle("GET "+api.Root+"/clusters/{cluster}/drift", func(r *http.Request) (int, any, error) {
		c, err := i.Plane.Cluster(r.Context(), r.PathValue("cluster"))
		if err != nil {
			return 0, nil, err
		}
		ctx, cancel := context.WithTimeout(r.Context(), driftMost)
		defer cancel()
		found, err := i.Drift(ctx, c.Name)
		return http.StatusOK, map[string]any{"configuration": c.Settings.Configuration, "drift": found}, err
	})
}
