package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Drain ends service in an orderly way: nobody is let in, what was accepted is stored, then sessions are closed share by
// share, WebSockets with 1001, polls with their regular empty answer. It ends with Stop.
func (e *Engine) Drain(ctx context.Context) error {
	e.admission.closed.Store(true)
	serving, cancel := butFor(ctx, stopTime)
	defer cancel()
	e.flush(serving)
	e.closeSessions(serving)
	stop, cancelStop := rest(ctx, stopTime)
	defer cancelStop()
	err := e.Stop(stop)
	return errors.Join(e.lost(), err)
}

// stopTime is how long goroutines may take to end after a drain, out of its time.
const stopTime = 500 * time.Millisecond

// butFor is ctx without its last d, or without a quarter of it where that is less.
func butFor(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(d, time.Until(deadline)/4)))
}

// rest is what is left of the time of ctx, even if ctx was cancelled, but d at most. It is never nothing: the end has to be begun.
func rest(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	const least = 50 * time.Millisecond
	if deadline, ok := ctx.Deadline(); ok {
		d = min(d, max(time.Until(deadline), least))
	}
	return context.WithTimeout(context.WithoutCancel(ctx), d)
}

// lost says what was accepted and is not stored. Until the sender has ended it may still be.
func (e *Engine) lost() error {
	n := e.publishing.length()
	if n == 0 {
		return nil
	}
	e.o.Logger.Error("accepted publications are lost", "count", n)
	return fmt.Errorf("engine: %d publications are not stored", n)
}

// flush waits until what was accepted is stored, but leaves half of the time to those who are connected.
func (e *Engine) flush(ctx context.Context) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/2))
		defer cancel()
	}
	e.publishing.flush(ctx)
}

// Unstored is the number of publications that were accepted and are not stored yet. It may be called from any goroutine.
func (e *Engine) Unstored() int { return e.publishing.length() }

// drainShare is the number of sessions that a loop closes at once, drainPause the time between two shares.
const (
	drainShare = 500
	drainPause = 10 * time.Millisecond
)

// drainGrace is how long peers that were told get to say goodbye.
const drainGrace = 2 * time.Second

// closeSessions closes all sessions and waits until their peers have read it, for drainGrace at most, or until ctx ends.
func (e *Engine) closeSessions(ctx context.Context) {
	ticker := time.NewTicker(drainPause)
	defer ticker.Stop()
	var grace <-chan time.Time
	for {
		var told atomic.Int64
		if askLoops(ctx, e.loops, func(l *loop) { told.Add(int64(l.drainSome(drainShare))) }) != nil {
			return
		}
		e.dropGreetings()
		if e.admission.active.Load() == 0 {
			return
		}
		if told.Load() == 0 && e.output.Used() == 0 && grace == nil {
			grace = time.After(drainGrace)
		}
		select {
		case <-ctx.Done():
			return
		case <-grace:
			return
		case <-ticker.C:
		}
	}
}

// drainSome closes up to n sessions that are not on their way out yet, and returns how many.
func (l *loop) drainSome(n int) int {
	var refs []sessionRef
	l.slab.each(func(s *Session) {
		if len(refs) < n && !s.is(flagOwn) && s.state != stateFlushing && s.state != stateClosing && s.state != stateWaiting {
			refs = append(refs, s.ref())
		}
	})
	for _, ref := range refs {
		if s := l.slab.at(ref); s != nil {
			l.end(s, CloseDrain)
		}
	}
	return len(refs)
}

// end closes a session in the way that its client understands.
func (l *loop) end(s *Session, reason CloseReason) {
	switch s.state {
	case stateLive, stateReplaying, stateParked:
		s.via().end(l, s, reason)
	case stateHead, stateBody, stateWaiting:
		if s.is(flagBacklog) && reason == CloseDrain {
			s.reason = reason
			l.finish(s) // behind the reply that is under way
			return
		}
		l.close(s, reason)
	}
}

// Stop ends service at once.
func (e *Engine) Stop(ctx context.Context) error {
	e.admission.closed.Store(true)
	e.stopping.Store(true)
	e.cancel()
	e.handOffs.closeAll()
	e.prober.Close()
	e.stopTLS()
	e.stopLoops(ctx)
	done := make(chan struct{})
	go func() {
		e.tasks.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("engine: stop: %w", ctx.Err())
	}
	e.closeControls()
	return nil
}

func (e *Engine) stopLoops(ctx context.Context) {
	var stops sync.WaitGroup
	for _, l := range e.loops {
		stops.Go(func() { l.stop(ctx) })
	}
	stops.Wait()
}

// closeControls lets go of the control connections, once nobody wakes a loop any more.
func (e *Engine) closeControls() {
	e.controls.Lock()
	defer e.controls.Unlock()
	e.controlsClosed = true
	for _, l := range e.loops {
		l.closeControl()
	}
}

// stop ends the loop and waits for it.
func (l *loop) stop(ctx context.Context) {
	select {
	case <-l.started:
	default:
		return // never ran
	}
	if l.wakeFD >= 0 { // gnet's Stop looks twice a second whether it is done
		l.call(func(l *loop) { l.ending = true })
	} else if err := l.gnet.Stop(ctx); err != nil {
		l.log.Debug("loop stopped", "loop", l.id, "err", err)
	}
	select {
	case <-l.ended:
	case <-ctx.Done():
	}
}

func (l *loop) hasEnded() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}
