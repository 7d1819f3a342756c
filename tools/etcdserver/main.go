// Command etcdserver runs one member of an etcd cluster for tests: etcd as other people run it, with a process, ports and
// certificates of its own. test/harness starts as many as a test wants.
//
// With --ca, --cert and --key it speaks TLS only, to its clients and to the other members, and lets nobody in whose certificate
// the CA has not signed. SIGTERM ends it in good order.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/server/v3/embed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "etcdserver: %v\n", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	name, dir, client, peer, members string
	ca, cert, key                    string
}

// run serves until ctx ends or the member does.
func run(ctx context.Context, args []string) error {
	var o options
	flags := flag.NewFlagSet("etcdserver", flag.ContinueOnError)
	flags.StringVar(&o.name, "name", "", "this member's name")
	flags.StringVar(&o.dir, "dir", "", "its data directory")
	flags.StringVar(&o.client, "client", "", "URL at which it serves clients")
	flags.StringVar(&o.peer, "peer", "", "URL at which the other members reach it")
	flags.StringVar(&o.members, "members", "", "all members, NAME=PEER-URL,...")
	flags.StringVar(&o.ca, "ca", "", "file of the CA that signs everybody's certificate; empty: no TLS")
	flags.StringVar(&o.cert, "cert", "", "file of the member's certificate, for servers and clients")
	flags.StringVar(&o.key, "key", "", "file of its key")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cfg, err := o.config()
	if err != nil {
		return err
	}
	member, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	defer member.Close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-member.Err():
		return err
	case <-member.Server.StopNotify():
		return errors.New("the member has stopped")
	}
}

// config is that of an etcd with its usual settings, but without fsync: tests kill its process, not the machine.
func (o options) config() (*embed.Config, error) {
	client, err := url.Parse(o.client)
	if err != nil {
		return nil, fmt.Errorf("--client: %w", err)
	}
	peer, err := url.Parse(o.peer)
	if err != nil {
		return nil, fmt.Errorf("--peer: %w", err)
	}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir, cfg.InitialCluster = o.name, o.dir, o.members
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	cfg.LogLevel, cfg.LogOutputs = "warn", []string{"stderr"}
	cfg.UnsafeNoFsync = true
	if o.ca != "" {
		cfg.ClientTLSInfo.TrustedCAFile, cfg.ClientTLSInfo.CertFile, cfg.ClientTLSInfo.KeyFile = o.ca, o.cert, o.key
		cfg.ClientTLSInfo.ClientCertAuth = true
		cfg.PeerTLSInfo = cfg.ClientTLSInfo
	}
	return cfg, nil
}
