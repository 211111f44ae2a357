package engine

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// admission counts the connections of the process. One accept too many would end a gnet engine: an accept that fails for want of
// descriptors takes the whole loop down.
type admission struct {
	max    int64
	active atomic.Int64
	closed atomic.Bool // draining: nobody comes in any more
}

// enter takes a place, if there is one.
func (a *admission) enter() bool { return a.take(1) }

func (a *admission) leave() { a.give(1) }

// take takes n places, if there are as many: a place stands for a descriptor.
func (a *admission) take(n int64) bool {
	if a.closed.Load() {
		return false
	}
	if a.active.Add(n) > a.max {
		a.active.Add(-n)
		return false
	}
	return true
}

func (a *admission) give(n int64) { a.active.Add(-n) }

// descriptorBudget is the number of connections that the descriptor limit leaves room for. The rest is for the bus, for
// publishers, files, and for connections being handed over.
func descriptorBudget() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 512
	}
	n := int(min(limit.Cur, 1<<24))
	return n - min(1024, n/4)
}
