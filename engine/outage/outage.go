// Package outage logs a failure that lasts: one line when it begins, one a minute, and one when it is over.
package outage

import (
	"log/slog"
	"sync"
	"time"
)

// Outage is something that may fail again and again until it works. Its methods may be called from any goroutine.
type Outage struct {
	log  *slog.Logger
	what string
	then string
	now  func() time.Time

	mu       sync.Mutex
	begun    time.Time // zero: it works
	told     time.Time
	failures int
}

const lineEvery = time.Minute

// New returns an Outage whose lines begin with what happens, and what is done then: "publications cannot be stored", "trying again".
func New(log *slog.Logger, what, then string) *Outage {
	return &Outage{log: log, what: what, then: then, now: time.Now}
}

// Failed notes that an attempt has failed. args are further attributes of the line, if there is one.
func (o *Outage) Failed(err error, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	if o.failures++; o.begun.IsZero() {
		o.begun = now
	} else if now.Sub(o.told) < lineEvery {
		return
	}
	o.told = now
	o.log.Warn(o.what+", "+o.then, append([]any{"err", err, "since", o.begun.Format(time.TimeOnly), "attempts", o.failures}, args...)...)
}

// Over notes that an attempt has succeeded.
func (o *Outage) Over(args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.begun.IsZero() {
		return
	}
	took := o.now().Sub(o.begun).Round(time.Millisecond)
	o.log.Warn("resolved: "+o.what, append([]any{"took", took, "attempts", o.failures}, args...)...)
	o.begun, o.failures = time.Time{}, 0
}

// Lasts is how long it has been failing; 0: it works.
func (o *Outage) Lasts() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.begun.IsZero() {
		return 0
	}
	return o.now().Sub(o.begun)
}
