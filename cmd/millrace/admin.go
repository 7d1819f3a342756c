package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"millrace/base/proc"
	"millrace/control"
)

// begin checks on this host what the control plane cannot, then begins.
func (i *installation) begin(ctx context.Context, cluster string, r control.Request) (control.Operation, error) {
	if r.Kind == control.Upgrade && r.Binary != "" {
		if err := checkProgram(ctx, r.Binary); err != nil {
			return control.Operation{}, fmt.Errorf("%w: program %s: %w", control.ErrSpec, r.Binary, err)
		}
	}
	if r.Kind == control.Scale {
		c, err := i.plane.Cluster(ctx, cluster)
		if err != nil {
			return control.Operation{}, err
		}
		c.Brokers = r.Brokers
		if err := i.cfg.collision(c); err != nil {
			return control.Operation{}, fmt.Errorf("%w: %w", control.ErrSpec, err)
		}
		taken, err := i.portsTaken(ctx, c)
		if err != nil {
			return control.Operation{}, err
		}
		if len(taken) > 0 {
			return control.Operation{}, fmt.Errorf("%w: %w", control.ErrSpec, errors.Join(taken...))
		}
	}
	return i.plane.Begin(ctx, cluster, r)
}

// checkProgram refuses what is not a millrace program that only we, or root,
// could have put there: who reaches the API must not be able to run what is theirs.
func checkProgram(ctx context.Context, path string) error {
	const groupOrOthersWrite = 0o022
	if !filepath.IsAbs(path) {
		return errors.New("give an absolute path")
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o100 == 0:
		return errors.New("not a program")
	case !ok || int(stat.Uid) != os.Getuid() && stat.Uid != 0, info.Mode().Perm()&groupOrOthersWrite != 0:
		return errors.New("it must belong to the user that runs `millrace serve` and `millrace agent`, or to root, and nobody else may be able to write it")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	said := make(chan string, 64)
	p, err := proc.Start(ctx, proc.Spec{Path: path, Args: []string{"version"}, Output: func(line []byte) {
		select {
		case said <- string(line):
		default:
		}
	}})
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		return errors.Join(errors.New("it does not say its version"), p.Stop(context.WithoutCancel(ctx), 0))
	}
	select {
	case line := <-said:
		if p.Status().OK() && strings.HasPrefix(line, "millrace ") {
			return nil
		}
	default:
	}
	return errors.New("not a millrace program: `version` does not answer as one")
}
