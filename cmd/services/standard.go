package services

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"millrace/control"
	"millrace/engine"
	"millrace/secure/cert"
	"millrace/standard/warden"
)

// overseer is the Warden of clusters of Apache Kafka, in the plane's words. It implements control.Warden.
type overseer struct{ of *warden.Warden }

// said makes of what the warden refuses what the plane does.
func said(err error) error {
	if errors.Is(err, warden.ErrRefused) {
		return fmt.Errorf("%w: %w", control.ErrRefused, err)
	}
	return err
}

// Order implements control.Warden.
func (o overseer) Order(ctx context.Context, t engine.Target, nodes []int32) ([]int32, error) {
	order, err := o.of.Order(ctx, t, nodes)
	return order, said(err)
}

// MayStop implements control.Warden.
func (o overseer) MayStop(ctx context.Context, t engine.Target, node int32) (string, error) {
	why, err := o.of.MayStop(ctx, t, node)
	return why, said(err)
}

// Settled implements control.Warden.
func (o overseer) Settled(ctx context.Context, t engine.Target) (string, error) {
	why, err := o.of.Settled(ctx, t)
	return why, said(err)
}

// Elect implements control.Warden.
func (o overseer) Elect(ctx context.Context, t engine.Target) (int, error) {
	left, err := o.of.Elect(ctx, t)
	return left, said(err)
}

// Drain implements control.Warden.
func (o overseer) Drain(ctx context.Context, t engine.Target, brokers []int32) (int, error) {
	left, err := o.of.Drain(ctx, t, brokers)
	return left, said(err)
}

// Spread implements control.Warden.
func (o overseer) Spread(ctx context.Context, t engine.Target) (int, error) {
	left, err := o.of.Spread(ctx, t)
	return left, said(err)
}

// Leave implements control.Warden.
func (o overseer) Leave(ctx context.Context, t engine.Target, broker int32) error {
	return said(o.of.Leave(ctx, t, broker))
}

// Finish implements control.Warden.
func (o overseer) Finish(ctx context.Context, t engine.Target, version string) error {
	return said(o.of.Finish(ctx, t, version))
}

// Apply implements control.Warden.
func (o overseer) Apply(ctx context.Context, t engine.Target, properties map[string]string) ([]string, error) {
	needs, err := o.of.Apply(ctx, t, properties)
	return needs, said(err)
}

// used is how much the brokers of a cluster of Apache Kafka keep.
func (o overseer) used(ctx context.Context, t engine.Target) (map[int32]int64, error) {
	disks, err := o.of.Disks(ctx, t)
	if err != nil {
		return nil, err
	}
	all := map[int32]int64{}
	for _, d := range disks {
		all[d.Broker] += d.Used
	}
	return all, nil
}

// shown is how the plane shows nodes who it is.
func (s *Services) shown(_ context.Context, host string) (*tls.Config, error) {
	return cert.ClientTLS(s.world.Keeper, host), nil
}
