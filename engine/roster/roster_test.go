package roster

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"push-server/engine/membus"
	"push-server/engine/outage"
	"push-server/protocol/testclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A watcher remembers what was told of users, in order.
type watcher struct {
	mu   sync.Mutex
	told map[uint64][]bool
}

func (w *watcher) changed(_ context.Context, users []uint64, online bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told == nil {
		w.told = make(map[uint64][]bool)
	}
	for _, user := range users {
		w.told[user] = append(w.told[user], online)
	}
}

func (w *watcher) of(user uint64) []bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.told[user])
}

func (w *watcher) want(t *testing.T, user uint64, told ...bool) {
	t.Helper()
	testclient.Await(t, "what is told is right", func() bool { return slices.Equal(w.of(user), told) })
}

func run(t *testing.T, bus Bus, delay time.Duration) (*Roster, *watcher) {
	t.Helper()
	w := &watcher{}
	r := New(bus, Options{Delay: delay, TTL: time.Hour, Changed: w.changed, Failing: outage.New(slog.New(slog.DiscardHandler), "", "")})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return r, w
}

// A user comes with the first connection and goes with the last, not before some time has passed.
func TestComingAndGoing(t *testing.T) {
	r, w := run(t, membus.New(membus.Options{}), 50*time.Millisecond)
	r.Come(17)
	r.Come(17)
	r.Come(18)
	w.want(t, 17, true)
	w.want(t, 18, true)
	r.Go(17, 0)
	r.Go(18, 0)
	w.want(t, 18, true, false)
	if told := w.of(17); len(told) != 1 {
		t.Errorf("with a connection left, %v is told", told)
	}
	r.Go(17, 0)
	w.want(t, 17, true, false)
	r.Come(17)
	w.want(t, 17, true, false, true)
	testclient.Await(t, "who has gone is forgotten", func() bool { return slices.Equal(r.Users(), []uint64{17}) })
}

// A user whose page changes has never been away; neither has one that polls.
func TestPagesChange(t *testing.T) {
	r, w := run(t, membus.New(membus.Options{}), time.Hour)
	other, _ := run(t, membus.New(membus.Options{}), time.Millisecond)
	for range 3 {
		r.Come(17)
		w.want(t, 17, true)
		r.Go(17, 0)
		other.Come(1)
		other.Go(1, time.Hour)
	}
	if online, _ := r.Connected(t.Context(), []uint64{17, 18}); !online[0] || online[1] {
		t.Errorf("connected: %v", online)
	}
	other.Come(2)
	other.Go(2, 0)
	testclient.Await(t, "the other one has gone", func() bool { return !slices.Contains(other.Users(), 2) })
	if got := other.Users(); !slices.Equal(got, []uint64{1}) {
		t.Errorf("who polls is forgotten: %v", got)
	}
}

// unreliable fails every other call of each kind, and knows nobody once.
type unreliable struct {
	*membus.Bus
	mu     sync.Mutex
	calls  map[string]int
	forget bool
}

var errAway = errors.New("away")

func (u *unreliable) fails(what string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.calls[what]++; u.calls[what]%2 == 1 {
		return errAway
	}
	return nil
}

func (u *unreliable) Enter(ctx context.Context, users []uint64) ([]uint64, error) {
	if err := u.fails("enter"); err != nil {
		return nil, err
	}
	return u.Bus.Enter(ctx, users)
}

func (u *unreliable) Leave(ctx context.Context, users []uint64) ([]uint64, error) {
	if err := u.fails("leave"); err != nil {
		return nil, err
	}
	return u.Bus.Leave(ctx, users)
}

func (u *unreliable) Renew(ctx context.Context, ttl time.Duration) (known bool, gone []uint64, err error) {
	if err := u.fails("renew"); err != nil {
		return false, nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.forget {
		u.forget = false
		u.Bus.Leave(ctx, []uint64{17})
		return false, nil, nil
	}
	return true, nil, nil
}

// A bus that fails is asked again, and one that has lost its data is told again.
func TestUnreliableBus(t *testing.T) {
	u := &unreliable{Bus: membus.New(membus.Options{}), calls: make(map[string]int)}
	r, w := run(t, u, 100*time.Millisecond)
	r.Come(17)
	w.want(t, 17, true)
	u.mu.Lock()
	u.forget = true
	u.mu.Unlock()
	w.want(t, 17, true, true)
	r.Go(17, 0)
	w.want(t, 17, true, true, false)
}

// forgetful does every other call of each kind, and loses the answer.
type forgetful struct{ *unreliable }

func (f forgetful) Enter(ctx context.Context, users []uint64) ([]uint64, error) {
	came, err := f.Bus.Enter(ctx, users)
	if f.fails("enter") != nil {
		return nil, errAway
	}
	return came, err
}

func (f forgetful) Leave(ctx context.Context, users []uint64) ([]uint64, error) {
	gone, err := f.Bus.Leave(ctx, users)
	if f.fails("leave") != nil {
		return nil, errAway
	}
	return gone, err
}

// A change is told although the answer of the bus was lost; of a user who is connected elsewhere nobody is told that it has gone.
func TestLostAnswers(t *testing.T) {
	bus := membus.New(membus.Options{})
	r, w := run(t, forgetful{&unreliable{Bus: bus, calls: make(map[string]int)}}, 50*time.Millisecond)
	r.Come(17)
	w.want(t, 17, true)
	r.Go(17, 0)
	w.want(t, 17, true, false)
	testclient.Await(t, "who has gone is forgotten", func() bool { return len(r.Users()) == 0 })
	r.Come(17)
	w.want(t, 17, true, false, true)
	if online, err := bus.Connected(t.Context(), []uint64{17}); err != nil || !online[0] {
		t.Errorf("who has come back is not entered: %v, %v", online, err)
	}
}

// Nobody is lost or left behind, however many come and go at once.
func TestManyAtOnce(t *testing.T) {
	bus := membus.New(membus.Options{})
	r, w := run(t, bus, 50*time.Millisecond)
	const users, rounds = 1200, 5
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range rounds {
				for user := uint64(1); user <= users; user++ {
					r.Come(user)
				}
				for user := uint64(1); user <= users; user++ {
					if i > 0 || user%2 == 0 { // every other one keeps connections
						r.Go(user, 0)
					}
				}
			}
		})
	}
	all.Wait()
	ids := make([]uint64, users)
	for i := range ids {
		ids[i] = uint64(i + 1)
	}
	testclient.Await(t, "half of them are left", func() bool {
		online, _ := bus.Connected(t.Context(), ids)
		for i := range online {
			if online[i] != (ids[i]%2 == 1) {
				return false
			}
		}
		return len(r.Users()) == users/2
	})
	for _, user := range ids {
		for i, online := range w.of(user) {
			if online != (i%2 == 0) {
				t.Fatalf("of user %d it was told: %v", user, w.of(user))
			}
		}
	}
}
