package protocol

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"push-server/protocol/pb"
)

const (
	notification1 = "0a3f 0a3d 0a3b 0a14 0a10" + privateA + "1001 1a23" + outgoing1
	notification3 = "0a65 0a63 0a61 0a28 0a10" + publicB + "1a14" + signaturePublicB + "1a35" + outgoing3
)

func TestAppendNotification(t *testing.T) {
	f := func(p *Publication, want string) {
		t.Helper()
		got := AppendNotification([]byte("before"), p)
		if !bytes.Equal(got, append([]byte("before"), unhex(t, want)...)) {
			t.Fatalf("got  %x\nwant %x", got, unhex(t, want))
		}
		if !bytes.HasSuffix(got, AppendOutgoing(nil, p)) {
			t.Fatal("it does not end with the OutgoingMessage")
		}
	}
	f(publication1(t), notification1)
	f(publication3(t), notification3)
	p := publication1(t)
	p.Receivers = append(p.Receivers, Receiver{Channel: public(t, publicA)})
	f(p, "0a55 0a53 0a51 0a14 0a10"+privateA+"1001 0a14 0a10"+publicA+"1000 1a23"+outgoing1)
	p.Receivers = nil
	f(p, "0a29 0a27 0a25 1a23"+outgoing1)
}

// parseNotifications gathers the publications of a batch.
func parseNotifications(b []byte) (ps []*Publication, err error) {
	err = ParseNotifications(b, func(p *Publication) { ps = append(ps, p) })
	return ps, err
}

func sameNotification(a, b *Publication) bool {
	return samePublication(a, b) && slices.EqualFunc(a.Receivers, b.Receivers, func(x, y Receiver) bool {
		return x.Channel == y.Channel && bytes.Equal(x.Signature, y.Signature)
	})
}

func TestParseNotifications(t *testing.T) {
	f := func(in string, want ...*Publication) {
		t.Helper()
		got, err := parseNotifications(unhex(t, in))
		if err != nil || !slices.EqualFunc(got, want, sameNotification) {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	one, three := publication1(t), publication3(t)
	f("")
	f("0a00")
	f("0a02 0a00")
	f("0a04 0a02 0a00")
	f(notification1, one)
	f(notification3, three)
	f(notification1+notification3+notification1, one, three, one)
	f("0aa501 0aa201 0a3b 0a14 0a10"+privateA+"1001 1a23"+outgoing1+
		"0a61 0a28 0a10"+publicB+"1a14"+signaturePublicB+"1a35"+outgoing3+"1200", one, three)
	// Licences are not for us, nor is what they have replaced.
	f("0a02 1200")
	f("0a43 0a3d 0a3b 0a14 0a10" + privateA + "1001 1a23" + outgoing1 + "1202 0a00")
	f("0a41 1200 0a3d 0a3b 0a14 0a10"+privateA+"1001 1a23"+outgoing1, one)
	// A message without a publication, or with an id that is none, is left out.
	f("0a1a 0a18 0a16 0a14 0a10" + privateA + "1001")
	f("0a08 0a06 0a04 1a02 0a00")
	f("0a15 0a13 0a11 120d 17954638490000000000000001 1a00")

	// Receivers with other ids are skipped; isPrivate left out means public, and a missing sender is a back end.
	p := &Publication{ID: one.ID, Sender: Sender{Type: SenderBackend}}
	f("0a15 0a13 0a11 1a0f 0a0d 17954638490000000000000001", p)
	f("0a1a 0a18 0a16 0a03 0a0161 1a0f 0a0d 17954638490000000000000001", p)
	p.Receivers = []Receiver{{Channel: public(t, publicB)}}
	f("0a2e 0a2c 0a2a 0a12 0a10"+publicB+"0a03 0a0161 1a0f 0a0d 17954638490000000000000001", p)
}

func TestParseNotificationsMalformed(t *testing.T) {
	f := func(in []byte) {
		t.Helper()
		ps, err := parseNotifications(in)
		if !errors.Is(err, errMalformed) || len(ps) != 0 {
			t.Fatalf("%x: %d publications, %v", in, len(ps), err)
		}
	}
	f([]byte("garbage"))
	f([]byte("x"))
	f(unhex(t, privateA))
	// Nothing of a batch is taken if it ends early.
	good := unhex(t, notification1)
	for n := 1; n < len(good); n++ {
		f(append(bytes.Clone(good), good[:n]...))
	}
	f(unhex(t, notification1+"0a07 0a05 0a03 0a0108"))
	f(unhex(t, notification1+"0a09 0a07 0a05 1a03 2a0108"))
}

// Every publication of a batch is a value of its own: a bus hands them on.
func TestParseNotificationsAreSeparate(t *testing.T) {
	ps, err := parseNotifications(unhex(t, notification1+notification1))
	if err != nil || len(ps) != 2 || ps[0] == ps[1] || &ps[0].Receivers[0] == &ps[1].Receivers[0] {
		t.Fatalf("got %v, %v", ps, err)
	}
}

func TestNotificationsAgreeWithGeneratedCode(t *testing.T) {
	for _, p := range []*Publication{publication1(t), publication3(t), {Body: bytes.Repeat([]byte("x"), 70000)}} {
		var batch pb.NotificationBatch
		mustUnmarshal(t, AppendNotification(nil, p), &batch)
		messages := batch.Notifications[0].GetIpcMessages().GetMessages()
		if len(messages) != 1 || len(messages[0].Receivers) != len(p.Receivers) ||
			!samePublication(fromGenerated(t, messages[0].OutgoingMessage), p) {
			t.Fatalf("%+v was read as %v", p, &batch)
		}
		for i, r := range messages[0].Receivers {
			want := p.Receivers[i]
			if !bytes.Equal(r.Id, want.Channel.Bytes[:]) || r.IsPrivate != want.Channel.Private || !bytes.Equal(r.Signature, want.Signature) {
				t.Fatalf("receiver %d of %+v was read as %v", i, p, r)
			}
		}
		ps, err := parseNotifications(mustMarshal(t, &batch))
		if err != nil || len(ps) != 1 || !sameNotification(ps[0], p) {
			t.Fatalf("%+v came back as %+v, %v", p, ps, err)
		}
	}
}
