package agent

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"millrace/engine"
)

// Pauses and limits of the watch.
const (
	firstProbe = 2 * time.Millisecond   // between probes of a node that starts,
	lastProbe  = 50 * time.Millisecond  // growing to this
	startProbe = time.Second            // for one probe of a node that starts
	readyProbe = 500 * time.Millisecond // between probes of a node that serves
	countPause = 250 * time.Millisecond // between them while partitions are counted
	countLimit = 2 * time.Second        // for one count
	slept      = time.Second            // a probe that takes so much longer than it may: this process did not run
)

// watch is the view of one running process, from its start or adoption to its end.
type watch struct {
	*node
	state   engine.NodeState
	began   time.Time
	silent  time.Time     // when the first probe without an answer began; zero: the last one was answered
	next    time.Duration // until the next probe
	drained bool          // the process was told to drain
	hung    error         // it is killed for this; nil: it is not

	fetches sync.WaitGroup
	fetched chan fetched
	getting string // version that is being fetched; "": none is
	got     string // that was fetched while the process ran; "": none was
}

// watch follows the running process until it ends, must be changed, or ctx ends.
func (n *node) watch(ctx context.Context) {
	w := &watch{node: n, state: engine.Starting, began: n.agent.world.Clock.Now(), next: firstProbe, fetched: make(chan fetched)}
	defer w.fetches.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n.status.Owners, n.status.Counted = nil, 0
	n.report(ctx, w.state, "")
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.process.Done():
			w.ended(ctx)
			return
		case <-n.kick:
			latest := n.latest()
			switch {
			case !n.mustRestart(latest):
				w.keep(ctx, latest)
				timer.Reset(0)
			case w.fetch(ctx, latest): // and then this is gone through again
			case !n.refuse(ctx, latest):
				n.stop(ctx)
				return
			}
		case f := <-w.fetched:
			w.have(ctx, f)
		case <-timer.C:
			w.look(ctx)
			timer.Reset(w.next)
		}
	}
}

// keep goes on with the same process under another spec.
func (w *watch) keep(ctx context.Context, latest engine.NodeSpec) {
	w.spec = latest
	if w.status.Refused != 0 {
		w.status.Refused = 0
		w.report(ctx, w.state, "")
	}
}

// ended reports the end of the process and pauses as it deserves.
func (w *watch) ended(ctx context.Context) {
	message := w.process.Status().String()
	if w.hung != nil {
		message = "killed because it hung: " + w.hung.Error()
	}
	w.process = nil
	w.log.Warn("broker ended", "how", message, "log", w.agent.logFile(w.spec))
	ran := w.agent.world.Clock.Now().Sub(w.began)
	w.failed(ctx, message, w.mostPause(w.state == engine.Ready || w.served, ran))
}

// look probes once, and acts on what it finds.
func (w *watch) look(ctx context.Context) {
	clk := w.agent.world.Clock
	asked := clk.Now()
	limit := startProbe
	mayHang := w.state == engine.Ready || w.served // one that starts may take long to recover its log
	if mayHang {
		limit = w.hang()
		if !w.silent.IsZero() {
			limit = max(limit-asked.Sub(w.silent), lastProbe)
		}
	}
	err := w.probe(ctx, limit)
	now := clk.Now()
	switch {
	case err == nil || w.state == engine.Ready && cutOff(err):
		w.silent = time.Time{}
		w.answered(ctx, now)
	case errors.Is(err, engine.ErrAlive):
		w.silent = time.Time{}
		w.waiting(ctx, err)
	case ctx.Err() != nil || !mayHang || ownFault(err) || now.Sub(asked) > limit+slept:
		w.silent = time.Time{}
		w.next = min(max(2*w.next, firstProbe), lastProbe)
	default:
		w.next = lastProbe
		if w.silent.IsZero() {
			w.silent = asked
		}
		if since := now.Sub(w.silent); since >= w.hang() {
			w.kill(since, err)
		}
	}
}

// answered is after a probe that found the node serving.
func (w *watch) answered(ctx context.Context, now time.Time) {
	if w.state != engine.Ready {
		w.state = engine.Ready
		w.log.Info("broker is ready", "took_ms", now.Sub(w.began).Milliseconds())
		w.report(ctx, w.state, "")
	} else if w.unsaved {
		w.report(ctx, w.state, "")
	}
	if w.spec.Drain && !w.drained && !w.manners().Deaf {
		// Only now is it sure to know what the signal means.
		if err := w.process.Signal(syscall.SIGUSR1); err != nil && !errors.Is(err, os.ErrProcessDone) {
			w.log.Error("broker could not be told to drain", "err", err)
		}
		w.drained = true
	}
	w.next = readyProbe
	if w.spec.Count != 0 {
		w.next = countPause
		w.count(ctx)
	} else if w.status.Owners != nil {
		w.status.Owners, w.status.Counted = nil, 0
		w.report(ctx, w.state, "")
	}
}

// waiting is after a probe that found the node alive and not serving: it is asked less often than one that opens its listener any moment,
// and one that has served goes on counting as such.
func (w *watch) waiting(ctx context.Context, why error) {
	w.next = min(max(2*w.next, firstProbe), lastProbe)
	if w.state == engine.Ready {
		w.served, w.next = true, countPause
		w.state = engine.Starting
		w.log.Warn("broker does not serve for now", "why", why)
		w.report(ctx, w.state, why.Error())
	} else if w.served {
		w.next = countPause
	}
}

// count reports who owns how many partitions, where that has changed.
func (w *watch) count(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, countLimit)
	defer cancel()
	owners, err := w.engine.Owned(ctx, w.spec)
	if err != nil {
		if ctx.Err() == nil {
			w.log.Warn("partitions could not be counted", "err", err)
		}
		return
	}
	if w.status.Counted == w.spec.Count && maps.Equal(w.status.Owners, owners) {
		return
	}
	w.status.Owners, w.status.Counted = owners, w.spec.Count
	w.report(ctx, w.state, "")
}

// kill ends a process that hangs (A4); ended says why.
func (w *watch) kill(since time.Duration, cause error) {
	w.hung = cause
	w.next = w.hang()
	w.log.Error("broker does not answer and is killed", "since", since, "err", cause)
	if err := w.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		w.log.Error("broker could not be killed", "err", err)
	}
}

func (w *watch) probe(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return w.engine.Probe(ctx, w.spec)
}

// cutOff says that the node took the probe's connection and closed it, as it
// does when its clients use up the connections that it allows: it is alive.
func cutOff(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) }

// ownFault says that the probe failed for want of something on our side, which
// tells nothing about the node.
func ownFault(err error) bool {
	for _, fault := range []error{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, fault) {
			return true
		}
	}
	var dns *net.DNSError
	return errors.As(err, &dns)
}
