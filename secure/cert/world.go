package cert

import (
	"errors"
	"log/slog"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/secure/trail"
)

// Errors to be tested with errors.Is.
var (
	// ErrNewer: a record was written by a newer version of Millrace.
	ErrNewer = errors.New("cert: record written by a newer version of millrace")
	// ErrRecord: a record in etcd or a file cannot be read; the message names it.
	ErrRecord = errors.New("cert: damaged record")
	// ErrSealed: the key of the authority cannot be opened, by a wrong or unreachable KMS key.
	ErrSealed = errors.New("cert: the key of the certificate authority cannot be opened")
	// ErrGiven: the authority's certificate or key that was given cannot be used; the message says why.
	ErrGiven = errors.New("cert: given certificate authority")
	// ErrRequest: a request is refused; the message says why.
	ErrRequest = errors.New("cert: request refused")
	// ErrUnknown: no certificate has this serial number or name.
	ErrUnknown = errors.New("cert: no such certificate")
	// ErrRefused: a certificate is refused: revoked, ended, not of a trusted authority, or none of a node where one is needed.
	ErrRefused = errors.New("cert: certificate refused")
	// ErrRules: the mapping rules cannot be read; the message says where.
	ErrRules = errors.New("cert: principal mapping rules")
	// ErrNoRule: no mapping rule fits the name in a certificate.
	ErrNoRule = errors.New("cert: no principal mapping rule applies")
)

// Sealer keeps secrets from who can read etcd. context is bound to the sealed bytes: what was sealed with another does not open.
type Sealer interface {
	// Seal returns what only Open can read. It keeps neither slice.
	Seal(plain, context []byte) ([]byte, error)
	// Open returns what was sealed with the same context, or an error.
	Open(sealed, context []byte) ([]byte, error)
}

// World is all that the package touches outside itself.
type World struct {
	KV    kv.KV
	Clock clock.Clock // in step with the timers of package time
	Log   *slog.Logger
	FS    disk.FS        // of a Keeper
	Trail trail.Recorder // nil: nothing is recorded
}

func (w World) record(e trail.Event) {
	if w.Trail == nil {
		return
	}
	e.Time = w.Clock.Now()
	w.Trail.Record(e)
}
