package coord

import (
	"context"
	"sync"
)

// work runs jobs that may block, a bounded number at a time and the rest in order. It starts no more goroutines than there
// are jobs. Safe for concurrent use.
type work struct {
	ctx    context.Context
	cancel context.CancelFunc
	most   int

	mu      sync.Mutex
	queue   []func(ctx context.Context)
	workers int
	stopped bool
	running sync.WaitGroup
}

func newWork(ctx context.Context, most int) *work {
	w := &work{most: most}
	w.ctx, w.cancel = context.WithCancel(ctx)
	return w
}

// add queues a job; after stop it does nothing.
func (w *work) add(job func(ctx context.Context)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	w.queue = append(w.queue, job)
	if w.workers < w.most {
		w.workers++
		w.running.Go(w.run)
	}
}

func (w *work) run() {
	for {
		w.mu.Lock()
		if len(w.queue) == 0 {
			w.workers--
			w.mu.Unlock()
			return
		}
		job := w.queue[0]
		w.queue[0] = nil
		w.queue = w.queue[1:]
		w.mu.Unlock()
		job(w.ctx)
	}
}

// stop ends the context of the jobs that run and forgets the others.
func (w *work) stop() {
	w.mu.Lock()
	w.stopped, w.queue = true, nil
	w.mu.Unlock()
	w.cancel()
}

// wait returns when no job runs any more; stop comes before it.
func (w *work) wait() { w.running.Wait() }
