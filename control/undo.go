package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"millrace/control/plan"
)

// refusal ends an operation as Failed. It is errRefused.
type refusal struct {
	code string
	err  error
}

func (r *refusal) Error() string   { return r.err.Error() }
func (r *refusal) Unwrap() []error { return []error{errRefused, r.err} }

// refused ends an operation with a code for programs.
func refused(code string, err error) error { return &refusal{code, err} }

// codeOf is the code of what ended an operation.
func codeOf(err error) string {
	var r *refusal
	if errors.As(err, &r) {
		return r.code
	}
	return "OperationFailed"
}

// patient gives what a step waits for a limited time, where the API asked for the operation: somebody waits for its end. What only undoes
// goes on without.
func (r *run) patient(ctx context.Context, wait func(context.Context) error) error {
	switch r.op.Request.Kind {
	case Create, Update, Replace:
	default:
		return wait(ctx)
	}
	patience := r.plane.options.Patience
	if r.cluster.Settings.Standard() {
		patience *= standardPatience // it may have to be fetched first, and it reads its logs when it starts
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := wait(limited)
	late := err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded)
	switch {
	case r.step.Back && (late || errors.Is(err, errUnusable)):
		r.plane.log.Error("what was undone does not serve", "cluster", r.op.Cluster, "step", r.step.Name, "err", err, "detail", r.step.Detail)
		return nil
	case errors.Is(err, errUnusable):
		return refused("ProgramNotUsable", err)
	case late:
		return refused("BrokersNotServing", fmt.Errorf("after %s, %s", patience, cmp.Or(r.step.Detail, "nothing was reported")))
	}
	return err
}

// standardPatience is how many times as long a node of Apache Kafka may take.
const standardPatience = 3

// bounded is patient for what depends on how much a cluster has to copy: it fails with the code. What undoes a step fails too rather than
// stop a node that others need, and leaves the rest of its nodes as they are.
func (r *run) bounded(ctx context.Context, code string, wait func(context.Context) error) error {
	if r.op.Request.Kind != Create && r.op.Request.Kind != Update && r.op.Request.Kind != Replace {
		return wait(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, r.plane.options.Hold)
	defer cancel()
	err := wait(limited)
	if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	detail := cmp.Or(r.step.Detail, "nothing was reported")
	return refused(code, fmt.Errorf("after %s, %s", r.plane.options.Hold, detail))
}

// codeMustNotStop is that of an operation that would have to stop a node that others need.
const codeMustNotStop = "NodeMustNotStop"

// aim sets what the step's brokers shall be.
func (r *run) aim(ctx context.Context) error {
	r.target = r.cluster
	if r.op.Before == nil {
		return nil // an operation that an earlier version began
	}
	if r.op.Request.Kind == Update && !r.step.Back {
		after, err := r.plane.told(ctx, r.cluster, *r.op.After)
		if errors.Is(err, ErrSpec) {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		if err != nil {
			return err
		}
		after.Brokers = max(after.Brokers, r.op.Before.Brokers)
		r.target = after
	}
	return nil
}

// undo notes why the step fails, and replaces what follows it by what undoes it and those before it, the last first (C12).
func (r *run) undo(failed int, cause error) {
	r.step.State, r.step.Ended = Failed, r.plane.clock.Now().UTC()
	if r.op.Error == "" {
		r.op.Error = cause.Error()
		r.op.Fault = Fault{Code: codeOf(cause), Message: cause.Error()}
	}
	if r.step.Back {
		return // the others may be undone all the same
	}
	back := plan.Undo(r.op, failed)
	for i := failed + 1; i < len(r.op.Steps); i++ {
		r.op.Steps[i].State = Failed
	}
	r.op.Steps = append(slices.Clone(r.op.Steps), back...)
	r.step = &r.op.Steps[failed]
}

// configure brings the configuration of the Settings to the cluster.
func (r *run) configure(ctx context.Context) error {
	if r.cluster.Settings.Standard() {
		return r.configureStandard(ctx)
	}
	if r.plane.options.Applier == nil {
		return nil
	}
	revision := r.op.After.Configuration
	if r.step.Back {
		revision = r.op.Before.Configuration
	}
	err := r.plane.options.Applier.Apply(ctx, r.cluster, revision)
	if errors.Is(err, ErrSpec) {
		return refused("ConfigurationNotApplied", err)
	}
	return err
}
