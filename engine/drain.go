package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Drain ends service in an orderly way: nobody is let in, what was accepted is stored, then sessions are closed at a pace, WebSockets with
// 1001, polls with their regular empty answer. What their clients have published meanwhile is stored, too. It ends with Stop.
func (e *Engine) Drain(ctx context.Context) error {
	e.admission.closed.Store(true)
	serving, cancel := butFor(ctx, stopTime)
	defer cancel()
	e.flush(serving)
	e.closeSessions(serving)
	e.publishing.flush(serving)
	stop, cancelStop := rest(ctx, stopTime)
	defer cancelStop()
	err := e.Stop(stop)
	return errors.Join(e.lost(), err)
}

// stopTime is how long goroutines may take to end after a drain, out of its time; longer where more of that is left.
const stopTime = 500 * time.Millisecond

// butFor is ctx without its last d, or without a quarter of it where that is less.
func butFor(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(d, time.Until(deadline)/4)))
}

// rest is what is left of the time of ctx; if ctx was cancelled, d of that at most. It is never nothing: the end has to be begun.
func rest(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	const least = 50 * time.Millisecond
	if deadline, ok := ctx.Deadline(); ok {
		left := max(time.Until(deadline), least)
		if ctx.Err() == nil {
			d = left
		}
		d = min(d, left)
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

// CutOff is how many connections were closed at the end without a goodbye. It may be called from any goroutine.
func (e *Engine) CutOff() int { return int(e.cutOff.Load()) }

// Announce has Ready say no from now on, while everybody is still served: whoever balances load gets time to notice. Drain follows.
func (e *Engine) Announce() { e.leaving.Store(true) }

// A client whose connection is closed comes back, here or to another process, and costs processor time there: a handshake, its
// subscriptions, what it has missed. These are the costs with 10,000 clients; with TLS it is the handshake of a certificate with RSA.
const (
	returnCost          = 40 * time.Microsecond
	encryptedReturnCost = time.Millisecond
)

// drainLoad is how much of a core those who come back may take.
const drainLoad = 0.5

// drainPace is how many connections a second are closed: as configured, or as their return may cost; more if time would not be enough.
func (e *Engine) drainPace(ctx context.Context, connections int) float64 {
	pace := float64(e.settings.Load().DrainPace)
	if pace == 0 {
		encrypted := min(float64(e.tlsConns.Load())/float64(max(connections, 1)), 1)
		pace = drainLoad / (returnCost.Seconds() + encrypted*encryptedReturnCost.Seconds())
	}
	if deadline, ok := ctx.Deadline(); ok {
		time := max(time.Until(deadline)*3/4, drainPause) // the rest is for goodbyes
		pace = max(pace, float64(connections)/time.Seconds())
	}
	return pace
}

// drainPause is the time between two shares of connections that are closed.
const drainPause = 10 * time.Millisecond

// drainShare is how many connections of a loop are told at once, at most: others have to be served, too.
const drainShare = 1000

// drainGrace is how long peers that were told get to say goodbye.
const drainGrace = 2 * time.Second

// drained is what has become of sessions.
type drained struct {
	told   atomic.Int64 // of those that listen
	others atomic.Int64
	left   atomic.Int64 // that listen, and have not been told
}

// closeSessions closes all sessions at a pace and waits until their peers have read it, for drainGrace at most, or until ctx ends.
func (e *Engine) closeSessions(ctx context.Context) {
	_, connections := e.moves()
	pace, begin := e.drainPace(ctx, connections), time.Now()
	if connections > 0 {
		e.o.Logger.Info("closing connections", "connections", connections, "a second", int(pace))
	}
	ticker := time.NewTicker(drainPause)
	defer ticker.Stop()
	var grace <-chan time.Time
	told, left := int64(0), int64(connections)
	defer func() {
		if left > 0 {
			e.cutOff.Store(left)
			e.o.Logger.Warn("connections are cut off without a goodbye", "connections", left)
		}
	}()
	for {
		due := pace*(time.Since(begin)+drainPause).Seconds() - float64(told)
		share := int(min(max(math.Ceil(due/float64(max(len(e.loops), 1))), 0), drainShare))
		var d drained
		if askLoops(ctx, e.loops, func(l *loop) { l.drainSome(share, &d) }) != nil {
			return
		}
		told, left = told+d.told.Load(), d.left.Load()
		e.dropGreetings()
		if e.admission.active.Load() == 0 {
			return
		}
		if d.told.Load()+d.others.Load()+left == 0 && e.output.Used() == 0 && grace == nil {
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

// drainSome closes sessions that are not on their way out yet: up to n of those that listen, and all others, whose clients do not come
// back because of it.
func (l *loop) drainSome(n int, d *drained) {
	var refs []sessionRef
	told, left := 0, 0
	l.slab.each(func(s *Session) {
		switch s.state {
		case stateFlushing, stateClosing, stateWaiting, stateClosed:
			return
		case stateLive, stateParked, stateReplaying:
			if s.is(flagOwn) {
				return
			}
			if told == n {
				left++
				return
			}
			told++
		}
		refs = append(refs, s.ref())
	})
	for _, ref := range refs {
		if s := l.slab.at(ref); s != nil {
			l.end(s, CloseDrain)
		}
	}
	d.told.Add(int64(told))
	d.others.Add(int64(len(refs) - told))
	d.left.Add(int64(left))
}

// end closes a session in the way that its client understands.
func (l *loop) end(s *Session, reason CloseReason) {
	switch s.state {
	case stateLive, stateReplaying, stateParked:
		s.via().end(l, s, reason)
	case stateProxy, stateHead, stateBody, stateWaiting:
		if s.is(flagBacklog) && reason == CloseDrain {
			s.reason = reason
			l.finish(s) // behind the reply that is under way
			return
		}
		l.close(s, reason)
	}
}

// Stop ends service at once. A call while another one is under way waits for that one.
func (e *Engine) Stop(ctx context.Context) error {
	e.admission.closed.Store(true)
	e.stopping.Store(true)
	e.cancel()
	e.handOffs.closeAll()
	e.ending.Lock() // a drain ends with a Stop, too
	defer e.ending.Unlock()
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
