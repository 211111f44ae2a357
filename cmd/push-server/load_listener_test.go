package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"push-server/protocol/testclient"
)

// A listener is one client of a load. It loses its connection again and again and comes back to any of the processes.
type listener struct {
	load     *load
	name     string
	polls    bool
	binary   bool
	five     bool // speaks version 5: its first channel is the one of its user, who may listen to it by its id besides
	user     int
	three    bool // speaks version 3: it has no public channels
	switches bool // between versions 4 and 5
	channels []*loadChannel
	ready    chan struct{} // closed when it has got its first message

	mid       string
	expiries  int // of its configuration; with each it speaks another version
	farewells int
	progress  time.Time // when it got something last
}

// listen connects until it has got the farewells of its channels.
func (w *listener) listen() error {
	session := w.webSocketSession
	if w.polls {
		http := testclient.NewHTTP(true)
		defer http.Close()
		session = func(messages int) error { return w.pollSession(http, messages) }
	}
	w.progress = time.Now()
	for !w.done() {
		stay := w.load.size.stay
		err := session(stay/8 + rand.IntN(stay-stay/8))
		if errors.Is(err, errSwitched) {
			w.load.returns.Add(1)
			continue
		}
		if err := w.survive(err); err != nil {
			return err
		}
		if w.done() {
			return nil
		}
		away := w.load.away
		if away == nil {
			away = (*listener).stayAway
		}
		if err := away(w); err != nil {
			return err
		}
		w.load.returns.Add(1)
	}
	return nil
}

// survive is what a client does who loses its connection under rough conditions: it comes again, as long as it gets something now and then.
func (w *listener) survive(err error) error {
	if err == nil || !w.load.rough || errors.As(err, &disorder{}) {
		return err
	}
	if time.Since(w.progress) > w.load.patience {
		return w.stuck(err)
	}
	return w.load.sleep(50 * time.Millisecond)
}

func (w *listener) done() bool { return w.farewells == len(w.channels) }

// stayAway waits until some publications have been missed, or all are published.
func (w *listener) stayAway() error {
	missed := rand.IntN(maxBehind - 20)
	ch := w.channels[0]
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for range 50 { // the channel may be silent
		if slices.ContainsFunc(w.channels, func(ch *loadChannel) bool { return ch.behind(w) >= missed }) {
			return nil
		}
		select {
		case <-tick.C:
		case <-w.load.ctx.Done():
			return fmt.Errorf("channel %s: %w", ch.name, w.load.ctx.Err())
		}
	}
	return nil
}

// target is where to connect now.
func (w *listener) target() (addr, target string) {
	subs := w.load.in.subs
	addr = subs[rand.IntN(len(subs))]
	first, second := w.channels[0].use(w), w.channels[1].use(w)
	raw, signed := []string{second.Private}, []string{first.Signed(), second.Signed()}
	if w.three {
		signed = []string{first.Alone(), second.Alone()}
	}
	if all := w.load.toAll; all.Private != "" {
		raw, signed = append(raw, all.Private), append(signed, all.Alone())
	}
	if w.five {
		if w.user%2 == 0 {
			raw = append(raw, first.Private)
		}
		token := testclient.Token(testKey, time.Now().Add(12*time.Hour).Unix(), w.user, raw...)
		return addr, subPath + "?token=" + token + "&jsonRpc=true&mid=" + w.mid
	}
	return addr, subPath + testclient.Query(w.binary, w.mid, signed...)
}

// webSocketSession takes that many messages and then loses the connection.
func (w *listener) webSocketSession(messages int) error {
	addr, target := w.target()
	socket, err := testclient.Dial(w.load.ctx, addr, target)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer socket.Close()
	defer context.AfterFunc(w.load.ctx, func() { socket.Close() })()
	for messages > 0 && !w.done() {
		socket.SetReadDeadline(time.Now().Add(w.load.patience))
		batch, err := socket.Receive()
		if err != nil {
			return w.stuck(err)
		}
		messages -= len(batch)
		if err := w.take(batch); err != nil {
			return err
		}
	}
	if rand.IntN(2) == 0 {
		socket.Abort()
	}
	return nil
}

// pollSession polls until it has that many messages; then it loses the answer of the next poll.
func (w *listener) pollSession(http *testclient.HTTP, messages int) error {
	for messages > 0 && !w.done() {
		batch, err := w.poll(w.load.ctx, http, w.load.patience)
		if errors.Is(err, context.DeadlineExceeded) {
			return w.stuck(err)
		}
		if err != nil {
			return err
		}
		messages -= len(batch)
		if err := w.take(batch); err != nil {
			return err
		}
	}
	if w.done() {
		return nil
	}
	_, err := w.poll(w.load.ctx, http, time.Duration(rand.IntN(3000))*time.Microsecond)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	return err
}

func (w *listener) poll(ctx context.Context, http *testclient.HTTP, timeout time.Duration) ([]testclient.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	addr, target := w.target()
	reply, err := http.Poll(ctx, "http://"+addr+target)
	if err != nil {
		return nil, err
	}
	return reply.Messages()
}

// stuck tells what a client waits for that gets nothing any more.
func (w *listener) stuck(err error) error {
	return fmt.Errorf("behind mid %s, %d and %d publications behind, %d farewells: %w",
		w.mid, w.channels[0].behind(w), w.channels[1].behind(w), w.farewells, err)
}

// errSwitched ends a connection whose client has been told to speak another version.
var errSwitched = errors.New("another version")

func (w *listener) take(batch []testclient.Message) error {
	expiries := w.expiries
	for _, m := range batch {
		if m.ID <= w.mid {
			return disorder{fmt.Errorf("id %s after %s: %s", m.ID, w.mid, m.Body)}
		}
		if w.mid == "" {
			close(w.ready)
		}
		w.mid = m.ID
		if err := w.takeBody(m.Body); err != nil {
			return fmt.Errorf("id %s: %w", m.ID, err)
		}
	}
	w.progress = time.Now()
	w.load.delivered.Add(int64(len(batch)))
	if w.five {
		w.load.fives.Add(int64(len(batch)))
	}
	if w.expiries != expiries {
		return errSwitched
	}
	return nil
}

// takeBody reads {"channel":number,...}, {"greeting":1}, {"farewell":1}, or {"expire":number}, which tells all to speak another version.
func (w *listener) takeBody(body string) error {
	var numbers map[string]int
	if err := json.Unmarshal([]byte(body), &numbers); err != nil {
		return fmt.Errorf("%w: %s", err, body)
	}
	w.farewells += numbers["farewell"]
	if n := numbers["expire"]; n > 0 {
		if w.expiries++; n != w.expiries {
			return disorder{fmt.Errorf("configuration %d expires after %d", n, w.expiries-1)}
		}
		w.five = w.five != w.switches
		w.load.told.Add(1)
	}
	for _, ch := range w.channels {
		n, ok := numbers[ch.name]
		if !ok {
			continue
		}
		if err := ch.see(w, n); err != nil {
			return err
		}
	}
	return nil
}
