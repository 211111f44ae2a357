package main

import (
	"errors"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"golang.org/x/sys/unix"
)

// reloadSignals brings a signal when the configuration, or only the other files in use, are to be read or opened again. Of one kind, those
// that come before somebody reads are one.
func reloadSignals() (all, reopen <-chan os.Signal, stop func()) {
	hup, usr1 := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	signal.Notify(usr1, syscall.SIGUSR1)
	return hup, usr1, func() {
		signal.Stop(hup)
		signal.Stop(usr1)
	}
}

// endSignals brings the signals that end the server, the one that begins its drain among them.
func endSignals() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 2)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT)
	return c, func() { signal.Stop(c) }
}

// raiseDescriptors allows the process as many open files as it may allow itself: each connection is one.
func raiseDescriptors(log *slog.Logger) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		log.Warn("the limit of file descriptors cannot be read", "err", err)
		return
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		log.Warn("the limit of file descriptors cannot be raised", "err", err)
		return
	}
	log.Info("file descriptors", "limit", limit.Cur)
}

// cores is how many the process may use at the same time, by the machine or by the limit of its control group.
var cores = runtime.GOMAXPROCS(0)

// spareProcessor lets goroutines run beside event loops that wait. The runtime does not know that a loop sleeps in epoll_wait: it
// finds out within 10 ms, and until then a goroutine that a loop woke waits for a place if there are only as many as loops. At 2,000
// publications a second on two cores the 99th percentile fell from 14.5 to 0.3 ms. A GOMAXPROCS of the environment stays as it is.
func spareProcessor(loops int) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(loops, cores) + 1)
	}
}

// gcPercent is half of the runtime's own pace: an idle connection takes 755 bytes instead of 817, and at 30,000 publications a second the
// 17 collections of five seconds instead of 9 cost nothing that could be measured.
const gcPercent = 50

// collectEarly sets the pace of the garbage collector. A GOGC of the environment stays as it is.
func collectEarly() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// How much memory an upgrade takes for a connection, in bytes: in the process that gets it, in the one that has it, and between them.
const (
	takingOver = 5 << 10
	givingAway = 3 << 10
	bodySize   = 400
	servedSize = 1 << 20 // of what they have had
)

// maxAtHand bounds what holdReady has at hand; where memory has a limit, so does a part of that: there are two processes.
const (
	maxAtHand   = 64 << 20
	atHandShare = 8
)

// holdReady is for a moment in which clients wait: until collectEarly is called, garbage waits as well, and so much memory is at hand that
// need not be asked for. Virtual machines get new pages slowly: 17 µs each were seen, which was most of what an upgrade took. A limit of
// memory still counts.
func holdReady(bytes int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(-1)
	}
	limit := debug.SetMemoryLimit(-1) // only asks
	atHand := make([]byte, min(int64(bytes), maxAtHand, limit/atHandShare))
	for i := 0; i < len(atHand); i += os.Getpagesize() {
		atHand[i] = 1
	}
	runtime.KeepAlive(atHand)
	runtime.GC() // gives it back to the runtime, which keeps it
}

// limitMemory makes the garbage collector work harder before a container is killed: at nine tenths of its memory. A GOMEMLIMIT of the
// environment stays as it is.
func limitMemory(log *slog.Logger) {
	limit, err := memlimit.Set(memlimit.WithRatio(0.9), memlimit.WithProvider(memlimit.FromCgroup))
	switch {
	case errors.Is(err, memlimit.ErrNoCgroup), errors.Is(err, memlimit.ErrCgroupsNotSupported):
	case err != nil:
		log.Info("the memory limit of the container cannot be read, serving without one", "err", err) // nothing that an operator could mend
	case limit < math.MaxInt64:
		log.Info("memory", "limit", limit)
	}
}
