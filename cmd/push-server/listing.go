package main

import (
	"fmt"
	"io"
	"net"
	"os"

	"push-server/configs"
)

// printListener says what a listener serves. Its first line has the form of the Node server's.
func printListener(w io.Writer, s *configs.Server, addr string) {
	http, ws := schemes(s)
	fmt.Fprintln(w, listeningLine(s, addr))
	at := reachable(addr)
	for _, line := range []struct{ scheme, path, what string }{
		{ws, s.Routes.Sub, "WebSocket"},
		{http, s.Routes.Sub, "long poll"},
		{http, s.Routes.Pub, "publishing by back ends, who is online"},
		{http, s.Routes.Rest, "publishing by clients"},
		{http, s.Routes.Stat, "statistics"},
		{http, s.Routes.API, "publishing by back ends of version 5"},
	} {
		if line.path != "" {
			fmt.Fprintf(w, "  %-42s %s\n", line.scheme+"://"+at+line.path, line.what)
		}
	}
}

// listeningLine has the form of the Node server's, which knows no brackets: http://:::8010.
func listeningLine(s *configs.Server, addr string) string {
	http, _ := schemes(s)
	if host, port, err := net.SplitHostPort(addr); err == nil {
		addr = host + ":" + port
	}
	return fmt.Sprintf("%s listening at %s://%s PID: %d", s.Name, http, addr, os.Getpid())
}

func schemes(s *configs.Server) (http, ws string) {
	if s.SSL != nil {
		return "https", "wss"
	}
	return "http", "ws"
}

// reachable is addr with a host that can be connected to from this machine.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
