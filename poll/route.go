package poll

import (
	"bytes"
	"fmt"
	"net/http"
)

// Routes are the paths of a listener. An empty one is absent.
type Routes struct {
	Pub  string // publications (POST) and who is online (GET), for back ends
	Sub  string // long polls, WebSockets, and what browsers ask before (OPTIONS)
	Rest string // publications and questions of clients (POST)
	Stat string // statistics (GET)
	API  string // calls of back ends of version 5 (POST)
}

// Action is what a request asks for.
type Action uint8

// The actions. A request that matches nothing is answered with 404.
const (
	ActionNotFound Action = iota
	ActionPublish
	ActionOnline
	ActionPoll
	ActionOptions
	ActionRest
	ActionStat
	ActionAPI
	ActionRefuse // 400: the path means something else to a proxy
)

// Validate says which path stands twice for one method.
func (r *Routes) Validate() error {
	for _, pair := range [][2]string{{r.Pub, r.Sub}, {r.Pub, r.Rest}, {r.Pub, r.Stat}, {r.Sub, r.Stat}, {r.Pub, r.API}, {r.Rest, r.API}} {
		if pair[0] != "" && pair[0] == pair[1] {
			return fmt.Errorf("%w: %s", ErrSamePath, pair[0])
		}
	}
	return nil
}

// Match finds the action of a method and a request target as it was sent. A path matches every target that begins with it,
// so what is behind it, and the query, do not matter; nothing is decoded or normalised. Earlier routes of a method win.
func (r *Routes) Match(method, target []byte) Action {
	action := r.match(method, target)
	if action != ActionNotFound && !plainPath(target) {
		return ActionRefuse
	}
	return action
}

func (r *Routes) match(method, target []byte) Action {
	switch string(method) {
	case http.MethodGet:
		switch {
		case hasPath(target, r.Pub):
			return ActionOnline
		case hasPath(target, r.Sub):
			return ActionPoll
		case hasPath(target, r.Stat):
			return ActionStat
		}
	case http.MethodPost:
		switch {
		case hasPath(target, r.Pub):
			return ActionPublish
		case hasPath(target, r.Rest):
			return ActionRest
		case hasPath(target, r.API):
			return ActionAPI
		}
	case http.MethodOptions:
		if hasPath(target, r.Sub) {
			return ActionOptions
		}
	}
	return ActionNotFound
}

func hasPath(target []byte, path string) bool {
	return path != "" && len(target) >= len(path) && string(target[:len(path)]) == path
}

// isTrue is how a parameter is switched on: by this word and no other.
func isTrue(value []byte) bool { return bytes.Equal(value, []byte("true")) }
