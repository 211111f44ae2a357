package poll

import (
	"context"
	"encoding/hex"
	"fmt"
	"sync"
	"testing"
	"time"

	"push-server/protocol"
)

// Two users, with the ids and signatures as they write them.
const (
	privA, pubA = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	privB, pubB = "00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"

	sigPrivA  = "acbad8c294ed76e1e705ee2986cf14870f7c12c0"
	signedA   = privA + ":" + pubA + ".2641220b15c596ac920d55f203a1b0600c80cd06"
	aloneA    = privA + "." + sigPrivA
	unsignedA = privA + ":" + pubA
)

func newSigner() *protocol.Signer {
	s, err := protocol.NewSigner("sha1", []byte("example-key"))
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return s
}

func id(digits string) (id [16]byte) {
	if n, err := hex.Decode(id[:], []byte(digits)); err != nil || n != len(id) {
		panic("BUG: bad id " + digits)
	}
	return id
}

func sigPub(digits string) string { return string(newSigner().SignPublic(id(digits))) }

// browserHead is what a browser sends through a proxy.
const browserHead = "GET /sub/?CHANNEL_ID=" + aloneA + "%2F" + signedA + "&mid=17954614120000000000000225&binaryMode=true&revision=19 HTTP/1.1\n" +
	"Host: push.example\nX-Real-IP: 203.0.113.7\nX-Forwarded-For: 203.0.113.7\nConnection: close\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\n" +
	"Accept: */*\nAccept-Language: de,en;q=0.9\nAccept-Encoding: gzip, deflate, br\nCookie: a=b; c=d\nUpgrade: websocket\n\n"

// backend stands behind Handlers and remembers what it was given.
type backend struct {
	err   error                       // of the next calls
	are   map[protocol.ChannelID]bool // online
	stats string

	mu        sync.Mutex
	published []*protocol.Publication
	logged    []string
}

func (b *backend) Publish(_ context.Context, ps []*protocol.Publication) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.published = append(b.published, ps...)
	}
	return b.err
}

func (b *backend) Online(_ context.Context, chs []protocol.ChannelID) ([]bool, error) {
	online := make([]bool, len(chs))
	for i, ch := range chs {
		online[i] = b.are[ch]
	}
	return online, b.err
}

func (b *backend) ServerStats(context.Context) []byte {
	if b.stats == "" {
		return nil
	}
	return []byte(b.stats)
}

func (b *backend) log(text, addr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.logged = append(b.logged, text+" "+addr)
}

// take returns what was published since the last call, one line each.
func (b *backend) take() (lines []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.published {
		line := fmt.Sprintf("%s expiry=%d sender=%d:%x type=%s", p.Body, p.Expiry, p.Sender.Type, p.Sender.ID, p.Type)
		for _, r := range p.Receivers {
			line += fmt.Sprintf(" %s private=%v", r.Channel.AppendHex(nil), r.Channel.Private)
		}
		lines = append(lines, line)
	}
	b.published = nil
	return lines
}

func (b *backend) takeLog() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := b.logged
	b.logged = nil
	return lines
}

func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

var testRoutes = Routes{Pub: "/pub/", Sub: "/sub/", Rest: "/rest/", Stat: "/stat/"}

func newHandlers() (*Handlers, *backend) {
	b := &backend{are: make(map[protocol.ChannelID]bool)}
	return &Handlers{
		Publisher:  b,
		Clients:    b,
		Presence:   b,
		Statistics: b,
		Counters:   NewCounters(noon),
		Limits:     protocol.Limits{MaxPayload: 1 << 20, MaxMessages: 3, MaxChannels: 4},
		NewSigner:  newSigner,
		ErrorLog:   b.log,
	}, b
}

// field appends a protobuf field with bytes. All of them are shorter than 128 bytes, or not much longer.
func field(number int, content ...string) string {
	joined := ""
	for _, c := range content {
		joined += c
	}
	length := []byte{byte(len(joined))}
	if n := len(joined); n > 127 {
		length = []byte{byte(n) | 0x80, byte(n >> 7)}
	}
	return string(rune(number<<3|2)) + string(length) + joined
}

func scalar(number, value int) string { return string(rune(number<<3)) + string(rune(value)) }

func private(digits string) string {
	raw := id(digits)
	return field(1, field(1, string(raw[:])), scalar(2, 1))
}

func public(digits, signature string) string {
	raw := id(digits)
	return field(1, field(1, string(raw[:])), field(3, signature))
}

func publishing(messages ...string) string { return field(1, field(1, messages...)) }

func message(body string, parts ...string) string {
	return field(1, append(parts, field(3, body))...)
}

func asking(channels ...string) string { return field(1, field(2, channels...)) }

func equalLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %q, want %q", what, got, want)
		return
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s: %q, want %q", what, got[i], want[i])
		}
	}
}
