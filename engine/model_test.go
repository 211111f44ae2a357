package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"push-server/protocol"
	"push-server/protocol/testclient"
)

// The model: real loops and sockets over a bus on which everything goes wrong, and clients that come and go. Every client must
// see every publication of its channels exactly once and in the order of ids, whatever the schedule. A third of them speak version 5: what is
// published is for some of their users, too, by itself or beside channels that they have, and with parts for each user alone.

const (
	modelChannels     = 4
	modelClients      = 12
	modelPublications = 300
)

// watcher is a client of the model: it reconnects with its last mid, by WebSocket or by polls.
type watcher struct {
	name   string
	addr   string
	query  string
	user   uint64 // of version 5; 0: it speaks version 4
	byPoll bool
	rng    *rand.Rand
	got    []testclient.Message
	mid    string
}

// watch connects again and again until last has been seen.
func (w *watcher) watch(ctx context.Context, last string) error {
	for ctx.Err() == nil && !w.done(last) {
		if err := w.visit(ctx, last); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	return ctx.Err()
}

func (w *watcher) done(last string) bool {
	return len(w.got) > 0 && w.got[len(w.got)-1].Body == last
}

// visit connects once and stays for some messages. That it is cut off is no error: it comes again.
func (w *watcher) visit(ctx context.Context, last string) error {
	conn, err := testclient.Connect(ctx, w.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	receive := conn.Receive
	if w.byPoll {
		receive = func() ([]testclient.Message, error) { return w.poll(conn) }
	} else if err := conn.Upgrade(w.target()); err != nil {
		return nil
	}
	for range 1 + w.rng.IntN(60) {
		ms, err := receive()
		if errors.Is(err, testclient.ErrFraming) || errors.Is(err, errRefused) {
			return err
		}
		if err != nil {
			return nil
		}
		if len(ms) > 0 {
			for i := range ms {
				ms[i].Body += own(&ms[i])
			}
			w.got = append(w.got, ms...)
			w.mid = ms[len(ms)-1].ID
		}
		if w.done(last) {
			return nil
		}
	}
	return nil
}

func (w *watcher) target() string {
	q := w.query
	if w.mid != "" {
		q += "&mid=" + w.mid
	}
	return testSub + q
}

// own is what a message of version 5 has for its user alone.
func own(m *testclient.Message) string {
	_, params, _ := strings.Cut(m.Raw, `,"user_params":`)
	return strings.TrimSuffix(params, "}}")
}

var errRefused = errors.New("refused")

func (w *watcher) poll(conn *testclient.Conn) ([]testclient.Message, error) {
	reply, err := conn.Poll(w.target())
	if err != nil {
		return nil, err
	}
	if mid := reply.Header.Get("Last-Message-Id"); reply.Status == http.StatusNotModified && mid != "" {
		w.mid = mid
	}
	if reply.Status != http.StatusOK && reply.Status != http.StatusNotModified {
		return nil, fmt.Errorf("%w: %v", errRefused, reply)
	}
	return reply.Messages()
}

// check compares what was seen with what was published: exactly once and in order.
func (w *watcher) check(want []string) error {
	if !slices.IsSortedFunc(w.got, func(a, b testclient.Message) int { return strings.Compare(a.ID, b.ID) }) {
		return fmt.Errorf("%s: not in the order of ids: %s", w.name, disorder(w.got))
	}
	if got := testclient.Bodies(w.got); !slices.Equal(got, want) {
		return fmt.Errorf("%s: %s", w.name, difference(got, want))
	}
	return nil
}

// disorder shows the places where ids go back.
func disorder(got []testclient.Message) string {
	var places []string
	for i := 1; i < len(got); i++ {
		if got[i].ID < got[i-1].ID {
			places = append(places, fmt.Sprint(testclient.Bodies(got[max(0, i-2):min(len(got), i+2)])))
		}
	}
	return strings.Join(places, ", ")
}

func difference(got, want []string) string {
	counts := make(map[string]int)
	for _, s := range got {
		counts[s]++
	}
	var lost, doubled []string
	for _, s := range want {
		switch n := counts[s]; {
		case n == 0:
			lost = append(lost, s)
		case n > 1:
			doubled = append(doubled, s)
		}
	}
	return fmt.Sprintf("%d of %d messages, lost %v, doubled %v", len(got), len(want), lost, doubled)
}

// isFive says whether a client of a model speaks version 5.
func isFive(client int) bool { return client%3 == 1 }

// userOf is whose a client of version 5 is.
func userOf(client int) uint64 { return uint64(client + 1) }

// modelQuery is the query of a client of a model.
func modelQuery(client int, items ...protocol.Item) string {
	if isFive(client) {
		return tokenQuery(userOf(client), items...)
	}
	return query("", items...)
}

// tokenQuery is the query of a client of version 5 that has items besides what is for its user.
func tokenQuery(user uint64, items ...protocol.Item) string {
	var ids []string
	for _, it := range items {
		ids = append(ids, testclient.ChannelOf(testKey, it).Private)
	}
	return "?jsonRpc=true&token=" + testclient.Token(testKey, time.Now().Add(time.Hour).Unix(), int(user), ids...)
}

// newWatchers makes clients of two channels each, and tells which.
func newWatchers(addr string, items []protocol.Item, rng *rand.Rand, seed uint64) (watchers []*watcher, channels [][2]int) {
	for i := range modelClients {
		a, b := rng.IntN(modelChannels), rng.IntN(modelChannels)
		channels = append(channels, [2]int{a, b})
		w := &watcher{
			name: fmt.Sprintf("client %d", i), addr: addr, query: modelQuery(i, items[a], items[b]),
			byPoll: i%3 == 0 || i%6 == 4, mid: "00000000000000000000000000", rng: rand.New(rand.NewPCG(seed, uint64(i)+10)),
		}
		if isFive(i) {
			w.user = userOf(i)
		}
		watchers = append(watchers, w)
	}
	return watchers, channels
}

// runModel publishes through the engine while watchers come and go.
func runModel(t *testing.T, seed uint64, faults simFaults, change func(o *Options)) {
	t.Helper()
	bus := newSimBus(seed, faults)
	e := startEngine(t, bus, func(o *Options) {
		o.V5.Enabled = true
		o.EchoInterval = 30 * time.Millisecond
		o.PollTimeout = 300 * time.Millisecond
		o.PollGrace = 100 * time.Millisecond
		o.HistoryPerChannel, o.HistoryTotal = 1000, 1000 // nobody is away for longer
		if change != nil {
			change(o)
		}
	})
	rng := rand.New(rand.NewPCG(seed, 2))
	items := make([]protocol.Item, modelChannels)
	for i := range items {
		items[i] = newItem()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	watchers, channels := newWatchers(e.Addrs()[0], items, rng, seed)
	wants := make([][]string, modelClients)
	const last = `"last"`
	var running sync.WaitGroup
	errs := make([]error, modelClients)
	for i, w := range watchers {
		running.Go(func() { errs[i] = w.watch(ctx, last) })
	}
	for n := range modelPublications {
		to := rng.IntN(modelChannels)
		chs := []protocol.ChannelID{private(items[to])}
		other := -1
		if n%7 == 0 {
			other = rng.IntN(modelChannels)
			chs = append(chs, private(items[other]))
		}
		p := publication(strconv.Itoa(n), 600, chs...)
		users := addUsers(p, rng, n)
		for i, c := range channels {
			user := watchers[i].user
			if slices.Contains(c[:], to) || slices.Contains(c[:], other) || slices.Contains(users, user) {
				wants[i] = append(wants[i], string(p.Body)+string(p.ParamsOf(user)))
			}
		}
		publishEventually(t, e, p)
		if n%20 == 0 {
			bus.pause(ctx, 5*time.Millisecond)
		}
	}
	publishEventually(t, e, publication(last, 600, privates(items)...))
	running.Wait()
	for i, w := range watchers {
		if err := errors.Join(errs[i], w.check(append(wants[i], last))); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// addUsers has a publication be for some users, too, now and then with parts for each of them, or for one who gets it by channel.
func addUsers(p *protocol.Publication, rng *rand.Rand, n int) (users []uint64) {
	var params []string
	for i := range modelClients {
		if !isFive(i) {
			continue
		}
		user := userOf(i)
		if rng.IntN(3) == 0 {
			users = append(users, user)
			p.Receivers = append(p.Receivers, protocol.Receiver{Channel: protocol.UserChannel(user)})
		}
		if rng.IntN(2) == 0 {
			params = append(params, fmt.Sprintf(`"%d":{"of":%[1]d,"n":%d}`, user, n))
		}
	}
	if n%3 == 0 && len(params) > 0 {
		p.Extra = []byte(`{"user_params":{` + strings.Join(params, ",") + `}}`)
	}
	return users
}

func privates(items []protocol.Item) (all []protocol.ChannelID) {
	for _, it := range items {
		all = append(all, private(it))
	}
	return all
}

// publishEventually accepts that the answer may come late.
func publishEventually(t testing.TB, e *Engine, p *protocol.Publication) {
	t.Helper()
	if err := e.publishing.enqueue(backEnds, []*protocol.Publication{p}, nil, nil); err != nil {
		t.Fatal(err)
	}
}

func TestModel(t *testing.T) {
	f := func(name string, faults simFaults, change func(o *Options)) {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(4) {
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					t.Parallel()
					runModel(t, seed, faults, change)
				})
			}
		})
	}
	slow := simFaults{slowHistory: 3 * time.Millisecond, delay: 200 * time.Microsecond}
	with := func(change func(f *simFaults)) simFaults {
		f := slow
		change(&f)
		return f
	}
	f("quiet", simFaults{}, nil)
	f("delays", slow, nil)
	f("lost answers", with(func(f *simFaults) { f.lostAnswer = 0.1 }), nil)
	f("history fails", with(func(f *simFaults) { f.badHistory = 0.3 }), nil)
	f("connection lost", with(func(f *simFaults) { f.disconnect = 0.02 }), nil)
	f("deaf", with(func(f *simFaults) { f.goDeaf = 0.005 }), nil)
	f("small window", slow, func(o *Options) { o.WindowCount = 16 })
	f("small window, connection lost", with(func(f *simFaults) { f.disconnect = 0.02 }), func(o *Options) { o.WindowCount = 16 })
	f("everything", with(func(f *simFaults) {
		f.lostAnswer, f.badHistory, f.disconnect, f.goDeaf = 0.05, 0.1, 0.01, 0.002
	}), func(o *Options) { o.WindowCount = 64 })
}

// runNode is the model with publishers of the Node server: ids are taken first, and published later or never. Whoever stays connected
// sees every publication exactly once; its order is that of the bus.
func runNode(t *testing.T, seed uint64, faults simFaults, change func(o *Options)) {
	t.Helper()
	bus := newSimBus(seed, faults)
	e := startEngine(t, bus, func(o *Options) {
		o.V5.Enabled = true
		o.EchoInterval = 30 * time.Millisecond
		if change != nil {
			change(o)
		}
	})
	items := make([]protocol.Item, modelChannels)
	for i := range items {
		items[i] = newItem()
	}
	clients := make([]*testclient.Client, modelClients)
	wants := make([]map[string]int, modelClients)
	for i := range clients {
		clients[i] = subscribed(t, e, modelQuery(i, items[i%modelChannels], items[(i+1)%modelChannels]))
		wants[i] = make(map[string]int)
	}
	var publishers sync.WaitGroup
	for n := range 3 {
		rng := rand.New(rand.NewPCG(seed, uint64(n)+100))
		for k := range modelPublications / 3 {
			to := (n + k) % modelChannels
			for i := range clients {
				if to == i%modelChannels || to == (i+1)%modelChannels || isFive(i) && k%modelClients == i {
					wants[i][fmt.Sprintf("%d-%d", n, k)]++
				}
			}
		}
		publishers.Go(func() {
			for k := range modelPublications / 3 {
				id := bus.takeID()
				if rng.IntN(10) == 0 {
					id = bus.takeID() // the first one is given up
				}
				bus.pause(context.Background(), 2*time.Millisecond)
				p := publication(fmt.Sprintf("%d-%d", n, k), 600, private(items[(n+k)%modelChannels]))
				if i := k % modelClients; isFive(i) {
					p.Receivers = append(p.Receivers, protocol.Receiver{Channel: protocol.UserChannel(userOf(i))})
				}
				bus.publishAs(p, id)
			}
		})
	}
	publishers.Wait()
	for i, c := range clients {
		for _, text := range c.Bodies(len(wants[i])) {
			wants[i][strings.Trim(text, `"`)]-- // version 5 makes JSON of it
		}
		for text, n := range wants[i] {
			if n != 0 {
				t.Errorf("seed %d: client %d got %q %d times", seed, i, text, 1-n)
			}
		}
	}
}

func TestModelWithNodePublishers(t *testing.T) {
	f := func(name string, faults simFaults, change func(o *Options)) {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(3) {
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					t.Parallel()
					runNode(t, seed, faults, change)
				})
			}
		})
	}
	slow := simFaults{slowHistory: 3 * time.Millisecond, delay: 200 * time.Microsecond}
	f("delays", slow, nil)
	slow.disconnect = 0.01
	f("connection lost", slow, nil)
	slow.disconnect, slow.loseOne = 0, 0.01
	f("events lost", slow, nil)
}
