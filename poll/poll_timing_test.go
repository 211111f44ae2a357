package poll

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"push-server/protocol"
)

func BenchmarkCheckHead(b *testing.B) {
	head := toHead(browserHead)
	b.SetBytes(int64(len(head)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := CheckHead(head); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPoll(b *testing.B) {
	head := toHead(browserHead)
	var r Reader
	var req Request
	var sub Subscription
	var dst []byte
	signer := newSigner()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := CheckHead(head); err != nil || r.Read(head, &req) != nil || sub.Parse(&req, signer, nil) != nil {
			b.Fatal("not read")
		}
		dst = AppendPollReplyHead(dst[:0], ReplyOptions{}, sub.Binary, 100)
	}
}

type acceptAll struct{}

func (acceptAll) Publish(context.Context, []*protocol.Publication) error { return nil }

// publishRequest is a publication of 200 bytes as a back end sends it.
func publishRequest() []byte {
	body := `{"a":"` + string(bytes.Repeat([]byte("x"), 192)) + `"}`
	return append(toHead(fmt.Sprintf("POST /pub/?CHANNEL_ID=%s HTTP/1.1\nHost: push.example\nMessage-Expiry: 3600\nContent-Length: %d\n\n",
		privA, len(body))), body...)
}

// exchange sends a request whose reply comes in one piece and has no body.
func (c *client) exchange(request, scratch []byte) {
	if _, err := c.Write(request); err != nil {
		c.Fatal(err)
	}
	n, err := c.Read(scratch)
	if err != nil || !bytes.HasPrefix(scratch[:n], []byte("HTTP/1.1 200 ")) {
		c.Fatalf("%q, %v", scratch[:n], err)
	}
}

// BenchmarkPublish is a publication up to the Publisher, without the way there and back and with it.
func BenchmarkPublish(b *testing.B) {
	h, _ := newHandlers()
	h.Publisher = acceptAll{}
	request := publishRequest()
	b.Run("memory", func(b *testing.B) {
		handler := h.Handler(testRoutes)
		var dst []byte
		b.ReportAllocs()
		for b.Loop() {
			dst, _ = ServeBytes(handler, dst[:0], request, nil)
		}
	})
	b.Run("connection", func(b *testing.B) {
		c := dial(b, serve(b, h, ServerOptions{}))
		scratch := make([]byte, 1024)
		b.ReportAllocs()
		for b.Loop() {
			c.exchange(request, scratch)
		}
	})
}
