package redisbus_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"push-server/engine/bustest"
	"push-server/redisbus"
	"push-server/redisbus/redistest"
)

// trusting is a TLS client that trusts a alone and shows a certificate of its own.
func trusting(t *testing.T, a *redistest.Authority) *tls.Config {
	t.Helper()
	authority, err := os.ReadFile(a.File)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.LoadX509KeyPair(a.Issue(t, "push-server"))
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{certificate}}
	c.RootCAs.AppendCertsFromPEM(authority)
	return c
}

// TestTLS: everything goes over TLS, to a server that wants a certificate, a user and a password; whoever lacks one of them is refused.
func TestTLS(t *testing.T) {
	a := redistest.NewAuthority(t)
	server, port := redistest.StartTLS(t, a)
	server.AddUser("portal", "s3cret")
	server.Do("ACL", "SETUSER", "default", "off")
	var log bytes.Buffer
	f := func(name string, works bool, o redisbus.Options) {
		t.Run(name, func(t *testing.T) {
			o.Log = slog.New(slog.NewTextHandler(&log, nil))
			bus := open(t, o)
			if !works {
				_, err := bus.Publish(timeout(t, patience), numbered(0, 1, alice))
				if err == nil || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("%v", err)
				}
				return
			}
			l := bustest.Subscribe(t, bus)
			publish(t, bus, numbered(0, 3, alice)...)
			want(t, "delivered", l.Publications(t, 3), "0 1 2")
		})
	}
	addr := fmt.Sprint("127.0.0.1:", port)
	right := trusting(t, a)
	f("address", true, redisbus.Options{Addr: addr, User: "portal", Password: "s3cret", TLS: right})
	f("URL", true, redisbus.Options{URL: "rediss://portal:s3cret@" + addr + "/3", TLS: right})
	f("URL, password beside", true, redisbus.Options{URL: "rediss://portal@" + addr, Password: "s3cret", TLS: right})
	f("URL without verification", true, redisbus.Options{
		URL: "rediss://portal:s3cret@" + addr + "?skip_verify=true", TLS: &tls.Config{Certificates: right.Certificates}})
	named := right.Clone()
	named.ServerName = fmt.Sprint("redis-", port)
	f("name of the server", true, redisbus.Options{Addr: addr, User: "portal", Password: "s3cret", TLS: named})
	named = right.Clone()
	named.ServerName = "another"
	f("another name", false, redisbus.Options{Addr: addr, User: "portal", Password: "s3cret", TLS: named})
	f("another password", false, redisbus.Options{Addr: addr, User: "portal", Password: "s3cret2", TLS: right})
	f("no certificate", false, redisbus.Options{Addr: addr, User: "portal", Password: "s3cret", TLS: &tls.Config{RootCAs: right.RootCAs}})
	f("another authority", false, redisbus.Options{Addr: addr, User: "portal", Password: "s3cret", TLS: trusting(t, redistest.NewAuthority(t))})
	f("authorities of the system", false, redisbus.Options{URL: "rediss://portal:s3cret@" + addr})
	f("no TLS", false, redisbus.Options{Addr: addr, User: "portal", Password: "s3cret"})
	if strings.Contains(log.String(), "s3cret") {
		t.Errorf("a password in the log:\n%s", log.String())
	}
}

// TestUserOverSocket: user and password stand beside the path of a socket, too.
func TestUserOverSocket(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "s3cret")
	publish(t, open(t, redisbus.Options{Addr: server.Addr(), Password: "s3cret"}), numbered(0, 1, alice)...)
	publish(t, open(t, redisbus.Options{Addr: server.Addr(), User: "default", Password: "s3cret"}), numbered(1, 1, alice)...)
	bus := open(t, redisbus.Options{URL: "unix://" + server.Addr(), Password: "s3cret"})
	want(t, "history", history(t, bus, alice), "0 1")
}
