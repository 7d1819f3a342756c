package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"millrace/base/disk"
	"millrace/engine"
	"millrace/engine/reach"
	"millrace/standard/dist"
	"millrace/standard/render"
)

// Errors to be tested with errors.Is. Those of standard/dist and standard/render come through, too.
var (
	// ErrForeign: the storage that is there is another node's or cluster's, or no one's that can be told.
	ErrForeign = errors.New("storage of another node")
	// ErrRuns: a process has the node's storage.
	ErrRuns = errors.New("a process has the storage of this node")
	// ErrNoCertificate: a node has TLS listeners, and this host cannot get it a certificate.
	ErrNoCertificate = errors.New("no certificate for a node of Apache Kafka")
	// ErrAnonymous: a listener asks nobody who they are, where that is not allowed.
	ErrAnonymous = errors.New("its listener asks nobody who they are, which the agent was not told to allow (--insecure)")
)

// Certificate is where a node's certificate lies, see render.Place.
type Certificate struct{ KeyStore, TrustStore string }

// Engine runs nodes of Apache Kafka. It implements engine.Engine, engine.Preparer, engine.Fetcher and engine.Mannered; the zero value is not usable.
type Engine struct {
	Dist *dist.Dist
	Data string // data directory of the installation, absolute; nodes lie below it
	FS   disk.FS

	// ClientTLS is how this host shows a node at some host who it is; nil: it cannot. It is called for each probe; ctx bounds it.
	ClientTLS func(ctx context.Context, host string) (*tls.Config, error)
	// Certificate gets a node its certificate, which it keeps good from then on in the files that it names, and waits for the first one; ctx bounds
	// that. dir is a folder of the node's. nil: this host cannot.
	Certificate func(ctx context.Context, spec engine.NodeSpec, dir string) (Certificate, error)
	// Forget ends what Certificate began; nil: there is nothing to end.
	Forget func(spec engine.NodeSpec)
	// Guarded refuses nodes that let in who does not say who they are, at another address than loopback.
	Guarded bool
}

// patience is how long a node may be silent: a Java machine that collects garbage or waits for a disk is, for seconds, and a start anew costs the
// recovery of its log.
const patience = 30 * time.Second

// ending is how long a controlled shutdown may take: all leaders go to other brokers, then every log is flushed and closed. A broker that is killed in
// it recovers its logs at the next start.
const ending = 35 * time.Second

// Dir is where a node keeps what is its own, below the installation's data directory.
func Dir(data, cluster string, id int32) string {
	return filepath.Join(data, "standard", fmt.Sprintf("%s-%d", cluster, id))
}

// Names below Dir.
const (
	dataDir        = "data"
	formattingDir  = "formatting"
	logsDir        = "logs"
	certDir        = "certificate"
	propertiesFile = "server.properties"
	loggingFile    = "log4j.properties"
	keyFile        = "node.pem" // of Certificate, in certDir
	rootsFile      = "roots.pem"
)

// Files are where a node's certificate is expected, in a folder that Certificate was given.
func Files(dir string) Certificate {
	return Certificate{KeyStore: filepath.Join(dir, keyFile), TrustStore: filepath.Join(dir, rootsFile)}
}

func (e Engine) dir(s engine.NodeSpec) string { return Dir(e.Data, s.Cluster, s.ID) }

func (e Engine) place(s engine.NodeSpec) render.Place {
	dir := e.dir(s)
	c := Files(filepath.Join(dir, certDir))
	return render.Place{
		Data: filepath.Join(dir, dataDir), Logs: filepath.Join(dir, logsDir), Logging: filepath.Join(dir, loggingFile),
		KeyStore: c.KeyStore, TrustStore: c.TrustStore,
	}
}

// Command is java with Kafka's main class. Its arguments differ where two specs ask for different processes (N4).
func (e Engine) Command(s engine.NodeSpec) (string, []string, error) {
	kafka, err := e.Dist.Named(s.Version)
	if err != nil {
		return "", nil, err
	}
	if err := e.allowed(s); err != nil {
		return "", nil, err
	}
	place := e.place(s)
	digest, err := render.Digest(s, kafka.Version, place)
	if err != nil {
		return "", nil, err
	}
	args := render.Options(s, kafka.Version, place, kafka.Archive)
	args = append(args, "-Dmillrace.node="+digest, "-cp", kafka.ClassPath, "kafka.Kafka", filepath.Join(e.dir(s), propertiesFile))
	return kafka.Java, args, nil
}

// allowed refuses listeners that everybody may use, where this host is not for such.
func (e Engine) allowed(s engine.NodeSpec) error {
	if !e.Guarded {
		return nil
	}
	for _, l := range s.Served() {
		if l.Anonymous() && !isLoopback(l.Address) {
			return fmt.Errorf("%w: %s at %s", ErrAnonymous, l.Name, l.Address)
		}
	}
	return nil
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Manners: a node of Apache Kafka drains when it is stopped, is ended by SIGUSR1, and may be silent for long. Controllers end last.
func (e Engine) Manners(s engine.NodeSpec) engine.Manners {
	return engine.Manners{Hang: patience, End: ending, Deaf: true, Last: s.Role == engine.Controller}
}

// Usable says why the node cannot be run on this host: by its version, or because it cannot be as its spec says. An agent does not stop a process for
// such a spec.
func (e Engine) Usable(ctx context.Context, s engine.NodeSpec) error {
	if _, _, err := e.Command(s); err != nil {
		return err
	}
	return e.Dist.Usable(ctx, s.Version)
}

// Check tries to listen where the node will, and whether a process has its storage.
func (e Engine) Check(ctx context.Context, s engine.NodeSpec) error {
	return errors.Join(e.free(s), reach.Vacant(ctx, s))
}

// Remove deletes what the node keeps on its host (N3).
func (e Engine) Remove(s engine.NodeSpec) error {
	if err := e.free(s); err != nil {
		return fmt.Errorf("remove node %d: %w", s.ID, err)
	}
	if e.Forget != nil {
		e.Forget(s)
	}
	if err := disk.RemoveAll(e.FS, e.dir(s)); err != nil {
		return fmt.Errorf("remove node %d: %w", s.ID, err)
	}
	return nil
}
