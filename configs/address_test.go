package configs

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
)

// loadHostname reads a configuration with a listener at hostname and port.
func loadHostname(hostname string, port int) (*Config, []Problem) {
	return parse("f.json", fmt.Appendf(nil, `{"servers":[{"port":%d,"hostname":%q,"routes":{"sub":"/"}}],"security":{"key":"0123456789abcdef"}}`, port, hostname))
}

// TestHostnameIsListenedAt looks where that listens for which a hostname stands. Decoration never opens every interface. The port that is
// configured need not be free on this machine: another one is bound.
func TestHostnameIsListenedAt(t *testing.T) {
	const port = 8010
	f := func(want string, hostname string) {
		t.Helper()
		c, problems := loadHostname(hostname, port)
		if !Valid(problems) {
			t.Errorf("%q: %s", hostname, lines(problems))
			return
		}
		host, configured, err := net.SplitHostPort(c.Servers[0].Address)
		if err != nil || configured != strconv.Itoa(port) {
			t.Errorf("%q: is at %q, %v", hostname, c.Servers[0].Address, err)
			return
		}
		ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Errorf("%q: %v", hostname, err)
			return
		}
		defer ln.Close()
		if got := ln.Addr().(*net.TCPAddr).IP.String(); got != want {
			t.Errorf("%q: listens at %s, want %s", hostname, got, want)
		}
	}
	f("127.0.0.1", "127.0.0.1")
	f("127.0.0.1", " 127.0.0.1 ")
	f("127.0.0.1", "127.0.0.1.")
	f("127.0.0.1", fmt.Sprint("127.0.0.1:", port))
	f("127.0.0.1", "localhost.")
	f("127.0.0.1", "::ffff:127.0.0.1")
	f("127.0.0.1", "[::ffff:127.0.0.1]")
	if ln, err := net.Listen("tcp", "[::1]:0"); err == nil {
		ln.Close()
		f("::1", "::1")
		f("::1", "[::1]")
		f("::1", fmt.Sprintf("[::1]:%d", port))
	}
	f("::", "")
	f("::", "*")
	f("::", fmt.Sprint(":", port))
	f("::", "0.0.0.0.invalid")
}

func TestHostnameIsRefused(t *testing.T) {
	refused := func(hostname string) {
		t.Helper()
		_, problems := loadHostname(hostname, 8010)
		if Valid(problems) || !strings.Contains(lines(problems), "f.json: servers[0].hostname: error: ") {
			t.Errorf("%q: %s", hostname, lines(problems))
		}
	}
	refused("127.0.0.1:1")
	refused("[::1]:http")
	refused("tcp://127.0.0.1")
	refused("http://localhost:8010/")
	refused("127.0.0.1/8")
	refused("fe80::1%no-such-interface")
	refused("[::1")
	refused("[localhost]")
	refused("127.1")
	refused("0x7f000001")
	refused("127.000.000.001")
	refused("127.0.0.1, 10.0.0.1")
	refused("/run/push.sock")
	refused("user@localhost")
	refused(".")
	refused("[]")
}
