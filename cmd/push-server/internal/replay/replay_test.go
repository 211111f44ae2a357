package replay

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"testing"
)

// fakeServer answers every request on every connection with the same bytes.
func fakeServer(t *testing.T, answer string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					c.Write([]byte(answer))
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// replay runs a conversation against a fake server and returns its outcome.
func replay(t *testing.T, text, answer string) error {
	t.Helper()
	conv, err := parse("test.txt", text)
	if err != nil {
		t.Fatal(err)
	}
	return conv.Run(&Servers{
		Addrs: map[string]string{"sub": fakeServer(t, answer)},
		Paths: map[string]string{"sub": "/s/"},
		Key:   "k",
	})
}

const poll = `# A poll.
timeout 300ms
channel A
poll c ?CHANNEL_ID=${A.id}
c < HTTP/1.1 200 OK
c < Content-Type: text/plain
c < Date: ${:date}
c <
c <message mid=${m:mid} {"a":1}
`

const framed = `#!NGINXNMS!#{"id":7,"mid":"17000000000000000000000007","channel":"-","tag":"123","time":"Thu, 01 Jan 2026 00:00:00 GMT","text":{"a":1}}#!NGINXNME!#`

// TestDifferences changes one thing at a time in an answer that is right.
func TestDifferences(t *testing.T) {
	right := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n" + framed
	tests := []struct{ name, from, to, want string }{
		{"nothing", "", "", ""},
		{"header that does not matter", "Date", "Server: x\r\nDate", ""},
		{"code", "200", "201", "want 200"},
		{"content type", "text/plain", "text/html", "want text/plain"},
		{"missing header", "Content-Type: text/plain\r\n", "", "want Content-Type: text/plain"},
		{"header that matters", "Date", "Access-Control-Allow-Origin: *\r\nDate", "no such header"},
		{"body", `{"a":1}`, `{"a":2}`, `want {"a":1}`},
		{"id", `"id":7`, `"id":8`, "is not the end of mid"},
		{"second message", framed, framed + framed, "no more messages"},
		{"no message", framed, "", "no more messages"},
		{"framing", "NGINXNMS", "NGINX", "want message"},
		{"no answer", right, "", "the server closed the connection"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := replay(t, poll, strings.Replace(right, test.from, test.to, 1))
			switch {
			case test.want == "" && err != nil:
				t.Errorf("differs: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want something with %q", err, test.want)
			}
		})
	}
}

func TestEither(t *testing.T) {
	text := `timeout 300ms
open c sub
c > GET / HTTP/1.1
c > Host: x
c >
either
	c < HTTP/1.1 404 Not Found
	c <
or
	c < HTTP/1.1 400 Bad Request
	c <
	c <| no
	c <eof
end
`
	if err := replay(t, text, "HTTP/1.1 400 Bad Request\r\n\r\nno"); err != nil {
		t.Errorf("differs: %v", err)
	}
	err := replay(t, text, "HTTP/1.1 500 Oh\r\n\r\nno")
	if err == nil || !strings.Contains(err.Error(), "alternative 2") {
		t.Errorf("got %v, want both alternatives", err)
	}
}

func TestPlaceholders(t *testing.T) {
	v := vars{"x": "a/b:c"}
	for pattern, ok := range map[string]bool{
		"${x}": true, "${x|upper}": false, "a${:any}c": true, "${y:word}/b:c": true, "${:num}": false,
	} {
		if err := v.match(pattern, "a/b:c"); (err == nil) != ok {
			t.Errorf("match(%q) = %v", pattern, err)
		}
	}
	if v["y"] != "a" {
		t.Errorf("captured %q, want a", v["y"])
	}
	if got, _ := v.expand("${x|url}"); got != "a%2Fb%3Ac" {
		t.Errorf("url filter gives %q", got)
	}
}

func TestProtoRoundTrip(t *testing.T) {
	text := `requests { incomingMessages { messages*2 {
		receivers { id: ${id} isPrivate: true signature: '' }
		body: 'it\'s {"a":1}'
		expiry: 300
	} } }`
	want, err := parseProto("RequestBatch", text)
	if err != nil {
		t.Fatal(err)
	}
	v := vars{"id": "00ff"}
	b, err := encode(want, v)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode("RequestBatch", b)
	if err != nil {
		t.Fatal(err)
	}
	if err := compareProto("batch", want, got, v); err != nil {
		t.Error(err)
	}
	again, err := parseProto("RequestBatch", format(got, ""))
	if err != nil {
		t.Fatal(err)
	}
	if err := compareProto("batch", again, got, v); err != nil {
		t.Error(err)
	}
	if _, err := decode("RequestBatch", b[:len(b)-1]); err == nil {
		t.Error("a batch that is cut off decodes")
	}
}

func TestDefaultsEqualAbsentFields(t *testing.T) {
	full, _ := parseProto("ChannelStats", "id: 00 isPrivate: false isOnline: false")
	short, _ := parseProto("ChannelStats", "id: 00")
	if err := compareProto("x", full, short, vars{}); err != nil {
		t.Error(err)
	}
	if err := compareProto("x", short, full, vars{}); err != nil {
		t.Error(err)
	}
}

// TestOnce wants a response in one piece, and gets it in two.
func TestOnce(t *testing.T) {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		server.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"))
		server.Write([]byte("ok"))
	}()
	conv, err := parse("test.txt", "c <once\nc < HTTP/1.1 200 OK\nc <\nc <| ok\n")
	if err != nil {
		t.Fatal(err)
	}
	p := newPlayer(conv, &Servers{})
	p.conns["c"] = newConn("c", client)
	if err = p.run(); err == nil || !strings.Contains(err.Error(), "at once") {
		t.Errorf("got %v, want a difference", err)
	}
}

// TestFilesParse reads all conversations.
func TestFilesParse(t *testing.T) {
	convs, err := Load("../../testdata/conversations")
	if err != nil || len(convs) == 0 {
		t.Fatalf("%d conversations, %v", len(convs), err)
	}
	for _, conv := range convs {
		if !strings.HasPrefix(conv.Lines[0], "# ") {
			t.Errorf("%s does not begin with a comment", conv.Path)
		}
	}
}
