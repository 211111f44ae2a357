package ops

import (
	"net/http"
	"time"

	"push-server/engine/closed"
	"push-server/protocol"
)

// shownCloses are told of at a time.
const shownCloses = 100

type closeList struct {
	Since time.Time `json:"from"` // closes are known completely from then on
	All   []ended   `json:"closes"`
}

type ended struct {
	Time      time.Time `json:"time"`
	Reason    string    `json:"reason"`
	Transport string    `json:"transport"`
	Address   string    `json:"address"`
	Last      string    `json:"lastMessage"`
}

// closer tells of connections that have ended, to those who know the id of a channel.
type closer struct{ ring *closed.Ring }

func (c closer) serve(w http.ResponseWriter, r *http.Request) {
	id, ok := protocol.ParseID([]byte(r.FormValue("search")))
	if !ok {
		fail(w, http.StatusBadRequest, "search is not the private or public id of a channel, 32 digits")
		return
	}
	found, since := c.ring.Find(id, shownCloses)
	answered := closeList{Since: since, All: make([]ended, 0, len(found))}
	for _, e := range found {
		last := ""
		if !e.Last.IsZero() {
			last = e.Last.String()
		}
		answered.All = append(answered.All, ended{e.Time, e.Reason, e.Transport, e.Address, last})
	}
	answer(w, http.StatusOK, answered)
}
