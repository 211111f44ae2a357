package engine

import "testing"

func TestMemoryIsGivenBackAfterAWave(t *testing.T) {
	f := func(want bool, trimmer trimmer, moves uint64, connections int) {
		t.Helper()
		if got := trimmer.due(moves, connections); got != want {
			t.Errorf("%+v, %d moves, %d connections: %v", trimmer, moves, connections, got)
		}
	}
	f(false, trimmer{}, 0, 0)
	f(false, trimmer{}, 20_000, 20_000)                              // they are coming
	f(true, trimmer{seen: 20_000}, 20_000, 20_000)                   // all are there
	f(true, trimmer{seen: 19_900}, 20_000, 20_000)                   // but for a few who come and go
	f(false, trimmer{seen: 19_700}, 20_000, 20_000)                  // too many who do
	f(true, trimmer{trimmed: 20_000, seen: 40_000}, 40_000, 0)       // all have gone
	f(false, trimmer{trimmed: 40_000, seen: 40_010}, 40_020, 10)     // nothing since
	f(false, trimmer{trimmed: 40_000, seen: 40_999}, 40_999, 10)     // too few to be a wave
	f(false, trimmer{trimmed: 40_000, seen: 41_500}, 41_500, 20_000) // in proportion
	f(true, trimmer{trimmed: 40_000, seen: 42_000}, 42_000, 20_000)
}

func TestWaveIsTrimmedOnce(t *testing.T) {
	var tr trimmer
	var times int
	for _, moves := range []uint64{9000, 18_000, 18_000, 18_000, 18_010} {
		if tr.due(moves, 18_000) {
			times++
		}
	}
	if times != 1 {
		t.Errorf("%d times", times)
	}
}

func TestMovesAreComingAndGoing(t *testing.T) {
	e := &Engine{loops: []*loop{{}, {}}}
	e.loops[0].stats.opened.Store(30)
	e.loops[1].stats.opened.Store(12)
	e.admission.active.Store(2)
	if moves, connections := e.moves(); moves != 42+40 || connections != 2 {
		t.Errorf("%d %d", moves, connections)
	}
}

// A wave of bytes is one, too: when it is over, what it has left is given back, once.
func TestMemoryIsGivenBackAfterAWaveOfBytes(t *testing.T) {
	tr := trimmer{rest: 30 << 20}
	f := func(want bool, used, allocated uint64) {
		t.Helper()
		if got := tr.grown(used<<20, allocated<<20); got != want {
			t.Errorf("%d MB in use, %d MB allocated: %v", used, allocated, got)
		}
	}
	f(false, 35, 5)
	f(false, 160, 400) // it comes
	f(true, 160, 401)  // it is over
	tr.rest = 32 << 20
	f(false, 32, 401)
	f(false, 47, 402) // too little to be worth it
	f(true, 48, 403)
	f(false, 20, 403)
	f(true, 36, 404) // more than the least there was
}
