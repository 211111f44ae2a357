package membus

// all are the entries of h, the oldest first.
func (h *history) all() []*entry {
	es := make([]*entry, 0, len(h.byID))
	if h.list.next == nil {
		return es
	}
	for e := h.list.next; e != &h.list; e = e.next {
		es = append(es, e)
	}
	return es
}

// item is e as another process gets it; ok is false if it has gone.
func (h *history) item(e *entry) (item Item, ok bool) {
	p := e.publication
	if h.byID[p.ID] != e {
		return item, false
	}
	item = Item{Publication: p, Expires: e.expires}
	for i := range p.Receivers {
		l := h.logs[p.Receivers[i].Channel]
		if l == nil {
			continue
		}
		if at, in := l.search(p.ID); in && l.entries[at] == e {
			item.In = append(item.In, Place{i, l.expires})
		}
	}
	return item, true
}

// restore adds what another process had, as far as there is room here.
func (h *history) restore(item *Item) {
	p := item.Publication
	e := &entry{publication: p, expires: item.Expires, bytes: entryBytes(p)}
	for _, place := range item.In {
		if place.Receiver < 0 || place.Receiver >= len(p.Receivers) {
			continue
		}
		ch := p.Receivers[place.Receiver].Channel
		l := h.logs[ch]
		if l == nil {
			l = &channelLog{}
			h.logs[ch] = l
		}
		if n := len(l.entries); n > 0 && l.entries[n-1] == e {
			continue // a receiver named twice
		}
		l.expires = place.Expires
		l.entries = append(l.entries, e)
		e.logs++
		h.trim(l, h.perChannel)
	}
	if e.logs == 0 {
		return
	}
	h.link(e)
	for h.bytes > h.maxBytes {
		h.remove(h.list.next)
	}
}
