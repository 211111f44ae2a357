package feed

import (
	"context"
	"time"

	"push-server/protocol"
)

// Bus is what a feed needs of the bus that carries publications between processes. All methods may be called from any goroutine.
// Package bustest holds the guarantees as tests.
type Bus interface {
	// Subscribe calls h until ctx ends and returns ctx.Err(), or protocol.ErrBusClosed. It connects again by itself, with capped
	// back-off and a log line. Only one Subscribe at a time.
	Subscribe(ctx context.Context, h protocol.Handler) error
	// Echo sends the highest id handed out through the bus to this process only and returns the number of this echo; numbers grow.
	// When the Handler gets it, every publication that was handed to the bus before the call has been handled. An echo may be lost
	// together with the connection; HandleGap tells. If the store has lost data, so that its counter is behind an id that this process
	// has seen, the counter is raised above that first: ids never go back.
	Echo(ctx context.Context) (n uint64, err error)
	// History answers the leading queries, at least one: the publications oldest first, each once, expired ones left out. A publication
	// found in several channels of its query names them all as receivers. What cannot be decoded is left out. maxBytes bounds the
	// bodies of all answers together, each body counted once (0: no bound); the last answer may be cut, to one publication at least,
	// and says so.
	History(ctx context.Context, queries []protocol.HistoryQuery, maxBytes int) ([]protocol.HistoryAnswer, error)
	// Remaining says of each id how much longer its publication stays in history; 0: it is not there.
	Remaining(ctx context.Context, ids []protocol.MessageID) ([]time.Duration, error)
}

// reconnecter is the optional ability of a bus to give up a connection that does not bring anything.
type reconnecter interface{ Reconnect() }

// busTimeout bounds one call of the bus.
const busTimeout = 5 * time.Second
