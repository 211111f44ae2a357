package poll

import "testing"

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
		if _, _, err := CheckHead(head); err != nil || r.Read(head, &req) != nil || sub.Parse(&req, signer) != nil {
			b.Fatal("not read")
		}
		dst = AppendPollReplyHead(dst[:0], ReplyOptions{}, sub.Binary, 100)
	}
}

func BenchmarkPublishInMemory(b *testing.B) {
	h, back := newHandlers()
	handler := h.Handler(testRoutes)
	request := []byte("POST /pub/?CHANNEL_ID=" + privA + " HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n{\"a\":1}")
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = ServeBytes(handler, dst[:0], request, nil)
		back.published = back.published[:0]
	}
}
