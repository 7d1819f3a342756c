package node

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"

	"millrace/base/disk"
	"millrace/engine"
	"millrace/engine/reach"
)

// Engine runs express brokers as child processes of the same binary. It
// implements engine.Engine; the zero value is not usable.
type Engine struct {
	Binary string // path of the millrace executable, for specs that name none
	Data   string // data directory of the installation; brokers and store lie below it
	Etcd   string // endpoint list, as --etcd takes it
	Store  string // object store URL, as --store takes it; "": as the spec says
	FS     disk.FS
	Verify func(ctx context.Context, program string) error // says why a program that a spec names cannot be run; nil: any can

	EtcdCA, EtcdCert, EtcdKey string // files for https endpoints; "": none

	// ClientTLS is how this host shows a broker at some host who it is, for those with an internal listener; nil: it cannot. It is called
	// for each probe; ctx bounds it.
	ClientTLS func(ctx context.Context, host string) (*tls.Config, error)
	// Guarded refuses brokers that let in who does not say who they are, at another address than loopback.
	Guarded bool
	// Trail is the folder of what brokers record; "": they record nothing.
	Trail string
	// KMS is the URL of the KMS, for brokers that keep secrets or encrypt; "": there is none.
	KMS string
}

// Dir is where a broker keeps what is its own, below the installation's data
// directory.
func Dir(data, cluster string, id int32) string {
	return filepath.Join(data, "brokers", fmt.Sprintf("%s-%d", cluster, id))
}

// Command is `millrace broker` with the spec as flags.
func (e Engine) Command(s engine.NodeSpec) (string, []string, error) {
	store := cmp.Or(e.Store, s.Store)
	if store == "" {
		return "", nil, errNoStore
	}
	args := []string{
		"broker",
		"--cluster", s.Cluster,
		"--id", strconv.Itoa(int(s.ID)),
		"--zone", s.Zone,
		"--listen", s.Listen,
		"--data", Dir(e.Data, s.Cluster, s.ID),
		"--etcd", e.Etcd,
		"--store", store,
	}
	for _, f := range [][2]string{{"--etcd-ca", e.EtcdCA}, {"--etcd-cert", e.EtcdCert}, {"--etcd-key", e.EtcdKey}} {
		if f[1] != "" {
			args = append(args, f[0], f[1])
		}
	}
	if s.Memory > 0 {
		args = append(args, "--memory", strconv.FormatInt(s.Memory, 10))
	}
	if s.MaxConnections > 0 {
		args = append(args, "--max-connections", strconv.Itoa(s.MaxConnections))
	}
	if s.MaxConnectionsPerIP > 0 {
		args = append(args, "--max-connections-per-ip", strconv.Itoa(s.MaxConnectionsPerIP))
	}
	limits, err := engine.FormatLimits(s.Limits)
	if err != nil {
		return "", nil, err
	}
	if limits != "" {
		args = append(args, "--limits", limits)
	}
	if s.Properties != "" {
		args = append(args, "--properties", s.Properties)
	}
	if s.Metrics != "" {
		args = append(args, "--metrics", s.Metrics)
	}
	if s.Log != "" {
		args = append(args, "--wal", s.Log)
	}
	secure, err := e.secure(s)
	if err != nil {
		return "", nil, err
	}
	return cmp.Or(s.Binary, e.Binary), append(args, secure...), nil
}

// errAnonymous: this host is not for brokers that everybody may use.
var errAnonymous = errors.New("its listener asks nobody who they are, which the agent was not told to allow (--insecure)")

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// secure are the flags of a broker that is not for everybody.
func (e Engine) secure(s engine.NodeSpec) (args []string, err error) {
	if len(s.Listeners) > 0 {
		text, err := engine.FormatListeners(s.Listeners)
		if err != nil {
			return nil, err
		}
		args = append(args, "--listeners", text)
		if e.Trail != "" {
			args = append(args, "--trail", e.Trail)
		}
	}
	if e.Guarded {
		for _, l := range s.Served() {
			if l.Anonymous() && !isLoopback(l.Address) {
				return nil, fmt.Errorf("%w: %s at %s", errAnonymous, l.Name, l.Address)
			}
		}
	}
	if s.Secure.Authorize {
		args = append(args, "--authorize")
	}
	if s.Secure.Encrypt {
		args = append(args, "--encrypt")
	}
	if s.Secure.Region != "" {
		args = append(args, "--region", s.Secure.Region)
	}
	for _, f := range [][2]string{{"--super-users", s.Secure.Super}, {"--principal-mapping", s.Secure.Mapping}} {
		if f[1] != "" && len(s.Listeners) > 0 {
			args = append(args, f[0], f[1])
		}
	}
	if e.KMS != "" && (len(s.Listeners) > 0 || s.Secure.Encrypt) {
		args = append(args, "--kms", e.KMS)
	}
	return args, nil
}

// errNoStore: neither the agent nor the control plane knows the object store.
var errNoStore = errors.New("no object store is known: start the agent with --store")

// Usable asks Verify about the program that the spec names.
func (e Engine) Usable(ctx context.Context, s engine.NodeSpec) error {
	if s.Binary == "" || e.Verify == nil {
		return nil
	}
	if err := e.Verify(ctx, s.Binary); err != nil {
		return fmt.Errorf("program %s: %w", s.Binary, err)
	}
	return nil
}

// Check tries to listen where the broker will.
func (e Engine) Check(ctx context.Context, s engine.NodeSpec) error {
	return reach.Vacant(ctx, s)
}

// Probe asks for ApiVersions. A broker opens its listener only when it is ready
// to take produce, so an answer is enough.
func (e Engine) Probe(ctx context.Context, s engine.NodeSpec) error {
	conn, err := reach.Dial(ctx, s, e.ClientTLS)
	if err != nil {
		return err
	}
	defer conn.Close()
	return probe(conn)
}

// probe sends an ApiVersions request of version 0 and reads the head of the answer.
func probe(conn io.ReadWriter) error {
	const correlation = 0x70726f62 // "prob"
	request := []byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 0, 0xff, 0xff}
	binary.BigEndian.PutUint32(request[8:], correlation)
	if _, err := conn.Write(request); err != nil {
		return err
	}
	var head [10]byte // size, correlation id, error code
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(head[4:]) != correlation || head[8]|head[9] != 0 {
		return reach.ErrNoAnswer
	}
	return nil
}
