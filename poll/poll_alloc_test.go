//go:build !race

package poll

import (
	"testing"

	"push-server/protocol"
)

func noAllocs(t *testing.T, what string, f func()) {
	t.Helper()
	f() // warm
	if n := testing.AllocsPerRun(1000, f); n > 0 {
		t.Errorf("%s: %v allocations", what, n)
	}
}

func TestPollAllocatesNothing(t *testing.T) {
	head := toHead(browserHead)
	var r Reader
	var req Request
	var sub Subscription
	var dst []byte
	signer := newSigner()
	noAllocs(t, "a poll from its head to its answer", func() {
		skip, n, err := CheckHead(head)
		if err != nil || r.Read(head[skip:skip+n], &req) != nil || testRoutes.Match(req.Header.Method(), req.Target) != ActionPoll {
			t.Fatal("the head was not read")
		}
		if err := sub.Parse(&req, signer, nil); err != nil || req.Upgrade {
			t.Fatal(err)
		}
		handshake := req.Handshake(testRoutes.Sub)
		if handshake.Upgrade == nil {
			t.Fatal("no Upgrade")
		}
		o := ReplyOptions{HTTP10: req.HTTP10, Close: req.Close}
		dst = AppendPollReplyHead(dst[:0], o, sub.Binary, 100)
		dst = AppendPollTimeout(dst, o, sub.Mid)
		dst = AppendPollError(dst, o, protocol.ErrWrongChannel)
		dst = AppendNotFound(dst, o, false)
		dst = AppendOptions(dst, o)
	})
}

func TestCheckHeadAllocatesNothing(t *testing.T) {
	head := toHead(browserHead)
	noAllocs(t, "half a head", func() {
		if _, _, err := CheckHead(head[:len(head)/2]); err != protocol.ErrShort {
			t.Fatal(err)
		}
	})
	noAllocs(t, "no head", func() {
		if _, _, err := CheckHead([]byte("\x16\x03\x01")); err == nil {
			t.Fatal("passed")
		}
	})
}

func TestCountersAllocateNothing(t *testing.T) {
	c := NewCounters(noon)
	noAllocs(t, "counting", func() {
		c.CountRequest(protocol.CommandPublish)
		c.CountMessage("im_message")
		c.CountMessage("not a type")
	})
}

// A publication with its receivers and its body are two objects. What brings them here is none in memory, and one over a connection that
// is kept: fasthttp looks for the rest of a body that comes as a stream.
func TestPublishingAllocatesThePublicationAlone(t *testing.T) {
	h, _ := newHandlers()
	h.Publisher = acceptAll{}
	request := publishRequest()
	f := func(what string, most float64, run func()) {
		t.Helper()
		run()
		if n := testing.AllocsPerRun(1000, run); n > most {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
	handler := h.Handler(testRoutes)
	var dst []byte
	f("in memory", 2, func() { dst, _ = ServeBytes(handler, dst[:0], request, nil) })
	c := dial(t, serve(t, h, ServerOptions{}))
	scratch := make([]byte, 1024)
	f("over a connection", 3, func() { c.exchange(request, scratch) })
}
