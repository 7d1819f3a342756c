package warden

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine"
	"millrace/standard/warden/moves"
	"millrace/standard/warden/view"
)

// requestBatch is how many partitions one request tells of.
const requestBatch = 1000

// Elect gives partitions back to their preferred leaders where these are in sync; left is how many have another one still.
func (w *Warden) Elect(ctx context.Context, c engine.Target) (left int, err error) {
	err = w.with(ctx, c, "elect leaders of", func(s *session) error {
		now, err := s.read(ctx, replicas)
		if err != nil {
			return err
		}
		var ready []view.Partition
		for _, p := range now.Partitions {
			if len(p.Replicas) == 0 || p.Leader == p.Replicas[0] {
				continue
			}
			left++
			if slices.Contains(p.ISR, p.Replicas[0]) && now.Brokers[p.Replicas[0]].Alive {
				ready = append(ready, p)
			}
		}
		for batch := range slices.Chunk(ready, requestBatch) {
			elected, err := s.elect(ctx, batch)
			if err != nil {
				return err
			}
			left -= elected
		}
		return nil
	})
	return left, err
}

// elect has the preferred leaders of partitions elected, and returns of how many they are.
func (s *session) elect(ctx context.Context, partitions []view.Partition) (elected int, err error) {
	req := kmsg.NewPtrElectLeadersRequest()
	req.ElectionType = 0 // preferred
	for _, p := range partitions {
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != p.Topic {
			t := kmsg.NewElectLeadersRequestTopic()
			t.Topic = p.Topic
			req.Topics = append(req.Topics, t)
		}
		t := &req.Topics[len(req.Topics)-1]
		t.Partitions = append(t.Partitions, p.Number)
	}
	answer, err := request[*kmsg.ElectLeadersResponse](ctx, s.fresh, req)
	if err != nil {
		return 0, err
	}
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return 0, err
	}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			switch err := kerr.ErrorForCode(p.ErrorCode); {
			case err == nil, errors.Is(err, kerr.ElectionNotNeeded), errors.Is(err, kerr.UnknownTopicOrPartition):
				elected++
			}
		}
	}
	return elected, nil
}

// Drain moves the replicas of brokers to the others; left is how many partitions have one there still. It returns ErrRefused where the
// others are too few or too small; then nothing was begun. The brokers are given no new replicas from then on, where the cluster's
// metadata.version has that (cordoned.log.dirs, from 4.3 on): Spread gives up a Drain. What has its last complete replica on a broker that
// does not run stays there until it is back; Health names it.
func (w *Warden) Drain(ctx context.Context, c engine.Target, brokers []int32) (left int, err error) {
	err = w.with(ctx, c, "drain brokers of", func(s *session) error {
		now, disks, err := s.survey(ctx)
		if err != nil {
			return err
		}
		plan, err := moves.Drain(board(now, disks), brokers)
		if err != nil {
			if errors.Is(err, moves.ErrNever) {
				return fmt.Errorf("%w: %w", ErrRefused, err)
			}
			return err
		}
		if err := s.cordon(ctx, now, brokers); err != nil {
			return err
		}
		for _, p := range now.Partitions {
			if slices.ContainsFunc(p.Replicas, func(id int32) bool { return slices.Contains(brokers, id) }) {
				left++
			}
		}
		return s.begin(ctx, now, plan.Batch(w.cfg.Limits, true))
	})
	return left, err
}

// Spread moves replicas so that all brokers have as many, and makes preferred leaders even, racks before all; left is how many partitions
// are yet to be moved, or on their way. A cordon that a Drain set is taken back.
func (w *Warden) Spread(ctx context.Context, c engine.Target) (left int, err error) {
	err = w.with(ctx, c, "spread the replicas of", func(s *session) error {
		now, disks, err := s.survey(ctx)
		if err != nil {
			return err
		}
		if err := s.uncordon(ctx, &now); err != nil {
			return err
		}
		plan := moves.Spread(board(now, disks))
		left = plan.Left()
		return s.begin(ctx, now, plan.Batch(w.cfg.Limits, false))
	})
	return left, err
}

// survey reads all that a plan needs.
func (s *session) survey(ctx context.Context) (view.Cluster, map[int32]disk, error) {
	now, err := s.read(ctx, replicas|settings)
	if err != nil {
		return now, nil, err
	}
	var alive []int32
	for id, b := range now.Brokers {
		if b.Alive {
			alive = append(alive, id)
		}
	}
	disks, err := s.disks(ctx, alive)
	if err != nil {
		return now, nil, err
	}
	for id, d := range disks {
		b := now.Brokers[id]
		b.Cordoned = d.cordoned
		now.Brokers[id] = b
	}
	return now, disks, nil
}

// board is a cluster as plans see it.
func board(now view.Cluster, disks map[int32]disk) moves.Board {
	var b moves.Board
	for id, one := range now.Brokers {
		room := int64(-1)
		if d, ok := disks[id]; ok {
			room = d.room()
		}
		b.Brokers = append(b.Brokers, moves.Broker{ID: id, Rack: one.Rack, Alive: one.Alive, Fresh: !one.Cordoned, Room: room})
	}
	for _, p := range now.Partitions {
		var size int64
		for _, id := range p.Replicas {
			size = max(size, disks[id].sizes[p.Name()])
		}
		b.Partitions = append(b.Partitions, moves.Partition{
			Topic: p.Topic, Number: p.Number, Replicas: p.Target(), Arriving: p.Adding, Moving: p.Moving(), Size: size,
		})
	}
	return b
}

// begin throttles what is under way and what is to be, and then has it begin (W3).
func (s *session) begin(ctx context.Context, now view.Cluster, batch []moves.Move) error {
	if err := s.throttle(ctx, now, batch); err != nil {
		return err
	}
	if len(batch) == 0 {
		return nil
	}
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.AllowReplicationFactorChange = false
	at := map[string]int{}
	for _, m := range batch {
		if _, ok := at[m.Topic]; !ok {
			t := kmsg.NewAlterPartitionAssignmentsRequestTopic()
			t.Topic = m.Topic
			at[m.Topic] = len(req.Topics)
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		p.Partition, p.Replicas = m.Number, m.Replicas
		t := &req.Topics[at[m.Topic]]
		t.Partitions = append(t.Partitions, p)
	}
	answer, err := request[*kmsg.AlterPartitionAssignmentsResponse](ctx, s.fresh, req)
	if err != nil {
		return err
	}
	faults := []error{told(answer.ErrorCode, answer.ErrorMessage)}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if err := told(p.ErrorCode, p.ErrorMessage); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
				faults = append(faults, fmt.Errorf("move %s-%d: %w", t.Topic, p.Partition, err))
			}
		}
	}
	return errors.Join(faults...)
}

// messageMost bounds what is repeated of a node's words.
const messageMost = 300

// told is the error of a code with what the node said of it.
func told(code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	if err == nil || message == nil || *message == "" {
		return err
	}
	said := []rune(*message)
	return fmt.Errorf("%w: %s", err, string(said[:min(len(said), messageMost)]))
}
