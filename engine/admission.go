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

// Descriptors shares out the descriptor limit of the process: what the connections of subscribers may take, and what those of
// publishers may, on ports of their own. The rest is for the bus, for files, and for connections being handed over.
func Descriptors() (subscribers, publishers int) {
	n := 1024 // the usual limit, if the system does not say
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		n = int(min(limit.Cur, 1<<24))
	}
	reserve := min(1024, n/4)
	return n - reserve, reserve / 2
}
