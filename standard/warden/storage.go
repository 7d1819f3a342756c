package warden

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine"
	"millrace/standard/warden/view"
	"millrace/standard/warden/volume"
)

// Disk is what one broker says of where its data lies.
type Disk struct {
	Broker int32
	Used   int64 // bytes of all its replicas
	Total  int64 // bytes of the file systems below; -1: it does not say
	Usable int64 // of those, that it could still write; -1: it does not say
}

// disk is Disk with what a plan wants to know.
type disk struct {
	Disk
	cordoned bool             // all its directories
	sizes    map[string]int64 // bytes of replicas by partition name
}

// spare is the part of a file system that no plan fills: one in so many.
const spare = 20

// room is how many bytes a broker can be given; -1: nobody knows.
func (d disk) room() int64 {
	if d.Usable < 0 || d.Total < 0 {
		return -1
	}
	return max(d.Usable-d.Total/spare, 0)
}

// Disks asks each broker that runs how much it has stored.
func (w *Warden) Disks(ctx context.Context, c engine.Target) (all []Disk, err error) {
	err = w.with(ctx, c, "measure", func(s *session) error {
		now, err := s.read(ctx, 0)
		if err != nil {
			return err
		}
		var alive []int32
		for id, b := range now.Brokers {
			if b.Alive {
				alive = append(alive, id)
			}
		}
		disks, err := s.disks(ctx, alive)
		for _, d := range disks {
			all = append(all, d.Disk)
		}
		slices.SortFunc(all, func(a, b Disk) int { return int(a.Broker - b.Broker) })
		return err
	})
	return all, err
}

// disks asks brokers for their log directories, all at once.
func (s *session) disks(ctx context.Context, ids []int32) (map[int32]disk, error) {
	type reply struct {
		disk disk
		err  error
	}
	replies := make(chan reply, len(ids))
	brokers := map[int32]peer{}
	for _, id := range ids {
		broker, err := s.broker(id)
		if err != nil {
			return nil, err
		}
		brokers[id] = broker
	}
	for id, broker := range brokers {
		go func() {
			d, err := askDisk(ctx, id, broker)
			replies <- reply{d, err}
		}()
	}
	disks := map[int32]disk{}
	var faults []error
	for range brokers {
		r := <-replies
		disks[r.disk.Broker] = r.disk
		faults = append(faults, r.err)
	}
	return disks, errors.Join(faults...)
}

func askDisk(ctx context.Context, id int32, broker peer) (disk, error) {
	d := disk{Disk: Disk{Broker: id}, sizes: map[string]int64{}}
	req := kmsg.NewPtrDescribeLogDirsRequest() // no topics: all of them
	answer, err := request[*kmsg.DescribeLogDirsResponse](ctx, broker, req)
	if err == nil {
		err = kerr.ErrorForCode(answer.ErrorCode)
	}
	if err != nil {
		return d, fmt.Errorf("log directories of broker %d: %w", id, err)
	}
	d.cordoned = len(answer.Dirs) > 0
	for _, dir := range answer.Dirs {
		if dir.ErrorCode != 0 {
			continue // it failed; its replicas are offline
		}
		d.cordoned = d.cordoned && dir.IsCordoned
		if dir.TotalBytes < 0 || dir.UsableBytes < 0 || d.Total < 0 {
			d.Total, d.Usable = -1, -1
		} else {
			d.Total, d.Usable = d.Total+dir.TotalBytes, d.Usable+dir.UsableBytes
		}
		for _, t := range dir.Topics {
			for _, p := range t.Partitions {
				d.Used += p.Size
				d.sizes[view.Partition{Topic: t.Topic, Number: p.Partition}.Name()] += p.Size
			}
		}
	}
	return d, nil
}

// Tend measures the brokers' volumes, all of one size in bytes, decides by what was before, and holds producers back or lets them go. The
// rest of the decision is the caller's, and so is keeping the state: where that is lost, producers who are held stay so until the next
// level. It may be repeated with the same state.
func (w *Warden) Tend(
	ctx context.Context, c engine.Target, now time.Time, size int64, p volume.Policy, before volume.State,
) (volume.Decision, volume.State, error) {
	disks, err := w.Disks(ctx, c)
	if err != nil {
		return volume.Decision{}, before, err
	}
	used := map[int32]int64{}
	for _, d := range disks {
		used[d.Broker] = d.Used
	}
	d, after := volume.Decide(now, size, used, p, before)
	if d.Level == before.Level {
		return d, after, nil
	}
	if err := w.Hold(ctx, c, d.Rate); err != nil {
		return volume.Decision{}, before, err
	}
	return d, after, nil
}

// quotaKey is the client quota that Hold sets.
const quotaKey = "producer_byte_rate"

// Hold bounds what each client may produce, in bytes per second at each broker; 0 takes the bound away. It is the quota of the default
// client id of the default user: who has a quota of his own, by name, keeps that. It may be repeated.
func (w *Warden) Hold(ctx context.Context, c engine.Target, rate int64) error {
	return w.with(ctx, c, "hold the producers of", func(s *session) error {
		if _, err := s.read(ctx, 0); err != nil {
			return err
		}
		entry := kmsg.NewAlterClientQuotasRequestEntry()
		for _, kind := range []string{"user", "client-id"} {
			entity := kmsg.NewAlterClientQuotasRequestEntryEntity()
			entity.Type = kind
			entry.Entity = append(entry.Entity, entity)
		}
		op := kmsg.NewAlterClientQuotasRequestEntryOp()
		op.Key, op.Value, op.Remove = quotaKey, float64(rate), rate <= 0
		entry.Ops = append(entry.Ops, op)
		req := kmsg.NewPtrAlterClientQuotasRequest()
		req.Entries = append(req.Entries, entry)
		answer, err := request[*kmsg.AlterClientQuotasResponse](ctx, s.fresh, req)
		if err != nil {
			return err
		}
		for _, e := range answer.Entries {
			if err := told(e.ErrorCode, e.ErrorMessage); err != nil {
				return err
			}
		}
		return nil
	})
}
