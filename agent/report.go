package agent

import (
	"context"
	"errors"
	"time"

	"millrace/base/kv"
	"millrace/engine"
)

// reportTimeout bounds one report; a store that is away must not keep the agent
// from starting brokers.
const reportTimeout = 2 * time.Second

// report writes the node's status. A report that fails is logged; the next
// probe that is answered writes it again.
func (n *node) report(ctx context.Context, state engine.NodeState, message string) {
	n.status.Format = engine.First
	n.status.State = state
	n.status.Message = message
	n.status.Changed = n.agent.world.Clock.Now().UTC()
	n.status.PID, n.status.Began = 0, ""
	if n.process != nil {
		n.status.PID, n.status.Began = n.process.PID(), n.process.Started()
	}
	n.agent.show(n.key, &NodeSnapshot{Spec: n.spec, Status: n.status})
	b, err := engine.Encode(n.status)
	if err != nil {
		n.log.Error("status cannot be encoded", "err", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportTimeout)
	defer cancel()
	_, err = n.agent.world.KV.Txn(ctx, nil, []kv.Op{kv.Put(n.spec.StatusKey(), b)})
	n.unsaved = err != nil
	if err != nil {
		n.log.Warn("status could not be written", "state", state, "err", err)
	}
}

// reported reads the status that an earlier agent may have left.
func (n *node) reported(ctx context.Context) (engine.NodeStatus, bool) {
	item, err := n.agent.world.KV.Get(ctx, n.spec.StatusKey())
	if err != nil {
		if !errors.Is(err, kv.ErrNotFound) && ctx.Err() == nil {
			n.log.Warn("former status could not be read", "err", err)
		}
		return engine.NodeStatus{}, false
	}
	s, err := engine.Decode[engine.NodeStatus](item.Value)
	if err != nil {
		n.log.Warn("former status cannot be used", "err", err)
		return engine.NodeStatus{}, false
	}
	return s, s.PID > 0
}
