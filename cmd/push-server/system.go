package main

import (
	"errors"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"syscall"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"golang.org/x/sys/unix"
)

// reloadSignals brings a signal when the files in use are to be read or opened again. Signals that come before somebody reads are
// one.
func reloadSignals() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP, syscall.SIGUSR1)
	return c, func() { signal.Stop(c) }
}

// raiseDescriptors allows the process as many open files as it may allow itself: each connection is one.
func raiseDescriptors(log *slog.Logger) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		log.Warn("descriptor limit unknown", "err", err)
		return
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		log.Warn("descriptor limit not raised", "err", err)
		return
	}
	log.Info("descriptors", "limit", limit.Cur)
}

// limitMemory makes the garbage collector work harder before a container is killed: at nine tenths of its memory. A GOMEMLIMIT of the
// environment stays as it is.
func limitMemory(log *slog.Logger) {
	limit, err := memlimit.Set(memlimit.WithRatio(0.9), memlimit.WithProvider(memlimit.FromCgroup))
	switch {
	case errors.Is(err, memlimit.ErrNoCgroup), errors.Is(err, memlimit.ErrCgroupsNotSupported):
	case err != nil:
		log.Warn("memory limit unknown", "err", err)
	case limit < math.MaxInt64:
		log.Info("memory", "limit", limit)
	}
}
