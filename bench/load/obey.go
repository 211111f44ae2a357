package load

import (
	"errors"
	"fmt"
)

var errNoSetup = errors.New("load: the first order must be setup")

// obey carries out an order; an error is its answer.
func (w *worker) obey(o *Order) error {
	if w.plan == nil && o.Setup == nil && o.Quit == nil {
		return errNoSetup
	}
	switch {
	case o.Setup != nil:
		if err := w.setup(o.Setup); err != nil {
			return err
		}
		w.answer(Answer{ID: o.ID})
	case o.Connect != nil:
		return w.connect(o.ID, o.Connect)
	case o.Drop != nil:
		return w.drop(o.ID, o.Drop)
	case o.Publish != nil:
		return w.startCampaign(o.ID, *o.Publish)
	case o.Churn != nil:
		return w.churn(o.ID, o.Churn)
	case o.Lag != nil:
		w.answer(Answer{ID: o.ID, Pending: w.pending()})
	case o.Stats != nil:
		w.answer(Answer{ID: o.ID, Stats: w.stats(o.Stats.Reset)})
	case o.Listen != nil:
		return w.startFloor(o.ID, o.Listen)
	case o.Spread != nil:
		return w.spread(o.ID, o.Spread)
	case o.Quit != nil:
		w.answer(Answer{ID: o.ID})
		w.loop.quit = true
	default:
		return fmt.Errorf("load: order %d says nothing", o.ID)
	}
	return nil
}

func (w *worker) connect(id int, o *Connect) error {
	clients, err := w.groupClients(o.Group, o.Count)
	if err != nil {
		return err
	}
	d := newDialer(w, o.Limit, o.Rate, func(r Dialed) { w.answer(Answer{ID: id, Dialed: &r}) })
	for _, c := range clients {
		if !c.base().open() {
			d.queue = append(d.queue, c)
		}
	}
	w.dialers = append(w.dialers, d)
	return nil
}

func (w *worker) drop(id int, o *Drop) error {
	clients, err := w.groupClients(o.Group, 0)
	if err != nil {
		return err
	}
	for _, c := range clients {
		c.base().hangUp(o.Reset)
	}
	w.answer(Answer{ID: id})
	return nil
}

func (w *worker) startCampaign(id int, spec Campaign) error {
	c, err := startCampaign(w, spec, func(p Published, err error) {
		if err != nil {
			w.answer(Answer{ID: id, Error: err.Error()})
			return
		}
		w.answer(Answer{ID: id, Published: &p})
	})
	if err != nil {
		return err
	}
	w.campaigns = append(w.campaigns, c)
	return nil
}

func (w *worker) churn(id int, o *Churn) error {
	clients, err := w.groupClients(o.Group, 0)
	if err != nil {
		return err
	}
	if c := w.churners[o.Group]; c != nil && o.Rate == 0 {
		// Those on their way back arrive by a dialer of the worker; it answers when all have.
		delete(w.churners, o.Group)
		c.dialer.done = func(Dialed) { w.answer(Answer{ID: id}) }
		w.dialers = append(w.dialers, c.dialer)
		return nil
	}
	if len(clients) > 0 && o.Rate > 0 {
		w.churners[o.Group] = newChurner(w, clients, o.Rate)
	}
	w.answer(Answer{ID: id})
	return nil
}

// pending is how many messages have been published that subscribers of this worker have not read.
func (w *worker) pending() (n int64) {
	for _, c := range w.clients {
		if c != nil && c.base().live {
			n += c.base().pending(func(stream uint32) uint32 { return w.board.streams[stream].published.Load() })
		}
	}
	return n
}

func (w *worker) stats(reset bool) *Stats {
	s := &Stats{
		Integrity: w.integrity, Frames: w.frames, Reads: w.reads, Polls: w.polls, PollTimeouts: w.pollTimeouts,
		Returns: w.returns, Retries: w.retries, Troubles: w.troubles, Delivery: w.delivery, Broadcast: w.broadcast,
	}
	if reset {
		w.frames, w.reads, w.polls, w.pollTimeouts, w.returns, w.retries = 0, 0, 0, 0, 0, 0
		w.delivery, w.broadcast = NewLatency(), NewLatency()
	}
	return s
}
