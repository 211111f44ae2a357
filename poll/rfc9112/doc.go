// Package rfc9112 makes what strangers send for HTTP/1.1: requests, right and nearly right, one behind the other. Two readers that do not
// agree where one of them ends are how a request is smuggled past a proxy (RFC 9112, 11.2). Only tests import it.
package rfc9112

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Smuggled is the path of requests that stand inside of bodies. Who answers one has lost count of the bytes.
const Smuggled = "/smuggled"

// Stream is what a connection sends, the same for a seed: up to three requests for one of targets each, with up to three mutations each, and
// a last one that is right.
func Stream(seed uint64, targets []string) []byte {
	m := &mutator{Rand: rand.New(rand.NewPCG(seed, 9112)), targets: targets}
	var b []byte
	for range 1 + m.IntN(3) {
		b = append(b, m.request()...)
	}
	return fmt.Appendf(b, "GET /last-%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", seed)
}

type mutator struct {
	*rand.Rand
	targets []string
}

// of picks one of what is there.
func (m *mutator) of(all ...string) string { return all[m.IntN(len(all))] }

// request is one under way.
type request struct {
	line   string
	fields []string // "Name: value"
	body   string   // with its chunks
	ends   []string // of the request line, of each field and of the empty line
}

func (m *mutator) request() string {
	r := &request{line: m.of("GET", "POST", "POST", "POST", "OPTIONS", "HEAD", "PUT") + " " + m.of(m.targets...) + " HTTP/1.1", fields: []string{"Host: a"}}
	payload := m.of("", "x", "hello", "{\"a\":1}", strings.Repeat("y", 200), "GET "+Smuggled+" HTTP/1.1\r\nHost: a\r\n\r\n",
		"0\r\n\r\nGET "+Smuggled+" HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\r\n0\r\n\r\n")
	switch m.IntN(4) {
	case 0: // none
	case 1:
		r.fields = append(r.fields, "Transfer-Encoding: chunked")
		r.body = m.chunks(payload)
	default:
		r.fields = append(r.fields, fmt.Sprint("Content-Length: ", len(payload)))
		r.body = payload
	}
	if m.IntN(4) == 0 {
		r.fields = append(r.fields, m.of("Connection: keep-alive", "Connection: close", "X-A: b", "Expect: 100-continue", "Accept: */*", "Content-Type: text/plain"))
	}
	m.Shuffle(len(r.fields), func(i, j int) { r.fields[i], r.fields[j] = r.fields[j], r.fields[i] })
	mutations := []func(*mutator, *request){
		(*mutator).length, (*mutator).coding, (*mutator).requestLine, (*mutator).field, (*mutator).host, (*mutator).lineEnd, (*mutator).chunk, (*mutator).bytes,
	}
	r.ends = slices.Repeat([]string{"\r\n"}, len(r.fields)+8)
	for range m.IntN(4) {
		mutations[m.IntN(len(mutations))](m, r)
	}
	return r.String()
}

func (r *request) String() string {
	var b strings.Builder
	b.WriteString(r.line + r.ends[0])
	for i, f := range r.fields {
		b.WriteString(f + r.ends[1+i%(len(r.ends)-2)])
	}
	b.WriteString(r.ends[len(r.ends)-1] + r.body)
	return b.String()
}

// add puts a field before one of the others.
func (r *request) add(m *mutator, field string) {
	r.fields = slices.Insert(r.fields, m.IntN(len(r.fields)+1), field)
}

// chunks is payload in chunks.
func (m *mutator) chunks(payload string) string {
	var b strings.Builder
	for len(payload) > 0 {
		n := 1 + m.IntN(len(payload))
		fmt.Fprintf(&b, "%x%s\r\n%s\r\n", n, m.of("", "", "", ";a=b", ";a=\"b\""), payload[:n])
		payload = payload[n:]
	}
	return b.String() + "0\r\n" + m.of("", "", "", "X-T: y\r\n") + "\r\n"
}
