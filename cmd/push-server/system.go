package main

import (
	"errors"
	"log/slog"
	"math"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"golang.org/x/sys/unix"
)

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
