package protocol

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"google.golang.org/protobuf/proto"

	"push-server/protocol/pb"
)

var itemPattern = regexp.MustCompile(`\A([0-9a-f]{32})(:[0-9a-f]{32})?(?:\.([0-9a-f]{32,128}))?\z`)

// The list is what a regular expression and a plain comparison of signatures say it is.
func FuzzAppendItems(f *testing.F) {
	pair, alone := privateA+":"+publicA+"."+signatureA, privateA+"."+signaturePrivateA
	for _, list := range []string{
		"", "/", pair, alone, pair + "/" + alone, privateA, privateA + "/" + privateB, pair + "/", privateA + ":" + publicA,
		privateA + ".", privateA + ":", strings.ToUpper(pair), privateA + "." + strings.Repeat("0", 128), privateA + "\n",
	} {
		f.Add([]byte(list), true)
		f.Add([]byte(list), false)
	}
	s := newTestSigner(f)
	f.Fuzz(func(t *testing.T, list []byte, trusted bool) {
		trust := TrustNone
		if trusted {
			trust = TrustBackend
		}
		want, wantOK := itemsByPattern(s, string(list), trusted)
		items, ok := AppendItems(nil, list, trust, s)
		var got []string
		for _, it := range items {
			got = append(got, string(it.appendText(nil)))
		}
		if ok != wantOK || !slices.Equal(got, want) {
			t.Fatalf("got %q, %v; want %q, %v", got, ok, want, wantOK)
		}
	})
}

func itemsByPattern(s *Signer, list string, trusted bool) (items []string, ok bool) {
	for text := range strings.SplitSeq(list, "/") {
		m := itemPattern.FindStringSubmatch(text)
		if m == nil {
			return nil, false
		}
		signed := m[1] + m[2]
		if (!trusted || m[2] != "") && m[3] != string(s.AppendHex(nil, []byte(signed))) {
			return nil, false
		}
		items = append(items, signed)
	}
	return items, true
}

func FuzzParseMessageID(f *testing.F) {
	for _, mid := range []string{"", "17954614120000000000000126", "1795461412000000000000012", "1795461412000000000000012a"} {
		f.Add([]byte(mid))
	}
	pattern := regexp.MustCompile(`\A[0-9]{26}\z`)
	f.Fuzz(func(t *testing.T, mid []byte) {
		id, ok := ParseMessageID(mid)
		if ok != pattern.Match(mid) || ok && id.String() != string(mid) {
			t.Fatalf("%q was read as %s, %v", mid, id, ok)
		}
		if ok && MakeMessageID(id.Startdate(), id.Counter()) != id {
			t.Fatalf("%s is not the sum of its parts", id)
		}
	})
}

// Frames are the same whether they come at once or in two halves, and never hold more than they may.
func FuzzFrameReader(f *testing.F) {
	hello := clientFrame{op: ws.OpText, payload: "hello"}.append(nil)
	split := clientFrame{op: ws.OpText, payload: "\xd0", part: true}.append(nil)
	split = clientFrame{op: ws.OpPing, payload: "p"}.append(split)
	split = clientFrame{op: ws.OpContinuation, payload: "\x96"}.append(split)
	for _, b := range [][]byte{
		nil, hello, split, append(bytes.Clone(hello), split...),
		clientFrame{op: ws.OpClose, payload: "\x03\xe8bye"}.append(nil),
		clientFrame{op: ws.OpBinary, payload: strings.Repeat("x", 200)}.append(nil),
		clientFrame{op: ws.OpText, payload: "\xff"}.append(nil),
		clientFrame{op: ws.OpText, payload: "x", unmasked: true}.append(nil),
		clientFrame{op: ws.OpBinary, length: 1 << 63}.append(nil),
		clientFrame{op: ws.OpBinary, length: 1 << 17}.append(hello),
		clientFrame{op: ws.OpContinuation}.append(nil),
	} {
		f.Add(b, len(b)/2)
	}
	const limit = 150
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		want, wantErr := readAll(slices.Values([][]byte{bytes.Clone(b)}), limit)
		for _, m := range want {
			if len(m.Payload) > limit || m.OpCode == ws.OpText && !utf8.Valid(m.Payload) || m.OpCode.IsControl() && len(m.Payload) > 125 {
				t.Fatalf("got %v with %d bytes", m.OpCode, len(m.Payload))
			}
		}
		if at < 0 || at > len(b) {
			return
		}
		got, err := readAll(slices.Values([][]byte{b[:at], b[at:]}), limit)
		if err != wantErr || !slices.EqualFunc(got, want, sameMessage) {
			t.Fatalf("in two halves: %q, %v; at once: %q, %v", got, err, want, wantErr)
		}
	})
}

func FuzzParseClose(f *testing.F) {
	for _, payload := range []string{"", "x", "\x03\xe8", "\x03\xe8bye", "\x03\xe8\xff", "\x03\xed", "\x13\x87"} {
		f.Add([]byte(payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		code, err := ParseClose(payload)
		if err != nil {
			if err != ErrProtocolViolation && err != ErrInvalidUTF8 || code != 0 {
				t.Fatalf("got %d, %v", code, err)
			}
			return
		}
		if len(payload) > maxControlPayload {
			return // no frame can hold it
		}
		reason := ""
		if code != 0 {
			reason = string(payload[2:])
		}
		if echo := AppendClose(nil, code, reason); !bytes.Equal(echo, AppendFrame(nil, ws.OpClose, payload)) {
			t.Fatalf("%x is echoed as %x", payload, echo)
		}
	})
}

// An accepted handshake is answered by a well-formed head, whatever was offered.
func FuzzHandshake(f *testing.F) {
	f.Add([]byte("Upgrade"), []byte("websocket"), []byte(exampleHandshakeKey), []byte("13"), []byte("foo, bar"))
	f.Add([]byte("keep-alive, upgrade"), []byte("h2c"), []byte(""), []byte("8"), []byte(",a"))
	f.Fuzz(func(t *testing.T, connection, upgrade, key, version, protocols []byte) {
		IsUpgrade(connection, upgrade)
		h := Handshake{Method: []byte("GET"), Upgrade: upgrade, Key: key, Version: version, Subprotocols: protocols, PathOK: true}
		head := AppendSwitchingProtocols(nil, key, protocols)
		want := http.StatusSwitchingProtocols
		if r := h.Check(); r != nil {
			head, want = AppendHandshakeRefusal(nil, r, false), r.Status
		}
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), nil)
		if err != nil || res.StatusCode != want || len(res.Header) > 4 {
			t.Fatalf("%q: %v", head, err)
		}
	})
}

// Every JSON body arrives with its meaning at a client that looks for it by pattern; any other body arrives as it is.
func FuzzAppendText(f *testing.F) {
	for _, body := range []string{
		"", `{"a":1}`, "{\"a\":\"\u2028\u2029\"}", "[\r\n1]", `"#!NGINXNME!#"`, `"\\#!NGINXNME!#!NGINXNME!#"`, "\u2028", "1\n2", `"`, "\xe2\x80",
	} {
		f.Add([]byte(body))
	}
	pattern := regexp.MustCompile(`\A#!NGINXNMS!#([^\r\n\x{2028}\x{2029}]*?)#!NGINXNME!#\z`)
	f.Fuzz(func(t *testing.T, body []byte) {
		frame := AppendText(nil, &Publication{ID: MakeMessageID(1, 2), Body: body}, 3)
		raw := bytes.TrimSuffix(frame[bytes.Index(frame, []byte(`"text":`))+len(`"text":`):], []byte("}"+textEnd))
		if !json.Valid(body) {
			if !bytes.Equal(raw, body) {
				t.Fatalf("%q became %q", body, raw)
			}
			return
		}
		if !json.Valid(raw) || !sameJSON(t, string(body), string(raw)) {
			t.Fatalf("%q became %q", body, raw)
		}
		if utf8.Valid(body) && !pattern.Match(frame) {
			t.Fatalf("%q is not found", frame)
		}
	})
}

func FuzzParseExpiry(f *testing.F) {
	for _, header := range []string{"", "60", " 7", "+1", "-5", "10abc", "4294967296", "1e3", "99999999999999999999999"} {
		f.Add([]byte(header))
	}
	pattern := regexp.MustCompile(`\A[ \t]*\+?([0-9]+)`)
	f.Fuzz(func(t *testing.T, header []byte) {
		want := uint64(0)
		if m := pattern.FindSubmatch(header); m != nil {
			want, _ = strconv.ParseUint(string(m[1]), 10, 32) // the largest number when out of range
		}
		if got := ParseExpiry(header); uint64(got) != want {
			t.Fatalf("%q: got %d, want %d", header, got, want)
		}
	})
}

func FuzzValidText(f *testing.F) {
	for _, s := range []string{"", "Ж€😀", "\xff\xc3(\xe2\x82", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\ufeff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, s []byte) {
		got := validText(s)
		if !utf8.Valid(got) || utf8.Valid(s) && !bytes.Equal(got, s) {
			t.Fatalf("%q became %q", s, got)
		}
	})
}

func FuzzParseOutgoing(f *testing.F) {
	for _, s := range []string{"", outgoing1, outgoing2, outgoing3, outgoing1 + outgoing3, "1201ff" + outgoing1, "2a0108", "0b0c"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Publication
		if ParseOutgoing(b, &p) == nil {
			wantSameThere(t, &p)
		}
		// What the generated code understands, and writes again in its way, is understood by ours in the same way.
		var m pb.OutgoingMessage
		if (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, &m) != nil {
			return
		}
		err := ParseOutgoing(mustMarshal(t, &m), &p)
		if _, ok := MessageIDFromBytes(m.Id); !ok {
			if err == nil {
				t.Fatalf("the id of %v was taken", &m)
			}
			return
		}
		if err != nil || !samePublication(&p, generatedPublication(&m)) {
			t.Fatalf("%v was read as %+v, %v", &m, p, err)
		}
	})
}

// wantSameThere writes p by hand, and wants to find it again by generated code and by hand.
func wantSameThere(t *testing.T, p *Publication) {
	t.Helper()
	b := AppendOutgoing(nil, p)
	var m pb.OutgoingMessage
	mustUnmarshal(t, b, &m)
	var back Publication
	if err := ParseOutgoing(b, &back); err != nil || !samePublication(&back, p) || !samePublication(generatedPublication(&m), p) {
		t.Fatalf("%+v became %+v and %v, %v", p, back, &m, err)
	}
}

// generatedPublication is what a message says by the rules of ours: the sender may be missing, or of a kind yet unknown.
func generatedPublication(m *pb.OutgoingMessage) *Publication {
	p := &Publication{Body: []byte(m.Body), Expiry: m.Expiry, Created: m.Created, Sender: Sender{Type: SenderBackend}}
	p.ID, _ = MessageIDFromBytes(m.Id)
	if m.Sender != nil {
		p.Sender = Sender{Type: senderType(uint64(m.Sender.Type)), ID: m.Sender.Id}
	}
	return p
}

func FuzzParseNotifications(f *testing.F) {
	for _, s := range []string{"", notification1, notification3, notification1 + notification3, "0a021200", "0a040a020a00", "0b"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ps, err := parseNotifications(b)
		if err != nil && len(ps) > 0 {
			t.Fatal("something was taken from what cannot be decoded")
		}
		for _, p := range ps {
			wantSameThere(t, p)
			again, err := parseNotifications(AppendNotification(nil, p))
			if err != nil || len(again) != 1 || !sameNotification(again[0], p) {
				t.Fatalf("%+v came back as %+v, %v", p, again, err)
			}
		}
		var batch pb.NotificationBatch
		if (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, &batch) != nil {
			return
		}
		ps, err = parseNotifications(mustMarshal(t, &batch))
		if want := generatedNotifications(&batch); err != nil || !slices.EqualFunc(ps, want, sameNotification) {
			t.Fatalf("%v was read as %+v, %v; want %+v", &batch, ps, err, want)
		}
	})
}

func generatedNotifications(batch *pb.NotificationBatch) (ps []*Publication) {
	for _, n := range batch.Notifications {
		for _, m := range n.GetIpcMessages().GetMessages() {
			if _, ok := MessageIDFromBytes(m.GetOutgoingMessage().GetId()); !ok {
				continue
			}
			p := generatedPublication(m.OutgoingMessage)
			for _, r := range m.Receivers {
				if c, ok := channelID(r.Id, r.IsPrivate); ok {
					p.Receivers = append(p.Receivers, Receiver{Channel: c, Signature: r.Signature})
				}
			}
			ps = append(ps, p)
		}
	}
	return ps
}

func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"", requestPublish, requestOfClient, requestStats, "0a020a00", "0a021200", "0a021a00", "0a022200", "0a040a001a00",
		"0a7f0a00", "0102030405", "0a090a070a051a01ff2001",
	} {
		f.Add(unhex(f, s))
	}
	origin := client(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		askEverything(t, b, backend())
		askEverything(t, b, origin)
		var batch pb.RequestBatch
		if (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, &batch) != nil {
			return
		}
		var r Request
		err := r.Parse(mustMarshal(t, &batch))
		if want := generatedCommand(&batch); r.Command != want || (err != nil) != (want == CommandNone) {
			t.Fatalf("%v is command %d, %v", &batch, r.Command, err)
		}
		if r.Command == CommandPublish {
			comparePublications(t, &r, batch.Requests[0].GetIncomingMessages().GetMessages())
		}
	})
}

// askEverything wants no more from what a request answers than that it keeps its promises.
func askEverything(t *testing.T, b []byte, o *Origin) {
	t.Helper()
	var r Request
	if r.Parse(b) != nil || r.Allowed(o) != nil {
		return
	}
	switch r.Command {
	case CommandPublish:
		ps, _ := r.Publications(o, &testLimits)
		if len(ps) > testLimits.MaxMessages {
			t.Fatalf("%d publications", len(ps))
		}
		for _, p := range ps {
			if n := len(p.Receivers); n == 0 || n > testLimits.MaxChannels || !utf8.Valid(p.Body) {
				t.Fatalf("got %+v", p)
			}
			wantSameThere(t, p)
		}
	case CommandChannelStats:
		stats, err := r.Channels(o, &testLimits)
		if len(stats) > testLimits.MaxChannels || err == nil && len(stats) == 0 {
			t.Fatalf("%d channels", len(stats))
		}
	}
}

func generatedCommand(batch *pb.RequestBatch) Command {
	if len(batch.Requests) == 0 {
		return CommandNone
	}
	switch batch.Requests[0].Command.(type) {
	case *pb.Request_IncomingMessages:
		return CommandPublish
	case *pb.Request_ChannelStats:
		return CommandChannelStats
	case *pb.Request_ServerStats:
		return CommandServerStats
	case *pb.Request_Registration:
		return CommandRegister
	}
	return CommandNone
}

func comparePublications(t *testing.T, r *Request, messages []*pb.IncomingMessage) {
	t.Helper()
	ps, err := r.Publications(backend(), &Limits{MaxMessages: len(messages), MaxChannels: 1 << 20})
	if err != nil {
		return
	}
	if len(ps) != len(messages) {
		t.Fatalf("%d publications of %d messages", len(ps), len(messages))
	}
	for i, p := range ps {
		m := messages[i]
		if string(p.Body) != m.Body || p.Expiry != m.Expiry || p.Type != "" && p.Type != m.Type {
			t.Fatalf("%v became %+v", m, p)
		}
		for _, receiver := range p.Receivers {
			id := receiver.Channel
			if !slices.ContainsFunc(m.Receivers, func(r *pb.Receiver) bool {
				return hex.EncodeToString(r.Id) == string(id.AppendHex(nil)) && r.IsPrivate == id.Private
			}) {
				t.Fatalf("%v is no receiver of %v", id, m)
			}
		}
	}
}
