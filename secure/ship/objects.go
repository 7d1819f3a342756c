package ship

import (
	"context"
	"fmt"

	"millrace/base/object"
)

// Objects is a Sink that makes an object of each batch: a file in a folder, or an object in a bucket. The key is audit/WRITER/ and the number
// of the first line, with the suffix of the trail's own files.
type Objects struct{ Store object.Store }

// Put stores the batch, in place of itself if it was stored before.
func (o Objects) Put(ctx context.Context, b Batch) error {
	var body [][]byte
	for _, e := range b.Entries {
		body = append(body, e.Raw, []byte("\n"))
	}
	return o.Store.Put(ctx, fmt.Sprintf("audit/%s/%020d.jsonl", b.Writer, b.Entries[0].N), body, object.PutOptions{})
}
