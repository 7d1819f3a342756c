package main

import (
	"errors"

	"millrace/cmd/remote"
	"millrace/control"
	"millrace/engine"
)

// keepEndpoints writes the file when the cluster is ready, and the certificates that its clients trust.
func (i *installation) keepEndpoints(nodes []control.Node) {
	e := remote.Endpoints{API: "http://" + i.cfg.listen, Bootstrap: map[string]string{}}
	var err error
	if i.guard != nil {
		e.Region, e.CA = i.guard.region, remote.CAFile(i.cfg.data)
		if i.guard.api {
			e.API = "https://" + i.cfg.listen
		}
		err = remote.ReplaceFile(e.CA, []byte(i.guard.ca.CA().PEM), 0o644)
	}
	for _, n := range nodes {
		for _, l := range n.Spec.Served() {
			if l.Name == engine.Internal {
				continue
			}
			if e.Bootstrap[l.Name] != "" {
				e.Bootstrap[l.Name] += ","
			}
			e.Bootstrap[l.Name] += l.Told()
		}
	}
	if err := errors.Join(err, e.Keep(i.cfg.data)); err != nil {
		i.log.Error("addresses were not written for `millrace env`", "err", err)
	}
}
