package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"push-server/configs"
	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// TestRedisOverTLS: a server with user, password and certificates beside host and port delivers, and none of its words have the password.
func TestRedisOverTLS(t *testing.T) {
	a := redistest.NewAuthority(t)
	redis, port := redistest.StartTLS(t, a)
	redis.AddUser("portal", "s3cret")
	redis.Do("ACL", "SETUSER", "default", "off")
	cert, key := a.Issue(t, "push-server")
	c := joined(recordedConfig(t, "default-sub", ""), recordedConfig(t, "default-pub", ""))
	c["storage"] = map[string]any{
		"type": "redis", "host": "127.0.0.1", "port": port, "user": "portal", "password": "s3cret",
		"tls": map[string]any{"ca": a.File, "cert": cert, "key": key},
	}
	in := &installation{}
	in.add(t, c)
	in.waitDelivering(t)
	redis.Do("ACL", "SETUSER", "portal", "resetpass", ">another")
	redis.Do("CLIENT", "KILL", "USER", "portal")
	p := in.procs[0]
	testclient.Await(t, "the password is refused", func() bool { return strings.Contains(p.log.String(), "WRONGPASS") })
	if log := p.log.String(); strings.Contains(log, "s3cret") || !strings.Contains(log, "in TLS") {
		t.Errorf("the log:\n%s", log)
	}
	var out bytes.Buffer
	if err := check(writeConfigs(t, c)[1:], &out); err != nil || strings.Contains(out.String(), "s3cret") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestCheckOfRedisTLS: what is wrong with the files, or makes no sense beside the address, is found by its key.
func TestCheckOfRedisTLS(t *testing.T) {
	a := redistest.NewAuthority(t)
	cert, key := a.Issue(t, "push-server")
	f := func(address, tls, want string) {
		t.Helper()
		wantStorageChecked(t, fmt.Sprintf(`{"type": "redis", %s, "tls": %s}`, address, tls), want)
	}
	host := `"host": "127.0.0.1"`
	f(host, `{}`, "")
	f(host, fmt.Sprintf(`{"ca": %q, "cert": %q, "key": %q, "serverName": "redis"}`, a.File, cert, key), "")
	f(host, fmt.Sprintf(`{"ca": %q}`, key), "storage.tls: error: "+key+" has no certificate")
	f(host, `{"ca": "none.pem"}`, "storage.tls: error: open none.pem")
	f(host, fmt.Sprintf(`{"cert": %q}`, cert), "storage.tls: error: cert or key is missing")
	f(host, fmt.Sprintf(`{"cert": %q, "key": %q}`, key, cert), "storage.tls: error: ")
	f(host, `"on"`, "storage.tls: error: must be an object")
	f(host, `{"cert_file": "a"}`, "storage.tls.cert_file: warning: unknown key")
	f(`"host": "/run/redis.sock"`, `{}`, "storage.tls: error: there is no TLS over a Unix socket")
	f(`"socket": "/run/redis.sock"`, `{}`, "storage.tls: error: there is no TLS over a Unix socket")
	f(`"socket": "unix:///run/redis.sock"`, `{}`, "storage.tls: error: there is no TLS over a Unix socket")
	f(`"socket": "redis://portal:s3cret@127.0.0.1"`, `{}`, "storage.tls: error: the address in storage.socket is one without TLS (write rediss://)")
	f(`"socket": "rediss://portal:s3cret@127.0.0.1"`, `{}`, "")
}

// TestCheckOfRedisUser: user and password may stand beside the address, but not in both places.
func TestCheckOfRedisUser(t *testing.T) {
	f := func(storage, want string) {
		t.Helper()
		wantStorageChecked(t, `{"type": "redis", `+storage+`}`, want)
	}
	f(`"host": "127.0.0.1", "user": "portal", "password": "s3cret"`, "")
	f(`"socket": "/run/redis.sock", "password": "s3cret"`, "")
	f(`"socket": "redis://portal@127.0.0.1", "password": "s3cret"`, "")
	f(`"socket": "redis://portal:s3cret@127.0.0.1", "password": "s3cret2"`, "storage.password: error: is there twice")
	f(`"socket": "redis://portal:s3cret@127.0.0.1", "user": "portal"`, "storage.user: error: is there twice")
}

// TestRenewedCertificateOfAClient: a certificate that was replaced is shown to Redis from the next connection on.
func TestRenewedCertificateOfAClient(t *testing.T) {
	dir := t.TempDir()
	s := configs.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	writeCertificate(t, dir, "first")
	c, err := s.Config()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "second"} {
		writeCertificate(t, dir, name)
		if shown, err := c.GetClientCertificate(nil); err != nil || shown.Leaf.Subject.CommonName != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.Key = ""
	if _, err := s.Config(); err == nil {
		t.Error("no error without a key")
	}
}
