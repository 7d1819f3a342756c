// Package told is what the audit trail keeps of a change that an administrator made: bounded, and without what is sensitive.
//
// Flow: a topic, rows of a request -> Topic, Rows -> JSON -> trail.Event.
//
// All functions are pure. Files: told.go.
package told

import (
	"encoding/json"
	"fmt"
	"strconv"

	"millrace/express/api/configs"
	"millrace/express/catalog"
)

// Bounds of one event: bytes of before and of after, rows of a list.
const (
	bytesMost = 16 << 10
	rowsMost  = 100
)

// JSON is a value as the trail keeps it; nil for nil.
func JSON(v any) json.RawMessage {
	if v == nil {
		return nil
	}
	text, err := json.Marshal(v)
	switch {
	case err != nil: // a value that JSON cannot show is a fault of ours; the event counts more
		return nil
	case len(text) > bytesMost:
		return json.RawMessage(strconv.AppendQuote(nil, fmt.Sprintf("%d bytes, too long to be kept", len(text))))
	}
	return text
}

// Topic is what is kept of a topic; t may be nil.
func Topic(t *catalog.Topic) any {
	if t == nil {
		return nil
	}
	return map[string]any{
		"id": t.ID.String(), "partitions": len(t.Partitions), "replication_factor": t.ReplicationFactor, "configs": configs.Told(t.Settings.Overrides),
	}
}

// Rows is a list of a request or response, without what would make an event too long.
func Rows[T any](rows []T) any {
	if len(rows) > rowsMost {
		return map[string]any{"first": rows[:rowsMost], "rows": len(rows)}
	}
	return rows
}
