package main

import (
	"push-server/configs"
)

// endpoint is a route of a listener.
type endpoint struct {
	listener *configs.Server
	path     string
}

func subRoute(r configs.Routes) string  { return r.Sub }
func pubRoute(r configs.Routes) string  { return r.Pub }
func statRoute(r configs.Routes) string { return r.Stat }

// findEndpoint is the first listener with that route; ok is false if none has it.
func findEndpoint(c *configs.Config, route func(configs.Routes) string) (e endpoint, ok bool) {
	for i := range c.Servers {
		if path := route(c.Servers[i].Routes); path != "" {
			return endpoint{&c.Servers[i], path}, true
		}
	}
	return e, false
}

// http and ws are its address, for clients on this machine.
func (e endpoint) http() string {
	scheme, _ := schemes(e.listener)
	return scheme + "://" + reachable(e.listener.Address) + e.path
}

func (e endpoint) ws() string {
	_, scheme := schemes(e.listener)
	return scheme + "://" + reachable(e.listener.Address) + e.path
}
