package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/cmd/parts"
	"millrace/control"
	"millrace/engine"
	"millrace/secure/cert"
)

// Keys of what the processes that serve on one etcd tell each other.
const (
	homeKey      = "control/home"
	servesPrefix = "control/serves/"
)

// homeFormat is that of the records of this file.
const homeFormat = 1

// home is what all that serve on one etcd have in common: what clusters are like that any of them makes, and whose flags describe the
// default cluster. Those are the flags of one data directory, also while another host leads: whose flags say something else, or nothing,
// must not change a cluster that runs because the leader has died.
type home struct {
	Format    int             `json:"format"`
	Host      string          `json:"host"`   // that it is about
	Holder    string          `json:"holder"` // its data directory
	Like      control.Cluster `json:"like"`   // as its flags describe clusters
	Ports     engine.Ports    `json:"ports"`
	OwnStore  bool            `json:"own_store,omitempty"`          // Like.Store is the folder of that data directory
	NoCluster bool            `json:"no_default_cluster,omitempty"` // there shall be no default cluster
}

// served is what a serve tells of itself.
type served struct {
	Format int    `json:"format"`
	Holder string `json:"holder"` // its data directory
	Listen string `json:"listen"` // address of the API
}

// errNewerRecord: a newer Millrace runs on this etcd.
var errNewerRecord = errors.New("written by a newer version of Millrace")

// readRecord reads a record of this file; rev 0: there is none.
func readRecord[T home | served](ctx context.Context, store kv.KV, key string) (r T, rev int64, err error) {
	item, err := store.Get(ctx, key)
	if errors.Is(err, kv.ErrNotFound) {
		return r, 0, nil
	}
	var head struct {
		Format int `json:"format"`
	}
	if err == nil {
		err = json.Unmarshal(item.Value, &head)
	}
	if err == nil && head.Format > homeFormat {
		err = errNewerRecord
	}
	if err == nil {
		err = json.Unmarshal(item.Value, &r)
	}
	if err != nil {
		return r, 0, fmt.Errorf("read %s: %w", key, err)
	}
	return r, item.ModRev, nil
}

// writeRecord replaces the record that stood there at rev; kv.ErrConflict: it does no more.
func writeRecord[T home | served](ctx context.Context, store kv.KV, key string, rev int64, r T) error {
	text, err := json.Marshal(r)
	if err == nil {
		_, err = store.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, rev)}, []kv.Op{kv.Put(key, text)})
	}
	if err != nil {
		return fmt.Errorf("save %s: %w", key, err)
	}
	return nil
}

// settle finds out what this installation is like and makes this process the agent of its host.
func (i *installation) settle(ctx context.Context, fs disk.FS) (err error) {
	if i.holder, err = hostIdentity(i.cfg.data); err != nil {
		return err
	}
	claimed := false
	if i.embedded != nil {
		i.home = i.described()
		i.cfg.store = i.home.Like.Store
	} else if claimed, err = i.findHome(ctx); err != nil {
		return err
	}
	defer func() {
		if err != nil && claimed { // nobody shall take over what never began
			if item, e := i.store.Get(context.WithoutCancel(ctx), homeKey); e == nil {
				_, e = i.store.Txn(context.WithoutCancel(ctx), []kv.Cond{kv.ModRevEquals(homeKey, item.ModRev)}, []kv.Op{kv.Delete(homeKey)})
				err = errors.Join(err, e)
			}
		}
	}()
	if i.cfg.store != "" {
		if err := parts.TryStore(ctx, i.cfg.store, fs); err != nil {
			return err
		}
	}
	if err := i.checkName(ctx); err != nil {
		return err
	}
	host := i.cfg.host()
	i.self = engine.Host{Name: host.name, Zone: host.zone, Address: host.advertise, Public: host.public}
	if i.agent, i.shown, err = openAgent(ctx, host, i.store, fs, i.log); err != nil {
		return err
	}
	i.plane = i.planeOn(i.store)
	return i.tellServed(ctx)
}

// described is the home that the flags describe.
func (i *installation) described() home {
	h := home{Format: homeFormat, Host: i.cfg.name, Holder: i.holder, Ports: i.cfg.ports, NoCluster: i.cfg.noCluster, OwnStore: i.cfg.store == ""}
	h.Like = i.cfg.cluster()
	if h.OwnStore {
		h.Like.Store = parts.FileScheme + filepath.Join(i.cfg.data, "store")
	}
	return h
}

// findHome reads what the installation is like, and tells it where nobody has yet, or where it is this one's to tell; claimed says that
// nobody had. Where it is another's, clusters are made as that one says, and an object store that is not told is found in their records.
func (i *installation) findHome(ctx context.Context) (claimed bool, err error) {
	for {
		old, rev, err := readRecord[home](ctx, i.store, homeKey)
		if err != nil {
			return false, err
		}
		mine := i.described()
		if rev == 0 {
			if old, err = i.former(ctx); err != nil {
				return false, err
			}
		}
		if old.Holder != "" && old.Holder != i.holder {
			i.standBeside(old)
			return false, nil
		}
		if rev != 0 && mine.OwnStore && !old.OwnStore {
			mine.OwnStore, mine.Like.Store = false, old.Like.Store // it was another's home before
		}
		i.home, i.cfg.store = mine, mine.Like.Store
		err = writeRecord(ctx, i.store, homeKey, rev, mine)
		if !errors.Is(err, kv.ErrConflict) {
			return rev == 0, err
		}
	}
}

// former is what is known of an installation that was begun by a Millrace without such records, and whose control plane runs elsewhere.
func (i *installation) former(ctx context.Context) (home, error) {
	item, err := i.store.Get(ctx, control.PlaneKey)
	if errors.Is(err, kv.ErrNotFound) {
		return home{}, nil
	}
	if err != nil {
		return home{}, fmt.Errorf("read %s: %w", control.PlaneKey, err)
	}
	other, err := engine.Decode[engine.Host](item.Value)
	if err != nil {
		return home{}, fmt.Errorf("%s: %w", control.PlaneKey, err)
	}
	c, err := i.planeOn(i.store).Cluster(ctx, defaultCluster)
	if errors.Is(err, control.ErrNoCluster) {
		return home{}, nil
	}
	return home{Host: other.Name, Holder: other.Holder, Like: c, Ports: i.cfg.ports}, err
}

// standBeside takes what the installation is like from another's flags.
func (i *installation) standBeside(other home) {
	i.home = other
	i.log.Info("clusters are as the flags of another host say; what this one was told of the default cluster and of further ports counts for none",
		"host", other.Host, "store", cmp.Or(i.cfg.store, other.Like.Store))
	i.cfg.noCluster = i.cfg.noCluster || other.NoCluster
}

// mine says that the flags of this process describe the default cluster.
func (i *installation) mine() bool { return i.home.Holder == i.holder }

// takeHome has this process describe a default cluster that the one that should has never made. What other clusters are like stays.
func (i *installation) takeHome(ctx context.Context, store kv.KV) error {
	now, rev, err := readRecord[home](ctx, store, homeKey)
	if err != nil {
		return err
	}
	now.Format, now.Host, now.Holder, now.OwnStore, now.Like, now.Ports = homeFormat, i.cfg.name, i.holder, false, i.home.Like, i.home.Ports
	if err := writeRecord(ctx, store, homeKey, rev, now); err != nil {
		return err
	}
	i.home = now
	return nil
}

// errOtherHost: the host's name is that of another data directory, on which brokers are placed.
var errOtherHost = errors.New("brokers of another data directory are placed on the host of this name")

// checkName refuses a name by which brokers would be started here whose logs are elsewhere: once the other has died, its name is free.
func (i *installation) checkName(ctx context.Context) error {
	before, rev, err := readRecord[served](ctx, i.store, servesPrefix+i.cfg.name)
	if err != nil || rev == 0 || before.Holder == i.holder {
		return err
	}
	placed, _, err := i.store.List(ctx, engine.SpecPrefix(i.cfg.name))
	if err != nil || len(placed) == 0 {
		return err
	}
	return fmt.Errorf("%w: %q, whose API was at %s; choose another with --name, or start it there", errOtherHost, i.cfg.name, before.Listen)
}

// tellServed tells the others of this process, so that they know what its certificate may say.
func (i *installation) tellServed(ctx context.Context) error {
	if i.embedded != nil {
		return nil
	}
	key, now := servesPrefix+i.cfg.name, served{Format: homeFormat, Holder: i.holder, Listen: i.cfg.listen}
	for {
		old, rev, err := readRecord[served](ctx, i.store, key)
		if err != nil || old == now {
			return err
		}
		if err := writeRecord(ctx, i.store, key, rev, now); !errors.Is(err, kv.ErrConflict) {
			return err
		}
	}
}

// names is what a process of the installation may be called in its certificate; of another serve, what that has told of itself.
func (i *installation) names(ctx context.Context, n cert.Node) (cert.Names, error) {
	name, serve := strings.CutPrefix(string(n), "serve/")
	if !serve || name == i.cfg.name {
		return i.plane.Names(i.cfg.listen)(ctx, n)
	}
	other, rev, err := readRecord[served](ctx, i.store, servesPrefix+name)
	if err != nil {
		return cert.Names{}, err
	}
	if rev == 0 {
		return cert.Names{}, fmt.Errorf("%w: %q", control.ErrStranger, n)
	}
	return control.New(i.store, engine.Host{Name: name}, clock.System{}, i.log).Names(other.Listen)(ctx, n)
}
