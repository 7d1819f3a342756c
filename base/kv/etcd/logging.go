package etcd

import (
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newLogger returns the logger for etcd: its errors become warnings here, for what they mean to us shows in
// the calls that fail; what makes it give up is an error; the rest is dropped.
func newLogger(log *slog.Logger) *zap.Logger {
	if log == nil {
		return zap.NewNop()
	}
	return zap.New(slogCore{log})
}

// slogCore passes etcd's log entries on.
type slogCore struct{ log *slog.Logger }

func (slogCore) Enabled(level zapcore.Level) bool { return level >= zapcore.ErrorLevel }

func (c slogCore) With(fields []zapcore.Field) zapcore.Core {
	return slogCore{c.log.With("etcd_context", values(fields))}
}

// earlyStorageVersion is what a new member reports as an error when its version monitor looks at the database
// before the first term is written there. It looks again and finds it.
const earlyStorageVersion = "failed to update storage version"

func (c slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) && e.Message != earlyStorageVersion {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	report := c.log.Warn
	if e.Level > zapcore.ErrorLevel {
		report = c.log.Error
	}
	report("embedded etcd reports a problem", "etcd_message", e.Message, "etcd_fields", values(fields))
	return nil
}

func (slogCore) Sync() error { return nil }

func values(fields []zapcore.Field) map[string]any {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	return enc.Fields
}
