package main

import (
	"fmt"
	"net/http"
	"testing"

	"push-server/protocol/testclient"
)

// Whom a header of the PROXY protocol names is who publishes, on every kind of port.
func TestPublishingThroughProxyProtocol(t *testing.T) {
	t.Parallel()
	c := standalone(t)
	for _, l := range c.listeners() {
		l["proxyProtocol"] = true
	}
	c.listeners()[0]["routes"].(map[string]any)["pub"] = pubPath
	c.option("trustedProxies", []any{"127.0.0.1"})
	c.option("pubAllow", []any{"192.0.2.0/24"})
	start(t, c)
	f := func(route, header string, want int) {
		t.Helper()
		client := testclient.Open(t, c.addr(route))
		client.Say(header)
		client.Say(fmt.Sprintf("POST %s?CHANNEL_ID=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", pubPath, exampleChannel))
		if reply := client.Reply(http.MethodPost); reply.Status != want {
			t.Errorf("%s, %q: %s", route, header, reply)
		}
	}
	for _, route := range []string{"sub", "pub"} {
		f(route, "PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\n", http.StatusOK)
		f(route, "PROXY TCP4 198.51.100.1 127.0.0.1 4711 80\r\n", http.StatusForbidden)
	}
}
