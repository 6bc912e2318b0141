package engine

import (
	"context"
	"runtime"
	"sync"
)

// backgroundRunner is a jobRunner with a goroutine of its own.
type backgroundRunner struct {
	mu    sync.Mutex
	jobs  []func()
	there chan struct{} // some are
	done  func()        // when one is done
}

// newBackgroundRunner starts the goroutine, which ends with ctx. done is called after each job.
func newBackgroundRunner(ctx context.Context, done func()) *backgroundRunner {
	m := &backgroundRunner{there: make(chan struct{}, 1), done: done}
	go m.run(ctx)
	return m
}

func (m *backgroundRunner) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.there:
		}
		for job := m.next(); job != nil && ctx.Err() == nil; job = m.next() {
			job()
			m.done()
		}
	}
}

func (m *backgroundRunner) next() (job func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.jobs) == 0 {
		return nil
	}
	job, m.jobs = m.jobs[0], m.jobs[1:]
	return job
}

func (m *backgroundRunner) start(job func()) {
	m.mu.Lock()
	m.jobs = append(m.jobs, job)
	m.mu.Unlock()
	signal(m.there)()
}

// pause lets the loop go first where there is one processor: a goroutine that computes is not interrupted for 10 ms.
func (m *backgroundRunner) pause() { runtime.Gosched() }
