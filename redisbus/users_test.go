package redisbus_test

import (
	"slices"
	"testing"
	"time"

	"push-server/engine/roster"
	"push-server/protocol/testclient"
	"push-server/redisbus"
	"push-server/redisbus/redistest"
)

var _ roster.Bus = (*redisbus.Bus)(nil)

// A clock that tests set.
type setClock struct{ ahead time.Duration }

func (c *setClock) now() time.Time { return time.Now().Add(c.ahead) }

func openAt(t *testing.T, server *redistest.Server) (*redisbus.Bus, *setClock) {
	t.Helper()
	c := &setClock{}
	return open(t, redisbus.Options{Addr: server.Addr(), Now: c.now}), c
}

func renew(t *testing.T, b *redisbus.Bus) (known bool, gone []uint64) {
	t.Helper()
	known, gone, err := b.Renew(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(gone)
	return known, gone
}

func wantUsers(t *testing.T, what string, got []uint64, err error, want ...uint64) {
	t.Helper()
	if slices.Sort(got); err != nil || !slices.Equal(got, want) {
		t.Errorf("%s: %v, %v; want %v", what, got, err, want)
	}
}

// Of users with connections to several processes only the first coming and the last going count.
func TestUsersOfSeveralProcesses(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, _ := openAt(t, server)
	b, _ := openAt(t, server)
	for _, bus := range []*redisbus.Bus{a, b} {
		if known, gone := renew(t, bus); known || len(gone) > 0 {
			t.Errorf("a new process is known: %v, %v", known, gone)
		}
	}
	got, err := a.Enter(t.Context(), []uint64{1, 2})
	wantUsers(t, "a enters", got, err, 1, 2)
	got, err = a.Enter(t.Context(), []uint64{1, 2})
	wantUsers(t, "a enters again", got, err)
	got, err = b.Enter(t.Context(), []uint64{2, 3})
	wantUsers(t, "b enters", got, err, 3)
	got, err = a.Leave(t.Context(), []uint64{1, 2, 9})
	wantUsers(t, "a leaves", got, err, 1)
	got, err = b.Leave(t.Context(), []uint64{2})
	wantUsers(t, "b leaves", got, err, 2)
	online, err := a.Connected(t.Context(), []uint64{1, 2, 3})
	if err != nil || !slices.Equal(online, []bool{false, false, true}) {
		t.Errorf("connected: %v, %v", online, err)
	}
	if known, gone := renew(t, a); !known || len(gone) > 0 {
		t.Errorf("a is known: %v, gone: %v", known, gone)
	}
	wantOldCommands(t, server)
}

// Users of a process that has died leave, each once, whoever notices; one that was only away enters its own again.
func TestUsersOfDeadProcesses(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, clock := openAt(t, server)
	b, _ := openAt(t, server)
	renew(t, a)
	renew(t, b)
	many := make([]uint64, 2000)
	for i := range many {
		many[i] = uint64(i + 1)
	}
	if _, err := b.Enter(t.Context(), many); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Enter(t.Context(), []uint64{1}); err != nil {
		t.Fatal(err)
	}
	if err := a.Retire(t.Context(), time.Hour); err != nil { // lives on while b is taken for dead
		t.Fatal(err)
	}
	clock.ahead = 2 * time.Minute
	if known, gone := renew(t, a); !known || !slices.Equal(gone, many[1:]) {
		t.Errorf("a is known: %v, %d are gone", known, len(gone))
	}
	if known, gone := renew(t, b); known || len(gone) > 0 {
		t.Errorf("b is known after it was taken for dead: %v, %v", known, gone)
	}
	got, err := b.Enter(t.Context(), []uint64{1, 2})
	wantUsers(t, "b enters again", got, err, 2)
}

// A process that ends is waited for no longer than it said, and an empty Redis knows nobody.
func TestUsersOfAProcessThatEnds(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, _ := openAt(t, server)
	b, _ := openAt(t, server)
	renew(t, a)
	renew(t, b)
	if _, err := b.Enter(t.Context(), []uint64{1}); err != nil {
		t.Fatal(err)
	}
	if err := b.Retire(t.Context(), 10*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	testclient.Await(t, "its user is gone", func() bool {
		_, gone := renew(t, a)
		return slices.Equal(gone, []uint64{1})
	})
	server.Do("FLUSHALL")
	if known, _ := renew(t, a); known {
		t.Error("an empty Redis knows the process")
	}
}
