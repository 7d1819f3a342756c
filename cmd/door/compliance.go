package door

import (
	"context"
	"errors"
	"net/http"

	"millrace/cmd/api"
	"millrace/secure/comply"
)

// handleCompliance adds the route of reports on standards.
func (i *Installation) handleCompliance(handle Handle) {
	handle("GET "+api.Compliance, func(r *http.Request) (int, any, error) {
		state, err := i.complianceState(r.Context())
		if err != nil {
			return 0, nil, err
		}
		report, err := comply.Check(r.URL.Query().Get("standard"), state)
		if errors.Is(err, comply.ErrStandard) {
			return http.StatusBadRequest, map[string]string{"error": err.Error()}, nil
		}
		return http.StatusOK, report, err
	})
}

// complianceState gathers the facts. What cannot be found out stays unknown, and is logged.
func (i *Installation) complianceState(ctx context.Context) (comply.State, error) {
	g := &gathering{i: i, state: comply.State{Time: now(), Installation: i.Name}}
	for _, part := range []struct {
		what   string
		gather func(context.Context) error
	}{
		{"listeners", g.listeners}, {"keys", g.keys}, {"certificates", g.certificates}, {"principals", g.principals}, {"rights", g.rights},
		{"audit trail", g.trail}, {"topics", g.topics}, {"audits of the data", g.audits},
	} {
		if err := part.gather(ctx); err != nil {
			if ctx.Err() != nil {
				return comply.State{}, ctx.Err()
			}
			i.Log.Warn("a fact of the compliance report is unknown", "what", part.what, "err", err)
		}
	}
	return g.state, nil
}
