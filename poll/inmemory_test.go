package poll

import (
	"net"
	"sync"
	"testing"

	"github.com/valyala/fasthttp"
)

func TestServeBytes(t *testing.T) {
	echo := func(ctx *fasthttp.RequestCtx) {
		if ctx.UserValue("seen") != nil {
			t.Error("a value of another request")
		}
		ctx.SetUserValue("seen", true)
		ctx.SetContentType("text/plain")
		ctx.SetBodyString(string(ctx.Method()) + " " + string(ctx.PostBody()) + " " + ctx.RemoteAddr().String())
	}
	f := func(request, method, want string, closes bool) {
		t.Helper()
		b, got := ServeBytes(echo, []byte("before"), []byte(request), &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5})
		if string(b[:6]) != "before" || got != closes {
			t.Errorf("%q: %q, closes %v", request, b, got)
		}
		if text := reply(t, b[6:], method); text != want {
			t.Errorf("%q: %s, want %s", request, text, want)
		}
	}
	f("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "200 OK"+plainLine+"\nGET  192.0.2.1:5", false)
	f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "POST", "200 OK"+plainLine+"\nPOST abc 192.0.2.1:5", false)
	f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc", "POST",
		"200 OK"+closeLine+plainLine+"\nPOST abc 192.0.2.1:5", true)
	f("POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", "POST", "200 OK"+closeLine+plainLine+"\nPOST abc 192.0.2.1:5", true)
	f("POST / HTTP/1.1\r\nHost:\r\nContent-Length: 3\r\n\r\nabc", "POST", "200 OK"+plainLine+"\nPOST abc 192.0.2.1:5", false)
	f("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD", "200 OK"+plainLine+"\n", false)

	const bad = "400 Bad Request" + closeLine + "\n"
	f("nonsense\r\n\r\n", "GET", bad, true)
	f("GET / HTTP/1.1\r\n\r\n", "GET", bad, true)
	f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab", "POST", bad, true)
	f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcd", "POST", bad, true)
	f("", "GET", bad, true)
}

func TestServeBytesWithoutRemote(t *testing.T) {
	h := func(ctx *fasthttp.RequestCtx) {
		ctx.SetBodyString(ctx.RemoteAddr().String() + (&call{Handlers: &Handlers{}, RequestCtx: ctx}).clientAddress())
	}
	b, _ := ServeBytes(h, nil, []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), nil)
	if len(b) == 0 {
		t.Error("no reply")
	}
}

func TestServeBytesConcurrently(t *testing.T) {
	h, b := newHandlers()
	handler := h.Handler(testRoutes)
	request := []byte("POST /pub/?CHANNEL_ID=" + signedA + " HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n{\"a\":1}")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var dst []byte
			for range 100 {
				var closes bool
				if dst, closes = ServeBytes(handler, dst[:0], request, nil); closes || string(dst[:15]) != "HTTP/1.1 200 OK" {
					t.Errorf("%q, closes %v", dst, closes)
				}
			}
		})
	}
	wg.Wait()
	for i, p := range b.published {
		if string(p.Body) != `{"a":1}` || len(p.Receivers) != 2 {
			t.Errorf("publication %d: %+v", i, p)
		}
	}
	if len(b.published) != 400 {
		t.Errorf("%d publications", len(b.published))
	}
}
