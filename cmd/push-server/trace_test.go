package main

import (
	"testing"

	"push-server/cmd/push-server/internal/logfiles"
	"push-server/configs"
)

func TestWhoIsFollowed(t *testing.T) {
	f := func(want bool, addr string, ips ...string) {
		t.Helper()
		tr := newTrace(&configs.Debug{IP: ips}, &logfiles.Folder{})
		if got := tr.follows(addr); got != want {
			t.Errorf("%q among %q: %v", addr, ips, got)
		}
	}
	f(true, "::ffff:10.0.0.7", "10.0.0.0/24")
	f(true, "192.168.1.1, 10.0.0.8", "10.0.0.0/24")
	f(true, "fd00::1", "10.0.0.0/24", "fd00::/8")
	f(false, "::ffff:10.0.1.7", "10.0.0.0/24")
	f(false, "10.0.0.7.example", "10.0.0.0/24")
	f(true, "::ffff:10.0.1.7", "10.0.1.")
	f(false, "::ffff:10.0.1.7", "10.0.2.", "10.0.0.0/24")
}
