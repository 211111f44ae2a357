package load

import "fmt"

// speaker publishes by WebSocket, over the connection of a subscriber. There is no answer, so it is always idle.
type speaker struct {
	c      *campaign
	from   *wsClient
	bodies [][]byte
	to     map[int][]receiver
}

func (c *campaign) recruitSpeakers() error {
	clients, err := c.w.groupClients(c.Speakers, 0)
	if err != nil {
		return err
	}
	for _, cl := range clients[:min(len(clients), c.Connections)] {
		from, ok := cl.(*wsClient)
		if !ok || !from.live {
			return fmt.Errorf("load: user %d of %s has no WebSocket to publish by", cl.base().user, c.Speakers)
		}
		c.senders = append(c.senders, &speaker{c: c, from: from, to: make(map[int][]receiver)})
	}
	if len(c.senders) == 0 {
		return fmt.Errorf("load: no speakers in group %s of this worker", c.Speakers)
	}
	return nil
}

func (s *speaker) idle() bool { return true }

func (s *speaker) send(j job) error {
	if !s.from.live {
		return errClosed
	}
	s.bodies = s.c.bodies(j, s.bodies)
	p := s.c.w.plan
	if err := s.from.send(opBinary, appendRequest(nil, s.receivers(j.stream), s.bodies, p.Expiry)); err != nil {
		return err
	}
	s.c.stored(j)
	return nil
}

func (s *speaker) receivers(stream int) []receiver {
	to, ok := s.to[stream]
	if !ok {
		p := s.c.w.plan
		for _, id := range p.channels(nil, stream) {
			to = append(to, receiver{id: id, signature: p.sign("public:" + id.hex())})
		}
		s.to[stream] = to
	}
	return to
}

func (s *speaker) step(int64) int64 { return never }

func (s *speaker) hangUp() {}
