package protocol

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"push-server/protocol/pb"
)

// Messages of the recorded conversation.
const (
	outgoing1 = "0a0d 17954638490000000000000001 1207 7b2261223a317d 183c 25a99a046b 2a02 0802"
	outgoing2 = "0a0d 17954638490000000000000002 1207 7b2262223a327d 18901c 25aa9a046b 2a02 0802"
	outgoing3 = "0a0d 17954638490000000000000003 1207 7b2263223a337d 1800 253b2ffc09 2a14 0801 1210fedcba9876543210fedcba9876543210"
)

func publication1(t testing.TB) *Publication {
	t.Helper()
	return &Publication{
		ID:        mustMessageID(t, "17954638490000000000000001"),
		Receivers: []Receiver{{Channel: private(t, privateA)}},
		Body:      []byte(`{"a":1}`),
		Expiry:    60,
		Created:   0x6b049aa9,
		Sender:    Sender{Type: SenderBackend},
	}
}

func publication3(t testing.TB) *Publication {
	t.Helper()
	return &Publication{
		ID:        mustMessageID(t, "17954638490000000000000003"),
		Receivers: []Receiver{{Channel: public(t, publicB), Signature: unhex(t, signaturePublicB)}},
		Body:      []byte(`{"c":3}`),
		Created:   0x09fc2f3b,
		Sender:    Sender{Type: SenderClient, ID: unhex(t, publicA)},
	}
}

// samePublication compares what an OutgoingMessage holds.
func samePublication(a, b *Publication) bool {
	return a.ID == b.ID && bytes.Equal(a.Body, b.Body) && a.Expiry == b.Expiry && a.Created == b.Created &&
		a.Sender.Type == b.Sender.Type && bytes.Equal(a.Sender.ID, b.Sender.ID)
}

func TestOutgoing(t *testing.T) {
	f := func(p *Publication, want string) {
		t.Helper()
		b := AppendOutgoing(nil, p)
		if !bytes.Equal(b, unhex(t, want)) {
			t.Fatalf("got  %x\nwant %x", b, unhex(t, want))
		}
		if len(b) != SizeOutgoing(p) {
			t.Fatalf("%d bytes, expected %d", len(b), SizeOutgoing(p))
		}
		var back Publication
		if err := ParseOutgoing(b, &back); err != nil || !samePublication(&back, p) {
			t.Fatalf("read back as %+v, %v", back, err)
		}
	}
	f(publication1(t), outgoing1)
	f(publication3(t), outgoing3)
	p := publication1(t)
	p.ID, p.Body, p.Expiry, p.Created = MakeMessageID(1795463849, 2), []byte(`{"b":2}`), 3600, 0x6b049aaa
	f(p, outgoing2)
	f(&Publication{}, "0a0d 00000000000000000000000000 1200 1800 2500000000 2a02 0800")
}

func TestParseOutgoing(t *testing.T) {
	f := func(in string, want *Publication) {
		t.Helper()
		got := Publication{Expiry: 7, Created: 7, Body: []byte("old"), Sender: Sender{Type: SenderClient, ID: []byte("old")}}
		err := ParseOutgoing(unhex(t, in), &got)
		if want == nil {
			if !errors.Is(err, errMalformed) {
				t.Fatalf("got %+v, %v", got, err)
			}
			return
		}
		if err != nil || !samePublication(&got, want) {
			t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
		}
	}
	const id = "0a0d 17954638490000000000000001"
	p := Publication{ID: mustMessageID(t, "17954638490000000000000001"), Sender: Sender{Type: SenderBackend}}
	change := func(change func(p *Publication)) *Publication {
		q := p
		change(&q)
		return &q
	}
	// What is missing is zero, and the sender a back end: clients fail on a message without one.
	f(id, &p)
	f(id+"2a00", change(func(p *Publication) { p.Sender.Type = SenderUnknown }))
	f(id+"2a02 0801", change(func(p *Publication) { p.Sender.Type = SenderClient }))
	f(id+"2a03 08ac02", change(func(p *Publication) { p.Sender.Type = SenderUnknown }))
	// Unknown fields are skipped, known numbers with other wire types too.
	f(id+"3a0161 3801 3d00000000 39 0000000000000000", &p)
	f(id+"1801 1d05000000 20ff01 1001", change(func(p *Publication) { p.Expiry = 1 }))
	// The last one counts, in any order.
	f("1801"+id+"1802 1202 6162 1201 63", change(func(p *Publication) { p.Expiry, p.Body = 2, []byte("c") }))
	f(id+"2a04 0801 1200 2a02 0802", &p)
	f("0a0d 17954638490000000000000009"+id, &p)
	// 64 bits are cut to 32.
	f(id+"188180808010", change(func(p *Publication) { p.Expiry = 1 }))
	f(id+"1204 61 ffc3 28", change(func(p *Publication) { p.Body = []byte("a\ufffd\ufffd(") }))

	f("", nil)
	f("1201 61", nil)
	f("0a0c 179546384900000000000000", nil)
	f("0a0d 1795463849000000000000000a", nil)
	f(id+"0a00", nil)
	f(id+"12", nil)
	f(id+"2a01 08", nil)
	f(id+"2b2c", nil)
}

func TestAppendResponse(t *testing.T) {
	f := func(want string, ps ...*Publication) {
		t.Helper()
		if got := AppendResponse(nil, ps); !bytes.Equal(got, unhex(t, want)) {
			t.Fatalf("got  %x\nwant %x", got, unhex(t, want))
		}
	}
	f("0a27 0a25 0a23"+outgoing1, publication1(t))
	f("0a39 0a37 0a35"+outgoing3, publication3(t))
	f("0a5e 0a5c 0a23"+outgoing1+"0a35"+outgoing3, publication1(t), publication3(t))
	f("0a02 0a00")
}

func TestAppendChannelStats(t *testing.T) {
	f := func(want string, stats ...ChannelStat) {
		t.Helper()
		if got := AppendChannelStats(nil, stats); !bytes.Equal(got, unhex(t, want)) {
			t.Fatalf("got  %x\nwant %x", got, unhex(t, want))
		}
	}
	f("0a02 1200")
	f("0a1a 1218 0a16 0a10"+privateA+"1000 1800", ChannelStat{ID: unhex(t, privateA)})
	f("0a32 1230 0a16 0a10"+privateA+"1001 1801 0a16 0a10"+publicB+"1000 1801",
		ChannelStat{ID: unhex(t, privateA), Private: true, Online: true}, ChannelStat{ID: unhex(t, publicB), Online: true})
	f("0a0a 1208 0a06 0a00 1001 1800", ChannelStat{Private: true})
}

func TestChannelStatChannel(t *testing.T) {
	stat := ChannelStat{ID: unhex(t, privateA), Private: true}
	if c, ok := stat.Channel(); !ok || c != private(t, privateA) {
		t.Fatalf("got %v, %v", c, ok)
	}
	stat.ID = stat.ID[1:]
	if c, ok := stat.Channel(); ok || c != (ChannelID{}) {
		t.Fatalf("got %v, %v", c, ok)
	}
}

func TestAppendServerStats(t *testing.T) {
	f := func(json, want string) {
		t.Helper()
		if got := AppendServerStats(nil, []byte(json)); !bytes.Equal(got, unhex(t, want)) {
			t.Fatalf("got  %x\nwant %x", got, unhex(t, want))
		}
	}
	f("[]", "0a06 1a04 0a02 5b5d")
	f("", "0a04 1a02 0a00")
}

// What is written by hand is read by the generated code, and says the same.
func TestGeneratedCodeReadsOurs(t *testing.T) {
	ps := []*Publication{publication1(t), publication3(t), {}, {Body: bytes.Repeat([]byte("Ж"), 5000), Expiry: 1<<32 - 1}}
	var batch pb.ResponseBatch
	mustUnmarshal(t, AppendResponse(nil, ps), &batch)
	messages := batch.Responses[0].GetOutgoingMessages().GetMessages()
	if len(batch.Responses) != 1 || len(messages) != len(ps) {
		t.Fatalf("got %v", &batch)
	}
	for i, m := range messages {
		if !samePublication(fromGenerated(t, m), ps[i]) {
			t.Errorf("message %d is %v", i, m)
		}
	}

	stats := []ChannelStat{{ID: unhex(t, privateA), Private: true}, {ID: unhex(t, publicB), Online: true}, {}}
	mustUnmarshal(t, AppendChannelStats(nil, stats), &batch)
	for i, c := range batch.Responses[0].GetChannelStats().GetChannels() {
		if !bytes.Equal(c.Id, stats[i].ID) || c.IsPrivate != stats[i].Private || c.IsOnline != stats[i].Online {
			t.Errorf("channel %d is %v", i, c)
		}
	}

	mustUnmarshal(t, AppendServerStats(nil, []byte(`[{"pid":1}]`)), &batch)
	if got := batch.Responses[0].GetServerStats().GetJson(); got != `[{"pid":1}]` {
		t.Errorf("the statistics are %q", got)
	}
}

// What the generated code writes is read by hand, and says the same. It leaves out what is zero.
func TestOursReadsGeneratedCode(t *testing.T) {
	for _, p := range []*Publication{publication1(t), publication3(t), {Sender: Sender{Type: SenderUnknown}}} {
		var back Publication
		if err := ParseOutgoing(mustMarshal(t, toGenerated(p)), &back); err != nil || !samePublication(&back, p) {
			t.Errorf("%+v was read as %+v, %v", p, back, err)
		}
	}
}

func mustMarshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustUnmarshal(t testing.TB, b []byte, m proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(b, m); err != nil {
		t.Fatalf("%v in %x", err, b)
	}
	if n := len(m.ProtoReflect().GetUnknown()); n > 0 {
		t.Fatalf("%d bytes of unknown fields in %x", n, b)
	}
}

func toGenerated(p *Publication) *pb.OutgoingMessage {
	return &pb.OutgoingMessage{
		Id:      p.ID[:],
		Body:    string(p.Body),
		Expiry:  p.Expiry,
		Created: p.Created,
		Sender:  &pb.Sender{Type: pb.SenderType(p.Sender.Type), Id: p.Sender.ID},
	}
}

func fromGenerated(t testing.TB, m *pb.OutgoingMessage) *Publication {
	t.Helper()
	id, ok := MessageIDFromBytes(m.Id)
	if !ok || m.Sender == nil {
		t.Fatalf("no proper message: %v", m)
	}
	return &Publication{
		ID:      id,
		Body:    []byte(m.Body),
		Expiry:  m.Expiry,
		Created: m.Created,
		Sender:  Sender{Type: SenderType(m.Sender.Type), ID: m.Sender.Id},
	}
}
