package ops

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"push-server/engine/view"
	"push-server/protocol"
)

// connections shows the connections of one server.
type connections struct{ source Source }

const (
	usualConnections = 100 // in one answer
	mostConnections  = 1000
	maxSearch        = 4096             // bytes
	askTime          = 10 * time.Second // that event loops have to answer
)

func (c connections) list(w http.ResponseWriter, r *http.Request) {
	q := view.Query{Search: r.FormValue("search")}
	var ok bool
	if q.Limit, ok = limitOf(w, r); !ok {
		return
	}
	if text := r.FormValue("after"); text != "" {
		id, ok := view.ParseID(text)
		if !ok {
			fail(w, http.StatusBadRequest, "after is not the id of a connection")
			return
		}
		q.After = &id
	}
	if len(q.Search) > maxSearch {
		fail(w, http.StatusBadRequest, "search is too long")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTime)
	defer cancel()
	list, err := c.source.Connections(ctx, q)
	if err != nil {
		fail(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	answer(w, http.StatusOK, list)
}

// limitOf is how many the request asks for. It answers itself if that is too many, or no number.
func limitOf(w http.ResponseWriter, r *http.Request) (n int, ok bool) {
	text := r.FormValue("limit")
	if text == "" {
		return usualConnections, true
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > mostConnections {
		fail(w, http.StatusBadRequest, "limit is not a number from 1 to 1000")
		return 0, false
	}
	return n, true
}

// users answers with what users of version 5 were sent, and have acknowledged.
func (c connections) users(w http.ResponseWriter, r *http.Request) {
	q, ok := userQuery(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTime)
	defer cancel()
	users, err := c.source.Users(ctx, q)
	if err != nil {
		fail(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	answer(w, http.StatusOK, users)
}

// userQuery is what the request asks for. It answers the request itself if that makes no sense.
func userQuery(w http.ResponseWriter, r *http.Request) (q view.UserQuery, ok bool) {
	if q.Limit, ok = limitOf(w, r); !ok {
		return q, false
	}
	if q.User, ok = userOf(w, r, "user"); !ok {
		return q, false
	}
	if q.After, ok = userOf(w, r, "after"); !ok {
		return q, false
	}
	if text := r.FormValue("waiting"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			fail(w, http.StatusBadRequest, "waiting is not a number of seconds")
			return q, false
		}
		q.Waiting = time.Duration(seconds) * time.Second
	}
	return q, true
}

// userOf is the user whom a value of the request names; 0: there is none. It answers the request itself if that is no user.
func userOf(w http.ResponseWriter, r *http.Request, name string) (id uint64, ok bool) {
	text := r.FormValue(name)
	if text == "" {
		return 0, true
	}
	if id, ok = protocol.ParseUser([]byte(text)); !ok {
		fail(w, http.StatusBadRequest, name+" is not the id of a user")
	}
	return id, ok
}

func (c connections) close(w http.ResponseWriter, r *http.Request) {
	id, ok := named(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTime)
	defer cancel()
	switch found, err := c.source.Disconnect(ctx, id); {
	case err != nil:
		fail(w, http.StatusServiceUnavailable, err.Error())
	case !found:
		fail(w, http.StatusNotFound, noConnection)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

const noConnection = "there is no such connection"

// named is the connection that a path names. It answers the request itself if that is none.
func named(w http.ResponseWriter, r *http.Request) (id view.ID, ok bool) {
	if id, ok = view.ParseID(r.PathValue("id")); !ok {
		fail(w, http.StatusNotFound, noConnection)
	}
	return id, ok
}
