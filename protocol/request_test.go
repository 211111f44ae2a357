package protocol

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"push-server/protocol/pb"
)

// Requests of the recorded conversation.
const (
	requestPublish = "0a48 0a46 0a44 0a14 0a10" + privateA + "1001 0a14 0a10" + privateB +
		"1001 1a077b2262223a327d 20901c 2a0a696d5f6d657373616765"
	requestOfClient = "0a39 0a37 0a35 0a28 0a10" + publicB + "1a14" + signaturePublicB + "1a077b2263223a337d 2000"
	requestStats    = "0a2c 122a 0a14 0a10" + privateA + "1001 0a12 0a10" + publicB
)

var testLimits = Limits{MaxPayload: 1 << 20, MaxMessages: 3, MaxChannels: 4}

func backend() *Origin { return &Origin{Trusted: true} }

func client(t testing.TB) *Origin {
	t.Helper()
	return &Origin{PublicID: unhex(t, publicA), Signer: newTestSigner(t)}
}

func mustParse(t testing.TB, b []byte) *Request {
	t.Helper()
	var r Request
	if err := r.Parse(b); err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	return &r
}

func TestRequestParse(t *testing.T) {
	f := func(in string, want Command) {
		t.Helper()
		r := Request{Command: CommandRegister} // is used again
		err := r.Parse(unhex(t, in))
		if r.Command != want || (err == nil) != (want != CommandNone) || err != nil && err != ErrWrongRequest {
			t.Fatalf("%s: got %d, %v", in, r.Command, err)
		}
	}
	f(requestPublish, CommandPublish)
	f(requestOfClient, CommandPublish)
	f(requestStats, CommandChannelStats)
	f("0a02 0a00", CommandPublish)
	f("0a02 1200", CommandChannelStats)
	f("0a02 1a00", CommandServerStats)
	f("0a02 2200", CommandRegister)
	f("0a06 2204 0a00 1200", CommandRegister)

	// Of two commands in a request the last one counts, of two requests the first one.
	f("0a04 0a00 1a00", CommandServerStats)
	f("0a06 0a00 1a00 1200", CommandChannelStats)
	f("0a02 1a00 0a02 1200", CommandServerStats)
	f("0a00 0a02 1200", CommandNone)
	// Unknown fields are skipped.
	f("1200 1801 0a04 1a00 3a00 2d00000000", CommandServerStats)
	f("0a04 3a00 1a00", CommandServerStats)

	f("", CommandNone)
	f("0a00", CommandNone)
	f("1200", CommandNone)
	f("0a02 3a00", CommandNone)
	f("0a02 0801", CommandNone) // a command that is a number
	f("0801", CommandNone)
	f("01 02 03 04 05", CommandNone)
	f("0a7f 0a00", CommandNone)
	f(fmt.Sprintf("%x", `{"jsonrpc":"2.0"}`), CommandNone)
	f(fmt.Sprintf("%x", "hello"), CommandNone)
	// All of it has to be well-formed: what is overwritten, what is ignored, and what is deep inside.
	f("0a05 0a01ff 1a00", CommandNone)
	f("0a02 1a00 0a01 ff", CommandNone)
	f("0a02 1a00 0a03 0a0108", CommandNone)
	f("0a06 0a04 0a02 0a0108", CommandNone)
	f("0a07 0a05 0a03 0a0108", CommandNone)
	f("0a02 1a00 12", CommandNone)
}

func TestRequestAllowed(t *testing.T) {
	f := func(in string, trusted, untrusted *Error) {
		t.Helper()
		r := mustParse(t, unhex(t, in))
		if got := r.Allowed(backend()); got != trusted {
			t.Fatalf("%s: a back end gets %v, want %v", in, got, trusted)
		}
		if got := r.Allowed(client(t)); got != untrusted {
			t.Fatalf("%s: a client gets %v, want %v", in, got, untrusted)
		}
	}
	f("0a02 0a00", nil, nil)
	f("0a02 1200", nil, nil)
	f("0a02 1a00", nil, ErrNotAllowed)
	f("0a02 2200", ErrWrongCommand, ErrNotAllowed)
}

func TestPublicationsOfBackend(t *testing.T) {
	ps, err := mustParse(t, unhex(t, requestPublish)).Publications(backend(), &testLimits)
	if err != nil || len(ps) != 1 {
		t.Fatalf("%d publications, %v", len(ps), err)
	}
	p := ps[0]
	if string(p.Body) != `{"b":2}` || p.Expiry != 3600 || p.Type != "im_message" || !p.ID.IsZero() || p.Created != 0 {
		t.Fatalf("got %+v", p)
	}
	if p.Sender.Type != SenderBackend || p.Sender.ID != nil {
		t.Fatalf("the sender is %+v", p.Sender)
	}
	wantReceivers(t, p, Receiver{Channel: private(t, privateA)}, Receiver{Channel: private(t, privateB)})
}

func TestPublicationsOfClient(t *testing.T) {
	o := client(t)
	b := unhex(t, requestOfClient)
	ps, err := mustParse(t, b).Publications(o, &testLimits)
	if err != nil || len(ps) != 1 {
		t.Fatalf("%d publications, %v", len(ps), err)
	}
	clear(b)
	clear(o.PublicID)
	p := ps[0]
	if string(p.Body) != `{"c":3}` || p.Expiry != 0 || p.Type != "" {
		t.Fatalf("got %+v", p)
	}
	if p.Sender.Type != SenderClient || !bytes.Equal(p.Sender.ID, unhex(t, publicA)) {
		t.Fatalf("the sender is %+v", p.Sender)
	}
	wantReceivers(t, p, Receiver{Channel: public(t, publicB), Signature: unhex(t, signaturePublicB)})
}

func wantReceivers(t *testing.T, p *Publication, want ...Receiver) {
	t.Helper()
	same := func(a, b Receiver) bool { return a.Channel == b.Channel && bytes.Equal(a.Signature, b.Signature) }
	if !slices.EqualFunc(p.Receivers, want, same) {
		t.Fatalf("receivers %v, want %v", p.Receivers, want)
	}
}

// message is an IncomingMessage to receivers, wrapped by batch into a request.
func message(body string, receivers ...*pb.Receiver) *pb.IncomingMessage {
	return &pb.IncomingMessage{Receivers: receivers, Body: body}
}

func batch(t testing.TB, messages ...*pb.IncomingMessage) []byte {
	t.Helper()
	incoming := &pb.IncomingMessagesRequest{Messages: messages}
	return mustMarshal(t, &pb.RequestBatch{Requests: []*pb.Request{{Command: &pb.Request_IncomingMessages{IncomingMessages: incoming}}}})
}

func stats(t testing.TB, channels ...*pb.ChannelId) []byte {
	t.Helper()
	asked := &pb.ChannelStatsRequest{Channels: channels}
	return mustMarshal(t, &pb.RequestBatch{Requests: []*pb.Request{{Command: &pb.Request_ChannelStats{ChannelStats: asked}}}})
}

func TestPublicationsRefused(t *testing.T) {
	s := newTestSigner(t)
	privateID, publicID := mustID(t, privateA), mustID(t, publicB)
	toPrivate := &pb.Receiver{Id: privateID[:], IsPrivate: true}
	toPublic := &pb.Receiver{Id: publicID[:], Signature: s.SignPublic(publicID)}
	toShort := &pb.Receiver{Id: privateID[1:], IsPrivate: true}
	unsigned := &pb.Receiver{Id: publicID[:]}
	inHex := &pb.Receiver{Id: publicID[:], Signature: []byte(signaturePublicB)}
	shortSigned := &pb.Receiver{Id: publicID[1:], Signature: s.AppendSum(nil, []byte("public:"+publicB[2:]))}

	f := func(o *Origin, want *Error, n int, messages ...*pb.IncomingMessage) {
		t.Helper()
		ps, err := mustParse(t, batch(t, messages...)).Publications(o, &testLimits)
		if err != want || len(ps) != n {
			t.Fatalf("%d publications, %v; want %d, %v", len(ps), err, n, want)
		}
	}
	good := message("{}", toPrivate)
	f(backend(), nil, 0)
	f(backend(), nil, 1, good)
	f(backend(), nil, 3, good, good, good)
	f(backend(), ErrTooManyMessages, 0, good, good, good, good)
	f(backend(), ErrTooManyMessages, 0, good, good, good, message("no receivers"))
	f(backend(), ErrNoChannels, 0, good, message("{}"))
	f(backend(), nil, 1, message("", toPrivate, toPublic, unsigned, inHex))
	f(backend(), ErrTooManyChannels, 0, message("", toPrivate, toPrivate, toPrivate, toPrivate, toShort))
	f(backend(), ErrInvalidChannel, 0, good, message("{}", toShort))
	f(backend(), ErrInvalidChannel, 0, message("{}", &pb.Receiver{IsPrivate: true}))
	// The first message is looked at as a whole before the second.
	f(backend(), ErrInvalidChannel, 0, message("{}", toShort), message("{}"))
	f(backend(), ErrNoChannels, 0, message("{}"), message("{}", toShort))

	allowed := message("{}", toPublic)
	f(client(t), nil, 0)
	f(client(t), nil, 2, allowed, allowed)
	f(client(t), ErrTooManyMessages, 0, allowed, allowed, allowed, allowed)
	f(client(t), ErrNoChannels, 0, allowed, message("{}"))
	f(client(t), ErrTooManyChannels, 0, message("", toPublic, toPublic, toPublic, toPublic, toPublic))
	f(client(t), ErrPrivateChannel, 0, allowed, message("{}", toPublic, toPrivate))
	f(client(t), ErrSignature, 0, message("{}", unsigned))
	f(client(t), ErrSignature, 0, message("{}", inHex))
	f(client(t), ErrSignature, 0, message("{}", toPublic, unsigned, toPrivate))
	f(client(t), ErrSignature, 0, message("{}", &pb.Receiver{}))
	// An id of another length may be signed, but nobody can hear it.
	f(client(t), nil, 0, message("{}", shortSigned))
	f(client(t), nil, 1, message("{}", shortSigned, toPublic))
}

func TestPublicationsDetails(t *testing.T) {
	id := mustID(t, privateA)
	receiver := &pb.Receiver{Id: id[:], IsPrivate: true, Signature: []byte("means nothing")}
	one := func(m *pb.IncomingMessage) *Publication {
		t.Helper()
		ps, err := mustParse(t, batch(t, m)).Publications(backend(), &testLimits)
		if err != nil {
			t.Fatal(err)
		}
		return ps[0]
	}
	// Each channel once; the same bytes without isPrivate are another channel.
	wantReceivers(t, one(message("", receiver, &pb.Receiver{Id: id[:]}, receiver)), Receiver{Channel: private(t, privateA)},
		Receiver{Channel: public(t, privateA)})

	kind := func(in, want string) {
		t.Helper()
		m := message("", receiver)
		m.Type = in
		if got := one(m).Type; got != want {
			t.Fatalf("type %q became %q", in, got)
		}
	}
	kind("im_message", "im_message")
	kind("*-A_z9", "*-A_z9")
	kind(strings.Repeat("x", 32), strings.Repeat("x", 32))
	kind(strings.Repeat("x", 33), "")
	kind("with blank", "")
	kind("ж", "")

	m := message("", receiver)
	m.Sender = &pb.Sender{Type: pb.SenderType_CLIENT, Id: []byte("somebody else")}
	m.Expiry = math.MaxUint32
	if p := one(m); p.Sender.Type != SenderBackend || p.Sender.ID != nil || p.Expiry != math.MaxUint32 || len(p.Body) != 0 {
		t.Fatalf("got %+v", p)
	}

	// The last body counts, and what is no UTF-8 in it is replaced. Generated code refuses that, so it is written by hand.
	raw := unhex(t, "0a20 0a1e 0a1c 0a14 0a10"+privateA+"1001 1a01 61 1a01 ff")
	ps, err := mustParse(t, raw).Publications(backend(), &testLimits)
	if err != nil || string(ps[0].Body) != "\ufffd" {
		t.Fatalf("got %v, %v", ps, err)
	}
}

func TestChannels(t *testing.T) {
	s := newTestSigner(t)
	privateID, publicID := mustID(t, privateA), mustID(t, publicB)
	askPrivate := &pb.ChannelId{Id: privateID[:], IsPrivate: true}
	askPublic := &pb.ChannelId{Id: publicID[:], Signature: s.SignPublic(publicID)}
	askShort := &pb.ChannelId{Id: publicID[1:]}

	f := func(o *Origin, wantErr *Error, want string, channels ...*pb.ChannelId) {
		t.Helper()
		b := stats(t, channels...)
		got, err := mustParse(t, b).Channels(o, &testLimits)
		clear(b)
		if err != wantErr || err == nil && !bytes.Equal(AppendChannelStats(nil, got), unhex(t, want)) {
			t.Fatalf("got %v, %v", got, err)
		}
	}
	f(backend(), nil, "0a4a 1248 0a16 0a10"+privateA+"1001 1800 0a16 0a10"+publicB+"1000 1800 0a16 0a10"+privateA+"1001 1800",
		askPrivate, askPublic, askPrivate)
	f(backend(), ErrNoChannels, "")
	f(backend(), ErrTooManyChannels, "", askPublic, askPublic, askPublic, askPublic, askShort)
	f(backend(), ErrInvalidChannel, "", askPublic, askShort)
	f(client(t), nil, "0a1a 1218 0a16 0a10"+publicB+"1000 1800", askPublic)
	f(client(t), ErrNoChannels, "")
	f(client(t), ErrTooManyChannels, "", askPublic, askPublic, askPublic, askPublic, askPublic)
	f(client(t), ErrPrivateChannel, "", askPublic, askPrivate)
	f(client(t), ErrSignature, "", askShort)
}

func TestContentOfAnotherCommand(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("statistics were published")
		}
	}()
	_, _ = mustParse(t, unhex(t, requestStats)).Publications(backend(), &testLimits)
}

func TestTextPublication(t *testing.T) {
	a, b := Item{Private: mustID(t, privateA), Public: mustID(t, publicA), HasPublic: true}, Item{Private: mustID(t, privateB)}
	body := []byte("\"\xff\xc3(\xe2\x82\"")
	p := TextPublication([]Item{a, b, a}, body, 60)
	clear(body)
	if string(p.Body) != "\"\ufffd\ufffd(\ufffd\"" || p.Expiry != 60 || p.Sender.Type != SenderBackend || p.Type != "" || !p.ID.IsZero() {
		t.Fatalf("got %+v", p)
	}
	wantReceivers(t, p, Receiver{Channel: private(t, privateA)}, Receiver{Channel: public(t, publicA)}, Receiver{Channel: private(t, privateB)})

	// Many channels, all of them twice.
	var items []Item
	for i := range 800 {
		items = append(items, Item{Private: [16]byte{byte(i % 400), byte(i % 400 >> 8)}})
	}
	if p = TextPublication(items, nil, 0); len(p.Receivers) != 400 {
		t.Fatalf("%d receivers", len(p.Receivers))
	}
	for i, r := range p.Receivers {
		if r.Channel.Bytes != items[i].Private {
			t.Fatalf("receiver %d is %v", i, r.Channel)
		}
	}
}

func TestParseExpiry(t *testing.T) {
	f := func(header string, want uint32) {
		t.Helper()
		if got := ParseExpiry([]byte(header)); got != want {
			t.Fatalf("%q: got %d, want %d", header, got, want)
		}
	}
	f("", 0)
	f("0", 0)
	f("60", 60)
	f("10abc", 10)
	f(" 7", 7)
	f("\t7 ", 7)
	f("+7", 7)
	f("1e3", 1)
	f("1.9", 1)
	f("0x10", 0)
	f("007", 7)
	f("-5", 0)
	f("abc", 0)
	f("--1", 0)
	f("+ 1", 0)
	f("99999999", 99999999)
	f("4294967295", math.MaxUint32)
	f("4294967296", math.MaxUint32)
	f(strings.Repeat("9", 100), math.MaxUint32)
}
