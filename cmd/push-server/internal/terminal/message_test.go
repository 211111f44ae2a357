package terminal

import (
	"fmt"
	"testing"

	"push-server/protocol"
)

// Messages come one by one or, from a Node server, any number in one frame.
func TestParse(t *testing.T) {
	p := &protocol.Publication{ID: protocol.MakeMessageID(1795461412, 126), Body: []byte(`{"x":1}`), Created: 1795461812, Sender: protocol.Sender{Type: protocol.SenderBackend}}
	q := &protocol.Publication{
		ID: protocol.MakeMessageID(1795461412, 127), Body: []byte("no {JSON}"), Sender: protocol.Sender{Type: protocol.SenderClient, ID: []byte{0xfe, 0xdc}},
	}
	f := func(b []byte, protobuf bool, want string) {
		t.Helper()
		messages, err := parse(b, protobuf)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, m := range messages {
			got += m.Line() + "\n" + m.JSON() + "\n"
		}
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	const first, second = "17954614120000000000000126", "17954614120000000000000127"
	f(protocol.AppendText(protocol.AppendText(nil, p, 1), q, 2), false, fmt.Sprintf("%[1]s {\"x\":1}\n{\"mid\":\"%[1]s\",\"body\":{\"x\":1}}\n"+
		"%[2]s no {JSON}\n{\"mid\":\"%[2]s\",\"body\":\"no {JSON}\"}\n", first, second))
	binary := fmt.Sprintf("%[1]s {\"x\":1}\n{\"mid\":\"%[1]s\",\"created\":\"2026-11-23T19:23:32Z\",\"sender\":\"backend\",\"body\":{\"x\":1}}\n"+
		"%[2]s no {JSON}\n{\"mid\":\"%[2]s\",\"sender\":\"client\",\"from\":\"fedc\",\"body\":\"no {JSON}\"}\n", first, second)
	f(protocol.AppendResponse(nil, []*protocol.Publication{p, q}), true, binary)
	f(protocol.AppendResponse(protocol.AppendResponse(nil, []*protocol.Publication{p}), []*protocol.Publication{q}), true, binary)
	f(protocol.AppendChannelStats(nil, nil), true, "")
	f(nil, false, "")
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"<html>", textBegin, textBegin + "{}" + textEnd, textBegin + `{"mid":"1","text":1}` + textEnd, textBegin + `{"mid":,"text":1}` + textEnd,
		`{"mid":"17954614120000000000000126","text":1}` + textEnd,
	} {
		if messages, err := parse([]byte(text), false); err == nil {
			t.Errorf("%q is read as %v", text, messages)
		}
	}
	for _, text := range []string{"<html>", "\x0a\x06\x0a\x04\x0a\x02\x0a\x00"} {
		if messages, err := parse([]byte(text), true); err == nil {
			t.Errorf("%q is read as %v", text, messages)
		}
	}
}

// No body moves the cursor of a terminal.
func TestOneLine(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		if got := oneLine([]byte(body)); got != want {
			t.Errorf("%q: got %s, want %s", body, got, want)
		}
	}
	f("{\n\t\"a\": [1, 2]\n}", `{"a":[1,2]}`)
	f("привет, мир", "привет, мир")
	f("a\nb", `"a\nb"`)
	f("\x1b]0;title\a", `"\x1b]0;title\a"`)
	f("\"\u009b2J\"", `"\"\u009b2J\""`)
	f("\xff", `"\xff"`)
	f("", "")
}
