package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"millrace/base/disk"
	"millrace/base/object/cache"
	"millrace/cmd/parts"
	"millrace/control"
	"millrace/express/meter"
)

// usage sums what the brokers of a cluster have recorded. The store is opened for the one report: keys that were made since are known, and
// nothing is kept of clusters that go.
func (i *installation) usage(ctx context.Context, c control.Cluster, q meter.Query) (used meter.Usage, err error) {
	if c.Phase == control.Deleting {
		return used, fmt.Errorf("%w: cluster %s is being deleted", control.ErrBusy, c.Name) // opening the store would make its folder anew
	}
	files := disk.OS("")
	ring, closeRing, err := parts.RingOf(ctx, c.Encrypt, "", c.Name, i.cfg.login.kms, i.cfg.data, i.store, files, i.log)
	if err != nil {
		return used, err
	}
	defer closeRing()
	objects, closeObjects, err := parts.OpenObjects(ctx, cmp.Or(c.Store, i.cfg.store), c.Name, 0, files, ring)
	if err != nil {
		return used, err
	}
	defer func() { err = errors.Join(err, closeObjects()) }()
	if cached, ok := objects.(*cache.Store); ok {
		objects = cached.Store // each record is read once
	}
	return meter.Report(ctx, objects, q)
}
