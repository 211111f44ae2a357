package ops

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"push-server/engine/view"
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
	q := view.Query{Search: r.FormValue("search"), Limit: usualConnections}
	if text := r.FormValue("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > mostConnections {
			fail(w, http.StatusBadRequest, "limit is not a number from 1 to 1000")
			return
		}
		q.Limit = n
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
