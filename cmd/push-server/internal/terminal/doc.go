// Package terminal is a client of push servers for people and scripts: it subscribes over WebSocket or long poll, publishes as a back
// end does, and asks what a server has to say about itself. It speaks the documented protocol and nothing else, so it serves for the
// Node server, too.
//
// Errors never contain the query of a URL, since signatures are in there.
package terminal
