package load

// subscriber is the client of one user: it follows its streams over one connection after another and remembers its position
// between them.
type subscriber struct {
	socket
	tracker
	w        *worker
	user     int
	group    *Group
	format   Format
	target   string // of its request
	position []byte // of the newest message, as the dialect puts it into the next request
	live     bool   // counted as connected
	dialer   *dialer
	began    int64 // when the connection under way was begun
}

// client is a subscriber with its transport.
type client interface {
	handler
	base() *subscriber
	// begin starts to connect. The dialer hears of the outcome.
	begin() error
}

func (s *subscriber) base() *subscriber { return s }

// message implements visitor.
func (s *subscriber) message(position, body []byte) {
	if len(position) > 0 {
		s.position = append(s.position[:0], position...)
	}
	w := s.w
	p, ok := parseBody(body)
	if !ok || int(p.stream) >= len(w.board.streams) {
		w.integrity.Damaged++
		w.trouble("damaged message")
		return
	}
	s.saw(p.stream, p.number, &w.integrity)
	latency := w.delivery
	if w.plan.isShared(int(p.stream)) {
		latency = w.broadcast
	}
	latency.record(w.loop.now - p.at)
	w.board.streams[p.stream].delivered.Add(1)
	w.tally.Deliveries.Add(1)
}

// opened is called when the subscription stands.
func (s *subscriber) opened() {
	s.live = true
	s.w.tally.Connected.Add(1)
	for _, t := range s.tracks {
		s.w.board.streams[t.stream].receivers.Add(1)
	}
	s.dialed(nil)
}

func (s *subscriber) dialed(err error) {
	if d := s.dialer; d != nil {
		s.dialer = nil
		d.finished(s, err)
	}
}

// gone takes the connection out of all counts.
func (s *subscriber) gone() {
	if !s.live {
		return
	}
	s.live = false
	s.w.tally.Connected.Add(-1)
	for _, t := range s.tracks {
		s.w.board.streams[t.stream].receivers.Add(^uint32(0))
	}
}

// fail ends a connection that should have gone on.
func (s *subscriber) fail(err error) {
	wasLive := s.live
	s.gone()
	s.close()
	if wasLive {
		s.w.trouble("connection ended: " + err.Error())
	}
	s.dialed(err)
}

// hangUp ends the connection on our side; a client that has no position yet misses what comes while it is away.
func (s *subscriber) hangUp(reset bool) {
	s.gone()
	if reset {
		s.socket.reset()
	} else {
		s.socket.close()
	}
	if len(s.position) == 0 {
		s.forget()
	}
}

// appendRequest appends the head of the subscription: GET with the position so far, and extra header lines.
func (s *subscriber) appendRequest(dst []byte, extra string) []byte {
	d := s.w.dialect
	dst = append(dst, "GET "...)
	dst = append(dst, s.target...)
	dst = d.appendQuery(dst, s.position)
	dst = append(dst, " HTTP/1.1\r\nHost: push\r\n"...)
	dst = append(dst, extra...)
	dst = d.appendHeaders(dst, s.position)
	return append(dst, "\r\n"...)
}
