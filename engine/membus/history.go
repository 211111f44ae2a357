package membus

import (
	"slices"
	"time"

	"push-server/protocol"
)

// history is the history of a Bus: a log of publications for each channel, and all of them in one list from the
// oldest to the newest, which tells what goes when memory runs out. Its owner guards it.
type history struct {
	perChannel int
	maxBytes   int64
	channelTTL int64 // milliseconds

	logs   map[protocol.ChannelID]*channelLog
	byID   map[protocol.MessageID]*entry
	list   entry  // sentinel of a ring: list.next is the oldest, list.prev the newest
	cursor *entry // where the sweep for expired entries goes on
	bytes  int64
}

// entry is one stored publication.
type entry struct {
	publication *protocol.Publication
	expires     int64 // Unix milliseconds
	bytes       int64
	logs        int // how many logs hold it; at 0 it goes
	prev, next  *entry
}

// channelLog is the history of one channel, in the order of ids.
type channelLog struct {
	entries []*entry
	expires int64 // Unix milliseconds
}

func newHistory(o Options) history {
	h := history{perChannel: o.PerChannel, maxBytes: o.MaxBytes, channelTTL: o.ChannelTTL.Milliseconds()}
	h.clear()
	return h
}

func (h *history) clear() {
	h.logs, h.byID = make(map[protocol.ChannelID]*channelLog), make(map[protocol.MessageID]*entry)
	h.list, h.cursor, h.bytes = entry{}, nil, 0
}

// add stores p under each of its receivers and removes what is due.
func (h *history) add(p *protocol.Publication, now time.Time) {
	ms := now.UnixMilli()
	e := &entry{publication: p, expires: ms + int64(p.Expiry)*1000, bytes: entryBytes(p)}
	for i := range p.Receivers {
		h.addTo(p.Receivers[i].Channel, e, ms)
	}
	if e.logs == 0 {
		return // no receivers
	}
	h.link(e)
	h.sweep(ms)
	for h.bytes > h.maxBytes {
		h.remove(h.list.next)
	}
}

func (h *history) addTo(ch protocol.ChannelID, e *entry, ms int64) {
	l := h.logs[ch]
	if l == nil {
		l = &channelLog{}
		h.logs[ch] = l
	}
	if l.expires <= ms {
		h.trim(l, 0)
	}
	l.expires = ms + h.channelTTL
	if n := len(l.entries); n > 0 && l.entries[n-1] == e {
		return // a receiver named twice
	}
	l.entries = append(l.entries, e)
	e.logs++
	h.trim(l, h.perChannel)
}

// trim drops the oldest entries of l until n are left.
func (h *history) trim(l *channelLog, n int) {
	for len(l.entries) > n {
		e := l.entries[0]
		l.drop(0)
		if e.logs--; e.logs == 0 {
			h.unlink(e)
		}
	}
}

// remove drops e from all logs. A channel without history takes no memory.
func (h *history) remove(e *entry) {
	for i := range e.publication.Receivers {
		ch := e.publication.Receivers[i].Channel
		l := h.logs[ch]
		if l == nil {
			continue
		}
		if i, ok := l.search(e.publication.ID); ok {
			l.drop(i)
		}
		if len(l.entries) == 0 {
			delete(h.logs, ch)
		}
	}
	h.unlink(e)
}

// sweep looks at two entries for each one added. A round thus takes half as many additions as there are entries, so in steady
// traffic expired ones never outnumber living ones, for constant work and without a second index.
func (h *history) sweep(ms int64) {
	for range 2 {
		if h.cursor == nil || h.cursor == &h.list {
			h.cursor = h.list.next
		}
		e := h.cursor
		h.cursor = e.next
		if e.expires <= ms {
			h.remove(e)
		}
		if len(h.byID) == 0 {
			return
		}
	}
}

func (h *history) link(e *entry) {
	if h.list.next == nil {
		h.list.next, h.list.prev = &h.list, &h.list
	}
	e.prev, e.next = h.list.prev, &h.list
	e.prev.next, e.next.prev = e, e
	h.byID[e.publication.ID] = e
	h.bytes += e.bytes
}

func (h *history) unlink(e *entry) {
	if h.cursor == e {
		h.cursor = e.next
	}
	e.prev.next, e.next.prev = e.next, e.prev
	delete(h.byID, e.publication.ID)
	h.bytes -= e.bytes
}

// remaining is how much longer id is there; 0: it is not.
func (h *history) remaining(id protocol.MessageID, now time.Time) time.Duration {
	e := h.byID[id]
	if e == nil {
		return 0
	}
	return max(0, time.Duration(e.expires-now.UnixMilli())*time.Millisecond)
}

// read answers q. Where nothing is found it allocates nothing.
func (h *history) read(q *protocol.HistoryQuery, now time.Time) []*protocol.Publication {
	var found []find
	ms := now.UnixMilli()
	for _, ch := range q.Channels {
		if l := h.logs[ch]; l != nil && l.expires > ms {
			found = l.appendFinds(found, q, ch, ms)
		}
	}
	if len(q.Channels) > 1 {
		slices.SortStableFunc(found, func(a, b find) int {
			return a.entry.publication.ID.Compare(b.entry.publication.ID)
		})
	}
	return newest(mergeFinds(found), q.Total)
}

// find is an entry and the channel in whose log it was found.
type find struct {
	entry   *entry
	channel protocol.ChannelID
}

// mergeFinds makes one publication of all finds of an entry. found is in the order of ids.
func mergeFinds(found []find) []*protocol.Publication {
	if len(found) == 0 {
		return nil
	}
	ps := make([]*protocol.Publication, 0, len(found))
	for _, f := range found {
		if n := len(ps); n == 0 || ps[n-1].ID != f.entry.publication.ID {
			p := *f.entry.publication
			p.Receivers = nil
			ps = append(ps, &p)
		}
		addReceiver(ps[len(ps)-1], f.channel)
	}
	return ps
}

func addReceiver(p *protocol.Publication, ch protocol.ChannelID) {
	for i := range p.Receivers {
		if p.Receivers[i].Channel == ch {
			return
		}
	}
	p.Receivers = append(p.Receivers, protocol.Receiver{Channel: ch})
}

// newest returns the last n of ps, or all if n is 0.
func newest(ps []*protocol.Publication, n int) []*protocol.Publication {
	if n <= 0 || len(ps) <= n {
		return ps
	}
	return ps[len(ps)-n:]
}

// appendFinds appends the newest q.Limit living entries of l in (q.Since, q.Until], oldest first.
func (l *channelLog) appendFinds(dst []find, q *protocol.HistoryQuery, ch protocol.ChannelID, ms int64) []find {
	from, to := l.after(q.Since), len(l.entries)
	if !q.Until.IsZero() {
		to = l.after(q.Until)
	}
	i, alive := to, 0
	for i > from && (q.Limit <= 0 || alive < q.Limit) {
		i--
		if l.entries[i].expires > ms {
			alive++
		}
	}
	for ; i < to; i++ {
		if e := l.entries[i]; e.expires > ms {
			dst = append(dst, find{e, ch})
		}
	}
	return dst
}

// after is the index of the first entry with an id above id.
func (l *channelLog) after(id protocol.MessageID) int {
	i, found := l.search(id)
	if found {
		i++
	}
	return i
}

func (l *channelLog) search(id protocol.MessageID) (int, bool) {
	return slices.BinarySearchFunc(l.entries, id, func(e *entry, id protocol.MessageID) int {
		return e.publication.ID.Compare(id)
	})
}

// drop removes entry i. Mostly it is the oldest, which costs nothing but a place that the next growth gives back.
func (l *channelLog) drop(i int) {
	if i > 0 {
		l.entries = slices.Delete(l.entries, i, i+1)
		return
	}
	l.entries[0] = nil
	l.entries = l.entries[1:]
}

// entryBytes estimates what p takes in memory: itself, the entry and its place in the index, and for each receiver the slot in
// a log and a share of the log and of its place in the map.
func entryBytes(p *protocol.Publication) int64 {
	const fixed, perReceiver = 280, 180
	n := fixed + p.Size() + len(p.Sender.ID) + len(p.Type) + perReceiver*len(p.Receivers)
	for i := range p.Receivers {
		n += len(p.Receivers[i].Signature)
	}
	return int64(n)
}

// cut bounds the bodies of several answers together.
type cut struct {
	left  int
	bound bool
	first bool // nothing was taken yet
	seen  map[protocol.MessageID]struct{}
}

func newCut(maxBytes int) cut {
	c := cut{left: maxBytes, bound: maxBytes > 0, first: true}
	if c.bound {
		c.seen = make(map[protocol.MessageID]struct{})
	}
	return c
}

// take says how many of ps there is room for: of the first that are asked for at least one.
func (c *cut) take(ps []*protocol.Publication) int {
	if !c.bound {
		return len(ps)
	}
	for i, p := range ps {
		if _, ok := c.seen[p.ID]; ok {
			continue
		}
		if p.Size() > c.left && !c.first {
			return i
		}
		c.left -= p.Size()
		c.seen[p.ID] = struct{}{}
		c.first = false
	}
	return len(ps)
}
