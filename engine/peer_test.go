package engine

import (
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"push-server/protocol/testclient"
)

// A refused request of a WebSocket has a line that names the client.
func TestRefusalsNameTheClient(t *testing.T) {
	lines := make(chan string, 10)
	e := startTLS(t, func(o *Options) {
		o.ErrorLog = func(text, addr string) { lines <- text + " " + addr }
		o.TestKey = "secret"
	})
	refuse := func(c *testclient.Client, more, forwarded string) {
		t.Helper()
		head := []string{}
		if forwarded != "" {
			head = append(head, "X-Forwarded-For: "+forwarded)
		}
		c.Upgrade(testSub+query("&binaryMode=true"+more, newItem()), head...)
		c.SendFrame(ws.OpBinary, []byte("nonsense"))
		if code := c.End(); code != 4013 {
			t.Errorf("close code %d", code)
		}
	}
	f := func(dial func() *testclient.Client, forwarded, want string) {
		t.Helper()
		refuse(dial(), "&testKey=secret", forwarded)
		refuse(dial(), "&testKey=wrong", forwarded)
		testclient.Await(t, "a line", func() bool { return len(lines) == 1 })
		if got := <-lines; got != "4013: Wrong Request Data. "+want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	encrypted := func() *testclient.Client { return dialTLS(t, e) }
	plain := func() *testclient.Client { return testclient.Open(t, e.Addrs()[1]) }
	f(plain, "", "::ffff:127.0.0.1")
	f(plain, "10.0.0.1", "10.0.0.1")
	f(plain, "10.0.0.1, 192.168.1.1", "10.0.0.1, 192.168.1.1")
	f(plain, "010.0.0.1", "010.0.0.1")
	f(plain, "2001:db8::1", "2001:db8::1")
	f(plain, strings.Repeat("x", 1000), strings.Repeat("x", maxForwarded))
	f(encrypted, "", "::ffff:127.0.0.1")
	f(encrypted, "10.0.0.1", "10.0.0.1")
	f(encrypted, "a, b", "a, b")
	testclient.Await(t, "the sessions to go", func() bool { return e.Stats().WebSockets == 0 })
}
