package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"push-server/engine/outage"
	"push-server/protocol"
)

// presence marks the channels of connections as online for other processes, in batches: a wave of connections is a few commands.
type presence struct {
	marks   Presence
	outage  *outage.Outage
	mu      sync.Mutex
	due     map[protocol.ChannelID]struct{}
	arrived chan struct{}
}

const (
	maxMarksDue = 1 << 20 // more are dropped: each is renewed with the next pong
	marksBatch  = 1000
)

func newPresence(marks Presence, log *slog.Logger) *presence {
	return &presence{marks: marks, outage: outage.New(log, "online marks cannot be written", "trying again"), due: make(map[protocol.ChannelID]struct{}), arrived: make(chan struct{}, 1)}
}

// touch has ch marked soon. It does not block.
func (p *presence) touch(ch protocol.ChannelID) {
	p.mu.Lock()
	if len(p.due) < maxMarksDue {
		p.due[ch] = struct{}{}
	}
	p.mu.Unlock()
	select {
	case p.arrived <- struct{}{}:
	default:
	}
}

func (p *presence) take() (chs []protocol.ChannelID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ch := range p.due {
		if len(chs) == marksBatch {
			break
		}
		delete(p.due, ch)
		chs = append(chs, ch)
	}
	return chs
}

// run writes marks until ctx ends.
func (p *presence) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.arrived:
		}
		for chs := p.take(); len(chs) > 0; chs = p.take() {
			p.write(ctx, chs)
		}
	}
}

// write tries until the marks are there.
func (p *presence) write(ctx context.Context, chs []protocol.ChannelID) {
	retry := newRetry(100*time.Millisecond, 2*time.Second)
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, busTimeout)
		err := p.marks.Touch(attempt, chs)
		cancel()
		if err == nil {
			p.outage.Over()
			return
		}
		p.outage.Failed(err)
		sleep(ctx, retry.NextBackOff())
	}
}

// Online says of each channel whether somebody is connected to it: to any process of the installation in cluster mode, otherwise
// to this one. It may be called from any goroutine.
func (e *Engine) Online(ctx context.Context, chs []protocol.ChannelID) ([]bool, error) {
	begin := time.Now()
	online, err := e.online(ctx, chs)
	if err != nil {
		online = nil // the answer is an empty list
	}
	exchangeOf(ctx).sayOnline(len(online), begin)
	return online, err
}

func (e *Engine) online(ctx context.Context, chs []protocol.ChannelID) ([]bool, error) {
	if e.presence != nil {
		return e.presence.marks.Online(ctx, chs)
	}
	var mu sync.Mutex
	online := make([]bool, len(chs))
	err := askLoops(ctx, e.loops, func(l *loop) {
		mu.Lock()
		defer mu.Unlock()
		for i := range chs {
			if len(l.table.Subscribers(&chs[i])) > 0 {
				online[i] = true
			}
		}
	})
	return online, err
}
