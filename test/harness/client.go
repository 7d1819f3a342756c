package harness

import (
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ClientLog returns a logger for a franz-go client that writes all it does to a file in the folder, one for each name, which
// is made or appended to. Where that fails it logs nothing: logs are for the reader of a failure, not part of a test.
func ClientLog(folder, name string) kgo.Logger {
	var out io.Writer = io.Discard
	if err := os.MkdirAll(folder, 0o755); err == nil {
		// The file is closed by the end of the test process: a client says last words after its user has left it.
		if file, err := os.OpenFile(filepath.Join(folder, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err == nil {
			out = file
		}
	}
	return kgo.BasicLogger(out, kgo.LogLevelDebug, func() string { return time.Now().Format("15:04:05.000 ") })
}
