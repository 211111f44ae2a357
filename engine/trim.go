package engine

import (
	"context"
	"runtime/debug"
	"time"
)

// trimEvery is how long connections have to come and go no more before a wave of them is over.
const trimEvery = 10 * time.Second

// trimmer decides when memory is given back to the system. A wave of connections leaves garbage behind, and while nothing is
// allocated the runtime looks for it every two minutes only and keeps a part: each of 18,900 connections that came at once took 857
// bytes before, 758 after.
type trimmer struct {
	trimmed uint64 // moves up to the last time
	seen    uint64 // moves up to the last look
}

const (
	minWave   = 1000 // moves worth the work
	waveShare = 10   // a wave is at least one move for as many connections
	calmShare = 100  // and is over when there is at most one move for as many
	calmMoves = 10   // or this few
)

// due is asked once every trimEvery. A move is a connection that came or went.
func (t *trimmer) due(moves uint64, connections int) bool {
	lately, wave := moves-t.seen, moves-t.trimmed
	t.seen = moves
	if wave < uint64(max(minWave, connections/waveShare)) || lately > uint64(max(calmMoves, connections/calmShare)) {
		return false
	}
	t.trimmed = moves
	return true
}

// trim gives memory back after each wave of connections, until ctx ends.
func (e *Engine) trim(ctx context.Context) {
	ticker := time.NewTicker(trimEvery)
	defer ticker.Stop()
	var t trimmer
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if t.due(e.moves()) {
				debug.FreeOSMemory()
			}
		}
	}
}

// moves is how many connections came and went since the start, and how many there are now.
func (e *Engine) moves() (moves uint64, connections int) {
	now := e.admission.active.Load() - e.tlsConns.Load()*tlsPlaces
	var opened uint64
	for _, l := range e.loops {
		opened += l.stats.opened.Load()
	}
	return 2*opened - uint64(now), int(now)
}
