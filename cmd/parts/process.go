package parts

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
)

// CleanStop is err, or nil where it only says that ctx has ended: a process that was told to end has ended well.
func CleanStop(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// WriteReadiness answers /readyz: 503 with the reasons, or 200 where there are none. More is shown beside them.
func WriteReadiness(w http.ResponseWriter, reasons []string, more map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	if len(reasons) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	// The client is gone where this fails.
	answer := map[string]any{"ready": len(reasons) == 0, "reasons": append([]string{}, reasons...)}
	maps.Copy(answer, more)
	_ = json.NewEncoder(w).Encode(answer)
}
