package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"millrace/agent"
	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/proc"
	"millrace/cmd/api"
	"millrace/cmd/parts"
	"millrace/cmd/purge"
	"millrace/cmd/remote"
	"millrace/cmd/standard"
	"millrace/engine"
	"millrace/express/node"
	"millrace/secure/cert"
)

// hostConfig is what serve and agent can be told about their host.
type hostConfig struct {
	name      string
	zone      string
	advertise string
	ports     engine.Ports
	data      string // absolute
	etcd      parts.Etcd
	store     string // URL; empty: as the control plane says
	public    string // address of the brokers' public listeners; empty: they have none
	kms       string // URL; empty: a key ring below data

	kafkaHomes []string // unpacked distributions of Apache Kafka

	guarded bool // only brokers that ask who comes, unless on loopback
}

// checkHost says what is wrong with a name and an address that shall stand for a host.
func checkHost(name, zone, advertise string, insecure bool) []error {
	var faults []error
	allowed := regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	if !allowed.MatchString(name) {
		faults = append(faults, fmt.Errorf("--name %q: use letters, digits, dots, dashes and underscores, at most 63", name))
	}
	if zone != "" && !allowed.MatchString(zone) {
		faults = append(faults, fmt.Errorf("--zone %q: use letters, digits, dots, dashes and underscores, at most 63", zone))
	}
	ip := net.ParseIP(strings.Trim(advertise, "[]"))
	switch {
	case advertise == "":
	case ip == nil && !allowed.MatchString(advertise):
		faults = append(faults, fmt.Errorf("--advertise %q: give a host name or an IP address, without a port", advertise))
	case ip != nil && ip.IsUnspecified():
		faults = append(faults, fmt.Errorf("--advertise %q: give the one address at which other hosts and clients reach this one", advertise))
	case !insecure && !api.Loopback(advertise):
		faults = append(faults, fmt.Errorf("--advertise %q: brokers that listen without login on an address other than loopback need --insecure", advertise))
	}
	return faults
}

// lockData takes the data directory for this process, and makes it first.
func lockData(fs disk.FS, dir string) (io.Closer, error) {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	lock, err := fs.Lock(filepath.Join(dir, "lock"))
	if errors.Is(err, disk.ErrLocked) {
		return nil, fmt.Errorf("another millrace serve or agent runs on %s: %w", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return lock, nil
}

// hostIdentity names the data directory, and with it the host: it is made at the first start and stays.
func hostIdentity(dir string) (string, error) {
	name := filepath.Join(dir, "host-id")
	text, err := os.ReadFile(name)
	if id := strings.TrimSpace(string(text)); err == nil && id != "" {
		return id, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("identity of this host: %w", err)
	}
	id := uuid.NewString()
	if err := os.WriteFile(name, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("identity of this host: %w", err)
	}
	return id, nil
}

// openAgent makes the agent of this host and registers the host.
func openAgent(ctx context.Context, cfg hostConfig, store kv.KV, files disk.FS, log *slog.Logger) (*agent.Agent, *agentTLS, error) {
	binary, err := proc.Self()
	if err != nil {
		return nil, nil, fmt.Errorf("find own executable: %w", err)
	}
	boot, err := proc.Boot()
	if err != nil {
		return nil, nil, fmt.Errorf("identity of this host: %w", err)
	}
	holder, err := hostIdentity(cfg.data)
	if err != nil {
		return nil, nil, err
	}
	logs := filepath.Join(cfg.data, "logs")
	if err := files.MkdirAll(logs, 0o700); err != nil {
		return nil, nil, fmt.Errorf("log directory: %w", err)
	}
	shown := newAgentTLS(func() (*cert.Keeper, error) {
		return parts.NewKeeper(cert.Agent(cfg.name), cfg.data, cert.Rules{}, cert.World{KV: store, Clock: clock.System{}, Log: log, FS: files}, cfg.advertise)
	})
	kafka, err := standard.Open(standard.Config{Data: cfg.data, Homes: cfg.kafkaHomes, Guarded: cfg.guarded, ClientTLS: shown.config},
		standard.World{KV: store, FS: files, Log: log})
	if err != nil {
		return nil, nil, fmt.Errorf("--kafka-home: %w", err)
	}
	shown.beside = kafka.Run
	express := node.Engine{
		ClientTLS: shown.config, Guarded: cfg.guarded, Trail: remote.TrailDir(cfg.data), KMS: cmp.Or(cfg.kms, parts.DefaultKMS(cfg.data)),
		Binary: binary, Data: cfg.data, Etcd: cfg.etcd.URLs, EtcdCA: cfg.etcd.Files.CA, EtcdCert: cfg.etcd.Files.Cert, EtcdKey: cfg.etcd.Files.Key,
		Store: cfg.store, FS: files, Verify: checkProgram,
	}
	host := engine.Host{Name: cfg.name, Zone: cfg.zone, Address: cfg.advertise, Public: cfg.public, Ports: cfg.ports, Version: version, Holder: holder, Boot: boot}
	a := agent.New(agent.Config{Host: host, LogDir: logs}, agent.World{
		KV: store, FS: files, Clock: clock.System{}, Log: log, Engines: map[string]engine.Engine{engine.Express: express, engine.Standard: kafka.Engine()},
		Purge: func(ctx context.Context, s engine.NodeSpec) error {
			url := cmp.Or(cfg.store, s.Store)
			if url == "" {
				return parts.ErrStore
			}
			return purge.Objects(ctx, url, s.Cluster, files)
		},
	})
	if err := a.Join(ctx); err != nil {
		return nil, nil, err
	}
	return a, shown, a.Settle(ctx)
}
