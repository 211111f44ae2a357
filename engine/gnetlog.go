package engine

import (
	"fmt"
	"log/slog"
)

// quiet is gnet's logger: what it has to say is for developers, but for errors.
type quiet struct{ log *slog.Logger }

func (q quiet) Debugf(format string, args ...any) {}
func (q quiet) Infof(format string, args ...any) {
	q.log.Debug("gnet: " + fmt.Sprintf(format, args...))
}

// Warnf is about stale connections, mostly.
func (q quiet) Warnf(format string, args ...any) { q.Infof(format, args...) }

func (q quiet) Errorf(format string, args ...any) {
	q.log.Error("gnet: " + fmt.Sprintf(format, args...))
}
func (q quiet) Fatalf(format string, args ...any) {
	q.log.Error("gnet: " + fmt.Sprintf(format, args...))
}
