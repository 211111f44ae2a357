package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// notices are log lines about what happens to single connections, of which there may be thousands: the first of a kind is told at once,
// from then on there is one line a minute, with how many there were and the address of one of them.
type notices struct {
	log   *slog.Logger
	mu    sync.Mutex
	kinds map[string]*notice
}

type notice struct {
	count   int // not told yet
	example string
	told    time.Time
}

const (
	noticeEvery = time.Minute
	noticeLook  = 5 * time.Second
)

func newNotices(log *slog.Logger) *notices {
	return &notices{log: log, kinds: make(map[string]*notice)}
}

// note counts what has happened to the connection of addr. It may be called from any goroutine.
func (n *notices) note(what, addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := n.kinds[what]
	if k == nil {
		k = &notice{}
		n.kinds[what] = k
	}
	k.count++
	k.example = addr
	n.tell(what, k, time.Now())
}

// tell writes the line if it is time.
func (n *notices) tell(what string, k *notice, now time.Time) {
	if k.count == 0 || now.Sub(k.told) < noticeEvery {
		return
	}
	n.log.Warn(what, "connections", k.count, "example", k.example)
	k.count, k.told = 0, now
}

// run tells what came after the last line of its kind, until ctx ends.
func (n *notices) run(ctx context.Context) {
	ticker := time.NewTicker(noticeLook)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			n.look(now)
		}
	}
}

func (n *notices) look(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for what, k := range n.kinds {
		n.tell(what, k, now)
	}
}
