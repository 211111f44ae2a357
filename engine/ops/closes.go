package ops

import (
	"net/http"

	"push-server/engine/closed"
	"push-server/engine/view"
	"push-server/protocol"
)

// shownCloses are told of at a time.
const shownCloses = 100

// closer tells of connections that have ended, to those who know the id of a channel.
type closer struct{ ring *closed.Ring }

func (c closer) serve(w http.ResponseWriter, r *http.Request) {
	id, ok := protocol.ParseID([]byte(r.FormValue("search")))
	if !ok {
		fail(w, http.StatusBadRequest, "search is not the private or public id of a channel, 32 digits")
		return
	}
	found, since := c.ring.Find(id, shownCloses)
	answered := view.Closes{From: since, All: make([]view.Ended, 0, len(found))}
	for _, e := range found {
		last := ""
		if !e.Last.IsZero() {
			last = e.Last.String()
		}
		answered.All = append(answered.All, view.Ended{Time: e.Time, Reason: e.Reason, Transport: e.Transport, Address: e.Address, LastMessage: last})
	}
	answer(w, http.StatusOK, answered)
}
