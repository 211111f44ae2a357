package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notify tells systemd about the state of the server. It does nothing where nobody asks for it: not under a unit with Type=notify.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd cannot be notified", "state", state, "err", err)
	}
}

func notifyReady(log *slog.Logger)    { notify(log, daemon.SdNotifyReady) }
func notifyStopping(log *slog.Logger) { notify(log, daemon.SdNotifyStopping) }

// notifyReloading is followed by notifyReady. The time tells systemd which reload of its own that answers.
func notifyReloading(log *slog.Logger) {
	notify(log, daemon.SdNotifyReloading+"\n"+daemon.SdNotifyMonotonicUsec())
}

// statusInterval is how often systemd is told how many connections are served.
const statusInterval = 10 * time.Second

// beat tells systemd that the engine is alive, at least twice in the time after which a unit with WatchdogSec= is started anew, and what
// it does. It returns when ctx ends.
func (s *server) beat(ctx context.Context) {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return
	}
	interval, patience := statusInterval, time.Duration(0)
	limit, err := daemon.SdWatchdogEnabled(false)
	switch {
	case err != nil:
		s.log.Warn("the watchdog of systemd is not served", "err", err)
	case limit > 0:
		patience = limit / 4
		interval = min(interval, patience)
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for status := ""; ; {
		if patience > 0 {
			s.reassure(ctx, patience)
		}
		if now := fmt.Sprintf("STATUS=serving %s", count(s.engine.Stats().Connections, "connection")); now != status {
			status = now
			notify(s.log, status)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// reassure tells the watchdog that the engine has answered in time.
func (s *server) reassure(ctx context.Context, patience time.Duration) {
	asked, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := s.engine.Alive(asked)
	switch {
	case err == nil:
		notify(s.log, daemon.SdNotifyWatchdog)
	case ctx.Err() == nil:
		s.log.Error("the event loops or the feed do not answer: unless they do soon, systemd starts the server anew", "err", err, "waited", patience)
	}
}
