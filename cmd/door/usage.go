package door

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"millrace/cmd/api"
	"millrace/control"
	"millrace/express/meter"
)

// handleUsage answers what clients used of a cluster, ?from= and ?to= (RFC 3339), of one ?topic= where it is given.
func (i *Installation) handleUsage(handle Handle) {
	handle("GET "+api.Root+"/clusters/{cluster}/usage", func(r *http.Request) (int, any, error) {
		values := r.URL.Query()
		q := meter.Query{Topic: values.Get("topic")}
		var err error
		if q.From, err = time.Parse(time.RFC3339, values.Get("from")); err != nil {
			return 0, nil, fmt.Errorf("%w: from: %w", control.ErrSpec, err)
		}
		if q.To, err = time.Parse(time.RFC3339, values.Get("to")); err != nil {
			return 0, nil, fmt.Errorf("%w: to: %w", control.ErrSpec, err)
		}
		c, err := i.Plane.Cluster(r.Context(), r.PathValue("cluster"))
		if err != nil {
			return 0, nil, err
		}
		used, err := i.Usage(r.Context(), c, q)
		if errors.Is(err, meter.ErrRange) {
			err = fmt.Errorf("%w: %w", control.ErrSpec, err)
		}
		return http.StatusOK, used, err
	})
}
