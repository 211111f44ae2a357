package main

import (
	"fmt"
	"io"
	"net"
	"os"

	"push-server/configs"
)

// printListener says what a listener serves. Its first line has the form of the Node server's.
func printListener(w io.Writer, name, addr string, r configs.Routes) {
	fmt.Fprintf(w, "%s listening at http://%s PID: %d\n", name, addr, os.Getpid())
	at := reachable(addr)
	for _, line := range []struct{ scheme, path, what string }{
		{"ws", r.Sub, "WebSocket"},
		{"http", r.Sub, "long poll"},
		{"http", r.Pub, "publishing by back ends, who is online"},
		{"http", r.Rest, "publishing by clients"},
		{"http", r.Stat, "statistics"},
	} {
		if line.path != "" {
			fmt.Fprintf(w, "  %-42s %s\n", line.scheme+"://"+at+line.path, line.what)
		}
	}
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
