package door

import (
	"encoding/json"
	"fmt"
	"net/http"

	"millrace/base/clock"
	"millrace/cmd/api"
	"millrace/control"
	"millrace/express/audit"
)

// handleAudits is the part of the API that asks brokers for audits.
func (i *Installation) handleAudits(handle Handle) {
	cluster := func(r *http.Request) (string, error) {
		c, err := i.Plane.Cluster(r.Context(), r.PathValue("cluster"))
		return control.Prefix(c.Name), err
	}
	handle("GET "+api.Root+"/clusters/{cluster}/audit", func(r *http.Request) (int, any, error) {
		prefix, err := cluster(r)
		if err != nil {
			return 0, nil, err
		}
		answer, err := audit.Asked(r.Context(), i.Store, prefix)
		return http.StatusOK, answer, err
	})
	handle("POST "+api.Root+"/clusters/{cluster}/audit", func(r *http.Request) (int, any, error) {
		prefix, err := cluster(r)
		if err != nil {
			return 0, nil, err
		}
		var asked audit.Request
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked.BytesPerSecond < 0 {
			return 0, nil, fmt.Errorf("%w: bytes_per_second must be a number from 0 on", control.ErrSpec)
		}
		asked.Asked = clock.System{}.Now()
		asked.Number, err = audit.Ask(r.Context(), i.Store, prefix, asked.BytesPerSecond, asked.Asked)
		return http.StatusAccepted, asked, err
	})
	handle("POST "+api.Root+"/clusters/{cluster}/audit/pace", func(r *http.Request) (int, any, error) {
		prefix, err := cluster(r)
		if err != nil {
			return 0, nil, err
		}
		var pace audit.Pace
		if err := json.NewDecoder(r.Body).Decode(&pace); err != nil {
			return 0, nil, fmt.Errorf("%w: bytes_per_second must be a number", control.ErrSpec)
		}
		return http.StatusOK, struct{}{}, audit.SetPace(r.Context(), i.Store, prefix, pace.BytesPerSecond)
	})
}
