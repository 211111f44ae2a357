package proxyproto

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"push-server/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// binary2 is a header of version 2.
func binary2(command, family byte, rest string) string {
	return string(signature) + string([]byte{command, family, byte(len(rest) >> 8), byte(len(rest))}) + rest
}

const (
	ports = "\x12\x34\x00\x50"
	four  = "\xc0\x00\x02\x01\x0a\x00\x00\x01" + ports
	six   = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + ports
)

// headers and whose connection they say it is; "": the proxy's.
var headers = map[string]string{
	"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n":               "192.0.2.1",
	"PROXY TCP6 2001:db8::1 fd00::1 4711 80\r\n":              "2001:db8::1",
	"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:10.0.0.1 4711 80\r\n": "192.0.2.1",
	"PROXY UNKNOWN\r\n":                                                   "",
	"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n":                       "",
	binary2(0x21, 0x11, four):                                             "192.0.2.1",
	binary2(0x21, 0x21, six):                                              "2001:db8::1",
	binary2(0x21, 0x11, four+"\x04\x00\x01x"):                             "192.0.2.1",
	binary2(0x20, 0x00, ""):                                               "",
	binary2(0x20, 0x11, four):                                             "",
	binary2(0x21, 0x00, ""):                                               "",
	binary2(0x21, 0x31, strings.Repeat("x", 216)):                         "",
	binary2(0x21, 0x11, four+strings.Repeat("x", MaxHeader-16-len(four))): "192.0.2.1",
}

// In whatever slices a header comes, it is read when it is complete, and nothing behind it.
func TestHeaders(t *testing.T) {
	t.Parallel()
	for text, want := range headers {
		for i := range len(text) {
			if _, _, err := Read([]byte(text[:i])); !errors.Is(err, protocol.ErrShort) {
				t.Errorf("%q: %v after %d bytes", text, err, i)
			}
		}
		client, n, err := Read([]byte(text + "GET / HTTP/1.1\r\n"))
		if got := client.String(); n != len(text) || err != nil || client.IsValid() != (want != "") || want != "" && got != want {
			t.Errorf("%q: %v, %d bytes, %v; want %q, %d bytes", text, client, n, err, want, len(text))
		}
	}
}

var nonsense = []string{
	"GET / HTTP/1.1\r\n", "proxy TCP4 192.0.2.1 10.0.0.1 1 2\r\n", "PROXY\r\n", "PROXY \r\n", "PROXY \n", "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\n",
	"PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n", "PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3\r\n", "PROXY TCP4 192.0.2.1  10.0.0.1 1 2\r\n",
	"PROXY TCP4 192.0.2.1 10.0.0.1 1 65536\r\n", "PROXY TCP4 192.0.2.1 10.0.0.1 -1 2\r\n", "PROXY TCP4 2001:db8::1 10.0.0.1 1 2\r\n",
	"PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n", "PROXY TCP6 fe80::1%eth0 fd00::1 1 2\r\n", "PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n", "PROXY UNKNOWNS\r\n",
	"PROXY UNKNOWN " + strings.Repeat("x", maxLine) + "\r\n", "\r\n\r\n\x00\r\nQUIT\r\n\r\n\r\n",
	binary2(0x11, 0x11, four), binary2(0x22, 0x11, four), binary2(0x21, 0x11, four[:11]), binary2(0x21, 0x21, six[:35]), binary2(0x21, 0x11, strings.Repeat("x", MaxHeader)),
}

func TestNonsense(t *testing.T) {
	t.Parallel()
	for _, text := range nonsense {
		if client, n, err := Read([]byte(text)); !errors.Is(err, ErrHeader) {
			t.Errorf("%q: %v, %d bytes, %v", text, client, n, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for text := range headers {
		f.Add([]byte(text))
	}
	for _, text := range nonsense {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		client, n, err := Read(b)
		switch {
		case err == nil && (n <= 0 || n > len(b) || n > MaxHeader):
			t.Errorf("%d of %d bytes", n, len(b))
		case errors.Is(err, protocol.ErrShort) && len(b) >= MaxHeader:
			t.Errorf("%d bytes are not enough", len(b))
		case client.IsValid() && (client.Is4In6() || client.Zone() != ""):
			t.Errorf("%v", client)
		}
		if err != nil {
			return
		}
		again, m, err := Read(b[:n])
		if again != client || m != n || err != nil {
			t.Errorf("with what is behind it %v, %d bytes; without %v, %d bytes, %v", client, n, again, m, err)
		}
	})
}

// conversation is what a server reads of what a client sends in these parts.
func conversation(t *testing.T, refused func(net.Addr), parts ...string) (read string, from net.Addr, err error) {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer client.Close()
		for _, part := range parts {
			if _, err := io.WriteString(client, part); err != nil {
				return
			}
		}
	}()
	c := NewConn(server)
	c.refused = refused
	b, err := io.ReadAll(c)
	server.Close()
	<-done
	return string(b), c.RemoteAddr(), err
}

func TestConn(t *testing.T) {
	t.Parallel()
	for text, want := range headers {
		f := func(parts ...string) {
			t.Helper()
			read, from, err := conversation(t, nil, parts...)
			if read != "hello, you" || err != nil {
				t.Errorf("%q: read %q, %v", text, read, err)
			}
			if addr, ok := from.(*net.TCPAddr); ok != (want != "") || ok && addr.IP.String() != want {
				t.Errorf("%q: from %v, want %s", text, from, want)
			}
		}
		f(text+"hello, ", "you")
		f(text[:1], text[1:20%len(text)+1], text[20%len(text)+1:], "hello, you")
	}
}

func TestConnWithoutHeader(t *testing.T) {
	t.Parallel()
	refusals := 0
	read, _, err := conversation(t, func(net.Addr) { refusals++ }, "GET / HTTP/1.1\r\n\r\n")
	if read != "" || !errors.Is(err, ErrHeader) || refusals != 1 {
		t.Errorf("read %q, %v, refused %d times", read, err, refusals)
	}
	if read, _, err = conversation(t, nil, "PROXY TCP4"); read != "" || !errors.Is(err, io.EOF) && err != nil {
		t.Errorf("half a header: read %q, %v", read, err)
	}
}
