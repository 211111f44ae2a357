package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// All processes of a machine see the same CLOCK_MONOTONIC, so a time put into a payload by one means the same to another.
// time.Since reads that clock without a system call; its origin is found once.
var (
	started = time.Now()
	origin  = monotonic() - int64(time.Since(started))
)

// now is CLOCK_MONOTONIC in nanoseconds.
func now() int64 { return origin + int64(time.Since(started)) }

func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("BUG: no monotonic clock: " + err.Error())
	}
	return ts.Nano()
}
