package engine

import (
	"strings"
	"sync"
	"testing"

	"push-server/poll/rfc9112"
	"push-server/protocol/testclient"
)

// marks is a Trace that notes how requests are marked.
type marks struct {
	mu  sync.Mutex
	all []string
}

func (m *marks) Begin(_ string, forwarded []byte) (id, client string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, string(forwarded))
	return "T", "nginx"
}

func (m *marks) Line(string) {}

// Of what nginx passes on to a port with subscribers, each request that is read is one that nginx has passed on.
func TestRequestsAreReadAsByNginx(t *testing.T) {
	t.Parallel()
	for _, buffered := range []bool{true, false} {
		m := &marks{}
		e := startMemory(t, func(o *Options) { o.Trace = m })
		socket := rfc9112.StartNginx(t, e.Addrs()[0], buffered)
		rfc9112.SendAll(t, socket, 1500, []string{"/bitrix/pub/?CHANNEL_ID=" + strings.Repeat("0", 32), "/bitrix/rest/", testSub, "/server-stat/"})
		m.check(t)
		testclient.Await(t, "the end of all connections but those that nginx keeps", func() bool { return e.Stats().Connections <= 4 })
		if n := e.Stats().Closes[CloseBug.String()]; n > 0 {
			t.Errorf("%d panics", n)
		}
	}
}

func (m *marks) check(t *testing.T) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := map[string]bool{}
	for _, mark := range m.all {
		if len(mark) != 32 || strings.Trim(mark, "0123456789abcdef") != "" || seen[mark] {
			t.Errorf("a request is marked %q: nginx did not pass it on", mark)
		}
		seen[mark] = true
	}
	if len(seen) < 500 {
		t.Errorf("%d requests were read", len(seen))
	}
	t.Logf("%d requests", len(seen))
}
