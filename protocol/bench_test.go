package protocol

import (
	"bytes"
	"testing"

	"github.com/gobwas/ws"
	"google.golang.org/protobuf/proto"

	"push-server/protocol/pb"
)

// A body as a portal sends it: 300 bytes of JSON, half of it in two-byte letters.
var benchBody = []byte(`{"module_id":"im","command":"message","params":{"text":"` + string(bytes.Repeat([]byte("Привет "), 16)) + `"}}`)

func benchPublication(b *testing.B) *Publication {
	p := publication1(b)
	p.Body = benchBody
	return p
}

func BenchmarkAppendItems(b *testing.B) {
	s := newTestSigner(b)
	list := []byte(privateA + ":" + publicA + "." + signatureA + "/" + privateA + "." + signaturePrivateA)
	var items []Item
	b.ReportAllocs()
	for b.Loop() {
		items, _ = AppendItems(items[:0], list, TrustNone, s)
	}
}

func BenchmarkValidItem(b *testing.B) {
	s := newTestSigner(b)
	it, signature := Item{Private: mustID(b, privateA)}, []byte(signaturePrivateA)
	b.ReportAllocs()
	for b.Loop() {
		if !s.ValidItem(&it, signature) {
			b.Fatal("refused")
		}
	}
}

func BenchmarkFrameReader(b *testing.B) {
	frame := clientFrame{op: ws.OpText, payload: string(benchBody)}.append(nil)
	fed := make([]byte, len(frame))
	var r FrameReader
	var a *Assembly
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		copy(fed, frame)
		if _, _, err := r.Next(fed, &a, testMaxPayload, true); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendFrame(dst[:0], ws.OpText, benchBody)
	}
}

func BenchmarkAppendText(b *testing.B) {
	p := benchPublication(b)
	var dst []byte
	b.SetBytes(int64(len(p.Body)))
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendText(dst[:0], p, 1795461740561)
	}
}

func BenchmarkAppendResponse(b *testing.B) {
	ps := []*Publication{benchPublication(b)}
	var dst []byte
	b.SetBytes(int64(len(benchBody)))
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendResponse(dst[:0], ps)
	}
}

func BenchmarkAppendNotification(b *testing.B) {
	p := benchPublication(b)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendNotification(dst[:0], p)
	}
}

func BenchmarkParseNotifications(b *testing.B) {
	batch := AppendNotification(nil, benchPublication(b))
	b.ReportAllocs()
	for b.Loop() {
		if err := ParseNotifications(batch, func(*Publication) {}); err != nil {
			b.Fatal(err)
		}
	}
}

// For comparison with BenchmarkParseNotifications.
func BenchmarkGeneratedNotifications(b *testing.B) {
	batch := AppendNotification(nil, benchPublication(b))
	b.ReportAllocs()
	for b.Loop() {
		var m pb.NotificationBatch
		if err := proto.Unmarshal(batch, &m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	body := unhex(b, requestOfClient)
	origin := client(b)
	var r Request
	b.ReportAllocs()
	for b.Loop() {
		if r.Parse(body) != nil || r.Allowed(origin) != nil {
			b.Fatal("refused")
		}
		if _, err := r.Publications(origin, &testLimits); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHandshake(b *testing.B) {
	h := Handshake{Method: []byte("GET"), Upgrade: []byte("websocket"), Key: []byte(exampleHandshakeKey), Version: []byte("13"), PathOK: true}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		if h.Check() != nil {
			b.Fatal("refused")
		}
		dst = AppendSwitchingProtocols(dst[:0], h.Key, nil)
	}
}
