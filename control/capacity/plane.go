package capacity

import (
	"context"

	"millrace/control"
)

// requester is who operations on serverless clusters are begun by.
const requester = "serverless capacity"

// Of returns what the loop asks of a plane. It may ask of any plane of the installation; one should be asked at a time.
func Of(p *control.Plane) Plane { return plane{p} }

type plane struct{ *control.Plane }

// Elastic implements Plane.
func (p plane) Elastic(ctx context.Context) ([]Cluster, error) {
	all, err := p.Clusters(ctx)
	if err != nil {
		return nil, err
	}
	var elastic []Cluster
	for _, c := range all {
		if c.Managed.Settings.Type != control.Serverless {
			continue
		}
		switch c.Managed.Phase {
		case control.Creating, control.Deleting, control.Broken:
			continue
		default:
		}
		elastic = append(elastic, Cluster{
			Name: c.Name, Prefix: control.Prefix(c.Name), Brokers: c.Brokers,
			Busy: c.Managed.Phase != "" && c.Managed.Phase != control.Active || c.Wanted != 0 && c.Wanted != c.Brokers,
		})
	}
	return elastic, nil
}

// Scale implements Plane.
func (p plane) Scale(ctx context.Context, cluster string, brokers int) error {
	_, err := p.Begin(ctx, cluster, control.Request{Kind: control.Scale, Brokers: brokers, Requester: requester})
	return err
}
