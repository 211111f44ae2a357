// Package probe proves that what comes from the bus reaches clients. Once a second the feed adds a publication of this process alone to
// the echo that has come back through the bus. Each event loop has a session of the process's own that subscribes to it, at one end of a
// socket pair; whoever reads at the other end knows that bus, feed, loop and socket work together.
//
// It is no publication of the bus: that would take an id of all processes each second, and every Node process would have to parse it.
package probe

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"push-server/protocol"
)

// Prober reads what the loops send to the process itself. Its methods may be called from any goroutine.
type Prober struct {
	Channel   protocol.ChannelID // what the sessions subscribe to: random, and known to nobody else
	Delivered atomic.Uint64      // probes that came from the loops
	Failures  atomic.Uint64      // times that a loop had not delivered in time

	now   func() time.Duration
	took  func(time.Duration)
	begun atomic.Int64 // when delivery could be expected first; 0: not yet
	lines []line
}

// line is what one loop has delivered.
type line struct {
	conn  atomic.Pointer[net.Conn]
	heard atomic.Int64 // when, on the prober's clock; 0: nothing yet

	turns uint64       // as of the last look
	stuck atomic.Int64 // since when the loop has been woken and has not turned; 0: it turns
}

// New returns a prober for so many loops. now is the clock of the feed; took hears how long each probe was under way, from before the bus
// to behind the socket.
func New(loops int, now func() time.Duration, took func(time.Duration)) *Prober {
	p := &Prober{now: now, took: took, lines: make([]line, loops)}
	rand.Read(p.Channel.Bytes[:])
	return p
}

// Begin says that delivery can be expected from now on.
func (p *Prober) Begin() { p.begun.Store(max(int64(p.now()), 1)) }

// Silence is how long nothing has come from a loop, since delivery can be expected.
func (p *Prober) Silence(loop int) time.Duration {
	begun := p.begun.Load()
	if begun == 0 {
		return 0
	}
	return p.now() - time.Duration(max(begun, p.lines[loop].heard.Load()))
}

// Look notes how often a loop has turned and whether a wake-up is on its way to it. One goroutine calls it now and then.
func (p *Prober) Look(loop int, turns uint64, awake bool) {
	l := &p.lines[loop]
	if turns != l.turns || !awake {
		l.turns = turns
		l.stuck.Store(0)
		return
	}
	l.stuck.CompareAndSwap(0, int64(p.now()))
}

// Stuck is how long a loop has been woken and has not turned.
func (p *Prober) Stuck(loop int) time.Duration {
	if since := p.lines[loop].stuck.Load(); since != 0 {
		return p.now() - time.Duration(since)
	}
	return 0
}

// Count counts the loops from which nothing has come for so long.
func (p *Prober) Count(late time.Duration) {
	for i := range p.lines {
		if p.Silence(i) > late {
			p.Failures.Add(1)
		}
	}
}

// Listen reads what a loop sends until conn, which it takes over, is closed.
func (p *Prober) Listen(loop int, conn net.Conn) error {
	defer conn.Close()
	l := &p.lines[loop]
	l.conn.Store(&conn)
	r := bufio.NewReaderSize(conn, 512)
	for {
		h, err := ws.ReadHeader(r)
		if err != nil {
			return nil // the end
		}
		message := make([]byte, min(h.Length, maxMessage))
		if _, err := io.ReadFull(r, message); err != nil {
			return nil
		}
		sent, err := parse(message)
		if err != nil {
			return fmt.Errorf("BUG: probe: %w in %q", err, message)
		}
		now := p.now()
		p.Delivered.Add(1)
		p.took(now - sent)
		l.heard.Store(int64(now))
	}
}

// maxMessage is longer than any message of the feed's, in bytes.
const maxMessage = 1024

// parse reads when a probe was sent.
func parse(message []byte) (sent time.Duration, err error) {
	_, body, _ := bytes.Cut(message, []byte(`"text":`))
	body, _, _ = bytes.Cut(body, []byte("}"))
	n, err := strconv.ParseInt(string(body), 10, 64)
	return time.Duration(n), err
}

// Close ends every Listen.
func (p *Prober) Close() {
	for i := range p.lines {
		if conn := p.lines[i].conn.Load(); conn != nil {
			_ = (*conn).Close() // nothing is written to it
		}
	}
}
