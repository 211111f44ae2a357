package rfc9112

import (
	"fmt"
	"strings"
)

// blanks are bytes that some take for blanks.
var blanks = []string{" ", "\t", "\v", "\f", "\x00", "\u0085", "\xa0", "\r"}

func (m *mutator) length(r *request) {
	n := m.of("0", "1", "5", "7", "44", "200")
	value := m.of(n, "+"+n, "-"+n, "0x"+n, "00"+n, n+", "+n, n+","+n, n+" "+n, n+";", n+".0", n+"e0", "", "18446744073709551621", "9223372036854775813",
		"4294967301", "\""+n+"\"", n+m.of(blanks...), m.of(blanks...)+n, n+"\r\n ", n+"_0", "\xef\xbc\x95")
	name := m.of("Content-Length", "content-length", "CONTENT-LENGTH", "Content_Length", "Content-Length ", " Content-Length", "Content-Length\t", "Content-Length\x00")
	if m.IntN(3) == 0 {
		name = "Content-Length"
	}
	r.add(m, name+m.of(":", ": ", ":\t", ":  ")+value)
	switch m.IntN(6) {
	case 0:
		r.drop("Content-Length: ")
		r.fields = append(r.fields, "Content-Length: "+n, "Content-Length: "+n)
	case 1, 2, 3:
		r.drop("Content-Length: ")
	}
}

// drop takes the first field away that begins so.
func (r *request) drop(prefix string) {
	for i, f := range r.fields {
		if strings.HasPrefix(f, prefix) {
			r.fields = append(r.fields[:i:i], r.fields[i+1:]...)
			return
		}
	}
}

func (m *mutator) coding(r *request) {
	value := m.of("chunked", "Chunked", "CHUNKED", "chunked, identity", "identity, chunked", "identity", "xchunked", "chunkedx", "chunked;q=1", "gzip, chunked",
		"chunked, chunked", "\"chunked\"", "chunked,", ",chunked", "chun\x00ked", "chunke\u212a", "chunked"+m.of(blanks...), m.of(blanks...)+"chunked", "\r\n chunked", "")
	name := m.of("Transfer-Encoding", "transfer-encoding", "TRANSFER-ENCODING", "Transfer_Encoding", "Transfer-Encoding ", " Transfer-Encoding",
		"Transfer-Encoding\t", "Transfer-Encoding\x00", "X: y\nTransfer-Encoding", "X: y\rTransfer-Encoding", "TE", "Trailer")
	if m.IntN(3) == 0 {
		name = "Transfer-Encoding"
	}
	r.add(m, name+m.of(":", ": ", ":\t")+value)
	if m.IntN(3) == 0 {
		r.drop("Transfer-Encoding: ")
	}
}

func (m *mutator) requestLine(r *request) {
	method, rest, _ := strings.Cut(r.line, " ")
	target, version, _ := strings.Cut(rest, " ")
	switch m.IntN(4) {
	case 0:
		method = m.of("get", "Get", "GETS", "", "G\x00T", "CONNECT", "PRI", "TRACE", "PATCH", "DELETE", "PROPFIND", "M-SEARCH", "QUERY", "G(T", strings.Repeat("A", 40), "\r\nGET", "\nGET", " GET")
	case 1:
		target = m.of("http://a"+target, "HTTP://a:80"+target, "https://a"+target, "ftp://a"+target, "//a"+target, "*", "a:443", "", target+" x", target+"\tx",
			target+"#x", target+"?a?b", target+"\\", target+"%", target+"%00", target+"\x00", target+"\xff", target+"\x7f", "/../"+target, "http://", "http:///x", "http://a b/",
			target+strings.Repeat("z", 9000), target+strings.Repeat("z", 17000), "/%zz", "?x", "/\x0b")
	case 2:
		version = m.of("HTTP/1.0", "HTTP/1.0", "HTTP/1.1 ", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "http/1.1", "HTTP/1", "HTTP/01.1", "HTTP/1.01", "HTTP/1.1x", "HTTP / 1.1", "", "HTTP/+1.1", "HTTPS/1.1")
	default:
		r.line = method + m.of("  ", "\t", " \t", "\v", "") + target + m.of("  ", "\t", " ") + version
		return
	}
	r.line = strings.TrimSuffix(method+" "+target+" "+version, " ")
}

func (m *mutator) field(r *request) {
	r.add(m, m.of("nonsense", ":", ": x", "X", "X:", "X : y", "X\t: y", " X: y", "\tX: y", "X Y: z", "X(: y", "X\x00: y", "X: \x00", "X: \x01", "X: \x7f", "X: \xff", "\xff: y",
		"X: a\rb", "X: a\nY: b", "X: a\r\n b", "X: a\r\n\tb", "X: "+strings.Repeat("z", 9000), "X: "+strings.Repeat("z", 17000), "X_Y: z", "X.Y: z",
		"Connection: Content-Length", "Connection: close, keep-alive", "Connection: Host", "Keep-Alive: 300", "Expect: 100-continue", "Expect: x", "Upgrade: websocket",
		"Trailer: Content-Length", "X-HTTP-Method-Override: PUT", "Content-Encoding: gzip", "Proxy-Connection: close"))
	if len(r.fields) > 0 && m.IntN(4) == 0 {
		r.add(m, m.of(r.fields...)) // once more
	}
	if m.IntN(8) == 0 {
		for i := range 120 {
			r.fields = append(r.fields, fmt.Sprintf("X-%d: y", i))
		}
	}
}

func (m *mutator) host(r *request) {
	r.drop("Host: ")
	for range m.IntN(3) {
		r.add(m, m.of("Host:", "Host: ", "Host: a", "Host: b", "host: a", "Host: a:80", "Host: a:x", "Host: a b", "Host: a,b", "Host: a/b", "Host: a@b", "Host: [::1]", "Host: [::1",
			"Host: \xff", "Host: a\x00", "Host: a%", "Host : a", "Host:\ta", "Host: "+strings.Repeat("h", 300)))
	}
}

func (m *mutator) lineEnd(r *request) {
	r.ends[[]int{0, 1, 2, 3, len(r.ends) - 1}[m.IntN(5)]] = m.of("\n", "\r", "\r\r\n", "\n\r", "\n\r\n", " \r\n", "\t\r\n", "\x00\r\n", "\r\n\r\n", "", "\v\r\n", "\r \n", "\n\n")
}

// chunk spoils a body of chunks, or puts one where none is announced.
func (m *mutator) chunk(r *request) {
	size := m.of("5", "5 ", " 5", "5\t", "+5", "-5", "0x5", "05", "00000000000000000005", "10000000000000005", "100000005", "5;", "5;a", "5;a=\"\r\n\"", "5;a\rb", "5;\x00", "5;a\nb", "5,", "5.", "5\v", "", ";", "g")
	data := m.of("hello", "hello", "hell", "hellos", "he\r\nl", "")
	end := m.of("\r\n", "\r\n", "\n", "\r", "", "\r\n\r\n", "x\r\n", "\n\r\n")
	last := m.of("0\r\n\r\n", "0\r\n\r\n", "0\r\n", "0\n\n", "0\r\n\n", "0\n\r\n", "00\r\n\r\n", "0;a\r\n\r\n", "0 \r\n\r\n", "\r\n", "", "0\r\nContent-Length: 5\r\n\r\n", "0\r\nX: y\n\r\n",
		"0\r\nX: y\r\n z\r\n\r\n", "0\r\nnonsense\r\n\r\n", "0\r\n: x\r\n\r\n", "0\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\nX : y\r\n\r\n", "0\r\n\rX\r\n\r\n", "0\r\nX: \x00\r\n\r\n", "0\r\n"+strings.Repeat("X: y\r\n", 3000)+"\r\n")
	r.body = size + m.of("\r\n", "\r\n", "\r\n", "\n", "\r") + data + end + last
	if m.IntN(4) > 0 {
		r.drop("Content-Length: ")
		r.drop("Transfer-Encoding: ")
		r.fields = append(r.fields, "Transfer-Encoding: chunked")
	}
}

// bytes changes some of the request line, of a field or of the body.
func (m *mutator) bytes(r *request) {
	parts := []*string{&r.line, &r.body}
	for i := range r.fields {
		parts = append(parts, &r.fields[i])
	}
	p := parts[m.IntN(len(parts))]
	at := m.IntN(len(*p) + 1)
	b := string([]byte{byte(m.IntN(256))})
	switch {
	case m.IntN(3) == 0 || at == len(*p):
		*p = (*p)[:at] + b + (*p)[at:]
	case m.IntN(2) == 0:
		*p = (*p)[:at] + (*p)[at+1:]
	default:
		*p = (*p)[:at] + b + (*p)[at+1:]
	}
}
