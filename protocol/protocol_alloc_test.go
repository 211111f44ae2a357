//go:build !race

package protocol

import (
	"bytes"
	"testing"

	"github.com/gobwas/ws"
)

// What happens for every frame, handshake and publication does not allocate once its memory is warm.
func noAllocations(t *testing.T, name string, run func()) {
	t.Helper()
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%s allocates %v times", name, n)
	}
}

func TestChannelsDoNotAllocate(t *testing.T) {
	s := newTestSigner(t)
	list := []byte(privateA + ":" + publicA + "." + signatureA + "/" + privateA + "." + signaturePrivateA)
	var items []Item
	noAllocations(t, "AppendItems", func() {
		var ok bool
		if items, ok = AppendItems(items[:0], list, TrustNone, s); !ok {
			t.Fatal("the list is refused")
		}
	})
	item, signature := Item{Private: mustID(t, privateA)}, []byte(signaturePrivateA)
	noAllocations(t, "ValidItem", func() {
		if !s.ValidItem(&item, signature) {
			t.Fatal("the item is refused")
		}
	})
	several, err := NewSigner("sha1", []byte("the newest"), []byte("another one"), []byte(exampleKey))
	if err != nil {
		t.Fatal(err)
	}
	noAllocations(t, "ValidItem with several keys", func() {
		if !several.ValidItem(&item, signature) {
			t.Fatal("the item is refused")
		}
	})
	id, raw := unhex(t, publicB), unhex(t, signaturePublicB)
	noAllocations(t, "ValidPublic", func() {
		if !s.ValidPublic(id, raw) {
			t.Fatal("the public id is refused")
		}
	})
	channels := make([]ChannelID, 0, 2)
	noAllocations(t, "AppendChannels", func() { channels = item.AppendChannels(channels[:0]) })
}

func TestWebSocketDoesNotAllocate(t *testing.T) {
	dst := make([]byte, 0, 1<<16)
	var r FrameReader
	var a *Assembly
	frame := clientFrame{op: ws.OpText, payload: "{}"}.append(nil)
	fed := make([]byte, len(frame))
	noAllocations(t, "FrameReader.Next", func() {
		copy(fed, frame)
		if _, _, err := r.Next(fed, &a, testMaxPayload, true); err != nil {
			t.Fatal(err)
		}
	})
	noAllocations(t, "FrameReader.Next of half a header", func() {
		if _, _, err := r.Next(frame[:5], &a, testMaxPayload, true); err != ErrShort {
			t.Fatal(err)
		}
	})
	noAllocations(t, "AppendFrame", func() { dst = AppendFrame(dst[:0], ws.OpBinary, frame) })
	noAllocations(t, "AppendClose", func() { dst = AppendClose(dst[:0], 1000, "bye") })
	noAllocations(t, "ParseClose", func() { _, _ = ParseClose([]byte("\x03\xe8bye")) })

	h := Handshake{Method: []byte("GET"), Upgrade: []byte("websocket"), Key: []byte(exampleHandshakeKey), Version: []byte("13"), PathOK: true}
	connection, offer := []byte("keep-alive, Upgrade"), []byte("foo, bar")
	noAllocations(t, "Handshake", func() {
		h.Subprotocols = offer
		if !IsUpgrade(connection, h.Upgrade) || h.Check() != nil {
			t.Fatal("the handshake is refused")
		}
		dst = AppendSwitchingProtocols(dst[:0], h.Key, h.Subprotocols)
	})
}

func TestMessagesDoNotAllocate(t *testing.T) {
	dst := make([]byte, 0, 1<<16)
	p := publication1(t)
	ps := []*Publication{p, publication3(t)}
	noAllocations(t, "AppendText", func() { dst = AppendText(dst[:0], p, 1795461740561) })
	noAllocations(t, "AppendOutgoing", func() { dst = AppendOutgoing(dst[:0], p) })
	noAllocations(t, "AppendResponse", func() { dst = AppendResponse(dst[:0], ps) })
	noAllocations(t, "AppendNotification", func() { dst = AppendNotification(dst[:0], p) })
	outgoing := AppendOutgoing(nil, p)
	var back Publication
	noAllocations(t, "ParseOutgoing", func() {
		if err := ParseOutgoing(outgoing, &back); err != nil {
			t.Fatal(err)
		}
	})
	body := unhex(t, requestOfClient)
	origin := client(t)
	var request Request
	noAllocations(t, "Request.Parse", func() {
		if err := request.Parse(body); err != nil || request.Allowed(origin) != nil {
			t.Fatal("the request is refused")
		}
	})
	mid := []byte("17954614120000000000000126")
	noAllocations(t, "MessageID", func() {
		id, _ := ParseMessageID(mid)
		dst = id.AppendDigits(dst[:0])
	})
}

// A publication from the bus is one object with up to two receivers; one for a request costs the copies too.
func TestAllocationsOfPublications(t *testing.T) {
	f := func(name string, most float64, run func()) {
		t.Helper()
		if n := testing.AllocsPerRun(100, run); n > most {
			t.Errorf("%s allocates %v times, expected at most %v", name, n, most)
		}
	}
	b := unhex(t, notification1)
	sink := func(*Publication) {}
	f("ParseNotifications", 1, func() { _ = ParseNotifications(b, sink) })
	origin := client(t)
	request := mustParse(t, unhex(t, requestOfClient))
	f("Publications", 5, func() { _, _ = request.Publications(origin, &testLimits) })
	items := []Item{{}}
	body := bytes.Repeat([]byte("x"), 300)
	f("TextPublication", 2, func() { _ = TextPublication(items, body, 0) })
}
