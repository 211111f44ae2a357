package load

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"

	"golang.org/x/sys/unix"
)

// boardFD is where a worker finds the board that it shares with its parent.
const boardFD = 3

// maxTroubles bounds how many different troubles are told apart.
const maxTroubles = 50

// worker is a process of the fleet: its users, its publishers, one loop.
type worker struct {
	loop    *loop
	out     *json.Encoder
	plan    *Plan
	board   *Board
	tally   *Tally
	dialect dialect
	alone   bool
	from    int
	clients []client // by user - from

	sources   []*unix.SockaddrInet4
	subscribe []*unix.SockaddrInet4
	publish   []*unix.SockaddrInet4
	others    map[string]*unix.SockaddrInet4 // of groups with an address of their own
	posters   int

	dialers   []*dialer
	campaigns []*campaign
	churners  map[string]*churner
	floor     *floor

	integrity           Integrity
	delivery, broadcast *Latency
	troubles            map[string]int64

	frames, reads, polls, pollTimeouts, returns, retries int64

	scratch []byte
}

// ServeWorker is the main function of a worker process: it carries out the orders that come on in until told to quit or until in
// ends, and answers on out.
func ServeWorker(in io.Reader, out io.Writer) error {
	runtime.LockOSThread()
	debug.SetGCPercent(400)
	// Timers of a thread are up to 50 µs late by default, as much as a whole delivery takes.
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1000, 0, 0, 0); err != nil {
		return fmt.Errorf("load: timer slack: %w", err)
	}
	l, err := newLoop()
	if err != nil {
		return err
	}
	defer l.close()
	w := &worker{
		loop: l, out: json.NewEncoder(out), delivery: NewLatency(), broadcast: NewLatency(),
		troubles: make(map[string]int64), churners: make(map[string]*churner), others: make(map[string]*unix.SockaddrInet4),
	}
	go w.listen(in)
	return l.run(w.step)
}

// listen posts the orders to the loop.
func (w *worker) listen(in io.Reader) {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			w.loop.post(func() { w.loop.quit = true })
			return
		}
		o := new(Order)
		err = json.Unmarshal(line, o)
		w.loop.post(func() {
			if err == nil {
				err = w.obey(o)
			}
			if err != nil {
				w.answer(Answer{ID: o.ID, Error: err.Error()})
			}
		})
		if o.Quit != nil {
			return
		}
	}
}

func (w *worker) answer(a Answer) {
	if err := w.out.Encode(a); err != nil {
		w.loop.quit = true // the parent is gone
	}
}

// step lets everything that waits for a time do what is due.
func (w *worker) step() int64 {
	next := never
	for _, d := range w.dialers {
		next = min(next, d.step(w.loop.now))
	}
	for _, c := range w.churners {
		next = min(next, c.step(w.loop.now))
	}
	for _, c := range w.campaigns {
		next = min(next, c.step(w.loop.now))
	}
	w.dialers = slices.DeleteFunc(w.dialers, func(d *dialer) bool { return d.done == nil })
	w.campaigns = slices.DeleteFunc(w.campaigns, func(c *campaign) bool { return c.done == nil })
	return next
}

func (w *worker) trouble(what string) {
	if _, known := w.troubles[what]; !known && len(w.troubles) >= maxTroubles {
		what = "others"
	}
	w.troubles[what]++
	if w.tally != nil {
		w.tally.Trouble.Add(1)
	}
}

// setup makes the users of this worker.
func (w *worker) setup(s *Setup) (err error) {
	w.plan, w.alone, w.from = s.Plan, s.Alone, s.From
	w.board, err = OpenBoard(os.NewFile(boardFD, "push-bench-board"), s.Workers, s.Plan.Streams())
	if err != nil {
		return err
	}
	w.tally = &w.board.workers[s.Worker]
	if w.dialect, err = newDialect(s.Plan); err != nil {
		return err
	}
	if w.subscribe, err = addresses(s.Plan.Target.Subscribe); err != nil {
		return err
	}
	if w.publish, err = addresses(s.Plan.Target.Publish); err != nil {
		return err
	}
	for _, source := range s.Sources {
		a, err := address(source + ":0")
		if err != nil {
			return err
		}
		w.sources = append(w.sources, a)
	}
	return w.makeClients(s)
}

func addresses(list []string) (as []*unix.SockaddrInet4, err error) {
	for _, s := range list {
		a, err := address(s)
		if err != nil {
			return nil, err
		}
		as = append(as, a)
	}
	return as, nil
}

func (w *worker) makeClients(s *Setup) error {
	w.clients = make([]client, s.To-s.From)
	p := w.plan
	for i := range p.Groups {
		g := &p.Groups[i]
		if g.Address != "" {
			a, err := address(g.Address)
			if err != nil {
				return err
			}
			w.others[g.Address] = a
		}
		for u := max(g.First, s.From); u < min(g.First+g.Count, s.To); u++ {
			w.clients[u-s.From] = w.makeClient(g, u)
		}
	}
	for j := range p.Chats {
		for k := range p.ChatSize {
			if u := p.chatMember(j, k) - s.From; u >= 0 && u < len(w.clients) && w.clients[u] != nil {
				w.clients[u].base().follow(uint32(p.ChatStream(j)), 1)
			}
		}
	}
	return nil
}

func (w *worker) makeClient(g *Group, user int) client {
	s := subscriber{w: w, user: user, group: g, format: w.plan.format(g), socket: socket{l: w.loop, fd: -1}}
	for _, stream := range w.plan.follows(nil, g, user) {
		s.follow(uint32(stream), 1)
	}
	s.target = w.dialect.subscribeTarget(&s)
	if g.Poll {
		return &pollClient{subscriber: s}
	}
	return &wsClient{subscriber: s}
}

// groupClients returns the clients of a group that are this worker's, of its first count users if count is not 0.
func (w *worker) groupClients(name string, count int) ([]client, error) {
	g, err := w.plan.Group(name)
	if err != nil {
		return nil, err
	}
	if count == 0 {
		count = g.Count
	}
	from := min(max(g.First-w.from, 0), len(w.clients))
	to := min(max(g.First+min(count, g.Count)-w.from, from), len(w.clients))
	return w.clients[from:to], nil
}

func (w *worker) source(user int) *unix.SockaddrInet4 {
	if len(w.sources) == 0 {
		return nil
	}
	return w.sources[user%len(w.sources)]
}

func (w *worker) subscribeAddress(g *Group, user int) *unix.SockaddrInet4 {
	if g.Address != "" {
		return w.others[g.Address]
	}
	return w.subscribe[user%len(w.subscribe)]
}

func (w *worker) publishAddress() *unix.SockaddrInet4 {
	w.posters++
	return w.publish[w.posters%len(w.publish)]
}
